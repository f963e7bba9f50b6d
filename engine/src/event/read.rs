//! Reading an event: each field is taken from the text on its own, so that an error names the field,
//! and no value of it.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Event, EventError, Kind, MAX_ID_BYTES, Status, Timestamp, TraceId};
use crate::json::{Json, JsonError, Members};

/// The fields as sent, still text.
#[derive(Default)]
pub(super) struct Fields<'a> {
    known: [Option<&'a RawValue>; KNOWN.len()],
    unknown: Vec<(String, &'a RawValue)>,
}

const KNOWN: [&str; 15] = [
    "trace_id",
    "kind",
    "timestamp",
    "duration_ms",
    "status",
    "error",
    "session_id",
    "run_id",
    "agent_id",
    "span_id",
    "parent_span_id",
    "name",
    "input",
    "output",
    "attributes",
];

/// The most fields of an event that are kept without being known.
const MAX_UNKNOWN: usize = 64;

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, EventError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Whether a `trace_id` was sent.
    pub(super) fn has_identity(&self) -> bool {
        self.raw("trace_id").is_some()
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let raw = KNOWN.iter().position(|known| *known == name).and_then(|at| self.known[at])?;
        (raw.get() != "null").then_some(raw)
    }

    fn string(&self, name: &'static str) -> Result<Option<String>, EventError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let text = raw.get();
        if !text.starts_with('"') {
            return Err(EventError::field(name, format!("must be a string, not {}", type_of(text))));
        }
        Ok(Some(crate::json::unescape(&text[1..text.len() - 1]).into_owned()))
    }

    fn id(&self, name: &'static str) -> Result<Option<String>, EventError> {
        let id = self.string(name)?;
        match &id {
            Some(text) if text.len() > MAX_ID_BYTES => {
                Err(EventError::field(name, format!("is {} bytes long; the most is {MAX_ID_BYTES}", text.len())))
            }
            _ => Ok(id),
        }
    }

    fn json(&self, name: &'static str) -> Result<Option<Json>, EventError> {
        self.raw(name)
            .map(|raw| Json::from_raw(raw).map_err(|error: JsonError| EventError::field(name, error.to_string())))
            .transpose()
    }

    pub(super) fn into_event(self, identity: impl FnOnce() -> TraceId) -> Result<Event, EventError> {
        let kind = self.string("kind")?.ok_or_else(|| EventError::field("kind", "is missing"))?;
        let trace_id = match self.string("trace_id")? {
            Some(text) => text.parse()?,
            None => identity(),
        };
        let status = match self.string("status")?.as_deref() {
            None => None,
            Some("ok") => Some(Status::Ok),
            Some("error") => Some(Status::Error),
            Some(_) => return Err(EventError::field("status", "must be \"ok\" or \"error\"")),
        };
        Ok(Event {
            trace_id,
            kind: Kind::parse(&kind)?,
            timestamp: self.timestamp()?,
            duration_ms: self.duration()?,
            status,
            error: self.string("error")?,
            session_id: self.id("session_id")?,
            run_id: self.id("run_id")?,
            agent_id: self.id("agent_id")?,
            span_id: self.id("span_id")?,
            parent_span_id: self.id("parent_span_id")?,
            name: self.string("name")?,
            input: self.json("input")?,
            output: self.json("output")?,
            attributes: self.attributes()?,
        })
    }

    fn timestamp(&self) -> Result<Timestamp, EventError> {
        let Some(raw) = self.raw("timestamp") else { return Ok(Timestamp::now()) };
        if raw.get().starts_with('"') {
            return self.string("timestamp")?.unwrap_or_default().parse();
        }
        let out_of_range =
            || EventError::field("timestamp", "must be RFC 3339 or Unix milliseconds, in the years 1678 to 2262");
        if let Ok(millis) = raw.get().parse::<i64>() {
            return millis.checked_mul(1_000_000).map(Timestamp).ok_or_else(out_of_range);
        }
        let millis: f64 = raw.get().parse().map_err(|_| out_of_range())?;
        let nanos = (millis * 1e6).round();
        // The bounds of i64, which f64 holds exactly enough: beyond them the cast would saturate.
        if nanos.abs() < 9.2e18 {
            #[allow(clippy::cast_possible_truncation)]
            return Ok(Timestamp(nanos as i64));
        }
        Err(out_of_range())
    }

    fn duration(&self) -> Result<Option<f64>, EventError> {
        let Some(raw) = self.raw("duration_ms") else { return Ok(None) };
        match raw.get().parse::<f64>() {
            Ok(millis) if millis.is_finite() && millis >= 0.0 => Ok(Some(millis)),
            _ => Err(EventError::field("duration_ms", "must be a number of milliseconds, 0 or more")),
        }
    }

    fn attributes(&self) -> Result<Option<Json>, EventError> {
        let sent = self.json("attributes")?;
        if let Some(json) = &sent
            && !json.is_object()
        {
            return Err(EventError::field("attributes", format!("must be an object, not {}", type_of(json.as_str()))));
        }
        if self.unknown.is_empty() {
            return Ok(sent);
        }
        let mut members = Members::default();
        for (name, raw) in &self.unknown {
            members.add(name, raw.get());
        }
        // What was sent as an attribute comes last, so that it wins over a field of the same name.
        if let Some(sent) = &sent {
            members.add_object(sent.as_str());
        }
        members.finish().map(Some).map_err(|error| EventError::field("attributes", error.to_string()))
    }
}

/// The one `trace_id` of an object.
pub(super) fn identity(text: &str) -> Option<TraceId> {
    struct Visitor;

    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Option<TraceId>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Option<TraceId>, A::Error> {
            let mut found = Vec::new();
            // Names as text of JSON: one that is no string in UTF-8 must not hide the others.
            while let Some(name) = map.next_key::<&'de RawValue>()? {
                let value: &'de RawValue = map.next_value()?;
                if found.len() < 2 && string(name.get()).as_deref() == Some("trace_id") {
                    found.push(string(value.get()).and_then(|text| text.parse().ok()));
                }
            }
            Ok(if let [one] = found[..] { one } else { None })
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_map(Visitor).ok().flatten()
}

fn string(json: &str) -> Option<std::borrow::Cow<'_, str>> {
    json.strip_prefix('"')?.strip_suffix('"').map(crate::json::unescape)
}

fn type_of(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event: a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                use serde::de::Error;
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    match KNOWN.iter().position(|known| *known == key) {
                        Some(at) if fields.known[at].is_some() => {
                            return Err(A::Error::custom(format_args!("{key} is given twice")));
                        }
                        Some(at) => fields.known[at] = Some(value),
                        None if fields.unknown.len() == MAX_UNKNOWN => {
                            return Err(A::Error::custom(format_args!("more than {MAX_UNKNOWN} unknown fields")));
                        }
                        None => fields.unknown.push((key.into_owned(), value)),
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
