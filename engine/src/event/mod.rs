//! The event: one thing that the agent did.
//!
//! Field names, meanings and limits are those of `POST /v1/events`. OpenTelemetry names are used
//! in `attributes` where one exists (semantic conventions for generative AI, v1.41).

mod read;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::json::{Json, Members};
use read::Fields;

/// Longest `session_id`, `run_id`, `agent_id`, `span_id`, `parent_span_id`, in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// Identity and idempotency key of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(Uuid);

impl TraceId {
    /// A new one (UUID version 7: ordered by time, so that the store's index grows at its end).
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// From its 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// That of an event in JSON, of which nothing else need be right; `None` where it bears none, or more than
    /// one.
    #[must_use]
    pub fn of_json(text: &str) -> Option<Self> {
        read::identity(text)
    }
}

impl Default for TraceId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TraceId {
    type Err = EventError;

    fn from_str(text: &str) -> Result<Self, EventError> {
        Uuid::from_str(text).map(Self).map_err(|_| EventError::field("trace_id", "is not a UUID"))
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What sort of event it is: `[a-z0-9_.]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Kind(std::borrow::Cow<'static, str>);

impl Kind {
    /// A call of a model.
    pub const LLM_CALL: Self = Self::known("llm_call");
    /// A call of a tool.
    pub const TOOL_CALL: Self = Self::known("tool_call");
    /// An error of the agent or of its machine.
    pub const ERROR: Self = Self::known("error");
    /// A resource sample.
    pub const METRIC: Self = Self::known("metric");
    /// A log record.
    pub const LOG: Self = Self::known("log");
    /// One turn of the agent.
    pub const RUN: Self = Self::known("run");
    /// What a turn used in all: a sum over its model calls, never to be added to them.
    pub const USAGE: Self = Self::known("usage");
    /// That two things told apart are one: see `assemble`.
    pub const LINK: Self = Self::known("link");

    const fn known(name: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(name))
    }

    /// Takes a kind after checking its form.
    ///
    /// # Errors
    /// When it is not `[a-z0-9_.]{1,64}`.
    pub fn parse(text: &str) -> Result<Self, EventError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
        if fits {
            Ok(Self(text.to_owned().into()))
        } else {
            Err(EventError::field("kind", "must be 1 to 64 of a-z, 0-9, '_' and '.'"))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Nanoseconds since 1970-01-01 UTC; years 1678 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The present, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self::from_jiff(jiff::Timestamp::now()).unwrap_or(Self(0))
    }

    /// From nanoseconds since 1970.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since 1970; `None` outside the years 1678 to 2262.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let nanos = seconds * 1e9;
        (nanos.abs() < 9.2e18).then_some(Self(nanos as i64))
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn as_nanos(self) -> i64 {
        self.0
    }

    fn from_jiff(at: jiff::Timestamp) -> Result<Self, EventError> {
        i64::try_from(at.as_nanosecond())
            .map(Self)
            .map_err(|_| EventError::field("timestamp", "is outside the years 1678 to 2262"))
    }
}

impl FromStr for Timestamp {
    type Err = EventError;

    fn from_str(text: &str) -> Result<Self, EventError> {
        let at = text.parse::<jiff::Timestamp>().map_err(|_| {
            EventError::field("timestamp", "is neither RFC 3339 (2026-11-24T12:00:00Z) nor Unix milliseconds")
        })?;
        Self::from_jiff(at)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?.fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well.
    Ok,
    /// Not.
    Error,
}

/// Why a piece of JSON is not taken as an event: which field, and what about it.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The JSON itself cannot be read.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field's value does not fit.
    #[error("{field} {problem}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
}

impl EventError {
    fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field { field, problem: problem.into() }
    }
}

/// One thing that the agent did. See the module's description.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Identity and idempotency key.
    pub trace_id: TraceId,
    /// What sort of event.
    pub kind: Kind,
    /// Its start.
    pub timestamp: Timestamp,
    /// How long it took, in milliseconds; finite and not negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What went wrong, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The agent turn that groups events (what OpenTelemetry calls a trace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Place in the run's tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// The span above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// Model, tool, channel or metric name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What went in: any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// What came out: any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// An object; OpenTelemetry names where one exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Json>,
}

impl Event {
    /// An event of this kind, now, with a new identity and nothing else.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            trace_id: TraceId::new(),
            kind,
            timestamp: Timestamp::now(),
            duration_ms: None,
            status: None,
            error: None,
            session_id: None,
            run_id: None,
            agent_id: None,
            span_id: None,
            parent_span_id: None,
            name: None,
            input: None,
            output: None,
            attributes: None,
        }
    }

    /// Reads one event from the JSON that `POST /v1/events` takes. What is absent gets its
    /// default; a field that the table does not know is kept among the attributes, so that nothing
    /// is lost to a newer client.
    ///
    /// # Errors
    /// [`EventError`] names the field, or the line and column.
    pub fn from_json(text: &str) -> Result<Self, EventError> {
        Self::from_json_or(text, TraceId::new)
    }

    /// Like [`Event::from_json`], with this identity where the text names none: one that the same text at the
    /// same place always gets, so that it can be read again.
    ///
    /// # Errors
    /// [`EventError`] names the field, or the line and column.
    pub fn from_json_or(text: &str, identity: impl FnOnce() -> TraceId) -> Result<Self, EventError> {
        if !text.trim_start().starts_with('{') {
            // What is no JSON at all is said with its place; serde's own words for JSON of another
            // type would repeat the value, which may be a secret.
            let _: &RawValue = serde_json::from_str(text)?;
            return Err(EventError::field("event", "must be a JSON object"));
        }
        Fields::read(text)?.into_event(identity)
    }

    /// Like [`Event::from_json`], from a sender that names its events: one without a `trace_id` is an error.
    ///
    /// # Errors
    /// [`EventError`] names the field, or the line and column.
    pub fn from_named_json(text: &str) -> Result<Self, EventError> {
        if !text.trim_start().starts_with('{') {
            return Self::from_json(text);
        }
        let fields = Fields::read(text)?;
        if fields.has_identity() {
            fields.into_event(TraceId::new)
        } else {
            Err(EventError::field("trace_id", "is missing"))
        }
    }

    /// The JSON that [`Event::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Every field is a string, a finite number or checked JSON: writing cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Adds attributes, each with its value as JSON text. A name that is there already is not replaced:
    /// who calls this has looked.
    pub fn add_attributes<'a>(&mut self, added: impl IntoIterator<Item = (&'a str, String)>) {
        let mut members = self.attributes.as_ref().map(Members::of).unwrap_or_default();
        for (name, json) in added {
            members.add(name, &json);
        }
        if let Ok(json) = members.finish() {
            self.attributes = Some(json);
        }
    }

    /// Memory that the event stands for, in bytes: its texts and itself.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let texts = [
            &self.error,
            &self.session_id,
            &self.run_id,
            &self.agent_id,
            &self.span_id,
            &self.parent_span_id,
            &self.name,
        ];
        let bodies = [&self.input, &self.output, &self.attributes];
        size_of::<Self>()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + bodies.into_iter().flatten().map(Json::len).sum::<usize>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        Event::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn a_round_trip_loses_nothing() {
        let text = r#"{"trace_id":"0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3","kind":"llm_call","timestamp":"2026-11-24T12:00:00.123456789Z","duration_ms":12.5,"status":"error","error":"e","session_id":"s","run_id":"r","agent_id":"a","span_id":"1","parent_span_id":"0","name":"m","input":[1,{"a":"b"}],"output":"o","attributes":{"gen_ai.usage.input_tokens":3}}"#;
        assert_eq!(Event::from_json(text).unwrap().to_json(), text);
    }

    #[test]
    fn an_id_of_256_bytes_is_taken_and_a_longer_one_named_with_its_length() {
        let with_id = |bytes: usize| format!(r#"{{"kind":"log","session_id":"{}"}}"#, "x".repeat(bytes));
        assert!(Event::from_json(&with_id(MAX_ID_BYTES)).is_ok());
        assert_eq!(error(&with_id(MAX_ID_BYTES + 1)), "session_id is 257 bytes long; the most is 256");
    }

    #[test]
    fn parts_of_a_millisecond_are_kept_within_the_years_that_fit() {
        let at = |millis: &str| Event::from_json(&format!(r#"{{"kind":"log","timestamp":{millis}}}"#));
        // A double holds the present to some hundred nanoseconds.
        let off = at("1764000000123.5").unwrap().timestamp.as_nanos() - 1_764_000_000_123_500_000;
        assert!(off.abs() < 1000, "{off} ns off");
        assert_eq!(at("-0.25").unwrap().timestamp.as_nanos(), -250_000);
        assert_eq!(at("9.1e12").unwrap().timestamp.as_nanos(), 9_100_000_000_000_000_000);
        assert!(at("9.2e12").is_err() && at("-9.2e12").is_err());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_by_its_type_and_not_repeated() {
        for (value, name) in [("{}", "an object"), ("[1]", "an array"), ("true", "a boolean"), ("7", "a number")] {
            assert_eq!(
                error(&format!(r#"{{"kind":"log","name":{value}}}"#)),
                format!("name must be a string, not {name}")
            );
        }
        assert_eq!(error(r#"{"kind":"log","attributes":"s"}"#), "attributes must be an object, not a string");
    }

    #[test]
    fn so_many_unknown_fields_are_taken_and_no_more() {
        let with_unknown = |number: usize| {
            let fields: String = (0..number).map(|i| format!(",\"x{i}\":{i}")).collect();
            Event::from_json(&format!("{{\"kind\":\"log\"{fields}}}"))
        };
        assert!(with_unknown(64).is_ok());
        assert!(with_unknown(65).unwrap_err().to_string().starts_with("more than 64 unknown fields"));
    }

    #[test]
    fn the_size_counts_every_text_and_every_body() {
        let empty = Event::new(Kind::LOG).size_bytes();
        assert!(empty >= size_of::<Event>());
        let mut event = Event::new(Kind::LOG);
        event.error = Some("12".into());
        event.name = Some("345".into());
        event.input = Some(Json::parse("[1, 2]").unwrap());
        event.attributes = Some(Json::parse("{}").unwrap());
        assert_eq!(event.size_bytes(), empty + 2 + 3 + 6 + 2);
    }

    #[test]
    fn seconds_become_nanoseconds_within_the_years_that_fit() {
        assert_eq!(Timestamp::from_seconds(-1.5).map(Timestamp::as_nanos), Some(-1_500_000_000));
        assert_eq!(Timestamp::from_seconds(9.1e9).map(Timestamp::as_nanos), Some(9_100_000_000_000_000_000));
        for outside in [9.2e9, -9.3e9, f64::NAN, f64::INFINITY] {
            assert_eq!(Timestamp::from_seconds(outside), None, "{outside}");
        }
    }

    #[test]
    fn an_event_that_must_be_named_is_not_taken_without_its_name() {
        let named = r#"{"kind":"log","trace_id":"0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3"}"#;
        assert_eq!(Event::from_named_json(named).unwrap().trace_id.to_string(), "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3");
        for (text, problem) in [
            (r#"{"kind":"log"}"#, "trace_id is missing"),
            (r#"{"kind":"log","trace_id":null}"#, "trace_id is missing"),
            (r#"{"trace_id":"x"}"#, "kind is missing"),
            ("7", "event must be a JSON object"),
        ] {
            assert_eq!(Event::from_named_json(text).unwrap_err().to_string(), problem);
        }
    }

    #[test]
    fn the_identity_of_an_event_is_read_whatever_else_is_wrong_with_it() {
        let id = "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3";
        let fields: String = (0..100).map(|i| format!("\"x{i}\":[[{i}]],")).collect();
        for text in [
            format!(r#"{{"kind":7,"trace_id":"{id}"}}"#),
            format!(r#"{{{fields}"trace_\u0069d":"{id}"}}"#),
            format!(r#" {{"\ud800":1,"kind":"log","kind":"log","trace_id":"\u0030{}"}}"#, &id[1..]),
        ] {
            assert!(Event::from_named_json(&text).is_err(), "{text}");
            assert_eq!(TraceId::of_json(&text), Some(id.parse().unwrap()), "{text}");
        }
        for text in [
            format!(r#"{{"trace_id":"{id}","trace_id":"{id}"}}"#),
            format!(r#"{{"a":{{"trace_id":"{id}"}}}}"#),
            format!(r#"["trace_id","{id}"]"#),
            r#"{"trace_id":null}"#.to_owned(),
            r#"{"trace_id":["0192"]}"#.to_owned(),
            String::new(),
        ] {
            assert_eq!(TraceId::of_json(&text), None, "{text}");
        }
    }

    #[test]
    fn an_identity_is_its_bytes_and_a_kind_its_name() {
        assert_eq!(TraceId::from_bytes([7; 16]).as_bytes(), &[7; 16]);
        assert_eq!(Kind::parse("a.b_1").unwrap().as_str(), "a.b_1");
    }

    #[test]
    fn an_identity_is_given_only_to_what_names_none() {
        let given = TraceId::from_bytes([7; 16]);
        let read = |text: &str| Event::from_json_or(text, || given).unwrap().trace_id;
        assert_eq!(read(r#"{"kind":"log"}"#), given);
        assert_eq!(read(r#"{"kind":"log","trace_id":null}"#), given);
        let named = "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3";
        assert_eq!(read(&format!(r#"{{"kind":"log","trace_id":"{named}"}}"#)).to_string(), named);
    }

    #[test]
    fn unix_milliseconds_and_rfc_3339_are_the_same_moment() {
        let a = Event::from_json(r#"{"kind":"log","timestamp":1764000000123}"#).unwrap();
        let b = Event::from_json(r#"{"kind":"log","timestamp":"2025-11-24T16:00:00.123Z"}"#).unwrap();
        assert_eq!(a.timestamp, b.timestamp);
    }

    #[test]
    fn unknown_fields_are_kept_as_attributes_and_sent_attributes_win() {
        let event = Event::from_json(r#"{"kind":"log","zone":"x","b":{"c":1},"attributes":{"zone":"y"}}"#).unwrap();
        let read: serde_json::Value = serde_json::from_str(event.attributes.unwrap().as_str()).unwrap();
        assert_eq!(read, serde_json::json!({"zone": "y", "b": {"c": 1}}));
    }

    #[test]
    fn errors_name_the_field() {
        assert_eq!(error("{}"), "kind is missing");
        assert_eq!(error("[]"), "event must be a JSON object");
        assert_eq!(error(r#"{"kind":"A"}"#), "kind must be 1 to 64 of a-z, 0-9, '_' and '.'");
        assert_eq!(error(r#"{"kind":5}"#), "kind must be a string, not a number");
        assert_eq!(error(r#"{"kind":"log","trace_id":"x"}"#), "trace_id is not a UUID");
        assert_eq!(error(r#"{"kind":"log","attributes":[]}"#), "attributes must be an object, not an array");
        assert!(error(r#"{"kind":"log","kind":"log"}"#).starts_with("kind is given twice"));
        assert!(error(r#"{"kind":"log","timestamp":1e300}"#).starts_with("timestamp must be"));
        assert!(error(r#"{"kind":"log","duration_ms":-1}"#).starts_with("duration_ms must be"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in any::<String>()) {
            let _ = Event::from_json(&text);
            let _ = Event::from_json(&format!("{{\"kind\":\"log\",\"input\":{text}}}"));
        }

        #[test]
        fn any_strings_survive_the_round_trip(name in any::<String>(), error in any::<String>()) {
            let mut event = Event::new(Kind::LOG);
            event.name = Some(name);
            event.error = Some(error);
            prop_assert_eq!(Event::from_json(&event.to_json()).unwrap(), event);
        }
    }
}
