//! `truncate`: long texts are cut, and say so.
//!
//! 1. Every string in `error`, `name`, `input`, `output` and `attributes` (object keys too) that is
//!    longer than its limit is cut at a character boundary, and ends with a marker that keeps the
//!    length and the SHA-256 of what was there: `…[truncated: 123456 bytes, sha256 9f86d0…]`.
//!    Equal texts stay recognisable as equal, and a copy found elsewhere can be proved to be the one.
//! 2. A cut string, marker included, is not longer than the limit; where the limit is smaller than
//!    the marker, the marker stands alone. So cutting twice is cutting once.
//! 3. A field whose JSON is still larger than `max_field_bytes` (many small strings) becomes one JSON
//!    string: its own text, cut the same way. `attributes` stays an object: members are kept in
//!    their order as long as there is room, and a member `truncated` holds the marker.
//!
//! What is measured and hashed is the text that arrives here, which is after redaction: a hash of a
//! short secret would give it away to whoever tries all of them.

use std::fmt::Write as _;

use engine::config::Size;
use engine::json::{Json, Place, push_escaped};
use engine::metrics::{IntCounter, IntCounterVec};
use engine::{Batch, BuildContext, Event, Problem, Problems, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Cuts long texts, and keeps their length and hash.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Truncate {
    /// The longest string that is kept whole, in bytes of UTF-8. A longer one is cut at a character
    /// boundary and ends with a marker that tells its length and SHA-256.
    pub max_text_bytes: Size,
    /// The largest `input`, `output` or `attributes`, as JSON text, once their strings are cut. A
    /// larger one becomes one string with its beginning and the marker.
    pub max_field_bytes: Size,
    /// Other text limits than `max_text_bytes`, by field.
    pub fields: TextLimits,
}

/// Text limits by field.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextLimits {
    /// For strings in `input`.
    pub input: Option<Size>,
    /// For strings in `output`.
    pub output: Option<Size>,
    /// For strings in `attributes`.
    pub attributes: Option<Size>,
    /// For `error`.
    pub error: Option<Size>,
    /// For `name`.
    pub name: Option<Size>,
}

impl Default for Truncate {
    fn default() -> Self {
        Self { max_text_bytes: Size(4096), max_field_bytes: Size(64 << 10), fields: TextLimits::default() }
    }
}

impl TransformConfig for Truncate {
    const TYPE: &'static str = "truncate";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        let Self { max_text_bytes, max_field_bytes, fields } = self;
        let named = [
            ("max_text_bytes", Some(max_text_bytes)),
            ("max_field_bytes", Some(max_field_bytes)),
            ("fields.input", fields.input),
            ("fields.output", fields.output),
            ("fields.attributes", fields.attributes),
            ("fields.error", fields.error),
            ("fields.name", fields.name),
        ];
        let problems: Problems = named
            .iter()
            .filter(|(_, size)| size.is_some_and(|size| size.0 == 0))
            .map(|(key, _)| {
                Problem::new(*key, "must be more than 0; to keep texts whole, remove this transform from the graph")
            })
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let limit = |own: Option<Size>| bytes(own.unwrap_or(max_text_bytes));
        let cut = cx.metrics.counter_by(
            &cx.name,
            "truncate_fields_total",
            "fields of events in which something was cut",
            "field",
        );
        let removed = cx.metrics.counter(&cx.name, "truncate_bytes_total", "bytes of text that were cut off");
        Ok(Box::new(Truncator {
            input: limit(fields.input),
            output: limit(fields.output),
            attributes: limit(fields.attributes),
            error: limit(fields.error),
            name: limit(fields.name),
            max_field: bytes(max_field_bytes),
            cut,
            removed,
        }))
    }
}

fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

struct Truncator {
    input: usize,
    output: usize,
    attributes: usize,
    error: usize,
    name: usize,
    max_field: usize,
    cut: IntCounterVec,
    removed: IntCounter,
}

impl Transform for Truncator {
    fn apply(&self, batch: &mut Batch) {
        for event in batch.iter_mut() {
            self.truncate(event);
        }
    }
}

impl Truncator {
    fn truncate(&self, event: &mut Event) {
        for (field, text, limit) in [("error", &mut event.error, self.error), ("name", &mut event.name, self.name)] {
            if let Some(old) = text
                && let Some(new) = cut_text(old, limit)
            {
                self.count(field, old.len(), new.len());
                *old = new;
            }
        }
        for (field, body, limit, stays_object) in [
            ("input", &mut event.input, self.input, false),
            ("output", &mut event.output, self.output, false),
            ("attributes", &mut event.attributes, self.attributes, true),
        ] {
            if let Some(old) = body
                && let Some(new) = cut_json(old, limit, self.max_field, stays_object)
            {
                self.count(field, old.len(), new.len());
                *old = new;
            }
        }
    }

    fn count(&self, field: &str, before: usize, after: usize) {
        self.cut.with_label_values(&[field]).inc();
        self.removed.inc_by(before.saturating_sub(after) as u64);
    }
}

