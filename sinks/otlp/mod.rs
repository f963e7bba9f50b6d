//! Events as OpenTelemetry's protocol (OTLP 1.x): what any collector or backend takes.
//!
//! | event | becomes |
//! |---|---|
//! | of kind `llm_call`, `tool_call` or `run`, and any other with a span id or a duration | a span |
//! | of kind `metric`, with numbers among its attributes | metrics |
//! | any other; `log` and `link` always | a log record |
//!
//! Names are those of the semantic conventions for generative AI (v1.41, `names`). What has no name there keeps its
//! own. **Nothing is lost**: what OTLP has no place for, or would change, travels in attributes `openclaw_trace.event.*`
//! (`carry`), and our own ingest makes the very same event of them.
//!
//! `span`, `log` and `metric` say what becomes of an event, by calls of one writer (`write`) that makes protobuf or JSON of
//! them; `own` writes the event's own attributes, `request` puts events together into requests.

mod carry;
mod ids;
mod log;
mod metric;
mod names;
mod own;
mod parts;
mod request;
mod sampled;
mod span;
#[cfg(test)]
mod tests;
mod write;

use engine::{Event, Kind, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use own::Own;
pub use request::{Packet, Resource, lines};
pub use write::Form;
use write::Writer;

/// How what was added in an interval is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deltas {
    /// As sums and histograms with delta temporality.
    #[default]
    Sum,
    /// As gauges, for receivers that refuse delta temporality (Prometheus, Mimir).
    Gauge,
}

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The encoding.
    pub form: Form,
    /// What metrics are made of what was added.
    pub deltas: Deltas,
}

/// One of OTLP's three paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// `/v1/traces`.
    Traces,
    /// `/v1/logs`.
    Logs,
    /// `/v1/metrics`.
    Metrics,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// What is added to a base address.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Logs => "v1/logs",
            Self::Metrics => "v1/metrics",
        }
    }

    /// As what this event travels.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self::with(event, &Own::of(event))
    }

    fn with(event: &Event, own: &Own<'_>) -> Self {
        if event.kind == Kind::METRIC {
            return if metric::is_measured(event, own) { Self::Metrics } else { Self::Logs };
        }
        let told = event.kind == Kind::LOG || event.kind == Kind::LINK;
        let work = [Kind::LLM_CALL, Kind::TOOL_CALL, Kind::RUN].contains(&event.kind);
        if !told && (work || event.span_id.is_some() || event.duration_ms.is_some()) {
            Self::Traces
        } else {
            Self::Logs
        }
    }
}

/// A moment as OTLP has it: nanoseconds since 1970, and what is before as the first of them.
fn since_1970(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(0).max(1)
}

/// Writes what one event becomes, as items of the request's innermost list.
fn write(out: &mut Writer, event: &Event, own: &Own<'_>, signal: Signal, deltas: Deltas) {
    match signal {
        Signal::Traces => out.item(request::SPANS, |out| span::write(out, event, own)),
        Signal::Logs => out.item(request::RECORDS, |out| log::write(out, event, own)),
        Signal::Metrics => metric::write(out, event, own, deltas),
    }
}
