//! A push: what a sidecar's `augmi_push` sends, many events with one envelope (`docs/augmi-push.md`).
//!
//! The body is read once, from its text; only the events are kept, one after the other, and no more of them than
//! are allowed. What can go wrong is told in the terms that the sender acts on:
//!
//! * the body is no batch: 400; it holds more events than are taken: 413;
//! * an event that cannot be read, and says which it is: it is rejected by its `trace_id`, the others are taken;
//! * an event that does not say which it is: 422, and nothing is taken. The sender halves the batch until the guilty
//!   event stands alone, which is the only way left to tell it.
//!
//! Names that are not known are passed over, so that a newer sender may say more.

use std::fmt;

use axum::http::{HeaderMap, StatusCode};
use engine::event::MAX_ID_BYTES;
use engine::json::unescape;
use engine::{Event, TraceId};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::answer::Answer;
use super::parse::Format;

/// Longest text that is told of one event, in bytes: the sender reads 256 for each event, name and all.
const MAX_ERROR: usize = 120;

/// What a body held.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The agent that it says it is of; may be empty.
    pub(super) agent_id: String,
    /// Its own identity. Repeats are known by those of the events; this is for log lines.
    pub(super) batch_id: String,
    pub(super) events: Vec<Event>,
    pub(super) rejected: Vec<Rejected>,
}

/// An event that will never be taken.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rejected {
    pub(super) trace_id: TraceId,
    /// What is wrong with it, and where.
    pub(super) error: String,
}

/// Whether the head says that the body is JSON.
///
/// # Errors
/// 415.
pub(super) fn form(headers: &HeaderMap) -> Result<(), Answer> {
    match Format::of(headers) {
        Ok(Format::Json) => Ok(()),
        _ => Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")),
    }
}

/// Reads a batch of at most `most` events.
///
/// # Errors
/// 400, 413 or 422; nothing of the batch is taken then.
pub(super) fn read(body: &[u8], most: usize) -> Result<Batch, Answer> {
    let unreadable = |error: &dyn fmt::Display| {
        Answer::error(StatusCode::BAD_REQUEST, &format!("the body is not a batch in JSON: {error}"))
    };
    if body.trim_ascii_start().first() != Some(&b'{') {
        // Serde's own words for JSON of another type repeat the value.
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| unreadable(&error))?;
        return Err(Answer::error(StatusCode::BAD_REQUEST, "the body must be a JSON object: a batch"));
    }
    let mut reading = Reading { batch: Batch::default(), most, entering: None, refused: None };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = deserializer.deserialize_map(Envelope(&mut reading)).and_then(|()| deserializer.end());
    match (reading.refused, read) {
        (Some(refused), _) => Err(refused),
        (None, Err(error)) => match reading.entering {
            Some(list) if error.is_data() => Err(unreadable(&format_args!("{list} must be an array of events"))),
            _ => Err(unreadable(&error)),
        },
        (None, Ok(())) if reading.batch.events.is_empty() && reading.batch.rejected.is_empty() => {
            Err(Answer::error(StatusCode::BAD_REQUEST, "the batch holds no event, neither in traces nor in metrics"))
        }
        (None, Ok(())) => Ok(reading.batch),
    }
}

struct Reading {
    batch: Batch,
    most: usize,
    /// The list that begins here. Where it does not, serde's own words would repeat what stands in its place.
    entering: Option<&'static str>,
    /// Why reading was broken off.
    refused: Option<Answer>,
}

