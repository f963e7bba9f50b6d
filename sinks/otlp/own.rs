//! An event's own attributes, as OTLP's: each JSON value has its `AnyValue`.
//!
//! While they are written it is followed whether a reader can write the same text again from them (`Text`): compact
//! JSON, as most clients send it, comes back to the byte. What does not (other spacing or escapes, a number beyond 64
//! bits, `1e3`, a key twice) is carried as text beside them, by `carry`.

use std::borrow::Cow;
use std::collections::HashSet;

use engine::json::push_escaped;
use engine::{Event, Kind};

use super::parts;
use super::write::{Field, Writer};

/// What OTLP has no place for is told under names that begin so; an event's own attributes may not.
pub(super) const CARRIED: &str = "openclaw_trace.event.";

/// The most attributes of an event that are written one by one; backends keep fewer.
const MAX_ATTRIBUTES: usize = 1000;

/// Arrays and objects that are deeper, or longer as text, are written as text: backends show no more of them, and
/// an array of many small numbers would be larger than its text.
const MAX_DEPTH: usize = 8;
const MAX_NESTED: usize = 16 * 1024;

/// Still longer ones are left out: the text of all attributes, which is carried then, has them.
const MAX_NESTED_TEXT: usize = 256 * 1024;

const KEY: Field = ("key", 1);
const VALUE: Field = ("value", 2);
const VALUES: Field = ("values", 1);
const STRING: Field = ("stringValue", 1);
const BOOL: Field = ("boolValue", 2);
const INT: Field = ("intValue", 3);
const DOUBLE: Field = ("doubleValue", 4);
const ARRAY: Field = ("arrayValue", 5);
const KVLIST: Field = ("kvlistValue", 6);

/// An attribute that is a text.
pub(super) fn text_attribute(out: &mut Writer, list: Field, key: &str, text: &str) {
    out.item(list, |out| {
        out.text(KEY, key);
        out.message(VALUE, |out| out.text(STRING, text));
    });
}

/// An attribute that is a list of texts.
pub(super) fn texts_attribute<T: AsRef<str>>(out: &mut Writer, list: Field, key: &str, texts: &[T]) {
    out.item(list, |out| {
        out.text(KEY, key);
        out.message(VALUE, |out| {
            out.message(ARRAY, |out| {
                out.list(VALUES, |out| {
                    for text in texts {
                        out.item(VALUES, |out| out.text(STRING, text.as_ref()));
                    }
                });
            });
        });
    });
}

/// An attribute that is a whole number.
pub(super) fn integer_attribute(out: &mut Writer, list: Field, key: &str, value: i64) {
    out.item(list, |out| {
        out.text(KEY, key);
        out.message(VALUE, |out| out.integer(INT, value));
    });
}

/// An attribute that is any number.
pub(super) fn double_attribute(out: &mut Writer, list: Field, key: &str, value: f64) {
    out.item(list, |out| {
        out.text(KEY, key);
        out.message(VALUE, |out| out.double(DOUBLE, value));
    });
}

/// A value that is an `AnyValue` of its own, such as a record's body.
pub(super) fn text_value(out: &mut Writer, field: Field, text: &str) {
    out.message(field, |out| out.text(STRING, text));
}

/// The attributes of one event, as slices of its text.
pub(super) struct Own<'e> {
    members: Vec<(Cow<'e, str>, &'e str)>,
    /// The object as a whole; `None` where the event has none.
    pub(super) text: Option<&'e str>,
    /// Attributes that are not written one by one.
    pub(super) left_out: u32,
    is_usage: bool,
    /// That not every member is in `members`.
    partly: bool,
}

impl<'e> Own<'e> {
    pub(super) fn of(event: &'e Event) -> Self {
        let text = event.attributes.as_ref().map(engine::Json::as_str);
        let mut own =
            Self { members: Vec::new(), text, left_out: 0, is_usage: event.kind == Kind::USAGE, partly: false };
        let mut keys = HashSet::new();
        let mut repeated = false;
        parts::members(text.unwrap_or("{}"), |key, raw| {
            let is_huge = raw.len() > MAX_NESTED_TEXT && raw.starts_with(['[', '{']);
            // Empty keys and keys told twice are against OTLP.
            if own.members.len() >= MAX_ATTRIBUTES || key.is_empty() || key.starts_with(CARRIED) || is_huge {
                own.partly = true;
                own.left_out = own.left_out.saturating_add(1);
            } else {
                repeated |= !keys.insert(key.clone());
                own.members.push((key, raw));
            }
            true
        });
        if repeated {
            own.keep_last_of_each();
        }
        own
    }

