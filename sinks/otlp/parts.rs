//! The parts of a JSON text, each as the text that it is.
//!
//! An event's JSON is taken apart one level at a time, without a tree: a part is a slice of the event's own text. So
//! hostile JSON (`[0,0,0,…]`) costs no more memory than it has text, and a number keeps its digits.

use std::borrow::Cow;
use std::fmt;

use engine::json::unescape;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The text of a JSON string, given with its quotes.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    Some(unescape(raw.strip_prefix('"')?.strip_suffix('"')?))
}

/// Each member of an object, as key and value, until `take` answers false.
pub(super) fn members<'a>(object: &'a str, take: impl FnMut(Cow<'a, str>, &'a str) -> bool) {
    walk(object, Members(take));
}

/// Each element of an array, until `take` answers false.
pub(super) fn elements<'a>(array: &'a str, take: impl FnMut(&'a str) -> bool) {
    walk(array, Elements(take));
}

fn walk<'a>(text: &'a str, seed: impl DeserializeSeed<'a>) {
    // What was valid JSON when the event was read is so still; a walk that was ended early is an error too.
    drop(seed.deserialize(&mut serde_json::Deserializer::from_str(text)));
}

struct Members<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de str) -> bool> DeserializeSeed<'de> for Members<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Cow<'de, str>, &'de str) -> bool> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        // Keys as raw text too: serde_json refuses the lone surrogates that JSON allows in a string.
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            if !(self.0)(text(key.get()).unwrap_or_default(), value.get()) {
                break;
            }
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de str) -> bool> DeserializeSeed<'de> for Elements<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de str) -> bool> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            if !(self.0)(element.get()) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_keeps_its_text() {
        let mut seen = Vec::new();
        members(r#"{"a": 1.0, "b\ud800": [1,  2],"a":"x"}"#, |key, value| {
            seen.push(format!("{key}={value}"));
            true
        });
        assert_eq!(seen, ["a=1.0", "b\u{fffd}=[1,  2]", "a=\"x\""]);
        let mut seen = Vec::new();
        elements("[1, [2], \"c\", null]", |element| {
            seen.push(element);
            seen.len() < 3
        });
        assert_eq!(seen, ["1", "[2]", "\"c\""]);
        assert_eq!((text("\"a\\n\"").as_deref(), text("12")), (Some("a\n"), None));
    }
}
