//! An event as a row: one line of `JSONEachRow`.
//!
//! The same event is the same bytes, whenever it is sent and to whom. What the event does not have is left out. Bodies
//! and attributes are the JSON they were, as text; what is asked for most stands in columns of its own as well.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use engine::{Event, Json, Status};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The attribute that says whose the agent is; a gateway sets it by the token that was shown.
pub(super) const ORG: &str = "openclaw_trace.org.id";

/// Writes the row of an event, with its line end.
///
/// # Errors
/// What `out` says.
pub(super) fn write(mut out: impl Write, event: &Event) -> io::Result<()> {
    let told = event.attributes.as_ref().map(Told::of).unwrap_or_default();
    serde_json::to_writer(&mut out, &Row::of(event, &told))?;
    out.write_all(b"\n")
}

/// The columns that are told. Numbers are never quoted, text never NULL.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    org_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent_id: &'a str,
    ts_ns: i64,
    kind: &'a str,
    trace_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    session_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    run_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    span_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent_span_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    provider: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    operation: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cost_source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    input: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    attributes: &'a str,
}

impl<'a> Row<'a> {
    fn of(event: &'a Event, told: &'a Told<'a>) -> Self {
        let text = |field: &'a Option<String>| field.as_deref().unwrap_or_default();
        let body = |field: &'a Option<Json>| field.as_ref().map(Json::as_str).unwrap_or_default();
        Self {
            org_id: &told.org,
            agent_id: text(&event.agent_id),
            ts_ns: event.timestamp.as_nanos(),
            kind: event.kind.as_str(),
            trace_id: event.trace_id.to_string(),
            session_id: text(&event.session_id),
            run_id: text(&event.run_id),
            span_id: text(&event.span_id),
            parent_span_id: text(&event.parent_span_id),
            name: text(&event.name),
            status: match event.status {
                Some(Status::Ok) => "ok",
                Some(Status::Error) => "error",
                None => "",
            },
            error: text(&event.error),
            duration_ms: event.duration_ms,
            provider: &told.provider,
            model: if told.response_model.is_empty() { &told.model } else { &told.response_model },
            operation: &told.operation,
            tool: &told.tool,
            input_tokens: told.input,
            cache_read_tokens: told.cache_read,
            cache_write_tokens: told.cache_write,
            output_tokens: told.output,
            reasoning_tokens: told.reasoning,
            cost_usd: told.cost_usd,
            cost_source: &told.cost_source,
            error_type: &told.error_type,
            version: &told.version,
            input: body(&event.input),
            output: body(&event.output),
            attributes: body(&event.attributes),
        }
    }
}

/// The attributes that become columns. One of another type than it should be counts as absent.
#[derive(Debug, Default, PartialEq)]
struct Told<'a> {
    org: Cow<'a, str>,
    provider: Cow<'a, str>,
    model: Cow<'a, str>,
    response_model: Cow<'a, str>,
    operation: Cow<'a, str>,
    tool: Cow<'a, str>,
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    cost_usd: Option<f64>,
    cost_source: Cow<'a, str>,
    error_type: Cow<'a, str>,
    version: Cow<'a, str>,
}

impl<'a> Told<'a> {
    fn of(attributes: &'a Json) -> Self {
        serde_json::from_str(attributes.as_str()).unwrap_or_default()
    }

    fn take(&mut self, name: &str, value: &'a RawValue) {
        match name {
            ORG => self.org = text(value),
            "gen_ai.provider.name" => self.provider = text(value),
            "gen_ai.request.model" => self.model = text(value),
            "gen_ai.response.model" => self.response_model = text(value),
            "gen_ai.operation.name" => self.operation = text(value),
            "gen_ai.tool.name" => self.tool = text(value),
            "gen_ai.usage.input_tokens" => self.input = count(value),
            "gen_ai.usage.cache_read.input_tokens" => self.cache_read = count(value),
            "gen_ai.usage.cache_creation.input_tokens" => self.cache_write = count(value),
            "gen_ai.usage.output_tokens" => self.output = count(value),
            "gen_ai.usage.reasoning.output_tokens" => self.reasoning = count(value),
            "cost_usd" => self.cost_usd = number(value),
            "openclaw_trace.cost.source" => self.cost_source = text(value),
            "error.type" => self.error_type = text(value),
            "service.version" => self.version = text(value),
            _ => {}
        }
    }
}

