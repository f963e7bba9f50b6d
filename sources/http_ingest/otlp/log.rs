//! A log record, as an event of kind `log`.

use std::borrow::Cow;

use engine::{Event, Json, Kind, Status, Timestamp};

use super::origin::Origin;
use super::span::{add_origin, hex, timestamp};
use super::value::{Object, Value, key_value};
use super::wire::{Malformed, Message};
use crate::told;

/// From this number on a record tells an error (OpenTelemetry's severity numbers).
const ERROR: u64 = 17;

/// Reads a `LogRecord`.
pub(super) fn event(bytes: &[u8], origin: &Origin, scope: &str) -> Result<Event, Malformed> {
    let (mut time, mut observed, mut severity, mut severity_text) = (0, 0, 0, Cow::Borrowed(""));
    let (mut body, mut event_name) = (Value::Null, Cow::Borrowed(""));
    let (mut trace, mut span): (&[u8], &[u8]) = (&[], &[]);
    let mut rest = Object::default();
    let (mut subsystem, mut logger, mut run, mut session) = (None, None, None, None);
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => time = field.integer(),
            2 => severity = field.integer(),
            3 => severity_text = field.text(),
            5 => body = Value::read(field.bytes())?,
            6 => {
                let (key, value) = key_value(field.bytes())?;
                rest.add(&key, &value);
                match &*key {
                    "openclaw.subsystem" => subsystem = value.into_text(),
                    "openclaw.logger" | "openclaw.module" => logger = value.into_text(),
                    "openclaw.runId" | "openclaw.run_id" => run = value.into_text(),
                    "openclaw.sessionId" | "openclaw.session_id" => session = value.into_text(),
                    _ => {}
                }
            }
            9 => trace = field.bytes(),
            10 => span = field.bytes(),
            11 => observed = field.integer(),
            12 => event_name = field.text(),
            _ => {}
        }
    }
    let mut event = Event::new(Kind::LOG);
    let mut text = String::new();
    body.push_bounded(&mut text)?;
    let times = [time.to_le_bytes(), observed.to_le_bytes(), severity.to_le_bytes()].concat();
    let says = [text.as_bytes(), rest.members().as_bytes(), event_name.as_bytes(), trace, span];
    let parts = [&[b"log", &origin.identity[..], scope.as_bytes(), &times][..], &says].concat();
    event.trace_id = engine::TraceId::derived(&parts);
    event.timestamp = match (time, observed) {
        (0, 0) => Timestamp::now(),
        (0, at) | (at, _) => timestamp(at)?,
    };
    if severity >= ERROR {
        event.status = Some(Status::Error);
    }
    let said = match &body {
        Value::Text(text) => text.as_ref(),
        _ => "",
    };
    let in_trace = trace.iter().any(|byte| *byte != 0).then(|| hex(trace));
    event.run_id = run.or_else(|| told::after(said, "runId=")).or(in_trace.clone()).filter(|id| fits(id));
    event.session_id = session.or_else(|| told::after(said, "sessionId=")).filter(|id| fits(id));
    if let Some(trace) = in_trace.filter(|trace| event.run_id.as_ref() != Some(trace)) {
        rest.add_text("otel.trace_id", &trace);
    }
    event.parent_span_id = span.iter().any(|byte| *byte != 0).then(|| hex(span));
    event.name = [Some(event_name.into_owned()).filter(|name| !name.is_empty()), subsystem, logger]
        .into_iter()
        .flatten()
        .next()
        .or_else(|| Some(scope.to_owned()).filter(|scope| !scope.is_empty()));
    if !severity_text.is_empty() {
        rest.add_text("severity_text", &severity_text);
    }
    if severity != 0 {
        rest.add("severity_number", &Value::Int(severity.cast_signed()));
    }
    if body != Value::Null {
        event.output = Json::parse(&text).ok();
    }
    add_origin(&mut rest, origin, scope);
    event.attributes = rest.finish()?;
    Ok(event)
}

fn fits(id: &str) -> bool {
    id.len() <= engine::event::MAX_ID_BYTES
}
