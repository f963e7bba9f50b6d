//! What `otlp_push` writes (`sinks::otlp`), read again: the very same events, by protobuf and by JSON.
#![allow(clippy::unwrap_used)]

use engine::{Json, Kind, Status, Timestamp, TraceId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sinks::otlp::{Deltas, Dialect, Form, Packet, Resource, Signal as Sent};

use super::*;

/// The ways to write a request.
const DIALECTS: [Dialect; 3] = [
    Dialect { form: Form::Protobuf, deltas: Deltas::Sum },
    Dialect { form: Form::Protobuf, deltas: Deltas::Gauge },
    Dialect { form: Form::Json, deltas: Deltas::Sum },
];

const BOUNDS: Bounds = Bounds { events: 1000, bytes: 64 << 20 };

fn signal(sent: Sent) -> Signal {
    match sent {
        Sent::Traces => Signal::Traces,
        Sent::Logs => Signal::Logs,
        Sent::Metrics => Signal::Metrics,
    }
}

/// The events as they come back, in their order.
fn there_and_back(events: &[Event], dialect: Dialect) -> Vec<Event> {
    let mut back = Vec::new();
    for sent in Sent::ALL {
        let packet =
            Packet::new(dialect, sent, &Resource::default(), events.iter().filter(|event| Sent::of(event) == sent));
        let mut body = Vec::new();
        packet.write(&mut body).unwrap();
        assert_eq!(body.len(), packet.bytes());
        let before = back.len();
        // Twice: nothing that is remembered of metrics may change what comes of it.
        let mut series = Series::new(10, &[]);
        for _ in 0..2 {
            let decoded = match dialect.form {
                Form::Protobuf => read(signal(sent), &body, &mut series, BOUNDS, ""),
                Form::Json => read_json(signal(sent), &body, &mut series, BOUNDS, ""),
            };
            let decoded = decoded.unwrap();
            assert_eq!((decoded.rejected, decoded.problem), (0, None));
            series.commit(decoded.changes);
            back.extend(decoded.events);
        }
        assert_eq!(series.len(), 0, "no series is made of what an event tells");
        let once = back.len() - (back.len() - before) / 2;
        assert_eq!(back[before..once], back[once..]);
        back.truncate(once);
    }
    let place = |event: &Event| events.iter().position(|sent| sent.trace_id == event.trace_id);
    back.sort_by_key(place);
    back
}

fn comes_back(event: &Event) {
    for dialect in DIALECTS {
        let back = there_and_back(std::slice::from_ref(event), dialect);
        assert_eq!(back, std::slice::from_ref(event), "{dialect:?}");
        // Event's equality takes 0 for -0.
        assert_eq!(back[0].to_json(), event.to_json(), "{dialect:?}");
    }
}

fn event(text: &str) -> Event {
    Event::from_json(text).unwrap()
}

/// JSON as text, also such as no serialiser of ours would write.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:?}")),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        Just("-0".to_owned()),
        Just("1.0".to_owned()),
    ];
    let leaf = prop_oneof![Just("null".to_owned()), any::<bool>().prop_map(|flag| flag.to_string()), number, string(),];
    leaf.prop_recursive(12, 48, 5, |inner| {
        let spaces = prop_oneof![6 => Just(("", "")), 1 => Just((" ", "")), 1 => Just(("\n\t", " "))];
        prop_oneof![
            (vec(inner.clone(), 0..5), spaces.clone())
                .prop_map(|(items, (a, b))| format!("[{a}{}{b}]", items.join(&format!("{b},{a}")))),
            object(inner, spaces),
        ]
    })
}

fn object(
    inner: impl Strategy<Value = String>,
    spaces: impl Strategy<Value = (&'static str, &'static str)>,
) -> impl Strategy<Value = String> {
    (vec((key(), inner), 0..6), spaces).prop_map(|(members, (a, b))| {
        let members: Vec<_> = members.into_iter().map(|(key, value)| format!("{key}:{a}{value}")).collect();
        format!("{{{a}{}{b}}}", members.join(&format!(",{a}")))
    })
}

