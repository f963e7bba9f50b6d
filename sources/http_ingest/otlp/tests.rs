#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value as Tree, json};

use super::*;

const BOUNDS: Bounds = Bounds { events: 1000, bytes: 4 << 20 };

fn decode(signal: Signal, body: &Tree) -> Decoded {
    read_json(signal, body.to_string().as_bytes(), &mut Series::new(100, &[]), BOUNDS, "").unwrap()
}

fn attribute(key: &str, value: &Tree) -> Tree {
    let value = match value {
        Tree::String(text) => json!({"stringValue": text}),
        Tree::Bool(value) => json!({"boolValue": value}),
        Tree::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Tree::Number(number) => json!({"intValue": number.to_string()}),
        Tree::Array(list) => {
            json!({"arrayValue": {"values": list.iter().map(|item| attribute("", item)["value"].clone()).collect::<Vec<_>>()}})
        }
        Tree::Object(map) => {
            json!({"kvlistValue": {"values": map.iter().map(|(k, v)| attribute(k, v)).collect::<Vec<_>>()}})
        }
        Tree::Null => json!({}),
    };
    json!({"key": key, "value": value})
}

fn attributes(map: &Tree) -> Tree {
    map.as_object().unwrap().iter().map(|(key, value)| attribute(key, value)).collect()
}

fn span(name: &str, told: &Tree) -> Tree {
    json!({
        "traceId": "0123456789abcdef0123456789ABCDEF", "spanId": "0123456789abcdef", "parentSpanId": "", "name": name, "kind": 3,
        "startTimeUnixNano": "1795546208145000000", "endTimeUnixNano": 1_795_546_208_393_000_000_u64,
        "attributes": attributes(told),
    })
}

fn spans(list: &[Tree]) -> Tree {
    let resource =
        attributes(&json!({"service.name": "gw", "process.pid": 7, "process.command_args": ["--message", "private"]}));
    json!({"resourceSpans": [{
        "scopeSpans": [{"scope": {"name": "openclaw"}, "spans": list}],
        "resource": {"attributes": resource},
    }]})
}

fn one(name: &str, told: &Tree) -> Event {
    let mut decoded = decode(Signal::Traces, &spans(&[span(name, told)]));
    assert_eq!((decoded.events.len(), decoded.rejected), (1, 0), "{:?}", decoded.problem);
    decoded.events.remove(0)
}

fn told(event: &Event) -> Tree {
    serde_json::from_str(event.attributes.as_ref().unwrap().as_str()).unwrap()
}

