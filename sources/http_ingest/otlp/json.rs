//! OTLP's JSON, rewritten as OTLP's protobuf.
//!
//! One reading of the meaning is enough: JSON is turned into the bytes that a protobuf client would
//! have sent, by the tables below, as it is parsed, without a tree. Both forms then give equal
//! events because they go the same way. The rules of the JSON form (OTLP 1.5, "JSON Protobuf
//! Encoding"): names in lower camel case, 64-bit integers as strings or numbers, enums as numbers,
//! `traceId` and `spanId` in hex, unknown names ignored.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::wire::Writer;

/// A field of a message: its name, its number, how its value is written.
type Known = (&'static str, u64, Type);

/// How a value is written, in JSON and in protobuf.
#[derive(Clone, Copy)]
enum Type {
    Text,
    /// Bytes in hex.
    Hex,
    /// Bytes in base64.
    Base64,
    /// `int64`, `uint32`, `bool`, enums: a varint.
    Integer,
    /// `fixed64`, `sfixed64`.
    Fixed64,
    Double,
    /// A list of packed `fixed64`.
    Fixed64s,
    /// A list of packed `double`.
    Doubles,
    Message(&'static [Known]),
    Messages(&'static [Known]),
}

use Type::{Base64, Double, Doubles, Fixed64, Fixed64s, Hex, Integer, Message, Messages, Text};

// Statics, since they refer to each other.
static ANY_VALUE: [Known; 7] = [
    ("stringValue", 1, Text),
    ("boolValue", 2, Integer),
    ("intValue", 3, Integer),
    ("doubleValue", 4, Double),
    ("arrayValue", 5, Message(&ARRAY_VALUE)),
    ("kvlistValue", 6, Message(&KEY_VALUE_LIST)),
    ("bytesValue", 7, Base64),
];
static ARRAY_VALUE: [Known; 1] = [("values", 1, Messages(&ANY_VALUE))];
static KEY_VALUE_LIST: [Known; 1] = [("values", 1, Messages(&KEY_VALUE))];
static KEY_VALUE: [Known; 2] = [("key", 1, Text), ("value", 2, Message(&ANY_VALUE))];
const RESOURCE: &[Known] = &[("attributes", 1, Messages(&KEY_VALUE))];
const SCOPE: &[Known] = &[("name", 1, Text), ("version", 2, Text)];

const SPAN: &[Known] = &[
    ("traceId", 1, Hex),
    ("spanId", 2, Hex),
    ("parentSpanId", 4, Hex),
    ("name", 5, Text),
    ("kind", 6, Integer),
    ("startTimeUnixNano", 7, Fixed64),
    ("endTimeUnixNano", 8, Fixed64),
    ("attributes", 9, Messages(&KEY_VALUE)),
    (
        "events",
        11,
        Messages(&[("timeUnixNano", 1, Fixed64), ("name", 2, Text), ("attributes", 3, Messages(&KEY_VALUE))]),
    ),
    ("links", 13, Messages(&[("traceId", 1, Hex), ("spanId", 2, Hex)])),
    ("status", 15, Message(&[("message", 2, Text), ("code", 3, Integer)])),
];
const LOG_RECORD: &[Known] = &[
    ("timeUnixNano", 1, Fixed64),
    ("severityNumber", 2, Integer),
    ("severityText", 3, Text),
    ("body", 5, Message(&ANY_VALUE)),
    ("attributes", 6, Messages(&KEY_VALUE)),
    ("traceId", 9, Hex),
    ("spanId", 10, Hex),
    ("observedTimeUnixNano", 11, Fixed64),
    ("eventName", 12, Text),
];
const NUMBER_POINT: &[Known] = &[
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("asDouble", 4, Double),
    ("asInt", 6, Fixed64),
    ("attributes", 7, Messages(&KEY_VALUE)),
    ("flags", 8, Integer),
];
const HISTOGRAM_POINT: &[Known] = &[
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("count", 4, Fixed64),
    ("sum", 5, Double),
    ("bucketCounts", 6, Fixed64s),
    ("explicitBounds", 7, Doubles),
    ("attributes", 9, Messages(&KEY_VALUE)),
    ("flags", 10, Integer),
    ("min", 11, Double),
    ("max", 12, Double),
];
const EXPONENTIAL_POINT: &[Known] = &[
    ("attributes", 1, Messages(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("count", 4, Fixed64),
    ("sum", 5, Double),
    ("flags", 10, Integer),
    ("min", 12, Double),
    ("max", 13, Double),
];
const SUMMARY_POINT: &[Known] = &[
    ("startTimeUnixNano", 2, Fixed64),
    ("timeUnixNano", 3, Fixed64),
    ("count", 4, Fixed64),
    ("sum", 5, Double),
    ("attributes", 7, Messages(&KEY_VALUE)),
    ("flags", 8, Integer),
];
const METRIC: &[Known] = &[
    ("name", 1, Text),
    ("unit", 3, Text),
    ("gauge", 5, Message(&[("dataPoints", 1, Messages(NUMBER_POINT))])),
    (
        "sum",
        7,
        Message(&[
            ("dataPoints", 1, Messages(NUMBER_POINT)),
            ("aggregationTemporality", 2, Integer),
            ("isMonotonic", 3, Integer),
        ]),
    ),
    ("histogram", 9, Message(&[("dataPoints", 1, Messages(HISTOGRAM_POINT)), ("aggregationTemporality", 2, Integer)])),
    (
        "exponentialHistogram",
        10,
        Message(&[("dataPoints", 1, Messages(EXPONENTIAL_POINT)), ("aggregationTemporality", 2, Integer)]),
    ),
    ("summary", 11, Message(&[("dataPoints", 1, Messages(SUMMARY_POINT))])),
    ("metadata", 12, Messages(&KEY_VALUE)),
];

/// The three requests: `ExportTraceServiceRequest` and its siblings.
const REQUESTS: &[Known] = &[
    (
        "resourceSpans",
        1,
        Messages(&[
            ("resource", 1, Message(RESOURCE)),
            ("scopeSpans", 2, Messages(&[("scope", 1, Message(SCOPE)), ("spans", 2, Messages(SPAN))])),
        ]),
    ),
    (
        "resourceMetrics",
        1,
        Messages(&[
            ("resource", 1, Message(RESOURCE)),
            ("scopeMetrics", 2, Messages(&[("scope", 1, Message(SCOPE)), ("metrics", 2, Messages(METRIC))])),
        ]),
    ),
    (
        "resourceLogs",
        1,
        Messages(&[
            ("resource", 1, Message(RESOURCE)),
            ("scopeLogs", 2, Messages(&[("scope", 1, Message(SCOPE)), ("logRecords", 2, Messages(LOG_RECORD))])),
        ]),
    ),
];

/// Rewrites a request. `root` is its one field (`resourceSpans`, `resourceMetrics`, `resourceLogs`).
///
/// # Errors
/// What serde_json finds, with line and column; a value that does not fit its field; or that the
/// result would be larger than `most` bytes.
pub(crate) fn to_protobuf(body: &[u8], root: &str, most: usize) -> Result<Vec<u8>, Unreadable> {
    let fields = REQUESTS.iter().position(|(name, ..)| *name == root).map_or(&[][..], |at| &REQUESTS[at..=at]);
    // Room for the largest result at once: a list that grows is held twice while it does, and memory that
    // is not written to costs nothing.
    let room = most.min(body.len().saturating_mul(3)) + 64 * 1024;
    let mut out = Out { writer: Writer(Vec::with_capacity(room)), most };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Fields { out: &mut out, fields }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match read {
        Err(_) if out.writer.0.len() > most => Err(Unreadable::TooLarge(most)),
        Err(error) => Err(Unreadable::Json(error)),
        Ok(()) => Ok(out.writer.0),
    }
}

/// Why a request in JSON is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the body is no OTLP in JSON: {0}")]
    Json(serde_json::Error),
    #[error("the body is larger than {0} bytes as protobuf; send fewer at once")]
    TooLarge(usize),
}

struct Out {
    writer: Writer,
    most: usize,
}

impl Out {
    fn check<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.writer.0.len() > self.most {
            return Err(E::custom("too large"));
        }
        Ok(())
    }
}

/// The inside of a message.
struct Fields<'o> {
    out: &'o mut Out,
    fields: &'static [Known],
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match self.fields.iter().find(|(known, ..)| *known == name) {
                Some(&(name, number, kind)) => map.next_value_seed(Value { out: self.out, name, number, kind })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// One value, written as field `number`.
struct Value<'o> {
    out: &'o mut Out,
    name: &'static str,
    number: u64,
    kind: Type,
}

impl Value<'_> {
    /// serde's own words would repeat the value, which may be a secret.
    fn unfit<E: serde::de::Error>(&self) -> E {
        E::custom(format_args!("{} has a value of the wrong type", self.name))
    }

    fn integer<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match self.kind {
            Integer => self.out.writer.integer(self.number, value),
            Fixed64 => self.out.writer.fixed64(self.number, value),
            _ => return Err(self.unfit()),
        }
        Ok(())
    }

    /// A number as its text: the standard library reads it to the last bit, serde_json may be off by one.
    fn double<E: serde::de::Error>(self, json: &str) -> Result<(), E> {
        if json == "null" {
            return Ok(());
        }
        // "NaN", "Infinity" and "-Infinity" are strings; so may any number be.
        let text = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json);
        let value: f64 = text.parse().map_err(|_| self.unfit())?;
        self.out.writer.fixed64(self.number, value.to_bits());
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.kind {
            Message(fields) => {
                let begun = self.out.writer.begin(self.number);
                Fields { out: self.out, fields }.deserialize(deserializer)?;
                self.out.writer.end(begun);
                self.out.check()
            }
            Double => self.double(<&RawValue>::deserialize(deserializer)?.get()),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.integer(u64::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.cast_unsigned())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        #[allow(clippy::cast_possible_truncation)]
        match self.kind {
            // JavaScript writes 1.5e9 for a whole number.
            Integer | Fixed64 if value.fract() == 0.0 && value.abs() < 9.2e18 => {
                self.integer((value as i64).cast_unsigned())
            }
            _ => Err(self.unfit()),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            Text => self.out.writer.bytes(self.number, text.as_bytes()),
            Hex => {
                let bytes = hex(text).ok_or_else(|| self.unfit())?;
                self.out.writer.bytes(self.number, &bytes);
            }
            Base64 => {
                let bytes = base64(text).ok_or_else(|| self.unfit())?;
                self.out.writer.bytes(self.number, &bytes);
            }
            Integer | Fixed64 => {
                let signed = text.parse::<i64>().map(i64::cast_unsigned);
                let value = signed.or_else(|_| text.parse::<u64>()).map_err(|_| self.unfit())?;
                return self.integer(value);
            }
            _ => return Err(self.unfit()),
        }
        self.out.check()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let single = match self.kind {
            Messages(fields) => Message(fields),
            Fixed64s => Fixed64,
            Doubles => Double,
            _ => return Err(self.unfit()),
        };
        // One field for each element: lists of numbers may be written unpacked.
        while seq
            .next_element_seed(Value { out: self.out, name: self.name, number: self.number, kind: single })?
            .is_some()
        {}
        self.out.check()
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(format_args!("{} has a value of the wrong type", self.name)))
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rewrite(text: &str) -> Result<Vec<u8>, String> {
        to_protobuf(text.as_bytes(), "resourceSpans", 1 << 20).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_name_the_place_and_no_value() {
        let error = rewrite(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"sk-secret"}]}]}]}"#).unwrap_err();
        assert!(error.contains("spanId has a value of the wrong type at line 1"), "{error}");
        assert!(rewrite(r#"{"resourceSpans":{"a":1}}"#).unwrap_err().contains("resourceSpans"));
    }

    #[test]
    fn unknown_names_and_nulls_are_passed_over() {
        assert!(rewrite(r#"{"resourceSpans":null,"x":[[{}]]}"#).unwrap().is_empty());
        let text = r#"{"resourceSpans":[{"later":{"a":[1]},"scopeSpans":null}]}"#;
        assert_eq!(rewrite(text).unwrap(), [0x0a, 0x80, 0x80, 0x80, 0x80, 0]);
    }

    #[test]
    fn what_grows_beyond_the_bound_is_refused() {
        let text = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(1000));
        assert!(to_protobuf(text.as_bytes(), "resourceSpans", 100).is_err());
    }
}
