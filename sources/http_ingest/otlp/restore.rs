//! An event that another openclaw-trace sent (`otlp_push`, `export --format otlp`), made again as it was.
//!
//! What says so are attributes `openclaw_trace.event.id` and `.kind` of a span or log record, or in the metadata of a
//! metric. `sinks/otlp/carry.rs` writes them, and says what each of them holds. For each field of the event the first of
//! these is taken:
//!
//! 1. `openclaw_trace.event.FIELD`;
//! 2. the attribute that `openclaw_trace.event.fields` names for it (`name=gen_ai.request.model`; `span_id=`: it has none);
//! 3. OTLP's own field.
//!
//! The attributes are those that were sent, without what `openclaw_trace.event.added` lists. Any client can send all
//! this. It can say no more by it than by `/v1/events`, where it names `trace_id` and every field itself, and the same
//! limits hold: a span that does not keep them is rejected.

use std::borrow::Cow;

use engine::json::{Members, push_escaped, quoted};
use engine::{Event, Json, Kind, Status, Timestamp, TraceId};

use super::Signal;
use super::span::{hex, millis, timestamp};
use super::value::{MAX_DEPTH, MAX_VALUE, TOO_LARGE, Value, key_value};
use super::wire::{Field, Malformed, Message};

/// What the attributes' names begin with.
const CARRIED: &str = "openclaw_trace.event.";

/// What a span, record or metric was found to be.
pub(super) enum Restored {
    /// An event.
    Event(Box<Event>),
    /// A part of an event that is told whole elsewhere in the request.
    Part,
    /// Somebody else's.
    No,
}

/// Looks whether this span, log record or metric is an event of ours, and reads it.
///
/// # Errors
/// Where it says so and is none.
pub(super) fn read(signal: Signal, bytes: &[u8]) -> Result<Restored, Malformed> {
    let list = match signal {
        Signal::Traces => 9,
        Signal::Logs => 6,
        Signal::Metrics => 12,
    };
    let told = Told::read(bytes, list)?;
    match (&told.id, &told.kind) {
        (Some(id), Some(kind)) => {
            let (id, kind) = (*id, kind.clone());
            let native = match signal {
                Signal::Traces => Native::of_span(bytes)?,
                Signal::Logs => Native::of_record(bytes)?,
                Signal::Metrics => Native::default(),
            };
            told.event(id, kind, native, bytes, list).map(|event| Restored::Event(Box::new(event)))
        }
        (Some(_), None) if signal == Signal::Metrics => Ok(Restored::Part),
        _ => Ok(Restored::No),
    }
}

/// The fields of an event that are texts.
const TEXTS: [&str; 9] =
    ["error", "session_id", "run_id", "agent_id", "span_id", "parent_span_id", "name", "input", "output"];

/// What the attributes of ours hold.
#[derive(Default)]
struct Told<'a> {
    id: Option<TraceId>,
    kind: Option<Kind>,
    timestamp: Option<i64>,
    duration_ms: Option<f64>,
    status: Option<Status>,
    attributes: Option<Json>,
    texts: [Option<Cow<'a, str>>; TEXTS.len()],
    /// Where a field stands.
    fields: Vec<String>,
    /// What is not the event's own.
    added: Vec<String>,
}

/// What OTLP's own fields hold of an event.
#[derive(Default)]
struct Native<'a> {
    timestamp: Option<u64>,
    duration_ms: Option<f64>,
    status: Option<Status>,
    error: Option<Cow<'a, str>>,
    run_id: Option<String>,
    span_id: Option<String>,
    parent_span_id: Option<String>,
    output: Option<Cow<'a, str>>,
}

impl<'a> Told<'a> {
    fn read(bytes: &'a [u8], list: u64) -> Result<Self, Malformed> {
        let mut told = Self::default();
        each(bytes, list, |attribute| {
            // Most attributes are passed by here, without a look at their values.
            if !field(attribute, 1)?.is_some_and(|key| key.bytes().starts_with(CARRIED.as_bytes())) {
                return Ok(());
            }
            let (key, value) = key_value(attribute)?;
            told.take(key.strip_prefix(CARRIED).unwrap_or_default(), value)
        })?;
        Ok(told)
    }

