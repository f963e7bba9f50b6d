//! Log lines: to standard error, as text for people or JSON for collectors.

use engine::config::{LogFormat, LogLevel, RuntimeSettings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// How much is logged, which may change while the process runs.
pub(crate) struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    /// Logs so much from now on.
    pub(crate) fn set(&self, level: LogLevel) {
        // Fails only where the log is somebody else's, as below.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts logging as the settings say. Called once.
pub(crate) fn start(settings: &RuntimeSettings) -> Level {
    let (level, handle) = reload::Layer::new(filter(settings.log_level));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A line that cannot be written (the reader of the pipe is gone, the disk is full) is lost. The
    // library would say so on standard error, and panic where that fails too: the task that logged,
    // the store's thread among them, would be gone with the line.
    let lines = fmt::layer().log_internal_errors(false).with_writer(std::io::stderr).with_target(false).with_ansi(ansi);
    let log = tracing_subscriber::registry().with(level);
    // Fails only where a log is already set up (a program of somebody else's): theirs stays.
    let _ = match settings.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.with(lines)),
        LogFormat::Json => tracing::subscriber::set_global_default(log.with(lines.json().flatten_event(true))),
    };
    Level(handle)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Writes a line for a person to standard error, when there is no log yet or none at all. Where
/// nobody reads it, the exit code still tells.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