    /// No attributes.
    pub(super) fn none() -> Self {
        Self { members: Vec::new(), text: None, left_out: 0, is_usage: false, partly: false }
    }

    /// Of two members with one key, readers of JSON take the last.
    fn keep_last_of_each(&mut self) {
        self.partly = true;
        let mut seen = HashSet::new();
        let mut last: Vec<_> =
            std::mem::take(&mut self.members).into_iter().rev().filter(|(key, _)| seen.insert(key.clone())).collect();
        last.reverse();
        self.members = last;
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'e str)> {
        self.members.iter().map(|(key, raw)| (key.as_ref(), *raw))
    }

    /// The JSON of an attribute.
    pub(super) fn raw(&self, key: &str) -> Option<&'e str> {
        self.members.iter().find(|(known, _)| known == key).map(|(_, raw)| *raw)
    }

    /// An attribute that is a text.
    pub(super) fn told(&self, key: &str) -> Option<Cow<'e, str>> {
        parts::text(self.raw(key)?)
    }

    /// Writes them as items of `list`; answers whether a reader can make the event's text of them.
    pub(super) fn write(&self, out: &mut Writer, list: Field) -> bool {
        let mut same = Text::expected(self.text.unwrap_or(""));
        if self.partly {
            same.is_another();
        }
        for (at, (key, raw)) in self.members.iter().enumerate() {
            same.is(if at == 0 { "{" } else { "," });
            same.is_quoted(key);
            same.is(":");
            let key = self.written_key(key, &mut same);
            out.item(list, |out| {
                out.text(KEY, &key);
                out.message(VALUE, |out| value(out, raw, 0, &mut same));
            });
        }
        if !self.members.is_empty() {
            same.is("}");
        }
        same.is_whole()
    }

    /// What a turn used in all is the sum of its calls: under the names of a call's tokens, backends would add
    /// the two up.
    fn written_key<'k>(&self, key: &'k str, same: &mut Text<'_>) -> Cow<'k, str> {
        match key.strip_prefix("gen_ai.usage.") {
            Some(rest) if self.is_usage => {
                same.is_another();
                Cow::Owned(format!("openclaw_trace.turn.usage.{rest}"))
            }
            _ => Cow::Borrowed(key),
        }
    }
}

/// Writes the inside of an `AnyValue`. `null` is an empty one.
fn value(out: &mut Writer, raw: &str, depth: usize, same: &mut Text<'_>) {
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text = parts::text(raw).unwrap_or_default();
            same.is_quoted(&text);
            out.text(STRING, &text);
        }
        Some(b'n') | None => same.is("null"),
        Some(b't' | b'f') => {
            same.is(raw);
            out.flag(BOOL, raw == "true");
        }
        Some(b'[' | b'{') if depth == MAX_DEPTH || raw.len() > MAX_NESTED => {
            same.is_another();
            out.text(STRING, raw);
        }
        Some(b'[') => {
            same.is("[");
            out.message(ARRAY, |out| {
                out.list(VALUES, |out| {
                    let mut first = true;
                    parts::elements(raw, |raw| {
                        same.is(if std::mem::take(&mut first) { "" } else { "," });
                        out.item(VALUES, |out| value(out, raw, depth + 1, same));
                        true
                    });
                });
            });
            same.is("]");
        }
        Some(b'{') => {
            same.is("{");
            out.message(KVLIST, |out| {
                out.list(VALUES, |out| {
                    let mut first = true;
                    parts::members(raw, |key, raw| {
                        same.is(if std::mem::take(&mut first) { "" } else { "," });
                        same.is_quoted(&key);
                        same.is(":");
                        out.item(VALUES, |out| {
                            out.text(KEY, &key);
                            out.message(VALUE, |out| value(out, raw, depth + 1, same));
                        });
                        true
                    });
                });
            });
            same.is("}");
        }
        Some(_) => match Number::of(raw) {
            Number::Int(number) => {
                same.is(&number.to_string());
                out.integer(INT, number);
            }
            Number::Double(number) => {
                same.is(&format!("{number:?}"));
                out.double(DOUBLE, number);
            }
        },
    }
}

