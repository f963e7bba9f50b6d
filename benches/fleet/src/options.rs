//! What the run is told.

use std::path::PathBuf;
use std::time::Duration;

/// See `main.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) agents: usize,
    /// Of one agent in one interval.
    pub(crate) events: usize,
    pub(crate) interval: Duration,
    pub(crate) steady: Duration,
    pub(crate) outage: Duration,
    pub(crate) catch_up: String,
    pub(crate) bin: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            agents: 1000,
            events: 20,
            interval: Duration::from_secs(5),
            steady: Duration::from_secs(30),
            outage: Duration::from_secs(60),
            catch_up: "paced".to_owned(),
            bin: "target/x86_64-unknown-linux-gnu/release/openclaw-trace".into(),
            config: "config/fleet-gateway.toml".into(),
            markdown: None,
        };
        let mut arguments = arguments.peekable();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} wants a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{flag} wants a whole number, not {value:?}"));
            let seconds = || match value.parse::<f64>() {
                Ok(seconds) if seconds > 0.0 && seconds < 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
                _ => Err(format!("{flag} wants seconds, not {value:?}")),
            };
            match flag.as_str() {
                "--agents" => options.agents = number()?.clamp(1, 20_000),
                "--events" => options.events = number()?.max(1),
                "--interval" => options.interval = seconds()?,
                "--steady" => options.steady = seconds()?,
                "--outage" => options.outage = seconds()?,
                "--catch-up" => options.catch_up = value,
                "--bin" => options.bin = value.into(),
                "--config" => options.config = value.into(),
                "--markdown" => options.markdown = Some(value.into()),
                _ => return Err(format!("{flag} is no option; the head of benches/fleet/src/main.rs has them")),
            }
        }
        Ok(options)
    }

    /// A time of the default configuration, shortened as the interval is.
    pub(crate) fn short(&self, seconds: u64) -> Duration {
        self.interval.mul_f64(seconds as f64 / 300.0).max(Duration::from_millis(1))
    }
}