/// The text as it is kept, or `None` when it fits.
fn cut_text(text: &str, limit: usize) -> Option<String> {
    if text.len() <= limit || is_marker(text) {
        return None;
    }
    let marker = marker(text);
    let mut kept = String::with_capacity(limit.max(marker.len()));
    kept.push_str(&text[..text.floor_char_boundary(limit.saturating_sub(marker.len()))]);
    kept.push_str(&marker);
    Some(kept)
}

/// The JSON as it is kept, or `None` when it fits.
fn cut_json(json: &Json, limit: usize, max_field: usize, stays_object: bool) -> Option<Json> {
    // No string is longer than the text it stands in.
    let texts_cut = if json.len() <= limit {
        None
    } else {
        json.rewrite(|place, text| {
            let is_our_key = place == Place::Key && text == MARKER_KEY;
            if is_our_key { None } else { cut_text(text, limit) }
        })
    };
    let now = texts_cut.as_ref().unwrap_or(json);
    if now.len() <= max_field {
        return texts_cut;
    }
    let whole = if stays_object { cut_object(json, now, max_field) } else { cut_whole(json, now, limit, max_field) };
    whole.or(texts_cut)
}

/// One JSON string with the beginning of `now` and the marker of `original`.
fn cut_whole(original: &Json, now: &Json, limit: usize, max_field: usize) -> Option<Json> {
    if now.as_str().strip_prefix('"').and_then(|text| text.strip_suffix('"')).is_some_and(is_marker) {
        return None;
    }
    let marker = marker(original.as_str());
    let mut room_as_text = limit.saturating_sub(marker.len());
    let mut room_as_json = max_field.saturating_sub(marker.len() + 2);
    let mut end = 0;
    for (at, c) in now.as_str().char_indices() {
        let as_json = if matches!(c, '"' | '\\' | '\n' | '\t' | '\r') { 2 } else { c.len_utf8() };
        if c.len_utf8() > room_as_text || as_json > room_as_json {
            break;
        }
        room_as_text -= c.len_utf8();
        room_as_json -= as_json;
        end = at + c.len_utf8();
    }
    let mut quoted = String::with_capacity(max_field.min(2 * end + marker.len() + 2));
    push_escaped(&mut quoted, &format!("{}{marker}", &now.as_str()[..end]));
    Json::parse(&quoted).ok()
}

/// The object with as many of its members as there is room for, and the marker of `original`.
fn cut_object(original: &Json, now: &Json, max_field: usize) -> Option<Json> {
    let only_marker = format!("{{\"{MARKER_KEY}\":\"");
    if now.as_str().strip_prefix(&only_marker).and_then(|rest| rest.strip_suffix("\"}")).is_some_and(is_marker) {
        return None;
    }
    let mut kept = String::from("{");
    let mut marker_member = format!("\"{MARKER_KEY}\":");
    push_escaped(&mut marker_member, &marker(original.as_str()));
    let room = max_field.saturating_sub(marker_member.len() + 2);
    let members = Members { kept: &mut kept, room };
    serde_json::Deserializer::from_str(now.as_str()).deserialize_map(members).ok()?;
    kept.push_str(&marker_member);
    kept.push('}');
    // Where the limit is smaller than the marker, replacing would make it larger.
    if kept.len() >= now.len() {
        return None;
    }
    Json::parse(&kept).ok()
}

/// The member of a cut object that holds the marker.
const MARKER_KEY: &str = "truncated";

/// Copies members while there is room. Streams: an object of a million members costs no more memory
/// than the ones that are kept.
struct Members<'a> {
    kept: &'a mut String,
    room: usize,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == MARKER_KEY {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            let before = self.kept.len();
            push_escaped(self.kept, &key);
            self.kept.push(':');
            self.kept.push_str(value.get());
            self.kept.push(',');
            let used = self.kept.len() - before;
            if used > self.room {
                self.kept.truncate(before);
            } else {
                self.room -= used;
            }
        }
        Ok(())
    }
}

const MARKER_START: &str = "…[truncated: ";
const MARKER_MIDDLE: &str = " bytes, sha256 ";

fn marker(original: &str) -> String {
    let mut marker = format!("{MARKER_START}{}{MARKER_MIDDLE}", original.len());
    for byte in Sha256::digest(original) {
        // Writing to a string cannot fail.
        let _ = write!(marker, "{byte:02x}");
    }
    marker.push(']');
    marker
}