impl Reading {
    /// Takes one event, `at` its place in `list`; `false` ends the reading.
    fn take(&mut self, list: &str, at: usize, text: &str) -> bool {
        if self.batch.events.len() + self.batch.rejected.len() == self.most {
            let message = format!("more than {} events in one batch; send fewer at once", self.most);
            self.refused = Some(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message));
            return false;
        }
        let error = match Event::from_named_json(text) {
            Ok(event) => {
                self.batch.events.push(event);
                return true;
            }
            Err(error) => error.to_string(),
        };
        let error = error[..error.floor_char_boundary(MAX_ERROR)].to_owned();
        let Some(trace_id) = TraceId::of_json(text) else {
            let message = format!(
                "{list}[{at}] cannot be taken ({error}) and bears no trace_id by which it could be rejected alone; \
                 nothing of the batch was kept"
            );
            self.refused = Some(Answer::error(StatusCode::UNPROCESSABLE_ENTITY, &message));
            return false;
        };
        self.batch.rejected.push(Rejected { trace_id, error });
        true
    }
}

/// The batch itself.
struct Envelope<'r>(&'r mut Reading);

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut agent_id, mut batch_id, mut lists) = (None, None, [false; 2]);
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let name = name.get();
            match &*unescape(&name[1..name.len() - 1]) {
                "agent_id" => id(&mut agent_id, "agent_id", map.next_value()?)?,
                "batch_id" => id(&mut batch_id, "batch_id", map.next_value()?)?,
                "traces" => list(&mut map, self.0, "traces", &mut lists[0])?,
                "metrics" => list(&mut map, self.0, "metrics", &mut lists[1])?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let missing = |name| A::Error::custom(format_args!("{name} is missing"));
        self.0.batch.agent_id = agent_id.ok_or_else(|| missing("agent_id"))?;
        self.0.batch.batch_id = batch_id.ok_or_else(|| missing("batch_id"))?;
        Ok(())
    }
}

/// Reads an id, once. No error repeats it.
fn id<E: serde::de::Error>(known: &mut Option<String>, name: &str, json: &RawValue) -> Result<(), E> {
    let text = json.get();
    if !text.starts_with('"') {
        return Err(E::custom(format_args!("{name} must be a string")));
    }
    let id = unescape(&text[1..text.len() - 1]).into_owned();
    if id.len() > MAX_ID_BYTES {
        return Err(E::custom(format_args!("{name} is {} bytes long; the most is {MAX_ID_BYTES}", id.len())));
    }
    match known.replace(id) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("{name} is given twice"))),
    }
}

/// Reads a list, once.
fn list<'de, A: MapAccess<'de>>(
    map: &mut A,
    reading: &mut Reading,
    name: &'static str,
    seen: &mut bool,
) -> Result<(), A::Error> {
    if std::mem::replace(seen, true) {
        return Err(A::Error::custom(format_args!("{name} is given twice")));
    }
    reading.entering = Some(name);
    map.next_value_seed(List { reading, name })
}

