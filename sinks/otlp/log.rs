//! An event as a log record.
//!
//! The body is what it says: its output, else its error, else its name.

use std::borrow::Cow;

use engine::{Event, Kind, Status};

use super::carry::{Attributes, content};
use super::own::{Own, text_value};
use super::write::{Field, Writer};
use super::{ids, since_1970};

const TIME: Field = ("timeUnixNano", 1);
const SEVERITY: Field = ("severityNumber", 2);
const SEVERITY_TEXT: Field = ("severityText", 3);
const BODY: Field = ("body", 5);
const ATTRIBUTES: Field = ("attributes", 6);
const LEFT_OUT: Field = ("droppedAttributesCount", 7);
const TRACE_ID: Field = ("traceId", 9);
const SPAN_ID: Field = ("spanId", 10);
const OBSERVED: Field = ("observedTimeUnixNano", 11);
const EVENT_NAME: Field = ("eventName", 12);

// OpenTelemetry's severity numbers.
const INFO: u32 = 9;
const ERROR: u32 = 17;

/// Writes the inside of a `LogRecord`.
pub(super) fn write(out: &mut Writer, event: &Event, own: &Own<'_>) {
    let time = since_1970(event.timestamp);
    out.fixed64(TIME, time);
    out.fixed64(OBSERVED, time);
    out.number(SEVERITY, severity(event, own));
    if let Some(text) = own.told("severity_text") {
        out.text(SEVERITY_TEXT, &text);
    }
    if let Some(body) = body(event) {
        text_value(out, BODY, &body);
    }
    out.list(ATTRIBUTES, |out| attributes(out, event, own));
    if own.left_out > 0 {
        out.number(LEFT_OUT, own.left_out);
    }
    if let Some(run) = &event.run_id {
        out.id(TRACE_ID, &ids::run_trace(run));
        // The span that it was told in.
        if let Some(span) = event.parent_span_id.as_ref().or(event.span_id.as_ref()) {
            out.id(SPAN_ID, &ids::span_of(span));
        }
    }
    if event.kind != Kind::LOG {
        out.text(EVENT_NAME, event.kind.as_str());
    }
}

fn severity(event: &Event, own: &Own<'_>) -> u32 {
    let told = own.raw("severity_number").and_then(|raw| raw.parse().ok()).filter(|number| (1..=24).contains(number));
    told.unwrap_or(if event.status == Some(Status::Error) { ERROR } else { INFO })
}

fn body(event: &Event) -> Option<Cow<'_, str>> {
    let said = event.output.as_ref().map(content);
    said.or_else(|| event.error.as_deref().or(event.name.as_deref()).map(Cow::Borrowed))
}

fn attributes(out: &mut Writer, event: &Event, own: &Own<'_>) {
    let mut all = Attributes::begin(out, ATTRIBUTES, event, own);
    all.field("error", "exception.message", event.error.as_deref());
    all.field("session_id", "gen_ai.conversation.id", event.session_id.as_deref());
    all.field("agent_id", "gen_ai.agent.id", event.agent_id.as_deref());
    all.field("input", "input.value", event.input.as_ref().map(content).as_deref());
    all.carry("name", event.name.as_deref());
    if event.output.is_none() && body(event).is_some() {
        all.has_no("output");
    }
    if let Some(run) = &event.run_id
        && *run != ids::hex(&ids::run_trace(run))
    {
        all.field("run_id", "openclaw.runId", Some(run));
    }
    all.carry("span_id", event.span_id.as_deref());
    all.carry("parent_span_id", event.parent_span_id.as_deref());
    if since_1970(event.timestamp).cast_signed() != event.timestamp.as_nanos() {
        all.carry_timestamp();
    }
    all.carry_duration();
    all.carry_status();
    all.end();
}