/// Whether the text is a marker and nothing else.
fn is_marker(text: &str) -> bool {
    let parts = text
        .strip_prefix(MARKER_START)
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|rest| rest.split_once(MARKER_MIDDLE));
    parts.is_some_and(|(length, hash)| {
        (1..=20).contains(&length.len())
            && length.bytes().all(|b| b.is_ascii_digit())
            && hash.len() == 64
            && hash.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{batch, context, event, metric};
    use proptest::prelude::*;

    fn truncate(config: &str, event: Event) -> (Event, BuildContext) {
        let cx = context();
        let transform = serde_json::from_str::<Truncate>(config).unwrap().build(&cx).unwrap();
        let (mut batch, _receipt) = batch(vec![event]);
        transform.apply(&mut batch);
        (batch.iter().next().unwrap().clone(), cx)
    }

    #[test]
    fn a_long_text_is_cut_and_keeps_its_length_and_hash() {
        let mut long = event();
        long.error = Some("é".repeat(5000));
        let (cut, cx) = truncate("{}", long);
        let error = cut.error.unwrap();
        assert!(error.len() <= 4096 && error.len() > 4090, "{}", error.len());
        let hash: String = Sha256::digest("é".repeat(5000)).iter().map(|b| format!("{b:02x}")).collect();
        assert!(error.ends_with(&format!("…[truncated: 10000 bytes, sha256 {hash}]")), "{error}");
        assert_eq!(metric(&cx, "openclaw_trace_truncate_fields_total{component=\"test\",field=\"error\"}"), 1);
    }

    #[test]
    fn a_field_may_have_its_own_limit() {
        let mut long = event();
        long.input = Some(Json::from_value(&serde_json::json!({"a": "x".repeat(300), "b": 1})).unwrap());
        long.output = long.input.clone();
        let (cut, _) = truncate(r#"{"max_text_bytes": 200, "fields": {"output": 1000}}"#, long.clone());
        assert_eq!(cut.output, long.output);
        let input: serde_json::Value = serde_json::from_str(cut.input.unwrap().as_str()).unwrap();
        assert_eq!(input["a"].as_str().unwrap().len(), 200);
        assert_eq!(input["b"], 1);
    }

    #[test]
    fn many_small_strings_do_not_get_around_the_limit() {
        let mut many = event();
        let members: serde_json::Map<_, _> =
            (0..1000).map(|i| (format!("key{i:04}"), serde_json::json!("value"))).collect();
        many.input = Some(Json::from_value(&members).unwrap());
        many.attributes = many.input.clone();
        let (cut, _) = truncate(r#"{"max_field_bytes": 1024}"#, many);
        let input: String = serde_json::from_str(cut.input.clone().unwrap().as_str()).unwrap();
        assert!(input.starts_with("{\"key0000\":\"value\",") && input.contains("…[truncated: "), "{input}");
        assert!(cut.input.unwrap().len() <= 1024);
        let attributes = cut.attributes.unwrap();
        assert!(attributes.is_object() && attributes.len() <= 1024);
        let attributes: serde_json::Value = serde_json::from_str(attributes.as_str()).unwrap();
        assert_eq!(attributes["key0000"], "value");
        assert!(is_marker(attributes["truncated"].as_str().unwrap()));
    }

    #[test]
    fn small_attributes_outlive_a_large_one_before_them() {
        let mut event = event();
        event.attributes = Some(Json::parse(&format!("{{\"a\":[{}0],\"tokens\":7}}", "0,".repeat(900))).unwrap());
        let (cut, _) = truncate(r#"{"max_field_bytes": 300}"#, event);
        let attributes: serde_json::Value = serde_json::from_str(cut.attributes.unwrap().as_str()).unwrap();
        assert_eq!(attributes["tokens"], 7);
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_its_key() {
        let config: Truncate = serde_json::from_str(r#"{"max_text_bytes": 0, "fields": {"name": 0}}"#).unwrap();
        let problems = config.build(&context()).err().unwrap();
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["max_text_bytes", "fields.name"]);
        assert!(serde_json::from_str::<Truncate>(r#"{"max_text": 5}"#).is_err());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(serde_json::Value::from),
            "[a-z\"\\\\é😀]{0,300}".prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 40, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
                prop::collection::vec(("[a-z\"é]{0,200}", inner), 0..8)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn strings(value: &serde_json::Value, out: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => out.push(text.clone()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
            serde_json::Value::Object(members) => members.iter().for_each(|(key, item)| {
                out.push(key.clone());
                strings(item, out);
            }),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_valid_within_its_limits_and_never_cut_again(
            value in any_json(), text in any::<String>(), limit in 1usize..400, max_field in 1usize..2000,
        ) {
            let mut before = event();
            before.error = Some(text.repeat(4));
            before.input = Some(Json::from_value(&value).unwrap());
            before.attributes = Some(Json::from_value(&serde_json::json!({"a": value, "b": text})).unwrap());
            let config = format!("{{\"max_text_bytes\":{limit},\"max_field_bytes\":{max_field}}}");
            let (once, _) = truncate(&config, before);
            // The longest marker: 20 digits.
            let longest = limit.max(115);
            prop_assert!(once.error.as_ref().unwrap().len() <= longest);
            let input = once.input.as_ref().unwrap();
            prop_assert!(input.len() <= max_field.max(117), "{} {input:?}", input.len());
            let mut found = vec![];
            strings(&serde_json::from_str(input.as_str()).unwrap(), &mut found);
            prop_assert!(found.iter().all(|text| text.len() <= longest));
            prop_assert!(once.attributes.as_ref().unwrap().is_object());
            let (twice, _) = truncate(&config, once.clone());
            prop_assert_eq!(once, twice);
        }
    }
}
