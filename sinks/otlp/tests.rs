#![allow(clippy::unwrap_used)]

use engine::{Json, Status};
use serde_json::{Value, json};

use super::*;

fn requests(events: &[Event]) -> Vec<Value> {
    let mut out = Vec::new();
    lines(events, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event(text: &str) -> Event {
    Event::from_json(text).unwrap()
}

/// The value of an attribute in a list of them.
fn told<'v>(list: &'v Value, key: &str) -> Option<&'v Value> {
    let mut found = list.as_array().unwrap().iter().filter(|attribute| attribute["key"] == key);
    let value = found.next().map(|attribute| &attribute["value"]);
    assert!(found.next().is_none(), "{key} is told twice");
    value
}

fn only_span(event: &Event) -> Value {
    requests(std::slice::from_ref(event))[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
}

fn only_record(event: &Event) -> Value {
    requests(std::slice::from_ref(event))[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone()
}

#[test]
fn a_model_call_is_a_span_with_the_names_of_the_conventions() {
    let mut event = event(
        r#"{"kind":"llm_call","timestamp":"2026-11-24T18:50:08Z","duration_ms":1500.5,"name":"model-a","run_id":"a turn",
            "session_id":"s","span_id":"00F067AA0BA902B7","output":"hello","input":[{"role":"user"}]}"#,
    );
    let own = r#"{"gen_ai.usage.input_tokens":12,"cost_usd":0.5,"list":["a",1],"flag":true,"none":null}"#;
    event.attributes = Some(Json::parse(own).unwrap());
    let span = only_span(&event);
    assert_eq!((&span["name"], &span["kind"]), (&json!("chat model-a"), &json!(3)));
    assert_eq!(span["spanId"], "00f067aa0ba902b7");
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(span["endTimeUnixNano"], "1795546209500500000");
    let has = |key: &str, value: Value| assert_eq!(told(&span["attributes"], key), Some(&value), "{key}");
    has("gen_ai.operation.name", json!({ "stringValue": "chat" }));
    has("gen_ai.request.model", json!({ "stringValue": "model-a" }));
    has("gen_ai.conversation.id", json!({ "stringValue": "s" }));
    has("session.id", json!({ "stringValue": "s" }));
    has("gen_ai.usage.input_tokens", json!({ "intValue": "12" }));
    has("gen_ai.input.messages", json!({ "stringValue": r#"[{"role":"user"}]"# }));
    has("gen_ai.output.messages", json!({ "stringValue": "hello" }));
    has("cost_usd", json!({ "doubleValue": 0.5 }));
    has("list", json!({ "arrayValue": { "values": [{ "stringValue": "a" }, { "intValue": "1" }] } }));
    has("none", json!({}));
    has("openclaw_trace.event.id", json!({ "stringValue": event.trace_id.to_string() }));
    has("openclaw_trace.event.span_id", json!({ "stringValue": "00F067AA0BA902B7" }));
    assert_eq!(told(&span["attributes"], "openclaw_trace.event.attributes"), None, "they can be made again");
}

#[test]
fn spans_of_a_run_stay_in_one_trace_and_below_each_other() {
    let parent = event(r#"{"kind":"run","name":"user","run_id":"run-1","span_id":"top"}"#);
    let child = event(
        r#"{"kind":"tool_call","name":"read","run_id":"run-1","span_id":"below","parent_span_id":"top","status":"error","error":"no such file"}"#,
    );
    let requests = requests(&[parent, child, Event::new(Kind::LOG)]);
    let spans = &requests[0]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans[0]["name"], "invoke_agent", "its name is not the agent's");
    assert_eq!(spans[1]["name"], "execute_tool read");
    assert_eq!(spans[0]["traceId"], spans[1]["traceId"]);
    assert_eq!(spans[0]["spanId"], spans[1]["parentSpanId"]);
    assert_eq!(spans[1]["status"], json!({ "code": 2, "message": "no such file" }));
    assert_eq!(told(&spans[1]["attributes"], "error.type"), Some(&json!({ "stringValue": "_OTHER" })));
    assert_eq!(requests[1]["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().len(), 1);
}

#[test]
fn each_kind_has_its_signal() {
    for (text, signal) in [
        (r#"{"kind":"llm_call"}"#, Signal::Traces),
        (r#"{"kind":"message"}"#, Signal::Logs),
        (r#"{"kind":"message","duration_ms":0}"#, Signal::Traces),
        (r#"{"kind":"error","span_id":"a"}"#, Signal::Traces),
        (r#"{"kind":"log","span_id":"a","duration_ms":1}"#, Signal::Logs),
        (r#"{"kind":"link","span_id":"a"}"#, Signal::Logs),
        (r#"{"kind":"metric","attributes":{"a":1}}"#, Signal::Metrics),
        (r#"{"kind":"metric","attributes":{"a":"1","b":1e999}}"#, Signal::Logs),
        (r#"{"kind":"metric","span_id":"a"}"#, Signal::Logs),
    ] {
        assert_eq!(Signal::of(&event(text)), signal, "{text}");
    }
}

#[test]
fn what_a_turn_used_in_all_cannot_be_taken_for_a_call() {
    let usage = r#"{"kind":"usage","span_id":"0123456789abcdef","attributes":{"gen_ai.usage.input_tokens":5}}"#;
    let span = only_span(&event(usage));
    assert_eq!(told(&span["attributes"], "gen_ai.usage.input_tokens"), None);
    assert_eq!(told(&span["attributes"], "openclaw_trace.turn.usage.input_tokens"), Some(&json!({ "intValue": "5" })));
}

#[test]
fn a_record_says_what_the_event_says() {
    let record = only_record(&event(
        r#"{"kind":"log","name":"gateway","output":"it began","run_id":"r","parent_span_id":"p",
            "attributes":{"severity_number":13,"severity_text":"WARN"}}"#,
    ));
    assert_eq!(record["body"], json!({ "stringValue": "it began" }));
    assert_eq!((&record["severityNumber"], &record["severityText"]), (&json!(13), &json!("WARN")));
    assert_eq!(record["spanId"], ids::hex(&ids::span_of("p")));
    assert!(record.get("eventName").is_none());
    let record = only_record(&event(r#"{"kind":"error","name":"oom_kill","status":"error","error":"it was killed"}"#));
    assert_eq!(record["body"], json!({ "stringValue": "it was killed" }));
    assert_eq!((&record["severityNumber"], &record["eventName"]), (&json!(17), &json!("error")));
    assert!(record.get("spanId").is_none() && record.get("traceId").is_none());
}

fn metrics(event: &Event) -> Vec<Value> {
    let request = &requests(std::slice::from_ref(event))[0];
    request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone()
}

#[test]
fn a_sample_is_gauges_and_what_was_added_and_the_event_travels_once() {
    let sample = event(
        r#"{"kind":"metric","name":"container.resources","agent_id":"a","timestamp":"2026-11-24T18:50:08Z","attributes":{
            "scope":"machine","openclaw_trace.sample.interval":15.0,"container.cpu.time":1.5,"container.memory.usage":1048576}}"#,
    );
    let metrics = metrics(&sample);
    assert_eq!(metrics.len(), 2);
    let [cpu, memory] = &metrics[..] else { unreachable!() };
    assert_eq!((&cpu["name"], &cpu["unit"]), (&json!("container.cpu.time"), &json!("s")));
    assert_eq!((&cpu["sum"]["aggregationTemporality"], &cpu["sum"]["isMonotonic"]), (&json!(1), &json!(true)));
    let point = &cpu["sum"]["dataPoints"][0];
    assert_eq!(point["startTimeUnixNano"], "1795546193000000000");
    assert_eq!(point["timeUnixNano"], "1795546208000000000");
    assert_eq!(point["asDouble"], 1.5);
    assert_eq!(point["attributes"], json!([{ "key": "scope", "value": { "stringValue": "machine" } }]));
    assert_eq!((&memory["name"], &memory["unit"]), (&json!("container.memory.usage"), &json!("By")));
    assert_eq!(memory["gauge"]["dataPoints"][0]["asInt"], "1048576");
    let id = json!({ "stringValue": sample.trace_id.to_string() });
    for metric in &metrics {
        assert_eq!(told(&metric["metadata"], "openclaw_trace.event.id"), Some(&id));
    }
    assert!(told(&cpu["metadata"], "openclaw_trace.event.kind").is_some());
    assert_eq!(memory["metadata"].as_array().unwrap().len(), 1, "the first one carries it");
}

#[test]
fn names_without_a_dot_are_named_after_the_event() {
    let metrics = metrics(&event(
        r#"{"kind":"metric","name":"queue","attributes":{"value":5,"oldest":9,"a.b":1,"lane":"x","ok":true,"more":{}}}"#,
    ));
    let names: Vec<_> = metrics.iter().map(|metric| metric["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["queue", "queue.oldest", "a.b"]);
    let labels = &metrics[0]["gauge"]["dataPoints"][0]["attributes"];
    assert_eq!(told(labels, "lane"), Some(&json!({ "stringValue": "x" })));
    assert_eq!(told(labels, "ok"), Some(&json!({ "stringValue": "true" })));
    assert_eq!(labels.as_array().unwrap().len(), 2);
}

#[test]
fn a_metric_that_came_by_otlp_is_the_same_metric_again() {
    let sum = metrics(&event(
        r#"{"kind":"metric","name":"c","attributes":{"otel.metric.type":"sum","otel.metric.unit":"1","otel.metric.value":-2,
            "otel.metric.monotonic":false,"otel.metric.interval_ms":1000,"lane":3}}"#,
    ));
    assert_eq!((&sum[0]["sum"]["isMonotonic"], &sum[0]["unit"]), (&json!(false), &json!("1")));
    assert_eq!(sum[0]["sum"]["dataPoints"][0]["asInt"], "-2");
    assert_eq!(told(&sum[0]["sum"]["dataPoints"][0]["attributes"], "lane"), Some(&json!({ "stringValue": "3" })));
    let histogram = |buckets: &str| {
        let text = format!(
            r#"{{"kind":"metric","name":"h","attributes":{{"otel.metric.type":"histogram","otel.metric.count":4,
                "otel.metric.sum":9.5,"otel.metric.min":1,"otel.metric.buckets":{buckets}}}}}"#
        );
        metrics(&event(&text))[0]["histogram"]["dataPoints"][0].clone()
    };
    let point = histogram(r#"[[10,3],["Infinity",1]]"#);
    assert_eq!((&point["count"], &point["sum"], &point["min"]), (&json!("4"), &json!(9.5), &json!(1.0)));
    assert_eq!((&point["bucketCounts"], &point["explicitBounds"]), (&json!(["3", "1"]), &json!([10.0])));
    for other in [r#"[[10,3]]"#, r#"[[10,3],[5,1]]"#, r#"[[10,"4"]]"#, "[4]", "7"] {
        assert!(histogram(other).get("bucketCounts").is_none(), "{other} does not add up to the count");
    }
    let nothing =
        r#"{"kind":"metric","name":"h","attributes":{"otel.metric.type":"histogram","otel.metric.count":-1}}"#;
    assert_eq!(Signal::of(&event(nothing)), Signal::Logs);
}

#[test]
fn where_deltas_are_not_taken_what_was_added_is_a_gauge() {
    let told = |text: &str| {
        let event = event(text);
        let dialect = Dialect { form: Form::Json, deltas: Deltas::Gauge };
        let mut out = Vec::new();
        Packet::new(dialect, Signal::Metrics, &Resource::default(), [&event]).write(&mut out).unwrap();
        let request: Value = serde_json::from_slice(&out).unwrap();
        let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone();
        let point = |metric: &Value| metric["gauge"]["dataPoints"][0].clone();
        metrics.iter().map(|metric| (metric["name"].as_str().unwrap().to_owned(), point(metric))).collect::<Vec<_>>()
    };
    let sample =
        told(r#"{"kind":"metric","attributes":{"openclaw_trace.sample.interval":15,"container.cpu.time":1.5}}"#);
    assert_eq!((sample[0].0.as_str(), &sample[0].1["asDouble"]), ("container.cpu.time", &json!(1.5)));
    let histogram = told(
        r#"{"kind":"metric","name":"h","attributes":{"otel.metric.type":"histogram","otel.metric.count":4,"otel.metric.sum":9.5}}"#,
    );
    assert_eq!((histogram[0].0.as_str(), &histogram[0].1["asInt"]), ("h.count", &json!("4")));
    assert_eq!((histogram[1].0.as_str(), &histogram[1].1["asDouble"]), ("h.sum", &json!(9.5)));
}

#[test]
fn each_agent_is_a_resource_of_its_own_and_lengths_are_as_told() {
    let mut events: Vec<Event> = (0..40)
        .map(|at| {
            let kind = ["llm_call", "log", "metric"][at % 3];
            let agent = ["a", "b"][at % 2];
            event(&format!(
                r#"{{"kind":"{kind}","name":"n{at}","agent_id":"{agent}","attributes":{{"value":{at},"t":"{}"}}}}"#,
                "x".repeat(at * 7)
            ))
        })
        .collect();
    events[0].agent_id = None;
    events[4].status = Some(Status::Ok);
    let resource = Resource::with([("service.name".to_owned(), "mine".to_owned()), ("a".to_owned(), "b".to_owned())]);
    for form in [Form::Protobuf, Form::Json] {
        for signal in Signal::ALL {
            let of_signal = events.iter().filter(|event| Signal::of(event) == signal);
            let packet = Packet::new(Dialect { form, deltas: Deltas::Sum }, signal, &resource, of_signal);
            let mut out = Vec::new();
            packet.write(&mut out).unwrap();
            assert_eq!(out.len(), packet.bytes(), "{form:?} {signal:?}");
            if form == Form::Json {
                let request: Value = serde_json::from_slice(&out).unwrap();
                let groups = request.as_object().unwrap().values().next().unwrap().as_array().unwrap();
                assert_eq!(groups.len(), if signal == Signal::Traces { 3 } else { 2 });
                let told_by = groups.iter().map(|group| &group["resource"]["attributes"]);
                let agents: Vec<_> = told_by.clone().filter_map(|list| told(list, "service.instance.id")).collect();
                assert_eq!(agents.len(), 2);
                for list in told_by {
                    assert_eq!(told(list, "service.name"), Some(&json!({ "stringValue": "mine" })));
                    assert!(told(list, "a").is_some() && told(list, "telemetry.sdk.name").is_some());
                }
            }
        }
    }
}
