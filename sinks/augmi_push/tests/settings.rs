//! What `build` takes and refuses.

use super::*;

fn problems(toml: &str) -> Vec<String> {
    let config: AugmiPush = serde_json::from_str(toml).unwrap();
    let problems = config.check(&BuildContext::new("push")).err().unwrap_or_default();
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn the_defaults_are_valid_and_off() {
    assert!(AugmiPush::default().check(&BuildContext::new("push")).unwrap().0.receiver.is_none());
}

#[test]
fn every_problem_is_found_and_names_its_key() {
    let all = r#"{"endpoint":"api.example.com","token":"a\nb","interval":0,"batch_events":0,"batch_bytes":0,"max_body":0,
        "timeout":"0s","max_tries":0,"base_delay":"0ms","max_delay":0,"breaker_failures":0,"breaker_cooldown":0}"#;
    let mut found = problems(all);
    found.sort();
    let expected = [
        "base_delay",
        "batch_bytes",
        "batch_events",
        "breaker_cooldown",
        "breaker_failures",
        "endpoint",
        "interval",
        "max_body",
        "max_delay",
        "max_tries",
        "timeout",
        "token",
    ];
    assert_eq!(found, expected);
    assert_eq!(problems(r#"{"base_delay":"10m"}"#), ["base_delay"]);
    assert_eq!(problems(r#"{"endpoint":"http://api.example.com/","token":"x"}"#), Vec::<String>::new());
}

#[test]
fn an_unknown_key_is_refused() {
    assert!(serde_json::from_str::<AugmiPush>(r#"{"endpont":""}"#).unwrap_err().to_string().contains("endpont"));
}

#[test]
fn every_setting_has_a_description() {
    let schema = serde_json::to_value(schemars::schema_for!(AugmiPush)).unwrap();
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(property.get("description").is_some(), "{key}");
    }
}