#[test]
fn a_span_keeps_its_place_its_times_and_its_sender() {
    let event = one("openclaw.model.call", &json!({"gen_ai.request.model": "m", "a": [1, {"b": true}], "n": 1.5}));
    assert_eq!(event.kind.as_str(), "llm_call");
    assert_eq!(event.run_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!((event.span_id.as_deref(), event.parent_span_id.as_ref()), (Some("0123456789abcdef"), None));
    assert_eq!((event.timestamp.to_string().as_str(), event.duration_ms), ("2026-11-24T18:50:08.145Z", Some(248.0)));
    assert_eq!(event.name.as_deref(), Some("m"));
    let expected = json!({
        "gen_ai.request.model": "m", "a": [1, {"b": true}], "n": 1.5, "otel.span.name": "openclaw.model.call",
        "otel.span.kind": "client", "service.name": "gw", "process.pid": 7, "otel.scope.name": "openclaw",
    });
    assert_eq!(told(&event), expected);
}

#[test]
fn former_names_become_the_present_ones_which_win_where_both_are_sent() {
    let event = one(
        "chat m",
        &json!({
            "gen_ai.operation.name": "chat", "gen_ai.system": "az.ai.openai", "gen_ai.usage.prompt_tokens": 9,
            "gen_ai.usage.input_tokens": 10, "gen_ai.usage.completion_tokens": 3, "gen_ai.prompt": "[{\"role\":\"user\"}]",
            "gen_ai.request.model": "m"
        }),
    );
    assert_eq!((event.kind.as_str(), event.name.as_deref()), ("llm_call", Some("m")));
    assert_eq!(event.input.as_ref().unwrap().as_str(), r#"[{"role":"user"}]"#);
    let told = told(&event);
    assert_eq!(told["gen_ai.provider.name"], "azure.ai.openai");
    assert_eq!((&told["gen_ai.usage.input_tokens"], &told["gen_ai.usage.output_tokens"]), (&10.into(), &3.into()));
    for former in ["gen_ai.system", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "gen_ai.prompt"] {
        assert!(told.get(former).is_none(), "{former}");
    }
}

#[test]
fn openclaws_own_counts_become_the_general_ones_with_the_cache_in_the_input() {
    let tokens = json!({"openclaw.tokens.input": 403, "openclaw.tokens.output": 68, "openclaw.tokens.cache_read": 2000,
        "openclaw.tokens.cache_write": 5, "openclaw.sessionKey": "agent:main:main", "openclaw.agent": "main"});
    let event = one("openclaw.model.usage", &tokens);
    assert_eq!(event.kind.as_str(), "usage");
    assert_eq!((event.session_id.as_deref(), event.agent_id.as_deref()), (Some("agent:main:main"), Some("main")));
    let told = told(&event);
    assert_eq!(told["gen_ai.usage.input_tokens"], 2408);
    assert_eq!(told["gen_ai.usage.output_tokens"], 68);
    assert_eq!(told["gen_ai.usage.cache_read.input_tokens"], 2000);
    // Under the newer names the sum of a turn is called like a call; it must not be counted as one.
    let mut newer = tokens;
    newer["gen_ai.operation.name"] = "chat".into();
    assert_eq!(one("chat m", &newer).kind.as_str(), "usage");
}

#[test]
fn content_told_twice_is_kept_once() {
    let call = r#"{"command":"ls"}"#;
    let event = one(
        "openclaw.tool.execution",
        &json!({"gen_ai.tool.name": "exec", "gen_ai.tool.call.arguments": call, "openclaw.content.tool_input": call,
            "openclaw.content.tool_output": "plain", "output.value": "other"}),
    );
    assert_eq!((event.kind.as_str(), event.name.as_deref()), ("tool_call", Some("exec")));
    assert_eq!(event.input.as_ref().unwrap().as_str(), call);
    assert_eq!(event.output.as_ref().unwrap().as_str(), "\"plain\"");
    let told = told(&event);
    assert!(told.get("openclaw.content.tool_input").is_none());
    assert_eq!(told["output.value"], "other", "what differs is kept");
}

#[test]
fn failures_are_told_with_their_words_and_the_gateways_warnings_are_none() {
    let mut failed = span("openclaw.model.call", &json!({"error.type": "server_error"}));
    failed["status"] = json!({"code": 2, "message": "Error"});
    failed["events"] = json!([{"timeUnixNano": "1795546208145000000", "name": "exception",
        "attributes": attributes(&json!({"exception.message": "boom", "exception.type": "E"}))}]);
    failed["links"] = json!([{"traceId": "0123456789abcdef0123456789abcdef", "spanId": "0123456789abcdef"}]);
    let mut warning = span("openclaw.liveness.warning", &json!({}));
    warning["status"] = json!({"code": 2, "message": "event_loop_delay"});
    let decoded = decode(Signal::Traces, &spans(&[failed, warning]));
    let [failed, warning] = &decoded.events[..] else { panic!("{}", decoded.events.len()) };
    assert_eq!((failed.status, failed.error.as_deref()), (Some(engine::Status::Error), Some("server_error")));
    assert_eq!(told(failed)["otel.span.events"][0]["attributes"]["exception.message"], "boom");
    assert_eq!(told(failed)["otel.span.links"][0]["span_id"], "0123456789abcdef");
    assert_eq!((warning.kind.as_str(), warning.status, warning.error.as_deref()), ("gateway", None, None));
    assert_eq!(told(warning)["otel.status.description"], "event_loop_delay");
}

#[test]
fn every_span_of_openclaw_is_of_some_kind() {
    let kinds = [
        ("openclaw.run", "run"),
        ("openclaw.harness.run", "span"),
        ("openclaw.exec", "exec"),
        ("openclaw.context.assembled", "context"),
        ("openclaw.message.processed", "message"),
        ("openclaw.message.delivery", "message"),
        ("openclaw.webhook.processed", "webhook"),
        ("openclaw.webhook.error", "error"),
        ("openclaw.session.stuck", "session"),
        ("openclaw.tool.loop", "span"),
        ("openclaw.memory.pressure", "gateway"),
        ("openclaw.gateway.rpc.chat", "gateway"),
        ("openclaw.model.failover", "failover"),
        ("HTTP GET", "span"),
    ];
    for (name, kind) in kinds {
        assert_eq!(one(name, &json!({})).kind.as_str(), kind, "{name}");
    }
    assert_eq!(one("invoke_agent x", &json!({"gen_ai.operation.name": "invoke_agent"})).kind.as_str(), "run");
    // A model that runs a whole turn by itself.
    let turn = json!({"gen_ai.operation.name": "invoke_agent", "openclaw.model_call.observation_unit": "turn"});
    assert_eq!(one("invoke_agent", &turn).kind.as_str(), "llm_call");
    assert_eq!(one("execute_tool x", &json!({"gen_ai.operation.name": "execute_tool"})).kind.as_str(), "tool_call");
}

#[test]
fn two_records_that_say_the_same_are_two_and_sent_again_the_same_two() {
    let record = json!({"timeUnixNano": "1795546208145000000", "severityNumber": 17, "severityText": "ERROR",
        "body": {"stringValue": "failed runId=r-1 sessionId=s-1"}, "attributes": attributes(&json!({"openclaw.subsystem": "x"}))});
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record, record]}]}]});
    let (first, again) = (decode(Signal::Logs, &body), decode(Signal::Logs, &body));
    assert_eq!(first.events.len(), 2);
    assert_ne!(first.events[0].trace_id, first.events[1].trace_id);
    for (a, b) in first.events.iter().zip(&again.events) {
        assert_eq!(a.trace_id, b.trace_id);
    }
    let event = &first.events[0];
    assert_eq!(
        (event.kind.as_str(), event.status, event.name.as_deref()),
        ("log", Some(engine::Status::Error), Some("x"))
    );
    assert_eq!((event.run_id.as_deref(), event.session_id.as_deref()), (Some("r-1"), Some("s-1")));
    assert_eq!(event.output.as_ref().unwrap().as_str(), "\"failed runId=r-1 sessionId=s-1\"");
}