/// By hand: of two members of one name the last counts, where serde would read nothing at all.
impl<'de> Deserialize<'de> for Told<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Told<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut told = Told::default();
                while let Some(Name(name)) = members.next_key()? {
                    if name.contains(['.', '_']) {
                        told.take(&name, members.next_value()?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(told)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A name, borrowed where it has no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn text(value: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Name<'_>>(value.get()).map_or_else(|_| Cow::default(), |Name(text)| text)
}

fn number(value: &RawValue) -> Option<f64> {
    serde_json::from_str::<f64>(value.get()).ok().filter(|number| number.is_finite())
}

/// A count of tokens; some clients write it as a fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn count(value: &RawValue) -> Option<u64> {
    number(value).filter(|number| (0.0..=9e15).contains(number)).map(|number| number.round() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::layout::COLUMNS;
    use super::*;

    fn row(event: &Event) -> Value {
        let mut line = Vec::new();
        write(&mut line, event).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&line).unwrap()
    }

    fn full() -> Event {
        Event::from_json(
            r#"{"trace_id":"0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3","kind":"llm_call","timestamp":"2026-11-24T12:00:00.123456789Z","duration_ms":12.5,
            "status":"error","error":"e","session_id":"s","run_id":"r","agent_id":"a","span_id":"1","parent_span_id":"0","name":"n","input":["\n\u0000é"],"output":"o",
            "attributes":{"openclaw_trace.org.id":"acme","gen_ai.provider.name":"openai","gen_ai.request.model":"m","gen_ai.response.model":"m-2026","gen_ai.operation.name":"chat",
            "gen_ai.tool.name":"t","gen_ai.usage.input_tokens":12,"gen_ai.usage.cache_read.input_tokens":7.0,"gen_ai.usage.cache_creation.input_tokens":1,"gen_ai.usage.output_tokens":3,
            "gen_ai.usage.reasoning.output_tokens":2,"cost_usd":0.25,"openclaw_trace.cost.source":"computed","error.type":"timeout","service.version":"2026.9.6"}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_full_event_fills_every_column_that_is_told() {
        let event = full();
        let row = row(&event);
        let names: Vec<&str> = COLUMNS.iter().filter(|column| column.told).map(|column| column.name).collect();
        let mut told: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = names.clone();
        told.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(told, wanted);
        for (name, value) in [
            ("org_id", json!("acme")),
            ("ts_ns", json!(1_795_521_600_123_456_789_i64)),
            ("trace_id", json!("0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3")),
            ("model", json!("m-2026")),
            ("cache_read_tokens", json!(7)),
            ("cost_usd", json!(0.25)),
            ("version", json!("2026.9.6")),
            ("input", json!("[\"\\n\\u0000é\"]")),
        ] {
            assert_eq!(row[name], value, "{name}");
        }
        assert_eq!(row["attributes"], event.attributes.unwrap().as_str());
    }

    #[test]
    fn what_an_event_does_not_have_is_left_out() {
        let event = Event::from_json(r#"{"kind":"log","timestamp":5}"#).unwrap();
        let id = event.trace_id.to_string();
        assert_eq!(row(&event), json!({ "ts_ns": 5_000_000, "kind": "log", "trace_id": id }));
    }

    #[test]
    fn attributes_of_other_types_count_as_absent_and_the_others_are_taken() {
        let mut event = Event::from_json(
            r#"{"kind":"llm_call","attributes":{"openclaw_trace.org.id":7,"gen_ai.usage.input_tokens":"many","gen_ai.usage.output_tokens":-1,"cost_usd":null,"error.type":["x"],"service.version":"1"}}"#,
        )
        .unwrap();
        let read = row(&event);
        for name in ["org_id", "input_tokens", "output_tokens", "cost_usd", "error_type"] {
            assert!(read.get(name).is_none(), "{name} in {read}");
        }
        assert_eq!(read["version"], "1");
        event.attributes = Some(Json::parse(r#"{"cost_usd":1,"x":{"cost_usd":3},"cost_usd":2}"#).unwrap());
        assert_eq!(row(&event)["cost_usd"], 2.0, "of two the last counts");
    }

    proptest! {
        #[test]
        fn the_same_event_is_the_same_bytes_and_any_text_survives(name in any::<String>(), body in any::<String>()) {
            let mut event = full();
            event.name = Some(name.clone());
            event.output = Some(Json::from_value(&body).unwrap());
            let (mut first, mut second) = (Vec::new(), Vec::new());
            write(&mut first, &event).unwrap();
            write(&mut second, &Event::from_json(&event.to_json()).unwrap()).unwrap();
            prop_assert_eq!(&first, &second);
            let row: Value = serde_json::from_slice(&first).unwrap();
            prop_assert_eq!(row.get("name").and_then(Value::as_str).unwrap_or_default(), name);
            let output: String = serde_json::from_str(row["output"].as_str().unwrap()).unwrap();
            prop_assert_eq!(output, body);
        }
    }
}