/// A JSON string: written plainly, or with every character escaped, or with escapes that stand for no text.
fn string() -> impl Strategy<Value = String> {
    let escaped = |text: String| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    };
    prop_oneof![
        4 => any::<String>().prop_map(|text| engine::json::quoted(&text)),
        1 => any::<String>().prop_map(escaped),
        1 => Just(r#""\ud800 \/ \b""#.to_owned()),
        // Texts that look like JSON.
        1 => json_like().prop_map(|text| engine::json::quoted(&text)),
    ]
}

fn json_like() -> impl Strategy<Value = String> {
    prop_oneof![Just("5"), Just("[1]"), Just("{}"), Just(" null"), Just("\"x\""), Just("{a"), Just("")]
        .prop_map(str::to_owned)
}

/// Keys: any, those that mean something to the writer or to the reader, and those that do to both.
fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.tool.name",
        "gen_ai.agent.name",
        "gen_ai.agent.id",
        "gen_ai.conversation.id",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.usage.input_tokens",
        "gen_ai.system",
        "error.type",
        "exception.message",
        "input.value",
        "output.value",
        "openclaw.runId",
        "openclaw.tokens.input",
        "otel.span.name",
        "otel.span.kind",
        "otel.metric.type",
        "otel.metric.value",
        "otel.metric.count",
        "otel.metric.sum",
        "otel.metric.buckets",
        "otel.metric.interval_ms",
        "openclaw_trace.sample.interval",
        "openclaw_trace.event.id",
        "openclaw_trace.event.kind",
        "openclaw_trace.event.fields",
        "openclaw_trace.event.added",
        "openclaw_trace.event.attributes",
        "openclaw_trace.event.x",
        "severity_number",
        "severity_text",
        "service.name",
        "session.id",
        "span_id",
        "value",
    ]);
    prop_oneof![
        3 => known.prop_map(engine::json::quoted),
        3 => string(),
        2 => "[a-z.]{0,6}".prop_map(|text| engine::json::quoted(&text)),
    ]
}

fn attributes() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "\"sum\"",
        "\"gauge\"",
        "\"histogram\"",
        "\"chat\"",
        "\"client\"",
        "13",
        "1.5",
        "[[1,2]]",
    ]);
    let value = prop_oneof![2 => json(), 1 => words.prop_map(str::to_owned)];
    object(value, prop_oneof![5 => Just(("", "")), 1 => Just((" ", ""))])
}

/// An id of OpenTelemetry's, of another form, or any text.
fn id(digits: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::string::string_regex(&format!("[0-9a-f]{{{digits}}}")).unwrap(),
        proptest::string::string_regex(&format!("[0-9A-F]{{{digits}}}")).unwrap(),
        Just("0".repeat(digits)),
        Just(String::new()),
        "[a-zé:-]{1,60}",
        any::<String>().prop_filter("short", |text| text.len() <= engine::event::MAX_ID_BYTES),
        Just("x".repeat(engine::event::MAX_ID_BYTES)),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let known = prop::sample::select(vec![
        "llm_call",
        "tool_call",
        "run",
        "metric",
        "log",
        "link",
        "usage",
        "error",
        "message",
        "session",
        "span",
    ]);
    prop_oneof![5 => known.prop_map(str::to_owned), 1 => "[a-z0-9_.]{1,64}"]
        .prop_map(|kind| Kind::parse(&kind).unwrap())
}

