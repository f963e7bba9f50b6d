//! An event's fields by name, for transforms whose settings name them.

use std::borrow::Cow;

use engine::{Event, Status};
use serde_json::value::RawValue;

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Bool(bool),
    /// An array or an object.
    Other,
}

/// The names of an event's own fields; any other name is that of an attribute.
pub(crate) const OWN: [&str; 11] = [
    "kind",
    "name",
    "status",
    "error",
    "session_id",
    "run_id",
    "agent_id",
    "span_id",
    "parent_span_id",
    "duration_ms",
    "trace_id",
];

/// The field of this name, or the attribute; `None` where the event has neither.
pub(crate) fn field<'e>(event: &'e Event, name: &str) -> Option<Field<'e>> {
    let text = |text: &'e Option<String>| text.as_deref().map(|text| Field::Text(Cow::Borrowed(text)));
    match name {
        "kind" => Some(Field::Text(Cow::Borrowed(event.kind.as_str()))),
        "name" => text(&event.name),
        "status" => event.status.map(|status| {
            Field::Text(Cow::Borrowed(match status {
                Status::Ok => "ok",
                Status::Error => "error",
            }))
        }),
        "error" => text(&event.error),
        "session_id" => text(&event.session_id),
        "run_id" => text(&event.run_id),
        "agent_id" => text(&event.agent_id),
        "span_id" => text(&event.span_id),
        "parent_span_id" => text(&event.parent_span_id),
        "duration_ms" => event.duration_ms.map(Field::Number),
        "trace_id" => Some(Field::Text(Cow::Owned(event.trace_id.to_string()))),
        _ => attribute(event, name),
    }
}

/// The attribute of this name.
pub(crate) fn attribute<'e>(event: &'e Event, name: &str) -> Option<Field<'e>> {
    let json = event.attributes.as_ref()?.as_str();
    // Most events do not have it, and are not parsed to find that out.
    if !json.contains(name) {
        return None;
    }
    let raw = Lookup { name }.find(json)?.get();
    match raw.as_bytes().first()? {
        b'"' => Some(Field::Text(engine::json::unescape(&raw[1..raw.len() - 1]))),
        b't' => Some(Field::Bool(true)),
        b'f' => Some(Field::Bool(false)),
        b'n' => None,
        b'{' | b'[' => Some(Field::Other),
        _ => raw.parse().ok().map(Field::Number),
    }
}

/// Finds one member of an object without a tree of it. Given twice, the last one counts.
struct Lookup<'n> {
    name: &'n str,
}

impl Lookup<'_> {
    fn find(self, json: &str) -> Option<&RawValue> {
        serde::de::DeserializeSeed::deserialize(self, &mut serde_json::Deserializer::from_str(json)).ok().flatten()
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Lookup<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Lookup<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value: &'de RawValue = map.next_value()?;
            if key == self.name {
                found = Some(value);
            }
        }
        Ok(found)
    }
}