fn metric(name: &str, kind: &str, points: &Tree, more: Tree) -> Tree {
    let mut data = more;
    data["dataPoints"] = points.clone();
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": name, "unit": "1", kind: data}]}]}]})
}

#[test]
fn each_kind_of_metric_becomes_what_was_added() {
    let mut series = Series::new(100, &[]);
    let mut tell = |body: &Tree| {
        let decoded = read_json(Signal::Metrics, body.to_string().as_bytes(), &mut series, BOUNDS, "").unwrap();
        series.commit(decoded.changes);
        decoded.events.iter().map(told).collect::<Vec<_>>()
    };
    let sum = |time: u64, value: Tree, more: Tree| {
        metric("c", "sum", &json!([{"startTimeUnixNano": "5", "timeUnixNano": time, "asInt": value}]), more)
    };
    let cumulative = json!({"aggregationTemporality": 2, "isMonotonic": true});
    assert_eq!(tell(&sum(10, "3".into(), cumulative.clone()))[0]["otel.metric.value"], 3);
    assert!(tell(&sum(20, 3.into(), cumulative.clone())).is_empty(), "idle");
    let added = tell(&sum(1_000_020, 7.into(), cumulative));
    assert_eq!((&added[0]["otel.metric.value"], &added[0]["otel.metric.type"]), (&4.into(), &"sum".into()));
    let delta = json!({"aggregationTemporality": 1, "isMonotonic": true});
    assert_eq!(tell(&sum(30, 2.into(), delta.clone()))[0]["otel.metric.value"], 2);
    assert!(tell(&sum(31, 0.into(), delta)).is_empty());
    let falling = |time: u64, value: i64| {
        let points = json!([{"startTimeUnixNano": "5", "timeUnixNano": time, "asInt": value}]);
        metric("updown", "sum", &points, json!({"aggregationTemporality": 2}))
    };
    assert_eq!(tell(&falling(10, 5))[0]["otel.metric.value"], 5);
    assert_eq!(tell(&falling(20, 3))[0]["otel.metric.value"], -2);
    let gauge =
        |time: u64, value: f64| metric("g", "gauge", &json!([{"timeUnixNano": time, "asDouble": value}]), json!({}));
    assert_eq!(tell(&gauge(10, 1.5))[0]["otel.metric.value"], 1.5);
    assert!(tell(&gauge(20, 1.5)).is_empty(), "no news");
    assert_eq!(tell(&gauge(30, 1.0))[0]["otel.metric.value"], 1);
    let histogram = |time: u64, counts: [u64; 3], sum: f64| {
        let points = json!([{"startTimeUnixNano": "5", "timeUnixNano": time, "count": counts.iter().sum::<u64>(), "sum": sum,
            "bucketCounts": counts, "explicitBounds": [10.0, 25.0]}]);
        metric("h", "histogram", &points, json!({"aggregationTemporality": 2}))
    };
    assert_eq!(tell(&histogram(10, [1, 0, 1], 99.5))[0]["otel.metric.buckets"], json!([[10, 1], ["Infinity", 1]]));
    let added = &tell(&histogram(20, [1, 2, 1], 139.5))[0];
    assert_eq!(added["otel.metric.buckets"], json!([[25, 2]]));
    assert_eq!((&added["otel.metric.count"], &added["otel.metric.sum"]), (&2.into(), &40.into()));
    let points = json!([{"timeUnixNano": 10, "count": "4", "sum": 8.0, "scale": 1}]);
    let exponential = metric("e", "exponentialHistogram", &points, json!({"aggregationTemporality": 2}));
    assert_eq!(tell(&exponential)[0]["otel.metric.count"], 4);
    assert_eq!(
        tell(&metric("s", "summary", &json!([{"timeUnixNano": 10, "count": 2, "sum": 3}]), json!({})))[0]["otel.metric.sum"],
        3
    );
    let none = json!([{"timeUnixNano": 40, "asDouble": "NaN"}, {"timeUnixNano": 41, "asDouble": 9, "flags": 1}]);
    assert!(tell(&metric("g", "gauge", &none, json!({}))).is_empty(), "no value");
}

