//! Events as OTLP/JSON: what any OpenTelemetry collector takes.
//!
//! An event with a place in a tree, or with a duration, is a span; any other is a log record. Names are those of
//! the semantic conventions for generative AI (v1.41). What has no name there keeps its own, below
//! `openclaw_trace.`; the identity of the event is `openclaw_trace.event.id`, its kind `openclaw_trace.event.kind`.
//!
//! Ids that are not OpenTelemetry's (32 and 16 hexadecimal digits) become such by a hash, always the same, so
//! that spans of a run stay in one trace and below each other.

use engine::identity::digest;
use engine::{Event, Kind, Status};
use serde_json::{Map, Value, json};

/// The events as requests: one of `resourceSpans`, one of `resourceLogs`, each where there is anything for it.
#[must_use]
pub fn requests(events: &[Event]) -> Vec<Value> {
    let (spans, logs): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| is_span(event));
    let resource = json!({ "attributes": [attribute("service.name", &json!("openclaw"))] });
    let scope = json!({ "name": "openclaw-trace", "version": env!("CARGO_PKG_VERSION") });
    let mut requests = Vec::new();
    if !spans.is_empty() {
        let spans: Vec<Value> = spans.into_iter().map(span).collect();
        requests.push(
            json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope, "spans": spans }] }] }),
        );
    }
    if !logs.is_empty() {
        let logs: Vec<Value> = logs.into_iter().map(record).collect();
        requests.push(json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "scope": scope, "logRecords": logs }] }] }));
    }
    requests
}

fn is_span(event: &Event) -> bool {
    let told = event.kind == Kind::LOG || event.kind == Kind::METRIC || event.kind == Kind::LINK;
    !told && (event.span_id.is_some() || event.duration_ms.is_some())
}

fn span(event: &Event) -> Value {
    let (operation, kind) = match event.kind.as_str() {
        "llm_call" => (Some("chat"), 3),
        "tool_call" => (Some("execute_tool"), 1),
        "run" => (Some("invoke_agent"), 1),
        _ => (None, 1),
    };
    let mut attributes = attributes(event);
    if let Some(operation) = operation {
        add(&mut attributes, "gen_ai.operation.name", &json!(operation));
    }
    let said = attributes.get("gen_ai.operation.name").and_then(Value::as_str).map(str::to_owned);
    let first = said.unwrap_or_else(|| event.kind.as_str().to_owned());
    let name = event.name.as_ref().map_or_else(|| first.clone(), |name| format!("{first} {name}"));
    let start = event.timestamp.as_nanos();
    #[allow(clippy::cast_possible_truncation)]
    let end = start.saturating_add((event.duration_ms.unwrap_or(0.0) * 1e6) as i64);
    let mut span = json!({
        "traceId": trace_id(event),
        "spanId": event.span_id.as_deref().map_or_else(|| hash(event.trace_id.to_string().as_bytes(), 8), span_id),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": written(&attributes),
        "status": match event.status {
            Some(Status::Error) => json!({ "code": 2, "message": event.error.as_deref().unwrap_or_default() }),
            Some(Status::Ok) => json!({ "code": 1 }),
            None => json!({}),
        },
    });
    if let Some(parent) = &event.parent_span_id {
        span["parentSpanId"] = span_id(parent).into();
    }
    span
}

fn record(event: &Event) -> Value {
    let time = event.timestamp.as_nanos().to_string();
    let failed = event.status == Some(Status::Error);
    let mut attributes = attributes(event);
    if let Some(error) = &event.error {
        add(&mut attributes, "exception.message", &json!(error));
    }
    let mut record = json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": if failed { 17 } else { 9 },
        "eventName": event.kind.as_str(),
        "attributes": written(&attributes),
    });
    if let Some(text) = event.error.as_deref().or(event.name.as_deref()) {
        record["body"] = json!({ "stringValue": text });
    }
    if event.run_id.is_some() {
        record["traceId"] = trace_id(event).into();
    }
    if let Some(span) = &event.span_id {
        record["spanId"] = span_id(span).into();
    }
    record
}

/// All of an event that is no field of a span, by attribute.
fn attributes(event: &Event) -> Map<String, Value> {
    let told = event.attributes.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok());
    let mut all: Map<String, Value> = told.unwrap_or_default();
    let (input, output, name) = match event.kind.as_str() {
        "llm_call" => ("gen_ai.input.messages", "gen_ai.output.messages", Some("gen_ai.request.model")),
        "tool_call" => ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", Some("gen_ai.tool.name")),
        _ => ("input.value", "output.value", None),
    };
    for (key, body) in [(input, &event.input), (output, &event.output)] {
        if let Some(body) = body {
            // The conventions have content as text where it cannot be structured.
            add(&mut all, key, &json!(body.as_str()));
        }
    }
    let texts = [
        ("openclaw_trace.event.id", Some(event.trace_id.to_string())),
        ("openclaw_trace.event.kind", Some(event.kind.as_str().to_owned())),
        (name.unwrap_or("openclaw_trace.event.name"), event.name.clone()),
        ("gen_ai.conversation.id", event.session_id.clone()),
        ("gen_ai.agent.id", event.agent_id.clone()),
        ("openclaw.runId", event.run_id.clone()),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            add(&mut all, key, &json!(text));
        }
    }
    all
}

