//! OpenTelemetry's protocol (OTLP/HTTP 1.5): what OpenClaw's own exporter sends, as events.
//!
//! | path | one of | becomes one event |
//! |---|---|---|
//! | `/v1/traces` | span | of the kind that its name or operation says (`names.rs`) |
//! | `/v1/logs` | log record | of kind `log` |
//! | `/v1/metrics` | data point | of kind `metric`, where it adds something (`series.rs`) |
//!
//! What another openclaw-trace sent is made again as it was (`restore.rs`), with its identity.
//!
//! Protobuf and JSON go the same way: JSON is rewritten as protobuf first (`json.rs`), protobuf is
//! read in place (`wire.rs`). Identities are made of what is sent, so that a request sent again is
//! made of duplicates. Each span, record and point stands or falls alone; those that fall are told
//! as OTLP's partial success.

mod answer;
mod json;
mod log;
mod metric;
mod names;
mod origin;
mod restore;
mod series;
mod span;
mod value;
mod wire;

use std::collections::HashMap;

use engine::Event;

pub(super) use answer::Encoding;
use metric::PointError;
use origin::{Origin, field};
use restore::Restored;
pub(super) use series::{Changes, Series};
use wire::{Malformed, Message};

/// What a request is about, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// The one field of the signal's request in JSON.
    fn root(self) -> &'static str {
        match self {
            Self::Traces => "resourceSpans",
            Self::Metrics => "resourceMetrics",
            Self::Logs => "resourceLogs",
        }
    }

    /// What the answer calls those that were not taken, in JSON.
    fn rejected(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Metrics => "rejectedDataPoints",
            Self::Logs => "rejectedLogRecords",
        }
    }

    /// Whether this JSON is such a request, as against another form on the same path: it is an
    /// object with the signal's one field, or an empty one.
    pub(super) fn is_in(self, body: &[u8]) -> bool {
        let mut found = Found { root: self.root(), seen: false, empty: true };
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        // What is no JSON is told so by whoever reads it.
        let _ = serde::de::DeserializeSeed::deserialize(&mut found, &mut deserializer);
        found.seen || (found.empty && body.trim_ascii_start().starts_with(b"{"))
    }
}

/// Looks for a top-level name.
struct Found {
    root: &'static str,
    seen: bool,
    empty: bool,
}

impl<'de> serde::de::DeserializeSeed<'de> for &mut Found {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> serde::de::Visitor<'de> for &mut Found {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            self.empty = false;
            self.seen |= name == self.root;
            map.next_value::<serde::de::IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Bounds of what one request may become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most events.
    pub(super) events: usize,
    /// Most bytes of events, and of JSON rewritten.
    pub(super) bytes: usize,
}

/// What a request held.
#[derive(Default)]
pub(super) struct Decoded {
    pub(super) events: Vec<Event>,
    /// How many spans, records or points could not be taken.
    pub(super) rejected: u64,
    /// Why the first of them was not.
    pub(super) problem: Option<String>,
    /// What the metrics' series will stand at.
    pub(super) changes: Changes,
}

/// Why a request as a whole is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// No such message: 400.
    Unreadable(String),
    /// More than the bounds: 413.
    TooLarge(String),
}

impl From<Malformed> for Refused {
    fn from(error: Malformed) -> Self {
        Self::Unreadable(format!("the body is no OTLP message: {error}"))
    }
}

/// Reads a request in JSON; see [`read`].
///
/// # Errors
/// [`Refused`].
pub(super) fn read_json(
    signal: Signal,
    body: &[u8],
    series: &mut Series,
    bounds: Bounds,
    realm: &str,
) -> Result<Decoded, Refused> {
    let rewritten = json::to_protobuf(body, signal.root(), bounds.bytes).map_err(|error| match error {
        json::Unreadable::Json(_) => Refused::Unreadable(error.to_string()),
        json::Unreadable::TooLarge(_) => Refused::TooLarge(error.to_string()),
    })?;
    read(signal, &rewritten, series, bounds, realm)
}

/// Reads a request in protobuf. Only metrics look at `series`, and none changes what they stand at
/// before [`Series::commit`]. `realm` keeps the identities and series of one agent from those of another that
/// happens to say the same, or means to; empty where agents are not told apart.
///
/// # Errors
/// [`Refused`].
pub(super) fn read(
    signal: Signal,
    body: &[u8],
    series: &mut Series,
    bounds: Bounds,
    realm: &str,
) -> Result<Decoded, Refused> {
    let changes = series.begin();
    let mut reading = Reading {
        signal,
        series,
        bounds,
        realm,
        bytes: 0,
        refused: None,
        repeats: HashMap::new(),
        decoded: Decoded { changes, ..Decoded::default() },
    };
    let mut request = Message::new(body);
    while let Some((number, resource)) = request.next()? {
        if number == 1 {
            reading.resource(resource.bytes())?;
        }
    }
    match reading.refused {
        Some(refused) => Err(refused),
        None => Ok(reading.decoded),
    }
}

