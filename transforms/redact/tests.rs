//! The plugin as a whole: events in, events out.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use engine::json::Json;
use engine::{BuildContext, Event, TransformConfig};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Redact;
use super::rules::TOKENS;
use super::shape::Shape;
use crate::testing::{batch, context, event, metric};

fn redact_with(config: &str, event: Event) -> (Event, BuildContext) {
    let cx = context();
    let transform = serde_json::from_str::<Redact>(config).unwrap().build(&cx).unwrap();
    let (mut batch, _receipt) = batch(vec![event]);
    transform.apply(&mut batch);
    (batch.iter().next().unwrap().clone(), cx)
}

fn text_with(config: &str, text: &str) -> String {
    let mut event = event();
    event.error = Some(text.to_owned());
    redact_with(config, event).0.error.unwrap()
}

fn text(text: &str) -> String {
    text_with("{}", text)
}

fn input(value: serde_json::Value) -> serde_json::Value {
    let mut event = event();
    event.input = Some(Json::from_value(&value).unwrap());
    serde_json::from_str(redact_with("{}", event).0.input.unwrap().as_str()).unwrap()
}

/// A token of a rule, made now.
fn secret(rule: &str) -> String {
    let rule = TOKENS.iter().find(|known| known.name == rule).unwrap();
    Shape::parse(rule.shapes[0]).unwrap().generate(&mut StdRng::seed_from_u64(7))
}

#[test]
fn every_string_of_an_event_is_covered() {
    let key = secret("anthropic_key");
    let mut event = event();
    event.name = Some(key.clone());
    event.error = Some(format!("invalid key {key}"));
    event.session_id = Some(format!("s:{key}"));
    event.run_id = event.session_id.clone();
    event.agent_id = event.session_id.clone();
    event.span_id = event.session_id.clone();
    event.parent_span_id = event.session_id.clone();
    event.input = Some(Json::from_value(&serde_json::json!({ key.clone(): [[{"deep": key.clone()}]] })).unwrap());
    event.output = Some(Json::from_value(&serde_json::json!(key.clone())).unwrap());
    event.attributes = Some(Json::from_value(&serde_json::json!({"a": key.clone(), key.clone(): 1})).unwrap());
    let (clean, cx) = redact_with("{}", event);
    let json = clean.to_json();
    assert!(!json.contains(&key[8..]), "{json}");
    assert!(Event::from_json(&json).is_ok());
    let line = "openclaw_trace_redact_replacements_total{component=\"test\",rule=\"anthropic_key\"}";
    assert_eq!(metric(&cx, line), 12);
}

#[test]
fn a_string_under_a_telling_key_goes_as_a_whole_and_counts_stay() {
    let clean = input(serde_json::json!({
        "password": "abc", "Authorization": "anything at all", "nested": {"client_secret": ["one", "two"]},
        "usage": {"input_tokens": "17", "max_tokens": 5, "token_count": "9"}, "token": " the", "phone": "5551234567",
        "type": {"password": {"type": "string", "description": "its length"}},
    }));
    assert_eq!(clean["password"], "[redacted:named_secret]");
    assert_eq!(clean["Authorization"], "[redacted:named_secret]");
    assert_eq!(clean["nested"]["client_secret"][1], "[redacted:named_secret]");
    assert_eq!(clean["usage"], serde_json::json!({"input_tokens": "17", "max_tokens": 5, "token_count": "9"}));
    assert_eq!(clean["token"], " the");
    assert_eq!(clean["phone"], "[redacted:phone]");
    assert_eq!(clean["type"]["password"]["description"], "its length");
}

#[test]
fn a_secret_inside_json_inside_a_string_is_found_at_every_level() {
    let key = secret("github_token");
    let mut value = serde_json::json!({"note": key, "password": "hunter2 \"quoted\" rest"});
    for _ in 0..3 {
        value = serde_json::json!({"body": value.to_string()});
        let clean = input(value.clone()).to_string();
        assert!(!clean.contains(&key[4..]) && !clean.contains("hunter2") && !clean.contains("rest"), "{clean}");
    }
}

