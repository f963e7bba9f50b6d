//! What `build` takes and refuses.

use super::*;

fn problems(json: &str) -> Vec<(String, String)> {
    let config: OtlpPush = serde_json::from_str(json).unwrap();
    let problems = config.check(&BuildContext::new("otlp")).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.key, problem.message)).collect()
}

fn receiver(json: &str) -> Option<String> {
    serde_json::from_str::<OtlpPush>(json).unwrap().check(&BuildContext::new("otlp")).unwrap().0.receiver
}

#[test]
fn the_defaults_are_valid_and_off() {
    assert_eq!(receiver("{}"), None);
}

#[test]
fn every_problem_is_found_and_names_its_key() {
    let all = r#"{"endpoint":"api.example.com","logs_endpoint":"ftp://x","headers":{"a b":"x","content-type":"y","z":"a\nb"},
        "signals":[],"resource":{"":"x"},"interval":0,"batch_events":0,"batch_bytes":0,"max_body":0,
        "timeout":"0s","max_tries":0,"base_delay":"0ms","max_delay":0,"breaker_failures":0,"breaker_cooldown":0}"#;
    let mut found: Vec<_> = problems(all).into_iter().map(|(key, _)| key).collect();
    found.sort();
    let expected = [
        "base_delay",
        "batch_bytes",
        "batch_events",
        "breaker_cooldown",
        "breaker_failures",
        "endpoint",
        "headers.a b",
        "headers.content-type",
        "headers.z",
        "interval",
        "logs_endpoint",
        "max_body",
        "max_delay",
        "max_tries",
        "resource.",
        "signals",
        "timeout",
    ];
    assert_eq!(found, expected);
    let secret = problems(r#"{"headers":{"authorization":"hunter2\n"},"endpoint":"https://u:hunter2@a.example/"}"#);
    assert_eq!(secret.len(), 2);
    assert!(!format!("{secret:?}").contains("hunter2"), "{secret:?}");
}

#[test]
fn addresses_are_those_of_the_signals_that_are_sent() {
    let base = r#""endpoint":"https://a.example/otlp?key=hunter2""#;
    let all = "https://a.example/otlp/v1/traces, https://a.example/otlp/v1/logs, https://a.example/otlp/v1/metrics";
    assert_eq!(receiver(&format!("{{{base}}}")).as_deref(), Some(all));
    let only = format!(r#"{{{base},"signals":["logs"],"logs_endpoint":"http://127.0.0.1:3100/otlp/v1/logs"}}"#);
    assert_eq!(receiver(&only).as_deref(), Some("http://127.0.0.1:3100/otlp/v1/logs"));
    let one = r#"{"traces_endpoint":"https://a.example/x"}"#;
    assert_eq!(receiver(one).as_deref(), Some("https://a.example/x"), "the others have no address");
}

#[test]
fn the_live_stream_waits_a_second_at_most() {
    let interval = |reads_outbox| {
        let cx = BuildContext { reads_outbox, ..BuildContext::new("otlp") };
        OtlpPush::default().check(&cx).unwrap().0.interval
    };
    assert_eq!((interval(true), interval(false)), (Duration::from_secs(10), Duration::from_secs(1)));
}

#[test]
fn what_may_be_read_on_the_way_is_warned_of() {
    let warnings = |json: &str| {
        let config: OtlpPush = serde_json::from_str(json).unwrap();
        config.check(&BuildContext::new("otlp")).unwrap().0.warnings.len()
    };
    assert_eq!(warnings(r#"{"endpoint":"http://a.example","headers":{"authorization":"x"}}"#), 1);
    assert_eq!(warnings(r#"{"endpoint":"http://127.0.0.1:4318","headers":{"authorization":"x"}}"#), 0);
    assert_eq!(warnings(r#"{"endpoint":"http://a.example"}"#), 0);
}

#[test]
fn no_header_is_printed() {
    let config: OtlpPush = serde_json::from_str(r#"{"headers":{"authorization":"hunter2"}}"#).unwrap();
    let printed = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(printed.contains("authorization") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn every_setting_has_a_description() {
    let schema = serde_json::to_value(schemars::schema_for!(OtlpPush)).unwrap();
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(property.get("description").is_some(), "{key}");
    }
}