/// One of the two lists.
struct List<'r> {
    reading: &'r mut Reading,
    name: &'static str,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.reading.entering = None;
        let mut at = 0;
        while let Some(event) = seq.next_element::<&'de RawValue>()? {
            if !self.reading.take(self.name, at, event.get()) {
                return Err(A::Error::custom("refused"));
            }
            at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn event(kind: &str) -> Value {
        json!({"trace_id": TraceId::new(), "kind": kind})
    }

    fn batch(traces: &[Value], metrics: &[Value]) -> Value {
        json!({"agent_id": "a", "batch_id": "b", "sent_at": "2026-11-24T12:00:00.123Z", "traces": traces, "metrics": metrics})
    }

    fn read(body: &Value) -> Result<Batch, Answer> {
        super::read(body.to_string().as_bytes(), 4)
    }

    fn refused(body: &Value) -> (u16, String) {
        let answer = read(body).unwrap_err();
        (answer.status().as_u16(), answer.message().to_owned())
    }

    #[test]
    fn both_lists_are_read_in_any_order_and_what_is_not_known_is_passed_over() {
        let mut body = batch(&[event("log"), event("llm_call")], &[event("metric")]);
        body["zone"] = json!({"agent_id": "other", "traces": [1]});
        let read = read(&body).unwrap();
        assert_eq!((read.agent_id.as_str(), read.batch_id.as_str()), ("a", "b"));
        assert_eq!(read.events.len(), 3);
        assert!(read.rejected.is_empty());
        let last = format!(r#"{{"metrics":[],"traces":[{}],"batch_id":"b","agent_id":""}}"#, event("log"));
        assert_eq!(super::read(last.as_bytes(), 4).unwrap().events.len(), 1);
    }

    #[test]
    fn an_event_that_cannot_be_read_is_rejected_by_its_name() {
        let bad = json!({"trace_id": TraceId::new(), "kind": "A kind"});
        let read = read(&batch(&[event("log"), bad.clone()], &[event("metric")])).unwrap();
        assert_eq!(read.events.len(), 2);
        assert_eq!(read.rejected.len(), 1);
        assert_eq!(read.rejected[0].trace_id.to_string(), bad["trace_id"]);
        assert!(read.rejected[0].error.starts_with("kind must be"), "{read:?}");
    }

    #[test]
    fn an_event_without_a_name_is_told_by_its_place_and_takes_the_batch_with_it() {
        for nameless in [json!({"kind": "log"}), json!({"kind": 5}), json!(7), json!({"kind": "log", "trace_id": "x"})]
        {
            let (status, message) = refused(&batch(&[event("log")], &[event("metric"), nameless]));
            assert_eq!(status, 422);
            assert!(message.starts_with("metrics[1] cannot be taken"), "{message}");
        }
    }

    #[test]
    fn more_events_than_the_limit_are_refused_whole_whichever_list_they_are_in() {
        assert!(read(&batch(&vec![event("log"); 2], &vec![event("metric"); 2])).is_ok());
        let bad = json!({"trace_id": TraceId::new()});
        assert_eq!(refused(&batch(&vec![bad; 3], &vec![event("metric"); 2])).0, 413);
    }

    #[test]
    fn what_is_no_batch_is_refused_with_its_reason_and_no_value_of_it() {
        let without = |name: &str| {
            let mut body = batch(&[event("log")], &[]);
            body.as_object_mut().unwrap().remove(name);
            body
        };
        let with = |name: &str, value: Value| {
            let mut body = batch(&[event("log")], &[]);
            body[name] = value;
            body
        };
        for (body, reason) in [
            (json!("hunter2"), "must be a JSON object"),
            (json!([event("log")]), "must be a JSON object"),
            (batch(&[], &[]), "holds no event"),
            (without("agent_id"), "agent_id is missing"),
            (without("batch_id"), "batch_id is missing"),
            (with("agent_id", json!(["hunter2"])), "agent_id must be a string"),
            (with("agent_id", json!("x".repeat(257))), "agent_id is 257 bytes long"),
            (with("traces", json!("hunter2")), "traces must be an array of events"),
            (with("metrics", json!({"hunter2": 1})), "metrics must be an array of events"),
            (with("traces", json!(4111)), "traces must be an array of events"),
            (with("metrics", Value::Null), "metrics must be an array of events"),
        ] {
            let (status, message) = refused(&body);
            assert_eq!(status, 400, "{body}");
            assert!(message.contains(reason) && !message.contains("hunter2"), "{body}: {message}");
        }
        for body in ["", "{", "{}x", r#"{"agent_id":"a","agent_id":"a"}"#, r#"{"traces":[],"tr\u0061ces":[]}"#] {
            assert_eq!(super::read(body.as_bytes(), 4).unwrap_err().status(), StatusCode::BAD_REQUEST, "{body}");
        }
    }

    #[test]
    fn what_is_told_of_an_event_is_short() {
        let unknown: String = (0..70).map(|i| format!("\"{}{i}\":1,", "x".repeat(200))).collect();
        let body =
            format!(r#"{{"agent_id":"","batch_id":"","traces":[{{{unknown}"trace_id":"{}"}}]}}"#, TraceId::new());
        let rejected = super::read(body.as_bytes(), 4).unwrap().rejected;
        let told = serde_json::to_string(&rejected[0]).unwrap();
        assert!(told.len() < 256, "{told}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = super::read(&body, 3);
        }
    }
}
