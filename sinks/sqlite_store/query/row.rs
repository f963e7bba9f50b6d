//! An event as lists show it.

use engine::{Event, Json, Kind, Status, Timestamp};
use rusqlite::Row;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::sqlite_store::read;

/// How much of the bodies a list holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bodies {
    /// Nothing.
    None,
    /// A line of text.
    #[default]
    Preview,
    /// All.
    Full,
}

/// Characters of a preview.
const PREVIEW: usize = 240;

/// An event in a list. What the event does not have is absent.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventRow {
    /// Its place in the order of arrival.
    pub id: i64,
    /// Its identity, a UUID.
    pub trace_id: String,
    /// What it is.
    pub kind: String,
    /// When it began, RFC 3339.
    pub timestamp: String,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub status: Option<Status>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The agent's turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Its place in the run's tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// See `span_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// Model, tool, channel or metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A flat object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub attributes: Option<Box<RawValue>>,
    /// Bytes of its input as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<u64>,
    /// Bytes of its output as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// The input's text, at most 240 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_preview: Option<String>,
    /// The output's text, at most 240 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_preview: Option<String>,
    /// The input, where bodies are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub input: Option<Box<RawValue>>,
    /// The output, where bodies are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub output: Option<Box<RawValue>>,
}

/// One event whole, with what became of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StoredEvent {
    /// The event, its bodies included.
    #[serde(flatten)]
    pub event: EventRow,
    /// When it was stored.
    pub received_at: String,
    /// When its push was confirmed.
    pub pushed_at: Option<String>,
    /// Why the receiver will never take it.
    pub quarantine_reason: Option<String>,
}

impl EventRow {
    pub(in crate::sqlite_store) fn of(id: i64, event: Event, bodies: Bodies) -> Self {
        let bytes = |body: &Option<Json>| body.as_ref().map(|json| json.len() as u64);
        let preview = |body: &Option<Json>| body.as_ref().filter(|_| bodies == Bodies::Preview).map(preview);
        let full = |body: &Option<Json>| body.as_ref().filter(|_| bodies == Bodies::Full).and_then(raw);
        Self {
            id,
            trace_id: event.trace_id.to_string(),
            kind: event.kind.as_str().to_owned(),
            timestamp: event.timestamp.to_string(),
            duration_ms: event.duration_ms,
            status: event.status,
            session_id: event.session_id,
            run_id: event.run_id,
            agent_id: event.agent_id,
            span_id: event.span_id,
            parent_span_id: event.parent_span_id,
            name: event.name,
            attributes: event.attributes.as_ref().and_then(raw),
            input_bytes: bytes(&event.input),
            output_bytes: bytes(&event.output),
            input_preview: preview(&event.input),
            output_preview: preview(&event.output),
            input: full(&event.input),
            output: full(&event.output),
            error: event.error,
        }
    }

    /// From a row with [`read::COLUMNS`].
    pub(super) fn read(row: &Row<'_>, bodies: Bodies) -> rusqlite::Result<Self> {
        Ok(Self::of(row.get(0)?, read::event(row)?, bodies))
    }

    /// About how many bytes it takes as JSON.
    pub(super) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let raw = |raw: &Option<Box<RawValue>>| raw.as_ref().map_or(0, |raw| raw.get().len());
        400 + text(&self.error)
            + text(&self.input_preview)
            + text(&self.output_preview)
            + raw(&self.attributes)
            + raw(&self.input)
            + raw(&self.output)
    }

    /// Whether it is what people follow, and no figure or bookkeeping.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.kind != Kind::METRIC.as_str() && self.kind != Kind::LINK.as_str()
    }
}

fn raw(json: &Json) -> Option<Box<RawValue>> {
    // Stored text was checked when it came.
    RawValue::from_string(json.as_str().to_owned()).ok()
}

/// What a person would read first of a body: a text itself, of messages the last one's text, else the JSON.
pub(super) fn preview(json: &Json) -> String {
    let text = json.as_str();
    if text.starts_with('"')
        && let Ok(text) = serde_json::from_str::<String>(text)
    {
        return cut(&text);
    }
    if text.starts_with("[{") {
        #[derive(serde::Deserialize)]
        struct Message<'m> {
            #[serde(borrow)]
            content: Option<&'m RawValue>,
            #[serde(borrow)]
            parts: Option<&'m RawValue>,
        }
        let last = serde_json::from_str::<Vec<Message<'_>>>(text).ok().and_then(|mut all| all.pop());
        if let Some(body) = last.and_then(|message| message.content.or(message.parts)) {
            return match serde_json::from_str::<String>(body.get()) {
                Ok(text) => cut(&text),
                Err(_) => cut(body.get()),
            };
        }
    }
    cut(text)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(PREVIEW) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A time column.
pub(super) fn time(nanos: Option<i64>) -> Option<String> {
    nanos.map(|nanos| Timestamp::from_nanos(nanos).to_string())
}