#[test]
fn a_secret_cut_by_escapes_is_found() {
    let key = secret("anthropic_key");
    let escaped = format!("\\u0073{}", &key[1..]);
    assert_eq!(text(&format!("a {escaped} b")), "a [redacted:anthropic_key] b");
    let percent: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
    assert_eq!(text(&format!("x=1&y={percent}&z=2")), "x=1&y=[redacted:anthropic_key]&z=2");
    let slashes = secret("slack_webhook").replace('/', "\\/");
    assert_eq!(text(&format!("post to {slashes} now")), "post to [redacted:slack_webhook] now");
    assert_eq!(text(&format!("line\\n{key}\\nline")), "line\\n[redacted:anthropic_key]\\nline");
    assert_eq!(text(&format!("token%3D{key}")), "token%3D[redacted:anthropic_key]");
    assert_eq!(text(&format!("\x1b[32m{key}\x1b[0m")), "\x1b[32m[redacted:anthropic_key]\x1b[0m");
}

#[test]
fn structures_are_found() {
    let begin = format!("-----BEGIN RSA {} KEY-----", "PRIVATE");
    let end = format!("-----END RSA {} KEY-----", "PRIVATE");
    let body = "MIIEow\nIBAAKC\n".repeat(20);
    assert_eq!(text(&format!("k: {begin}\n{body}{end}\nnext")), "k: [redacted:private_key]\nnext");
    let escaped = format!("{begin}\n{body}{end}\n").replace('\n', "\\n");
    assert_eq!(text(&format!("{{\"k\":\"{escaped}\"}}")), "{\"k\":\"[redacted:private_key]\\n\"}");
    assert_eq!(text(&format!("cut {begin}\n{body}")), "cut [redacted:private_key]\n");
    assert_eq!(text("postgres://bob:p4ssw0rd@db:5432/app"), "postgres://bob:[redacted:url_password]@db:5432/app");
    assert_eq!(text("curl -u bob:p4ssw0rd https://x"), "curl -u bob:[redacted:curl_user] https://x");
    assert_eq!(text("Authorization: Basic dXNlcjpwYXNz"), "Authorization: Basic [redacted:basic_auth]");
    assert_eq!(text("Cookie: sid=abc123; theme=dark\nAccept: */*"), "Cookie: [redacted:named_secret]\nAccept: */*");
    assert_eq!(text("login with --password hunter2 please"), "login with --password [redacted:named_secret] please");
    assert_eq!(text("my password is hunter2."), "my password is [redacted:named_secret].");
}

#[test]
fn a_marker_may_show_a_keyed_hash() {
    let config = r#"{"hash": true, "hash_key": "k"}"#;
    let once = text_with(config, "mail a@example.org, b@example.org, a@example.org");
    let marks: Vec<&str> = once.split("[redacted:email:").skip(1).map(|rest| &rest[..8]).collect();
    assert_eq!(marks.len(), 3, "{once}");
    assert!(marks[0] == marks[2] && marks[0] != marks[1]);
    assert_eq!(text_with(config, "a@example.org"), format!("[redacted:email:{}]", marks[0]));
    assert_ne!(
        text_with(r#"{"hash": true, "hash_key": "other"}"#, "a@example.org"),
        text_with(config, "a@example.org")
    );
    assert_eq!(text_with(config, &once), once);
}

#[test]
fn ids_keep_grouping_without_what_is_personal_in_them() {
    let config = r#"{"hash_key": "k"}"#;
    let with_id = |id: &str| {
        let mut event = event();
        event.session_id = Some(id.to_owned());
        let attributes = serde_json::json!({"gen_ai.conversation.id": id, "other": id});
        event.attributes = Some(Json::from_value(&attributes).unwrap());
        redact_with(config, event).0
    };
    let phone = "agent:main:whatsapp:dm:+15552234567";
    let first = with_id(phone).session_id.unwrap();
    assert!(first.starts_with("agent:main:whatsapp:dm:[redacted:phone:") && !first.contains("1555"), "{first}");
    assert_eq!(with_id(phone).session_id.unwrap(), first);
    let attributes: serde_json::Value = serde_json::from_str(with_id(phone).attributes.unwrap().as_str()).unwrap();
    assert_eq!(attributes["gen_ai.conversation.id"], first.as_str());
    assert_ne!(with_id("agent:main:whatsapp:dm:+15552234568").session_id.unwrap(), first);
    assert!(with_id("whatsapp:15552234567").session_id.unwrap().starts_with("whatsapp:[redacted:phone:"));
    assert!(!with_id("wa:15552234567@s.whatsapp.net").session_id.unwrap().contains("1555"));
    for plain in
        ["0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3", "agent:main:discord:channel:123456789012345678", "telegram:12345678"]
    {
        assert_eq!(with_id(plain).session_id.as_deref(), Some(plain));
    }
    let long = format!("{}@example.org", "a@example.org,".repeat(17));
    assert!(with_id(&long).session_id.unwrap().len() <= engine::event::MAX_ID_BYTES);
}

#[test]
fn rules_of_ones_own_apply_and_built_in_ones_can_be_left_out() {
    let config = r#"{"rules": [{"name": "ticket", "pattern": "TICKET-(?P<secret>\\d+)"}], "disable": ["email"],
        "enable": ["ip"], "keys": ["pin"], "allow": ["TICKET-9", "203.0.113.1"], "allow_patterns": ["0+"]}"#;
    assert_eq!(
        text_with(config, "é TICKET-12 TICKET-000 a@example.org 203.0.113.9 203.0.113.1"),
        "é TICKET-[redacted:ticket] TICKET-000 a@example.org [redacted:ip] 203.0.113.1"
    );
    assert_eq!(text("from 203.0.113.9"), "from 203.0.113.9");
}