    fn take(&mut self, name: &str, value: Value<'a>) -> Result<(), Malformed> {
        match (name, value) {
            ("id", Value::Text(text)) => {
                self.id = Some(text.parse().map_err(|_| Malformed("openclaw_trace.event.id is not a UUID"))?);
            }
            ("kind", Value::Text(text)) => {
                self.kind = Some(Kind::parse(&text).map_err(|_| Malformed("openclaw_trace.event.kind is no kind"))?);
            }
            ("timestamp", Value::Int(nanos)) => self.timestamp = Some(nanos),
            ("duration_ms", Value::Double(millis)) if millis.is_finite() && millis >= 0.0 => {
                self.duration_ms = Some(millis);
            }
            ("status", Value::Text(text)) if matches!(&*text, "ok" | "error") => {
                self.status = Some(if text == "ok" { Status::Ok } else { Status::Error });
            }
            ("attributes", Value::Text(text)) => {
                let json = Json::parse(&text).ok().filter(Json::is_object);
                self.attributes = Some(json.ok_or(Malformed("openclaw_trace.event.attributes is no JSON object"))?);
            }
            ("fields", Value::Json(list)) => self.fields = texts(&list)?,
            ("added", Value::Json(list)) => self.added = texts(&list)?,
            ("id" | "kind" | "timestamp" | "duration_ms" | "status" | "attributes" | "fields" | "added", _) => {
                return Err(Malformed("an attribute openclaw_trace.event.* has a value that its field cannot have"));
            }
            (name, Value::Text(text)) => {
                // A name that is not known is a later version's.
                if let Some(at) = TEXTS.iter().position(|known| *known == name) {
                    self.texts[at] = Some(text);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The event, of `bytes` whose attributes are `list`.
    fn event(
        self,
        id: TraceId,
        kind: Kind,
        native: Native<'a>,
        bytes: &'a [u8],
        list: u64,
    ) -> Result<Event, Malformed> {
        let mut event = Event::new(kind);
        event.trace_id = id;
        event.timestamp = match (self.timestamp, native.timestamp) {
            (Some(nanos), _) => Timestamp::from_nanos(nanos),
            (None, Some(nanos)) => timestamp(nanos)?,
            (None, None) => return Err(Malformed("an event has no time")),
        };
        event.duration_ms = self.duration_ms.or(native.duration_ms.filter(|_| !self.has_no("duration_ms")));
        event.status = self.status.or(native.status);
        let [error, session, run, agent, span, parent, name, input, output] = self.texts(&native, bytes, list)?;
        event.error = error.map(Cow::into_owned);
        event.session_id = id_of(session)?;
        event.run_id = id_of(run)?;
        event.agent_id = id_of(agent)?;
        event.span_id = id_of(span)?;
        event.parent_span_id = id_of(parent)?;
        event.name = name.map(Cow::into_owned);
        event.input = input.and_then(content);
        event.output = output.and_then(content);
        event.attributes = match self.attributes {
            Some(attributes) => Some(attributes),
            None => own(bytes, list, &self.added)?,
        };
        Ok(event)
    }

    /// The texts of the event, each from where it stands.
    fn texts(
        &self,
        native: &Native<'a>,
        bytes: &'a [u8],
        list: u64,
    ) -> Result<[Option<Cow<'a, str>>; TEXTS.len()], Malformed> {
        let mut texts = self.texts.clone();
        for (text, field) in texts.iter_mut().zip(TEXTS) {
            if text.is_some() || self.place(field).is_some() {
                continue;
            }
            *text = match field {
                "error" => native.error.clone(),
                "run_id" => native.run_id.clone().map(Cow::Owned),
                "span_id" => native.span_id.clone().map(Cow::Owned),
                "parent_span_id" => native.parent_span_id.clone().map(Cow::Owned),
                "output" => native.output.clone(),
                _ => None,
            };
        }
        let places = TEXTS.map(|field| self.place(field));
        each(bytes, list, |attribute| {
            let key = field(attribute, 1)?.map(Field::text).unwrap_or_default();
            for (text, place) in texts.iter_mut().zip(places) {
                if text.is_none()
                    && place == Some(&*key)
                    && let (_, Value::Text(told)) = key_value(attribute)?
                {
                    *text = Some(told);
                }
            }
            Ok(())
        })?;
        Ok(texts)
    }

    /// The attribute that a field stands in; empty: it has none.
    fn place(&self, field: &str) -> Option<&str> {
        self.fields
            .iter()
            .find_map(|entry| entry.split_once('=').filter(|(known, _)| *known == field).map(|(_, key)| key))
    }

    fn has_no(&self, field: &str) -> bool {
        self.place(field) == Some("")
    }
}

impl<'a> Native<'a> {
    fn of_span(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut native, mut start, mut end) = (Self::default(), 0, 0);
        let mut message = Message::new(bytes);
        while let Some((number, field)) = message.next()? {
            match number {
                1 => native.run_id = id_in_hex(field),
                2 => native.span_id = id_in_hex(field),
                4 => native.parent_span_id = id_in_hex(field),
                7 => start = field.integer(),
                8 => end = field.integer(),
                15 => {
                    let mut status = Message::new(field.bytes());
                    let mut said = Cow::Borrowed("");
                    while let Some((number, field)) = status.next()? {
                        match (number, field.integer()) {
                            (2, _) => said = field.text(),
                            (3, 1) => native.status = Some(Status::Ok),
                            (3, 2) => native.status = Some(Status::Error),
                            _ => {}
                        }
                    }
                    native.error = Some(said).filter(|said| !said.is_empty());
                }
                _ => {}
            }
        }
        native.timestamp = Some(start);
        native.duration_ms = Some(millis(end.saturating_sub(start)));
        Ok(native)
    }

    fn of_record(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut native = Self::default();
        let mut message = Message::new(bytes);
        while let Some((number, field)) = message.next()? {
            match number {
                1 => native.timestamp = Some(field.integer()),
                5 => {
                    if let Value::Text(text) = Value::read(field.bytes())? {
                        native.output = Some(text);
                    }
                }
                9 => native.run_id = id_in_hex(field),
                _ => {}
            }
        }
        Ok(native)
    }
}

/// Calls `take` with each message in field `list`.
fn each<'a>(
    bytes: &'a [u8],
    list: u64,
    mut take: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if number == list {
            take(field.bytes())?;
        }
    }
    Ok(())
}

/// Field `wanted` of a message, the last one.
fn field(bytes: &[u8], wanted: u64) -> Result<Option<Field<'_>>, Malformed> {
    let mut found = None;
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if number == wanted {
            found = Some(field);
        }
    }
    Ok(found)
}

