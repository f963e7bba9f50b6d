//! The levels of the gateway's log.

use schemars::JsonSchema;
use serde::Deserialize;

/// How grave a line is, as OpenClaw names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The finest detail.
    Trace,
    /// For the developer.
    Debug,
    /// What is usual.
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
    /// What ended the gateway.
    Fatal,
}

impl Level {
    /// From `logLevelName`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let known = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];
        known.into_iter().find(|level| level.severity().0.eq_ignore_ascii_case(name))
    }

    /// `severity_text` and `severity_number` of OpenTelemetry's log data model.
    pub(super) fn severity(self) -> (&'static str, u8) {
        match self {
            Self::Trace => ("TRACE", 1),
            Self::Debug => ("DEBUG", 5),
            Self::Info => ("INFO", 9),
            Self::Warn => ("WARN", 13),
            Self::Error => ("ERROR", 17),
            Self::Fatal => ("FATAL", 21),
        }
    }
}
