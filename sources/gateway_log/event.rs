//! The event that a line becomes.

use engine::event::MAX_ID_BYTES;
use engine::json::push_escaped;
use engine::{Event, Json, Kind, Status, Timestamp, TraceId};

use super::level::Level;
use super::lines::Line;
use super::position::Beginning;
use super::record::Record;

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
            let id = record.field(fields).or_else(|| named_in_text(record.message.as_deref()?, text));
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
    let mut text = format!("{{\"severity_text\":\"{severity}\",\"severity_number\":{number}");
    let mut add = |name: &str, value: &str| {
        text.push(',');
        push_escaped(&mut text, name);
        text.push(':');
        text.push_str(value);
    };
    let quoted = |value: &str| {
        let mut quoted = String::new();
        push_escaped(&mut quoted, value);
        quoted
    };
    add("log.file.name", &quoted(place.file));
    if let Some(name) = &record.name {
        add("openclaw.subsystem", &quoted(name));
    }
    if line.is_cut() {
        add("openclaw.line_bytes", &line.len.to_string());
    }
    for (name, value) in &record.fields {
        match name.as_str() {
            "traceId" => add("otel.trace_id", value),
            "spanId" => add("otel.span_id", value),
            "parentSpanId" => add("otel.parent_span_id", value),
            "hostname" => add("host.name", value),
            // These two are ours.
            "subsystem" | "line_bytes" => {}
            name => add(&format!("openclaw.{name}"), value),
        }
    }
    text.push('}');
    // Each value is JSON that was checked when the line was read.
    Json::parse(&text).ok()
}

/// What stands behind `runId=` or the like in a text.
fn named_in_text(text: &str, name: &str) -> Option<String> {
    let in_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let (at, _) = text.match_indices(name).find(|(at, _)| !text[..*at].ends_with(in_id))?;
    let value = &text[at + name.len()..];
    let value = &value[..value.find(|c| !in_id(c)).unwrap_or(value.len())];
    // The end of a sentence is no part of it.
    Some(value.trim_end_matches(['.', ':']).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_a_text_where_it_is_named() {
        let found = |text: &str| named_in_text(text, "runId=");
        assert_eq!(found("run failed runId=2ccec3f4-7835 after 3 s").as_deref(), Some("2ccec3f4-7835"));
        assert_eq!(found("(parentRunId=1 xrunId=2, runId=3).").as_deref(), Some("3"));
        assert_eq!(found("é runId=é").as_deref(), Some(""));
        assert_eq!(found("no run"), None);
    }
}
