//! What a line of the log says.
//!
//! A line is what the library tslog makes of a call, with fields that OpenClaw adds (2026.9.6):
//!
//! ```json
//! {"0":"{\"subsystem\":\"gateway/reload\"}","1":{"runId":"..."},"2":"the text",
//!  "_meta":{"logLevelName":"WARN","name":"{\"subsystem\":\"gateway/reload\"}","date":"..."},
//!  "time":"...","hostname":"...","message":"the text","session_id":"...","traceId":"...","spanId":"..."}
//! ```
//!
//! The numbered fields are the arguments of the call; the object among them holds the structured
//! fields. `_meta.name` is `openclaw`, or the JSON of what the logger was made with: a `subsystem`, a
//! `module`, or a `plugin`.
//!
//! Values stay JSON text: a tree of a hostile line would be sixteen times the line.

use std::fmt;

use engine::Timestamp;
use engine::json::unescape;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::level::Level;
use super::lines::Line;

/// Of an object, as many fields are looked at; OpenClaw's own have at most some thirty.
const MAX_FIELDS: usize = 128;
/// An array of more bytes is left out.
const MAX_ARRAY: usize = 4096;
/// In a line that was cut, `_meta` is looked for so many times: a hostile text may hold it often.
const MAX_TRIES: usize = 16;

/// A line that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) level: Level,
    /// The subsystem, module or plugin; else the logger's plain name.
    pub(super) name: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) message: Option<String>,
    /// The flat fields, each name once: of the structured argument, of the logger, of the line.
    /// Values are JSON.
    pub(super) fields: Vec<(String, String)>,
}

impl Record {
    /// Reads a line. `None` when it is not a JSON object, or when it was cut and nothing in what is
    /// left can be read.
    pub(super) fn read(line: Line<'_>) -> Option<Self> {
        let text = String::from_utf8_lossy(line.bytes);
        if !line.is_cut() {
            return Some(Self::of(&serde_json::from_str(&text).ok()?));
        }
        // The fields behind the arguments: OpenClaw writes them last. In a string the quotes would
        // have backslashes, so most of what only looks like `_meta` does not match.
        const META: &str = "\"_meta\":{";
        text.match_indices(META).take(MAX_TRIES).find_map(|(at, _)| {
            let end = format!("{{{}", &text[at..]);
            Some(Self::of(&serde_json::from_str(&end).ok()?))
        })
    }

    /// A field that is a string, or a number as text.
    pub(super) fn field(&self, names: &[&str]) -> Option<String> {
        let (_, value) = self.fields.iter().find(|(name, _)| names.contains(&name.as_str()))?;
        string(value).or_else(|| value.starts_with(|c: char| c.is_ascii_digit()).then(|| value.clone()))
    }

    fn of(line: &Object<'_>) -> Self {
        let meta = line.object("_meta").unwrap_or_default();
        let logger = meta.string("name").or_else(|| line.string("0").filter(|text| text.starts_with('{')));
        let bindings: Object<'_> =
            logger.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let name = ["subsystem", "module", "plugin"].iter().find_map(|key| bindings.string(key));
        let name = name.or_else(|| logger.clone().filter(|text| !text.starts_with('{')));
        let level = meta.string("logLevelName").or_else(|| line.string("level"));
        let time = |text: String| text.parse::<Timestamp>().ok();
        let mut fields = Fields::default();
        for (_, argument) in line.arguments() {
            if let Ok(object) = serde_json::from_str::<Object<'_>>(argument.get()) {
                fields.add(&object, &[]);
            }
        }
        fields.add(&bindings, &["subsystem"]);
        fields.add(line, &["_meta", "time", "message", "level"]);
        Self {
            level: level.and_then(|name| Level::parse(&name)).unwrap_or(Level::Info),
            time: line.string("time").and_then(time).or_else(|| meta.string("date").and_then(time)),
            message: line.string("message").or_else(|| line.joined_arguments(logger.as_deref())),
            name,
            fields: fields.0,
        }
    }
}

/// The fields of a JSON object, still text.
#[derive(Debug, Default)]
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw)
    }

    fn string(&self, name: &str) -> Option<String> {
        string(self.raw(name)?.get())
    }

    fn object(&self, name: &str) -> Option<Object<'a>> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    fn arguments(&self) -> impl Iterator<Item = &(String, &'a RawValue)> {
        self.0.iter().filter(|(name, _)| name.bytes().all(|b| b.is_ascii_digit()))
    }

    /// The texts among the arguments, as versions that write no `message` mean it.
    fn joined_arguments(&self, logger: Option<&str>) -> Option<String> {
        let texts = self.arguments().filter_map(|(_, raw)| string(raw.get()));
        let texts: Vec<_> = texts.filter(|text| Some(text.as_str()) != logger).collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
                let mut fields = Vec::new();
                while fields.len() < MAX_FIELDS {
                    let Some(field) = map.next_entry()? else { return Ok(Object(fields)) };
                    fields.push(field);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn add(&mut self, object: &Object<'_>, without: &[&str]) {
        for (name, raw) in &object.0 {
            let argument = name.bytes().all(|b| b.is_ascii_digit());
            let taken = argument || without.contains(&name.as_str()) || self.0.iter().any(|(known, _)| known == name);
            if !taken && self.0.len() < MAX_FIELDS && is_flat(raw.get()) {
                self.0.push((name.clone(), raw.get().to_owned()));
            }
        }
    }
}

/// A string, number or boolean, or a short array of them.
fn is_flat(json: &str) -> bool {
    match json.as_bytes().first() {
        Some(b'{' | b'n') | None => false,
        Some(b'[') if json.len() > MAX_ARRAY => false,
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(json)
            .is_ok_and(|items| items.iter().all(|item| !item.get().starts_with(['{', '[']))),
        Some(_) => true,
    }
}

/// The text of a JSON string.
fn string(json: &str) -> Option<String> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(unescape(inside).into_owned())
}