fn texts(list: &str) -> Result<Vec<String>, Malformed> {
    /// There are no more fields and conventions than this.
    const MOST: usize = 64;
    /// Nor is any of them long. Read before it is known how many they are, they would cost more than they weigh.
    const MOST_BYTES: usize = 16 * 1024;
    let texts: Option<Vec<String>> =
        Some(list).filter(|list| list.len() <= MOST_BYTES).and_then(|list| serde_json::from_str(list).ok());
    texts
        .filter(|texts| texts.len() <= MOST)
        .ok_or(Malformed("openclaw_trace.event.fields or .added is no list of at most 64 texts"))
}

fn id_in_hex(field: Field<'_>) -> Option<String> {
    field.bytes().iter().any(|byte| *byte != 0).then(|| hex(field.bytes()))
}

fn id_of(text: Option<Cow<'_, str>>) -> Result<Option<String>, Malformed> {
    match text {
        Some(text) if text.len() > engine::event::MAX_ID_BYTES => Err(Malformed("an id is longer than 256 bytes")),
        text => Ok(text.map(Cow::into_owned)),
    }
}

/// An input or output, of the text that stands for it: JSON, or else a string. `null` is as good as none.
fn content(text: Cow<'_, str>) -> Option<Json> {
    let json = Json::parse(&text).or_else(|_| Json::parse(&quoted(&text))).ok();
    json.filter(|json| json.as_str() != "null")
}

/// The event's own attributes.
fn own(bytes: &[u8], list: u64, added: &[String]) -> Result<Option<Json>, Malformed> {
    let mut members = Members::default();
    let mut value = String::new();
    each(bytes, list, |attribute| {
        let key = field(attribute, 1)?.map(Field::text).unwrap_or_default();
        if key.starts_with(CARRIED) || added.iter().any(|added| *added == key) {
            return Ok(());
        }
        value.clear();
        push(&mut value, field(attribute, 2)?.map(Field::bytes).unwrap_or_default(), 0)?;
        if members.as_str().len() + 6 * key.len() + value.len() > MAX_VALUE {
            return Err(TOO_LARGE);
        }
        members.add(&key, &value);
        Ok(())
    })?;
    // Every member was written as JSON, at most as deep as `MAX_DEPTH`.
    Ok((!members.is_empty()).then(|| members.finish().ok()).flatten())
}

/// Appends an `AnyValue` as the JSON that it was made of: whole numbers are `int_value`, so a double keeps its point.
fn push(out: &mut String, bytes: &[u8], depth: usize) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed("a value is nested too deep"));
    }
    // Of several the last one counts.
    let (mut last, mut message) = (None, Message::new(bytes));
    while let Some((number, field)) = message.next()? {
        if (1..=7).contains(&number) {
            last = Some((number, field));
        }
    }
    match last {
        Some((4, field)) if field.double().is_finite() => out.push_str(&format!("{:?}", field.double())),
        Some((number @ (5 | 6), field)) => {
            let (open, close) = if number == 5 { ('[', ']') } else { ('{', '}') };
            out.push(open);
            let begun = out.len();
            each(field.bytes(), 1, |item| {
                if out.len() > begun {
                    out.push(',');
                }
                let value = if number == 5 {
                    item
                } else {
                    push_escaped(out, &self::field(item, 1)?.map(Field::text).unwrap_or_default());
                    out.push(':');
                    self::field(item, 2)?.map(Field::bytes).unwrap_or_default()
                };
                push(out, value, depth + 1)
            })?;
            out.push(close);
        }
        _ => Value::read(bytes)?.push_bounded(out)?,
    }
    if out.len() > MAX_VALUE { Err(TOO_LARGE) } else { Ok(()) }
}