/// A JSON number as OTLP has it. One without fraction and exponent is whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    pub(super) fn of(raw: &str) -> Self {
        // The standard library's reading is exact; serde_json's may be off in the last digit.
        raw.parse().map_or_else(|_| Self::Double(raw.parse().unwrap_or(0.0)), Self::Int)
    }

    /// The number, where this JSON is one and can be measured.
    pub(super) fn measured(raw: &str) -> Option<Self> {
        let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let number = is_number.then(|| Self::of(raw))?;
        (!matches!(number, Self::Double(number) if !number.is_finite())).then_some(number)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn double(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Double(number) => number,
        }
    }
}

/// Follows a text piece by piece, to tell whether the pieces are the whole of it.
struct Text<'t> {
    rest: Option<&'t str>,
    scratch: String,
}

impl<'t> Text<'t> {
    fn expected(text: &'t str) -> Self {
        Self { rest: Some(text), scratch: String::new() }
    }

    fn is(&mut self, piece: &str) {
        self.rest = self.rest.and_then(|rest| rest.strip_prefix(piece));
    }

    fn is_quoted(&mut self, piece: &str) {
        if self.rest.is_none() {
            return;
        }
        let mut quoted = std::mem::take(&mut self.scratch);
        quoted.clear();
        push_escaped(&mut quoted, piece);
        self.is(&quoted);
        self.scratch = quoted;
    }

    fn is_another(&mut self) {
        self.rest = None;
    }

    fn is_whole(&self) -> bool {
        self.rest.is_some_and(str::is_empty)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use engine::Json;

    use super::*;
    use crate::otlp::write::Form;

    const LIST: Field = ("attributes", 9);

    fn written(attributes: &str) -> (String, bool) {
        let mut event = Event::new(Kind::LOG);
        event.attributes = Some(Json::parse(attributes).unwrap());
        let mut out = Writer::new(Form::Json);
        let same = out.list(LIST, |out| Own::of(&event).write(out, LIST));
        (String::from_utf8(out.bytes().to_vec()).unwrap(), same)
    }

    #[test]
    fn every_json_type_has_its_value_and_compact_json_its_text() {
        let (text, same) =
            written(r#"{"s":"é\n","i":-9223372036854775808,"d":1.0,"b":false,"n":null,"a":[1,[]],"o":{"k":0.1}}"#);
        let expected = r#""attributes":[{"key":"s","value":{"stringValue":"é\n"}},{"key":"i","value":{"intValue":"-9223372036854775808"}},{"key":"d","value":{"doubleValue":1.0}},{"key":"b","value":{"boolValue":false}},{"key":"n","value":{}},{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"arrayValue":{"values":[]}}]}}},{"key":"o","value":{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":0.1}}]}}}]"#;
        assert_eq!(text, expected);
        assert!(same);
    }

    #[test]
    fn what_a_reader_would_write_otherwise_is_known() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(9), "]".repeat(9));
        let long = format!("{{\"a\":[{}0]}}", "0,".repeat(MAX_NESTED));
        for other in [
            "{}",
            r#"{"a": 1}"#,
            r#"{"a":1e3}"#,
            r#"{"a":1.10}"#,
            r#"{"a":18446744073709551615}"#,
            r#"{"a":-0}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\u0041":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"":1}"#,
            r#"{"openclaw_trace.event.id":1}"#,
            &deep,
            &long,
        ] {
            assert!(!written(other).1, "{other}");
        }
        assert!(written(r#"{"a":1e999}"#).0.contains(r#"{"doubleValue":"Infinity"}"#));
        assert_eq!(written(r#"{"a":1,"b":3,"a":2}"#).0.matches("\"key\":\"a\"").count(), 1);
        assert!(written(&long).0.len() < 2 * long.len());
    }

    #[test]
    fn a_number_beyond_measure_is_none() {
        assert_eq!(Number::measured("12"), Some(Number::Int(12)));
        assert_eq!(Number::measured("-1.5"), Some(Number::Double(-1.5)));
        for none in ["1e999", "\"1\"", "null", "[1]", "true"] {
            assert_eq!(Number::measured(none), None, "{none}");
        }
    }
}