fn any_event() -> impl Strategy<Value = Event> {
    let time = prop_oneof![
        3 => 1_700_000_000_000_000_000i64..1_800_000_000_000_000_000,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]),
    ];
    let duration = prop_oneof![
        2 => (0u32..100_000_000).prop_map(|tens| f64::from(tens) / 10.0),
        1 => 0.0..1e300f64,
        1 => prop::sample::select(vec![0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, 0.1 + 0.2, 1e-6, 9.3e12]),
    ];
    let status = prop_oneof![Just(None), Just(Some(Status::Ok)), Just(Some(Status::Error))];
    let text = || prop_oneof![any::<String>(), json_like(), "[a-z]{1,8}"];
    let what = (kind(), any::<[u8; 16]>(), time, option::of(duration), status, option::of(text()), option::of(text()));
    let ids = (option::of(id(8)), option::of(id(32)), option::of(id(8)), option::of(id(16)), option::of(id(16)));
    let bodies = (option::of(json()), option::of(json()), option::of(attributes()));
    (what, ids, bodies).prop_map(|(what, ids, (input, output, attributes))| {
        let mut event = Event::new(what.0);
        event.trace_id = TraceId::from_bytes(what.1);
        event.timestamp = Timestamp::from_nanos(what.2);
        event.duration_ms = what.3;
        event.status = what.4;
        event.error = what.5;
        event.name = what.6;
        (event.session_id, event.run_id, event.agent_id, event.span_id, event.parent_span_id) = ids;
        // "null" is as good as none to whoever reads an event.
        let json = |text: Option<String>| text.filter(|text| text != "null").map(|text| Json::parse(&text).unwrap());
        (event.input, event.output, event.attributes) = (json(input), json(output), json(attributes));
        event
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn any_event_comes_back_as_it_was(event in any_event()) {
        prop_assert_eq!(&Event::from_json(&event.to_json()).unwrap(), &event, "it is one that /v1/events takes");
        comes_back(&event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn events_of_many_agents_come_back_from_one_request(events in vec(any_event(), 0..12)) {
        for dialect in DIALECTS {
            prop_assert_eq!(&there_and_back(&events, dialect), &events);
        }
    }
}

#[test]
fn what_agents_send_comes_back() {
    for text in [
        r#"{"kind":"tool_call","name":"read_file","status":"ok","duration_ms":12,"input":{"path":"notes.md"}}"#,
        r#"{"kind":"llm_call","name":"m","attributes":{"gen_ai.request.model":"m","cost_usd":0.0125,"x":1.0,"n":null}}"#,
        r#"{"kind":"llm_call","name":"m","attributes":{"gen_ai.request.model":"other","gen_ai.request.model":"twice"}}"#,
        r#"{"kind":"run","run_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","parent_span_id":"x"}"#,
        r#"{"kind":"log","name":"gateway","output":"a line","attributes":{"severity_number":9}}"#,
        r#"{"kind":"log","output":1e999,"input":"\ud800","attributes":{"a": [1, 2.50, {"b": 1E5}]}}"#,
        r#"{"kind":"metric","name":"container.resources","attributes":{"openclaw_trace.sample.interval":15.0,"container.cpu.time":0.5,"scope":"machine"}}"#,
        r#"{"kind":"metric","name":"nothing","attributes":{}}"#,
    ] {
        comes_back(&event(text));
    }
    let mut deep = "1".to_owned();
    for _ in 0..engine::json::MAX_DEPTH - 1 {
        deep = format!("[{deep}]");
    }
    comes_back(&event(&format!(r#"{{"kind":"log","input":{deep},"attributes":{{"deep":{deep}}}}}"#)));
}

#[test]
fn what_is_large_comes_back_and_costs_little_more_than_it_is() {
    let numbers = format!("[{}0]", "0,".repeat(500_000));
    let members: Vec<_> = (0..5000).map(|at| format!("\"k{at}\":{at}")).collect();
    let many = members.join(",");
    for attributes in [format!("{{\"a\":{numbers}}}"), format!("{{{many}}}")] {
        for kind in ["llm_call", "log", "metric"] {
            let event = event(&format!(r#"{{"kind":"{kind}","attributes":{attributes}}}"#));
            comes_back(&event);
            let packet = Packet::new(DIALECTS[0], Sent::of(&event), &Resource::default(), [&event]);
            assert!(packet.bytes() < attributes.len() + 500_000, "{kind}: {} bytes", packet.bytes());
        }
    }
}

fn span(attributes: &str) -> Decoded {
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","name":"x",
            "startTimeUnixNano":"5","endTimeUnixNano":"6","attributes":[{attributes}]}}]}}]}}]}}"#,
        "ab".repeat(16),
        "cd".repeat(8)
    );
    read_json(Signal::Traces, body.as_bytes(), &mut Series::new(1, &[]), BOUNDS, "").unwrap()
}

