//! The event that a line becomes.

use engine::event::MAX_ID_BYTES;
use engine::json::Members;
use engine::{Event, Json, Kind, Status, Timestamp, TraceId};

use super::level::Level;
use super::lines::Line;
use super::position::Beginning;
use super::record::Record;
use crate::told;

/// Which lines become events, and of which agent.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) levels: Vec<Level>,
    pub(super) subsystems: Vec<String>,
    pub(super) agent_id: Option<String>,
}

/// Where a line stands. The same line read again has the same place, whatever its file is called
/// then; so its event has the same identity, and the store knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The name under which the file was written.
    pub(super) file: &'a str,
    /// The file's content.
    pub(super) beginning: Option<&'a Beginning>,
    /// The line's first byte.
    pub(super) offset: u64,
}

impl Taken {
    /// Whether a line becomes an event.
    pub(super) fn takes(&self, record: &Record) -> bool {
        self.levels.contains(&record.level)
            || (record.level >= Level::Info && record.name.as_deref().is_some_and(|name| self.has_subsystem(name)))
    }

    /// The event of a line.
    pub(super) fn event(&self, place: Place<'_>, line: Line<'_>, record: &Record) -> Event {
        let is_error = record.level >= Level::Error;
        let mut event = Event::new(if is_error { Kind::ERROR } else { Kind::LOG });
        event.trace_id = trace_id(place, line);
        event.timestamp = record.time.unwrap_or_else(Timestamp::now);
        event.status = is_error.then_some(Status::Error);
        event.name.clone_from(&record.name);
        let id = |fields: &[&str], text: &str| {
            let id = record.field(fields).or_else(|| told::after(record.message.as_deref()?, text));
            id.filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)
        };
        event.run_id = id(&["runId", "run_id"], "runId=");
        // OpenClaw fills `session_id` with the session's key where it has no id: that is another thing.
        let key = record.field(&["sessionKey"]);
        event.session_id = id(&["sessionId"], "sessionId=")
            .or_else(|| id(&["session_id"], "session_id=").filter(|id| Some(id) != key.as_ref()));
        event.agent_id = self.agent_id.clone().or_else(|| id(&["agent_id", "agentId"], "agentId="));
        let cut = format!("a line of {} bytes, of which the text was left out; raise max_line to have it", line.len);
        let text = record.message.as_deref().or(line.is_cut().then_some(&cut)).unwrap_or_default();
        if is_error {
            event.error = Some(text.to_owned());
        }
        event.output = Json::from_value(&text).ok();
        event.attributes = attributes(place, line, record);
        event
    }

    fn has_subsystem(&self, name: &str) -> bool {
        self.subsystems.iter().any(|subsystem| {
            name.strip_prefix(subsystem.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// What the line and its place always give.
fn trace_id(place: Place<'_>, line: Line<'_>) -> TraceId {
    TraceId::derived(&[
        b"gateway_log",
        place.file.as_ref(),
        place.beginning.map_or("", Beginning::as_str).as_bytes(),
        &place.offset.to_le_bytes(),
        &line.len.to_le_bytes(),
        line.bytes,
    ])
}

fn attributes(place: Place<'_>, line: Line<'_>, record: &Record) -> Option<Json> {
    let (severity, number) = record.level.severity();
    let mut members = Members::default();
    members.add_text("severity_text", severity);
    members.add("severity_number", &number.to_string());
    members.add_text("log.file.name", place.file);
    if let Some(name) = &record.name {
        members.add_text("openclaw.subsystem", name);
    }
    if line.is_cut() {
        members.add("openclaw.line_bytes", &line.len.to_string());
    }
    for (name, value) in &record.fields {
        match name.as_str() {
            "traceId" => members.add("otel.trace_id", value),
            "spanId" => members.add("otel.span_id", value),
            "parentSpanId" => members.add("otel.parent_span_id", value),
            "hostname" => members.add("host.name", value),
            // These two are ours.
            "subsystem" | "line_bytes" => {}
            name => members.add(&format!("openclaw.{name}"), value),
        }
    }
    // Each value is JSON that was checked when the line was read.
    members.finish().ok()
}