/// What is told stays as it was told.
fn add(all: &mut Map<String, Value>, key: &str, value: &Value) {
    all.entry(key).or_insert_with(|| value.clone());
}

fn written(attributes: &Map<String, Value>) -> Vec<Value> {
    attributes.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| attribute(key, value)).collect()
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({ "key": key, "value": any_value(value) })
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => match number.as_i64() {
            // A 64-bit number is a string in the JSON form of protobuf.
            Some(number) => json!({ "intValue": number.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(any_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::Object(members) => json!({ "kvlistValue": { "values": written(members) } }),
        Value::Null => json!({}),
    }
}

fn trace_id(event: &Event) -> String {
    let named = event.run_id.clone().unwrap_or_else(|| event.trace_id.to_string());
    if is_hex(&named, 32) { named.to_ascii_lowercase() } else { hash(named.as_bytes(), 16) }
}

fn span_id(id: &str) -> String {
    if is_hex(id, 16) { id.to_ascii_lowercase() } else { hash(id.as_bytes(), 8) }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.bytes().any(|byte| byte != b'0')
}

fn hash(bytes: &[u8], length: usize) -> String {
    digest(&[b"otlp", bytes])[..length].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use engine::Json;

    use super::*;

    #[test]
    fn a_model_call_is_a_span_with_the_names_of_the_conventions() {
        let mut event = Event::new(Kind::LLM_CALL);
        event.timestamp = "2026-11-24T18:50:08Z".parse().unwrap();
        event.duration_ms = Some(1500.5);
        event.name = Some("model-a".to_owned());
        event.run_id = Some("a turn".to_owned());
        event.session_id = Some("s".to_owned());
        event.span_id = Some("00F067AA0BA902B7".to_owned());
        event.output = Some(Json::parse(r#""hello""#).unwrap());
        let told = r#"{"gen_ai.usage.input_tokens":12,"cost_usd":0.5,"list":["a",1],"flag":true,"none":null}"#;
        event.attributes = Some(Json::parse(told).unwrap());
        let requests = requests(std::slice::from_ref(&event));
        let span = &requests[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!((&span["name"], &span["kind"]), (&json!("chat model-a"), &json!(3)));
        assert_eq!(span["spanId"], "00f067aa0ba902b7");
        assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
        assert_eq!(span["endTimeUnixNano"], "1795546209500500000");
        let has = |key: &str, value: Value| {
            let all = span["attributes"].as_array().unwrap();
            assert!(all.contains(&json!({ "key": key, "value": value })), "{key} in {all:?}");
        };
        has("gen_ai.operation.name", json!({ "stringValue": "chat" }));
        has("gen_ai.request.model", json!({ "stringValue": "model-a" }));
        has("gen_ai.conversation.id", json!({ "stringValue": "s" }));
        has("gen_ai.usage.input_tokens", json!({ "intValue": "12" }));
        has("gen_ai.output.messages", json!({ "stringValue": "\"hello\"" }));
        has("cost_usd", json!({ "doubleValue": 0.5 }));
        has("list", json!({ "arrayValue": { "values": [{ "stringValue": "a" }, { "intValue": "1" }] } }));
        assert!(!span["attributes"].to_string().contains("none"));
    }

    #[test]
    fn spans_of_a_run_stay_in_one_trace_and_below_each_other() {
        let mut parent = Event::new(Kind::RUN);
        parent.run_id = Some("run-1".to_owned());
        parent.span_id = Some("top".to_owned());
        let mut child = Event::new(Kind::TOOL_CALL);
        child.run_id = Some("run-1".to_owned());
        child.span_id = Some("below".to_owned());
        child.parent_span_id = Some("top".to_owned());
        child.status = Some(Status::Error);
        child.error = Some("no such file".to_owned());
        let requests = requests(&[parent, child, Event::new(Kind::LOG)]);
        let spans = &requests[0]["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["traceId"], spans[1]["traceId"]);
        assert_eq!(spans[0]["spanId"], spans[1]["parentSpanId"]);
        assert_eq!(spans[1]["status"], json!({ "code": 2, "message": "no such file" }));
        assert_eq!(requests[1]["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().len(), 1);
    }
}