fn text(key: &str, value: &str) -> String {
    format!(r#"{{"key":"openclaw_trace.event.{key}","value":{{"stringValue":"{value}"}}}}"#)
}

#[test]
fn who_sets_these_attributes_is_held_to_the_limits_of_events() {
    let id = TraceId::new().to_string();
    let ours = |more: &str| span(&format!("{},{},{more}", text("id", &id), text("kind", "log")));
    let long = "x".repeat(engine::event::MAX_ID_BYTES + 1);
    for (wrong, said) in [
        (text("run_id", &long), "longer than 256 bytes"),
        (text("attributes", "[]"), "no JSON object"),
        (text("status", "fine"), "a value that its field cannot have"),
        (text("duration_ms", "5"), "a value that its field cannot have"),
        (r#"{"key":"openclaw_trace.event.duration_ms","value":{"doubleValue":-1}}"#.to_owned(), "cannot have"),
        (
            r#"{"key":"openclaw_trace.event.fields","value":{"arrayValue":{"values":[{"intValue":1}]}}}"#.to_owned(),
            "list",
        ),
    ] {
        let decoded = ours(&wrong);
        assert_eq!((decoded.events.len(), decoded.rejected), (0, 1), "{wrong}");
        assert!(decoded.problem.as_ref().unwrap().contains(said), "{:?}", decoded.problem);
    }
    let many = vec![r#"{"stringValue":""}"#; 100].join(",");
    let listed =
        ours(&format!(r#"{{"key":"openclaw_trace.event.added","value":{{"arrayValue":{{"values":[{many}]}}}}}}"#));
    assert_eq!((listed.events.len(), listed.rejected), (0, 1));
    assert!(span(&text("id", "x")).problem.unwrap().contains("not a UUID"));
    let kind = span(&format!("{},{}", text("id", &id), text("kind", "No Kind")));
    assert!(kind.problem.unwrap().contains("no kind"));
    let fine = ours(&format!("{},{}", text("later", "x"), text("run_id", "r")));
    assert_eq!((fine.events[0].trace_id.to_string(), fine.events[0].run_id.as_deref()), (id, Some("r")));
}

#[test]
fn an_event_told_twice_in_one_request_is_one() {
    let event = event(r#"{"kind":"log","name":"a"}"#);
    assert_eq!(there_and_back(&[event.clone(), event.clone()], DIALECTS[0]).len(), 1);
}

#[test]
fn a_name_of_a_former_or_later_version_makes_no_event_of_ours() {
    // Only one of the two that say so: somebody else's span, read as one.
    let decoded = span(&text("kind", "log"));
    assert_eq!(decoded.events[0].kind.as_str(), "span");
    assert!(decoded.events[0].attributes.as_ref().unwrap().as_str().contains("openclaw_trace.event.kind"));
}

#[test]
fn the_order_of_attributes_and_foreign_ones_do_not_matter() {
    let sent = event(r#"{"kind":"llm_call","name":"m","session_id":"s","input":"i","attributes":{"a":1,"b":"x"}}"#);
    let mut body = Vec::new();
    Packet::new(DIALECTS[2], Sent::Traces, &Resource::default(), [&sent]).write(&mut body).unwrap();
    let mut request: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let list = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].as_array_mut().unwrap();
    list.reverse();
    list.push(serde_json::json!({"key": "cluster", "value": {"stringValue": "eu"}}));
    let back = read_json(Signal::Traces, request.to_string().as_bytes(), &mut Series::new(1, &[]), BOUNDS, "").unwrap();
    let mut expected = sent;
    expected.attributes = Some(Json::parse(r#"{"b":"x","a":1,"cluster":"eu"}"#).unwrap());
    assert_eq!(back.events, [expected]);
}