#[test]
fn a_wrong_configuration_is_told_by_key_and_place() {
    let config = r#"{"disable": ["emial"], "rules": [{"name": "ok", "pattern": "a(b"}, {"name": "email", "pattern": "x"},
        {"name": "Big", "pattern": "x"}, {"name": "huge", "pattern": "\\w{1000}{1000}"}], "allow_patterns": ["["]}"#;
    let problems = serde_json::from_str::<Redact>(config).unwrap().build(&context()).err().unwrap();
    let told: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.key, p.message)).collect();
    assert!(
        told[0].starts_with("disable[0]: there is no built-in rule \"emial\", did you mean \"email\"?"),
        "{told:?}"
    );
    assert_eq!(told[1], "rules[0].pattern: is not a regular expression: unclosed group at character 2");
    assert!(told[2].starts_with("rules[1].name: \"email\" is taken"), "{told:?}");
    assert!(told[3].starts_with("rules[2].name: \"Big\" must be"), "{told:?}");
    assert!(told[4].starts_with("rules[3].pattern: takes more than"), "{told:?}");
    assert!(
        told[5].starts_with("allow_patterns[0]: is not a regular expression: unclosed character class"),
        "{told:?}"
    );
    assert_eq!(told.len(), 6);
}

#[test]
fn a_forged_marker_hides_no_secret() {
    let key: String = secret("anthropic_key").to_ascii_lowercase();
    assert!(!text(&format!("[redacted:{key}]")).contains(&key[8..]));
    assert_eq!(text("[redacted:email]"), "[redacted:email]");
}

#[test]
fn a_key_that_is_itself_redacted_says_the_same_of_its_value_the_second_time() {
    let key = secret("pulumi_token");
    let sent = serde_json::json!({
        key: {"note": "1387836551", "list": ["harmless"]}, "password a@example.org": "hunter2", "+15552234567": "5552234567",
        "token": "<a@b.co", "peer_id": "a:+15552234567:123456789012",
    });
    let once = input(sent);
    let members = once.as_object().unwrap();
    let under = |start: &str| members.iter().find(|(key, _)| key.starts_with(start)).unwrap().1;
    // What the marker is called says nothing of what stands under it.
    assert_eq!(under("[redacted:pulumi_token:"), &serde_json::json!({"note": "1387836551", "list": ["harmless"]}));
    assert_eq!(under("[redacted:phone:"), "5552234567");
    assert_eq!(under("password [redacted:email:"), "[redacted:named_secret]");
    assert_eq!(once["token"], "[redacted:named_secret]");
    assert!(once["peer_id"].as_str().unwrap().ends_with(":123456789012"), "{once}");
    assert_eq!(input(once.clone()), once);
}

#[test]
fn a_list_of_thousands_goes_as_a_whole() {
    let list: String = (0..5000).map(|i| format!("u{i}@example.org ")).collect();
    assert_eq!(text(&list), "[redacted:bulk]");
}