struct Reading<'s> {
    signal: Signal,
    series: &'s mut Series,
    bounds: Bounds,
    realm: &'s str,
    bytes: usize,
    refused: Option<Refused>,
    /// How often a log record was met that says the same, or an event that names the same identity.
    repeats: HashMap<engine::TraceId, u64>,
    decoded: Decoded,
}

impl Reading<'_> {
    /// `ResourceSpans` and its siblings: resource 1, scopes 2.
    fn resource(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let origin = Origin::read(field(bytes, 1)?, self.realm)?;
        let mut message = Message::new(bytes);
        while let Some((number, scope)) = message.next()? {
            if number == 2 {
                self.scope(scope.bytes(), &origin)?;
            }
        }
        Ok(())
    }

    /// `ScopeSpans` and its siblings: scope 1, spans, metrics or records 2.
    fn scope(&mut self, bytes: &[u8], origin: &Origin) -> Result<(), Malformed> {
        let name = String::from_utf8_lossy(field(field(bytes, 1)?, 1)?);
        let mut message = Message::new(bytes);
        while let Some((number, item)) = message.next()? {
            if number != 2 {
                continue;
            }
            if self.refused.is_some() {
                break;
            }
            match restore::read(self.signal, item.bytes()) {
                Ok(Restored::No) => {}
                Ok(Restored::Part) => continue,
                Ok(Restored::Event(event)) => {
                    self.told(*event);
                    continue;
                }
                Err(error) => {
                    self.reject(error);
                    continue;
                }
            }
            match self.signal {
                Signal::Traces => self.take(span::event(item.bytes(), origin, &name)),
                Signal::Logs => self.record(item.bytes(), origin, &name),
                Signal::Metrics => self.metric(item.bytes(), origin, &name),
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Result<Event, Malformed>) {
        match event {
            Ok(event) => self.add(event),
            Err(error) => self.reject(error),
        }
    }

    /// An event that names its identity: told twice in one request it is one.
    fn told(&mut self, event: Event) {
        let met = self.repeats.entry(event.trace_id).or_insert(0);
        *met += 1;
        if *met == 1 {
            self.add(event);
        }
    }

    fn record(&mut self, bytes: &[u8], origin: &Origin, scope: &str) {
        let event = log::event(bytes, origin, scope).map(|mut event| {
            // Two records of one request that say the same are two; a request sent again is the same two.
            let met = self.repeats.entry(event.trace_id).or_insert(0);
            if *met > 0 {
                event.trace_id = engine::TraceId::derived(&[b"again", event.trace_id.as_bytes(), &met.to_le_bytes()]);
            }
            *met += 1;
            event
        });
        self.take(event);
    }

    fn metric(&mut self, bytes: &[u8], origin: &Origin, scope: &str) {
        let mut changes = std::mem::take(&mut self.decoded.changes);
        let mut points = Vec::new();
        let mut rejected = (0, None);
        let room = self.bounds.events.saturating_sub(self.decoded.events.len());
        let read = metric::events(bytes, origin, scope, self.series, &mut changes, &mut |event| {
            match event {
                Ok(event) => points.extend(event),
                Err(PointError::Malformed(error)) => {
                    rejected.0 += 1;
                    rejected.1.get_or_insert(error.to_string());
                }
                Err(PointError::NoRoom(_)) => {
                    rejected.0 += 1;
                    rejected.1.get_or_insert("more metric series than max_series allows".to_owned());
                }
            }
            points.len() <= room
        });
        self.decoded.changes = changes;
        if let Err(error) = read {
            rejected.0 += 1;
            rejected.1.get_or_insert(error.to_string());
        }
        for event in points {
            self.add(event);
        }
        self.decoded.rejected += rejected.0;
        if let Some(problem) = rejected.1 {
            self.decoded.problem.get_or_insert(problem);
        }
    }

    fn add(&mut self, event: Event) {
        self.bytes += event.size_bytes();
        if self.decoded.events.len() == self.bounds.events {
            let most = self.bounds.events;
            let message = format!("more than {most} spans, log records or changed points in one request; send fewer");
            self.refused.get_or_insert(Refused::TooLarge(message));
        } else if self.bytes > self.bounds.bytes {
            let most = self.bounds.bytes;
            let message = format!("the request's events are larger than {most} bytes; send fewer at once");
            self.refused.get_or_insert(Refused::TooLarge(message));
        } else {
            self.decoded.events.push(event);
        }
    }

    fn reject(&mut self, problem: Malformed) {
        self.decoded.rejected += 1;
        self.decoded.problem.get_or_insert_with(|| problem.to_string());
    }
}

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
