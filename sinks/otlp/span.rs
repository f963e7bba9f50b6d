//! An event as a span.

use engine::{Event, Status};

use super::carry::{Attributes, content};
use super::names::Names;
use super::own::Own;
use super::write::{Field, Writer};
use super::{ids, since_1970};

const TRACE_ID: Field = ("traceId", 1);
const SPAN_ID: Field = ("spanId", 2);
const PARENT: Field = ("parentSpanId", 4);
const NAME: Field = ("name", 5);
const KIND: Field = ("kind", 6);
const START: Field = ("startTimeUnixNano", 7);
const END: Field = ("endTimeUnixNano", 8);
const ATTRIBUTES: Field = ("attributes", 9);
const LEFT_OUT: Field = ("droppedAttributesCount", 10);
const STATUS: Field = ("status", 15);
const MESSAGE: Field = ("message", 2);
const CODE: Field = ("code", 3);

/// The kinds of span, in the order of their numbers from 1 on.
const KINDS: [&str; 5] = ["internal", "server", "client", "producer", "consumer"];

/// Writes the inside of a `Span`.
pub(super) fn write(out: &mut Writer, event: &Event, own: &Own<'_>) {
    let names = Names::of(&event.kind);
    let (start, end) = times(event);
    out.id(TRACE_ID, &ids::trace(event));
    out.id(SPAN_ID, &ids::span(event));
    if let Some(parent) = &event.parent_span_id {
        out.id(PARENT, &ids::span_of(parent));
    }
    out.text(NAME, &name(event, own, &names));
    out.number(KIND, kind(own, &names));
    out.fixed64(START, start);
    out.fixed64(END, end);
    out.list(ATTRIBUTES, |out| attributes(out, event, own, &names, end - start));
    if own.left_out > 0 {
        out.number(LEFT_OUT, own.left_out);
    }
    match event.status {
        Some(Status::Error) => out.message(STATUS, |out| {
            out.text(MESSAGE, event.error.as_deref().unwrap_or_default());
            out.number(CODE, 2);
        }),
        Some(Status::Ok) => out.message(STATUS, |out| out.number(CODE, 1)),
        None => {}
    }
}

/// Start and end. An event without duration ends as it starts.
fn times(event: &Event) -> (u64, u64) {
    let start = since_1970(event.timestamp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let took = (event.duration_ms.unwrap_or(0.0) * 1e6).round() as u64;
    // Readers hold times in 63 bits.
    (start, start.saturating_add(took).min(i64::MAX.cast_unsigned()))
}

fn name(event: &Event, own: &Own<'_>, names: &Names) -> String {
    let Some(operation) = names.operation else {
        let fallback = || match &event.name {
            Some(name) => format!("{} {name}", event.kind.as_str()),
            None => event.kind.as_str().to_owned(),
        };
        return own.told("otel.span.name").map_or_else(fallback, std::borrow::Cow::into_owned);
    };
    let operation = own.told("gen_ai.operation.name").unwrap_or(operation.into());
    match own.told(names.object).or_else(|| names.name.and(event.name.as_deref()).map(Into::into)) {
        Some(object) => format!("{operation} {object}"),
        None => operation.into_owned(),
    }
}

fn kind(own: &Own<'_>, names: &Names) -> u32 {
    let told = own.told("otel.span.kind");
    let told = told.and_then(|told| KINDS.iter().position(|kind| *kind == told));
    told.and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(if names.is_client { 3 } else { 1 })
}

fn attributes(out: &mut Writer, event: &Event, own: &Own<'_>, names: &Names, took: u64) {
    let mut all = Attributes::begin(out, ATTRIBUTES, event, own);
    if let Some(operation) = names.operation {
        all.want("gen_ai.operation.name", operation);
        if event.status == Some(Status::Error) {
            all.want("error.type", "_OTHER");
        }
    }
    match names.name {
        Some(key) => all.field("name", key, event.name.as_deref()),
        None => all.carry("name", event.name.as_deref()),
    }
    all.field("session_id", "gen_ai.conversation.id", event.session_id.as_deref());
    if let Some(session) = &event.session_id {
        // By this name backends group traces.
        all.want("session.id", session);
    }
    all.field("agent_id", "gen_ai.agent.id", event.agent_id.as_deref());
    for (field, key, body) in [("input", names.input, &event.input), ("output", names.output, &event.output)] {
        all.field(field, key, body.as_ref().map(content).as_deref());
    }
    identity(&mut all, event);
    if since_1970(event.timestamp).cast_signed() != event.timestamp.as_nanos() {
        all.carry_timestamp();
    }
    match event.duration_ms {
        None => all.has_no("duration_ms"),
        Some(millis) if millis.to_bits() != as_read(took).to_bits() => all.carry_duration(),
        Some(_) => {}
    }
    let is_told = event.status == Some(Status::Error) && event.error.as_deref() != Some("");
    if !is_told {
        all.carry("error", event.error.as_deref());
    }
    all.end();
}

/// Nanoseconds as the ingest reads them: as milliseconds.
#[allow(clippy::cast_precision_loss)]
fn as_read(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// The ids that OTLP has another form for.
fn identity(all: &mut Attributes<'_, '_>, event: &Event) {
    match &event.run_id {
        None => all.has_no("run_id"),
        // OpenClaw's own name for it; readers that know it group by it.
        Some(run) if *run != ids::hex(&ids::trace(event)) => all.field("run_id", "openclaw.runId", Some(run)),
        Some(_) => {}
    }
    match &event.span_id {
        None => all.has_no("span_id"),
        Some(id) if *id != ids::hex(&ids::span_of(id)) => all.carry("span_id", Some(id)),
        Some(_) => {}
    }
    if let Some(id) = &event.parent_span_id
        && *id != ids::hex(&ids::span_of(id))
    {
        all.carry("parent_span_id", Some(id));
    }
}
