//! From a body to events: one object, an array, or NDJSON. Each event stands or falls alone.

use std::fmt;

use axum::http::{HeaderMap, StatusCode, header};
use engine::Event;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::Answer;

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One object or an array of them.
    Json,
    /// One object a line.
    Ndjson,
}

/// An event that could not be read.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rejected {
    /// Its place in the array, or its line, from 0.
    pub(super) index: usize,
    /// What is wrong, and where.
    pub(super) error: String,
}

/// Reads one event from its JSON.
pub(super) type Read = fn(&str) -> Result<Event, String>;

/// The event as `/v1/events` takes it.
pub(super) fn event(text: &str) -> Result<Event, String> {
    Event::from_json(text).map_err(|error| error.to_string())
}

/// What a body held.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) events: Vec<Event>,
    pub(super) rejected: Vec<Rejected>,
}

impl Format {
    /// By `Content-Type`.
    ///
    /// # Errors
    /// 415. A type is asked for because a web page elsewhere can post the other ones unasked.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Answer> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        match value.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Ndjson),
            _ => Err(Answer::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json (an object or an array) or application/x-ndjson",
            )),
        }
    }
}

impl Parsed {
    fn add(&mut self, index: usize, event: Result<Event, String>) {
        match event {
            Ok(event) => self.events.push(event),
            Err(error) => self.rejected.push(Rejected { index, error }),
        }
    }
}

/// Reads the events of a body.
///
/// # Errors
/// 400 where the body as a whole is not what it should be, 413 where it holds more than `most` events.
pub(super) fn events(body: &[u8], format: Format, most: usize, read: Read) -> Result<Parsed, Answer> {
    let mut parsed = Parsed::default();
    match format {
        Format::Ndjson => {
            let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
            for (count, (index, line)) in lines.filter(|(_, line)| !line.is_empty()).enumerate() {
                if count == most {
                    return Err(too_many(most));
                }
                let event = std::str::from_utf8(line)
                    .map_err(|error| format!("not UTF-8 at byte {} of the line", error.valid_up_to()))
                    .and_then(read);
                parsed.add(index, event);
            }
        }
        Format::Json if body.trim_ascii_start().first() == Some(&b'[') => {
            let mut deserializer = serde_json::Deserializer::from_slice(body);
            let seed = Array { parsed: &mut parsed, most, read };
            let within = seed.deserialize(&mut deserializer).and_then(|within| deserializer.end().map(|()| within));
            match within {
                Ok(true) => {}
                Ok(false) => return Err(too_many(most)),
                Err(error) => return Err(unreadable(&error)),
            }
        }
        Format::Json => {
            // Checked as a whole first, so that an error names the line and column in the body.
            let raw: &RawValue = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
            parsed.add(0, read(raw.get()));
        }
    }
    if parsed.events.is_empty() && parsed.rejected.is_empty() && format == Format::Ndjson {
        return Err(Answer::error(StatusCode::BAD_REQUEST, "the body holds no line"));
    }
    Ok(parsed)
}

fn too_many(most: usize) -> Answer {
    let message = format!("more than {most} events in one request; send fewer at once");
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message)
}

fn unreadable(error: &serde_json::Error) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {error}"))
}

/// Reads an array's elements one after the other, and stops at the limit: a list of the elements'
/// places alone can take eight times the body.
struct Array<'p> {
    parsed: &'p mut Parsed,
    most: usize,
    read: Read,
}

impl<'de> DeserializeSeed<'de> for Array<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Array<'_> {
    /// Whether the array was within the limit.
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut index = 0;
        let mut within = true;
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            within = index < self.most;
            if within {
                self.parsed.add(index, (self.read)(raw.get()));
            }
            index += 1;
        }
        Ok(within)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str, format: Format) -> Parsed {
        events(body.as_bytes(), format, 3, event).unwrap()
    }

    #[test]
    fn a_bad_event_does_not_take_the_others_with_it() {
        let parsed = read(r#"[{"kind":"log"},{"kind":7},{"kind":"log"}]"#, Format::Json);
        assert_eq!(parsed.events.len(), 2);
        let error = "kind must be a string, not a number".to_owned();
        assert_eq!(parsed.rejected, [Rejected { index: 1, error }]);
    }

    #[test]
    fn lines_are_counted_as_they_stand_in_the_body() {
        let parsed = read("{\"kind\":\"log\"}\r\n\n{\"kind\":\n{\"kind\":\"log\"}", Format::Ndjson);
        assert_eq!(parsed.events.len(), 2);
        assert_eq!(parsed.rejected[0].index, 2);
    }

    #[test]
    fn more_events_than_the_limit_are_refused_whole() {
        let four = format!("[{}]", [r#"{"kind":"log"}"#; 4].join(","));
        assert_eq!(
            events(four.as_bytes(), Format::Json, 3, event).unwrap_err().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let four = "{\"kind\":\"log\"}\n".repeat(4);
        assert_eq!(
            events(four.as_bytes(), Format::Ndjson, 3, event).unwrap_err().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for body in ["", "{", "[{\"kind\":\"log\"}", "[1] x", "\u{0}"] {
            assert_eq!(
                events(body.as_bytes(), Format::Json, 3, event).unwrap_err().status(),
                StatusCode::BAD_REQUEST,
                "{body}"
            );
        }
        assert_eq!(events(b"[\"\xff\"]", Format::Json, 3, event).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = events(&body, Format::Json, 3, event);
            let _ = events(&body, Format::Ndjson, 3, event);
        }
    }
}
