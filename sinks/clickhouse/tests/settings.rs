//! What `build` takes and refuses.

use super::*;

fn problems(json: &str) -> Vec<String> {
    let config: ClickHouse = serde_json::from_str(json).unwrap();
    let problems = config.check(&BuildContext::new("fleet")).err().unwrap_or_default();
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn the_defaults_are_valid() {
    let (settings, sender) = ClickHouse::default().check(&BuildContext::new("fleet")).unwrap();
    assert_eq!(settings.receiver.as_deref(), Some("http://127.0.0.1:8123/"));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert_eq!(sender.nodes.len(), 1);
}

#[test]
fn every_problem_is_found_and_names_its_key() {
    let mut found = problems(
        r#"{"endpoints":["ch.example.com","http://127.0.0.1:8123"],"user":"a\nb","password":"a\nb","database":"a b","table":"","cluster":"a-b","ttl":"90s","insert_quorum":2,
        "zookeeper_path":"x","batch_age":0,"batch_events":0,"batch_bytes":0,"max_body":0,"timeout":"0s","max_tries":0,"base_delay":"0ms","max_delay":0,"breaker_failures":0,"breaker_cooldown":0}"#,
    );
    found.sort();
    let expected = [
        "base_delay",
        "batch_age",
        "batch_bytes",
        "batch_events",
        "breaker_cooldown",
        "breaker_failures",
        "cluster",
        "database",
        "endpoints",
        "endpoints.0",
        "insert_quorum",
        "max_body",
        "max_delay",
        "max_tries",
        "password",
        "table",
        "timeout",
        "ttl",
        "user",
        "zookeeper_path",
    ];
    assert_eq!(found, expected);
}

#[test]
fn several_nodes_need_tables_that_belong_together() {
    let two = r#""endpoints":["http://127.0.0.1:1","http://127.0.0.1:2"]"#;
    assert_eq!(problems(&format!("{{{two}}}")), ["endpoints"]);
    for more in [r#""replicated":true"#, r#""create_tables":false"#, r#""distributed":true,"cluster":"c""#] {
        assert!(problems(&format!("{{{two},{more}}}")).is_empty(), "{more}");
    }
    assert_eq!(problems(r#"{"endpoints":[]}"#), ["endpoints"]);
    assert_eq!(problems(r#"{"distributed":true}"#), ["cluster"]);
    assert_eq!(problems(r#"{"replicated":true,"zookeeper_path":"/one/place"}"#), ["zookeeper_path"]);
}

#[test]
fn a_password_over_plain_http_to_another_machine_is_warned_of() {
    let config: ClickHouse = serde_json::from_str(r#"{"endpoints":["http://ch.example.com:8123"]}"#).unwrap();
    assert_eq!(config.check(&BuildContext::new("fleet")).unwrap().0.warnings.len(), 1);
}

#[test]
fn every_setting_has_a_description() {
    let schema = serde_json::to_value(schemars::schema_for!(ClickHouse)).unwrap();
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(property.get("description").is_some(), "{key}");
    }
}
