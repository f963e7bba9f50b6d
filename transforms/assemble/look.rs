//! What of an event matters for joining.

use std::borrow::Cow;

use engine::{Event, Kind, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What part of a turn an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// The turn itself.
    Run,
    /// What stands around a turn: the harness, the message that began it.
    Harness,
    Message,
    /// A call of a model.
    Call,
    /// A call of a tool.
    Tool,
    /// A command that a tool ran.
    Exec,
    /// What the turn used in all.
    Usage,
    /// The gateway's own affairs.
    Infrastructure,
    /// The delta of the cost counter.
    Cost,
    /// Anything else that names a run.
    Other,
}

/// What is read of an event.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) role: Role,
    /// The trace, by the name it came under.
    pub(super) trace: Option<String>,
    /// OpenClaw's own id of the run, where the event tells both.
    pub(super) run: Option<String>,
    pub(super) session: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) span: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) failed: bool,
    pub(super) error: Option<String>,
    /// Tool or model.
    pub(super) name: Option<String>,
    pub(super) channel: Option<String>,
    /// Who sent it.
    pub(super) service: Option<String>,
    /// Of a cost: how much, in USD.
    pub(super) cost: Option<f64>,
    /// A command that was joined before, and comes again out of an export: it is left as it is.
    pub(super) joined: bool,
}

/// The attributes that are looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attributes<'a> {
    #[serde(borrow, rename = "otel.span.name")]
    span_name: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "otel.trace_id")]
    trace: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "otel.span_id")]
    span: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "openclaw.model")]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "openclaw.channel")]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "service.name")]
    service: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "otel.metric.value")]
    value: Option<&'a RawValue>,
    #[serde(borrow, rename = "otel.metric.interval_ms")]
    interval: Option<&'a RawValue>,
}

/// Longest text that is remembered of an event.
const MAX_TEXT: usize = 256;

/// Looks at an event; `None` where it says nothing of a run.
pub(super) fn look(event: &Event) -> Option<Look> {
    let text = event.attributes.as_ref().map_or("{}", |json| json.as_str());
    let is_span = text.contains("\"otel.span.name\"");
    let is_cost = event.kind == Kind::METRIC && event.name.as_deref() == Some("openclaw.cost.usd");
    // Most events are neither spans nor speak of a trace: they are passed by without being parsed.
    let in_trace = event.kind == Kind::LOG && event.run_id.is_some();
    if !is_span && !is_cost && !in_trace && !text.contains("\"otel.trace_id\"") {
        return None;
    }
    // Attributes that are of another type than ours are somebody else's.
    let attributes: Attributes<'_> = serde_json::from_str(text).unwrap_or_default();
    // OpenClaw's own commands tell neither: it is here that what they came with is noted.
    let noted = attributes.span.is_some() || attributes.trace.is_some() && event.parent_span_id.is_some();
    let role = role(&event.kind, attributes.span_name.as_deref(), is_cost);
    let own = |text: &Option<Cow<'_, str>>| text.as_deref().filter(|text| text.len() <= MAX_TEXT).map(str::to_owned);
    let number = |raw: Option<&RawValue>| raw.and_then(|raw| raw.get().parse::<f64>().ok());
    let start = event.timestamp.as_nanos();
    let duration = event.duration_ms.unwrap_or(0.0);
    let told = own(&attributes.trace);
    // Where an event tells a trace beside its run id, the latter is OpenClaw's own name for the run.
    let (trace, run) = match told {
        Some(trace) if event.run_id.as_ref() != Some(&trace) => (Some(trace), event.run_id.clone()),
        _ => (event.run_id.clone(), None),
    };
    #[allow(clippy::cast_possible_truncation)]
    let (start, end) = if is_cost {
        let interval = number(attributes.interval).unwrap_or(0.0);
        (start.saturating_sub((interval * 1e6) as i64), start)
    } else {
        (start, start.saturating_add((duration * 1e6) as i64))
    };
    Some(Look {
        role,
        joined: role == Role::Exec && noted,
        trace,
        run,
        session: event.session_id.clone(),
        agent: event.agent_id.clone(),
        span: event.span_id.clone(),
        parent: event.parent_span_id.clone(),
        start,
        end,
        failed: event.status == Some(Status::Error),
        error: event.error.as_deref().map(|error| head(error).to_owned()),
        name: match &event.kind {
            kind if *kind == Kind::TOOL_CALL || *kind == Kind::LLM_CALL => event.name.clone(),
            _ => own(&attributes.model),
        },
        channel: own(&attributes.channel),
        service: own(&attributes.service),
        cost: number(attributes.value).filter(|_| is_cost),
    })
}

fn role(kind: &Kind, span_name: Option<&str>, is_cost: bool) -> Role {
    if is_cost {
        return Role::Cost;
    }
    let Some(span_name) = span_name else { return Role::Other };
    match (kind.as_str(), span_name) {
        ("llm_call", _) => Role::Call,
        ("tool_call", _) => Role::Tool,
        ("run", _) => Role::Run,
        ("exec", _) => Role::Exec,
        ("usage", _) => Role::Usage,
        ("gateway", _) => Role::Infrastructure,
        (_, "openclaw.harness.run") => Role::Harness,
        (_, "openclaw.message.processed") => Role::Message,
        _ => Role::Other,
    }
}

fn head(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