/// Texts made to be slow: nothing but triggers. In a debug build, on a busy machine.
#[test]
fn hostile_texts_cost_linear_time() {
    for unit in [
        "sk-",
        "key",
        "key=",
        "\"key\":\"",
        "://a:",
        "-----BEGIN ",
        "eyJ",
        "kind: Secret\ndata:\n",
        "@a",
        "1 ",
        "\\n",
        "%41",
        "Bearer ",
        "discord=",
        "password is ",
        "+1-",
        "AA:AA",
        "a.",
        "\\\\\"",
        "[redacted:email]",
    ] {
        let hostile = unit.repeat((256 << 10) / unit.len());
        let start = std::time::Instant::now();
        let _ = text(&hostile);
        let took = start.elapsed();
        println!("{unit:?}: {took:?}");
        assert!(took.as_secs() < 20, "{unit:?} took {took:?}");
    }
}

/// `cargo test --release -p openclaw-trace-transforms speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a promise; needs a release build"]
fn speed_and_memory() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
    };
    let before = resident();
    let transform = Redact::default().build(&context()).unwrap();
    println!("built: {} KiB more resident", resident() - before);
    let source = include_str!("scan.rs");
    let key = secret("anthropic_key");
    let events: Vec<Event> = (0..20_000)
        .map(|i| {
            let mut event = event();
            let at = source.floor_char_boundary((i * 131) % (source.len() - 1100));
            let end = source.floor_char_boundary(at + 1000);
            let note = if i % 10 == 0 { key.as_str() } else { "nothing" };
            let value = serde_json::json!({"role": "user", "content": &source[at..end], "note": note, "n": i});
            event.input = Some(Json::from_value(&value).unwrap());
            event.session_id = Some(format!("agent:main:telegram:{i}"));
            event
        })
        .collect();
    let bytes: usize = events.iter().map(Event::size_bytes).sum();
    let before = resident();
    let mut took = std::time::Duration::ZERO;
    for chunk in events.chunks(100) {
        let (mut batch, _receipt) = batch(chunk.to_vec());
        let start = std::time::Instant::now();
        transform.apply(&mut batch);
        took += start.elapsed();
    }
    let rate = bytes as f64 / took.as_secs_f64() / 1e6;
    println!("{bytes} bytes in {took:?}: {rate:.0} MB/s; {} KiB more resident", resident() - before);
}

fn surroundings() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9 \"'\\\\{}:,=/@.%+-]{0,40}",
        "(password|token|key|://|u:p@|\\[redacted:email\\]|\\[redacted:|bearer |é|\\\\u00e9|%20|a@b\\.co| |\"|:|=|\n){0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_planted_secret_never_leaks_and_the_second_time_changes_nothing(
        before in surroundings(), after in surroundings(), seed in any::<u64>(), hash in any::<bool>(),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let rules: Vec<_> = TOKENS.iter().filter(|rule| !rule.noisy).collect();
        let rule = rules[rng.random_range(0..rules.len())];
        let shape = Shape::parse(rule.shapes[rng.random_range(0..rule.shapes.len())]).unwrap();
        let key = shape.generate(&mut rng);
        let planted = format!("{before} {key} {after}");
        let config = format!("{{\"hash\":{hash},\"hash_key\":\"k\"}}");
        let once = text_with(&config, &planted);
        prop_assert!(!once.contains(&key), "{} left {}", key, once);
        prop_assert_eq!(text_with(&config, &once), once.clone(), "from {}", planted);
        let mut whole = event();
        let value = serde_json::json!({before.clone(): [planted, {"a": after}], "password": key.clone()});
        whole.input = Some(Json::from_value(&value).unwrap());
        let (once, _) = redact_with(&config, whole);
        let json = once.input.as_ref().unwrap().as_str();
        prop_assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
        prop_assert!(!json.contains(&key));
        let (twice, _) = redact_with(&config, once.clone());
        prop_assert_eq!(twice, once);
    }
}

#[test]
fn openclaws_session_keys_are_names_and_no_secrets() {
    let told = serde_json::json!({
        "sessionKey": "agent:main:main", "openclaw.session_key": "x-1", "openclaw.token": "cache_read",
        "log": "ended sessionKey=agent:main:explicit:l9660 ok",
    });
    assert_eq!(input(told.clone()), told);
    assert!(text("started with sessionKey=kJ8d92kdQw1z77xxPq").contains("[redacted:"));
}