#[test]
fn what_two_agents_tell_alike_stays_apart_and_each_ones_repeats_do_not() {
    let record = json!({"timeUnixNano": 5, "body": {"stringValue": "started"}});
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
    for (signal, body) in [(Signal::Traces, spans(&[span("s", &json!({}))])), (Signal::Logs, logs)] {
        let id = |realm: &str| {
            let body = body.to_string();
            read_json(signal, body.as_bytes(), &mut Series::new(1, &[]), BOUNDS, realm).unwrap().events[0].trace_id
        };
        let ids = [id(""), id("a"), id("b")];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{signal:?}");
        assert_eq!(id("a"), ids[1]);
    }
    let mut series = Series::new(10, &[]);
    let mut tell = |time: u64, value: u64, realm: &str| {
        let points = json!([{"startTimeUnixNano": "5", "timeUnixNano": time, "asInt": value}]);
        let body = metric("c", "sum", &points, json!({"aggregationTemporality": 2, "isMonotonic": true})).to_string();
        let decoded = read_json(Signal::Metrics, body.as_bytes(), &mut series, BOUNDS, realm).unwrap();
        series.commit(decoded.changes);
        told(&decoded.events[0])["otel.metric.value"].clone()
    };
    assert_eq!((tell(10, 3, "a"), tell(11, 8, "b"), tell(20, 5, "a")), (3.into(), 8.into(), 2.into()));
}

#[test]
fn more_series_than_allowed_are_told_and_the_others_kept() {
    let point = |at: usize| json!({"startTimeUnixNano": 5, "timeUnixNano": 10, "asInt": 1, "attributes": attributes(&json!({"n": at}))});
    let points: Tree = (0..5).map(point).collect();
    let body = metric("c", "sum", &points, json!({"aggregationTemporality": 2, "isMonotonic": true}));
    let bounds = Bounds { events: 3, ..BOUNDS };
    let decoded =
        read_json(Signal::Metrics, body.to_string().as_bytes(), &mut Series::new(3, &[]), bounds, "").unwrap();
    assert_eq!((decoded.events.len(), decoded.rejected), (3, 2));
    assert!(decoded.problem.unwrap().contains("max_series"));
}

#[test]
fn bounds_hold_whatever_a_body_becomes() {
    let many = spans(&vec![span("x", &json!({})); 6]);
    let bounds = Bounds { events: 5, ..BOUNDS };
    let refused = read_json(Signal::Traces, many.to_string().as_bytes(), &mut Series::new(1, &[]), bounds, "");
    assert!(matches!(refused, Err(Refused::TooLarge(_))));
    // Control characters are six times as long in JSON.
    let mut out = wire::Writer::default();
    let (a, b, c) = (out.begin(1), out.begin(2), out.begin(2));
    out.bytes(1, &[1; 16]);
    out.bytes(2, &[1; 8]);
    let (d, value) = (out.begin(9), "\u{1}".repeat(1 << 20));
    out.bytes(1, b"k");
    let e = out.begin(2);
    out.bytes(1, value.as_bytes());
    for begun in [e, d, c, b, a] {
        out.end(begun);
    }
    let decoded = read(Signal::Traces, &out.0, &mut Series::new(1, &[]), BOUNDS, "").unwrap();
    assert_eq!((decoded.events.len(), decoded.rejected), (0, 1));
    assert!(decoded.problem.unwrap().contains("1 MiB"));
    // Two bytes are an empty span: rejected, one by one, and never built.
    let mut empty = wire::Writer::default();
    let (a, b) = (empty.begin(1), empty.begin(2));
    for _ in 0..100_000 {
        empty.bytes(2, b"");
    }
    empty.end(b);
    empty.end(a);
    let decoded = read(Signal::Traces, &empty.0, &mut Series::new(1, &[]), BOUNDS, "").unwrap();
    assert_eq!((decoded.events.len(), decoded.rejected), (0, 100_000));
}

