//! What every sink of this room is told. Each has these keys in its own table, with its own defaults
//! and descriptions; here they are checked.

use std::time::Duration;

use engine::config::{Size, Time};
use engine::{BuildContext, Problem, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;

/// Longest time that is taken for a setting. Beyond it, sums of times could overflow.
const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

/// How the backlog of an outage is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// In about the time that the outage lasted.
    Paced,
    /// As fast as the receiver takes it.
    AtOnce,
}

/// The keys as their author wrote them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    /// From an outbox: time between two cycles. On the live stream: how long a batch waits for more.
    pub(crate) interval: (&'static str, Time),
    pub(crate) batch_events: usize,
    pub(crate) batch_bytes: Size,
    pub(crate) max_body: Size,
    pub(crate) timeout: Time,
    pub(crate) max_tries: u32,
    pub(crate) base_delay: Time,
    pub(crate) max_delay: Time,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_cooldown: Time,
}

/// The most of what may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) batch_events: u64,
    pub(crate) batch_bytes: u64,
}

impl Common {
    /// Finds what is wrong with them.
    pub(crate) fn check(&self, most: Most, problems: &mut Problems) {
        let mut problem = |key: &str, message: String| problems.push(Problem::new(key, message));
        for (key, Time(value)) in [
            self.interval,
            ("timeout", self.timeout),
            ("base_delay", self.base_delay),
            ("max_delay", self.max_delay),
            ("breaker_cooldown", self.breaker_cooldown),
        ] {
            if value.is_zero() || value > MAX_TIME {
                problem(key, "must be more than 0 and at most 366d".to_owned());
            }
        }
        if self.base_delay > self.max_delay {
            problem("base_delay", format!("must not be longer than max_delay ({})", self.max_delay));
        }
        for (key, value, most) in [
            ("batch_events", self.batch_events as u64, most.batch_events),
            ("max_tries", self.max_tries.into(), 100),
            ("breaker_failures", self.breaker_failures.into(), 1_000_000),
        ] {
            if value == 0 || value > most {
                problem(key, format!("must be from 1 to {most}"));
            }
        }
        for (key, Size(value), least, most) in [
            ("max_body", self.max_body, 4096, 64_000_000),
            // Both are bounds on memory.
            ("batch_bytes", self.batch_bytes, 1024, most.batch_bytes),
        ] {
            if !(least..=most).contains(&value) {
                problem(key, format!("must be from {} to {}", Size(least), Size(most)));
            }
        }
    }

    /// The settings of a component, once [`Common::check`] has found nothing.
    pub(crate) fn settings(&self, cx: &BuildContext) -> Settings {
        let bytes = |Size(value): Size| usize::try_from(value).unwrap_or(usize::MAX);
        Settings {
            name: cx.name.clone(),
            key: "",
            receiver: None,
            off: "",
            warnings: Vec::new(),
            spread: String::new(),
            help: "",
            interval: self.interval.1.0,
            batch_events: self.batch_events,
            batch_bytes: bytes(self.batch_bytes),
            max_body: bytes(self.max_body),
            timeout: self.timeout.0,
            max_tries: self.max_tries,
            backoff: Backoff { base: self.base_delay.0, max: self.max_delay.0 },
            breaker_failures: self.breaker_failures,
            breaker_cooldown: self.breaker_cooldown.0,
            drain: cx.drain_timeout,
            paced: false,
        }
    }
}

/// The settings after they were checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The component's name.
    pub(crate) name: String,
    /// Under which its state is kept in the outbox.
    pub(crate) key: &'static str,
    /// Where it sends, for people, without secrets. `None`: it is off, and does nothing.
    pub(crate) receiver: Option<String>,
    /// What is said where it is off.
    pub(crate) off: &'static str,
    /// What is said when it starts.
    pub(crate) warnings: Vec<String>,
    /// What spreads the cycles of a fleet over the interval: the agent's id. Empty: chance.
    pub(crate) spread: String,
    /// What to look at when the receiver refuses everything; ends a sentence.
    pub(crate) help: &'static str,
    pub(crate) interval: Duration,
    pub(crate) batch_events: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) max_body: usize,
    pub(crate) timeout: Duration,
    pub(crate) max_tries: u32,
    pub(super) backoff: Backoff,
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_cooldown: Duration,
    /// How long an orderly stop of the process may take.
    pub(crate) drain: Duration,
    /// Whether the backlog of an outage goes out at a pace, for a receiver that many send to.
    pub(crate) paced: bool,
}