#[test]
fn a_value_nested_too_deep_is_rejected() {
    let mut value = json!({"intValue": 1});
    for _ in 0..20 {
        value = json!({"arrayValue": {"values": [value]}});
    }
    let mut deep = span("x", &json!({}));
    deep["attributes"] = json!([{"key": "k", "value": value}]);
    let decoded = decode(Signal::Traces, &spans(&[deep, span("y", &json!({}))]));
    assert_eq!((decoded.events.len(), decoded.rejected), (1, 1));
}

/// Bodies as OpenClaw sent them, and as another instance does.
fn recorded() -> Vec<(Signal, Vec<u8>)> {
    let captures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/captures");
    let mut bodies = sent_by_ourselves();
    for folder in ["content-proto", "retry-503-then-200", "v2026.9.6-local-3turns"] {
        for entry in std::fs::read_dir(captures.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let signal = match name.split('.').nth(1) {
                Some("v1_traces") => Signal::Traces,
                Some("v1_logs") => Signal::Logs,
                _ => Signal::Metrics,
            };
            if name.ends_with(".bin") {
                bodies.push((signal, std::fs::read(path).unwrap()));
            }
        }
    }
    bodies
}

fn sent_by_ourselves() -> Vec<(Signal, Vec<u8>)> {
    use sinks::otlp::{Deltas, Dialect, Form, Packet, Resource, Signal as Sent};
    let text = r#""name":"n","run_id":"r","session_id":"s","input":"i","output":[1],"attributes":{"a":1,"b": 2.5}}"#;
    let dialect = Dialect { form: Form::Protobuf, deltas: Deltas::Sum };
    let body = |(signal, sent, kind)| {
        let event = Event::from_json(&format!(r#"{{"kind":"{kind}",{text}"#)).unwrap();
        let mut body = Vec::new();
        Packet::new(dialect, sent, &Resource::default(), [&event, &event]).write(&mut body).unwrap();
        (signal, body)
    };
    let signals = [
        (Signal::Traces, Sent::Traces, "llm_call"),
        (Signal::Logs, Sent::Logs, "log"),
        (Signal::Metrics, Sent::Metrics, "metric"),
    ];
    signals.map(body).into()
}

/// One way to spoil a body.
#[derive(Debug, Clone)]
enum Spoil {
    Byte(Index, u8),
    Cut(Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Spoil::Byte(at, byte)),
        any::<Index>().prop_map(Spoil::Cut),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Spoil::Repeat(from, to)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Spoil::Insert(at, bytes)),
    ]
}

fn apply(body: &mut Vec<u8>, spoil: &Spoil) {
    if body.is_empty() {
        return;
    }
    match spoil {
        Spoil::Byte(at, byte) => {
            let at = at.index(body.len());
            body[at] = *byte;
        }
        Spoil::Cut(at) => body.truncate(at.index(body.len())),
        Spoil::Repeat(from, to) => {
            let (from, to) = (from.index(body.len()), to.index(body.len()));
            let part = body[from.min(to)..from.max(to)].to_vec();
            body.extend(part);
        }
        Spoil::Insert(at, bytes) => {
            let at = at.index(body.len());
            body.splice(at..at, bytes.iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn spoiled_requests_are_read_or_refused_within_bounds(
        which in any::<Index>(), spoils in prop::collection::vec(spoil(), 1..8), other in any::<bool>(),
    ) {
        let bodies = recorded();
        let (mut signal, mut body) = which.get(&bodies).clone();
        for spoil in &spoils {
            apply(&mut body, spoil);
        }
        if other {
            signal = Signal::Traces;
        }
        let mut series = Series::new(50, &[]);
        if let Ok(decoded) = read(signal, &body, &mut series, Bounds { events: 100, bytes: 1 << 20 }, "") {
            prop_assert!(decoded.events.len() <= 100);
            for event in &decoded.events {
                prop_assert_eq!(&Event::from_json(&event.to_json()).unwrap(), event, "what is stored can be read back");
            }
            series.commit(decoded.changes);
            prop_assert!(series.len() <= 50);
        }
        let _ = read_json(signal, &body, &mut series, BOUNDS, "");
    }
}
