use std::sync::LazyLock;

use engine::{Admission, Batch, BuildContext, Event, Json, Kind, Transform, TransformConfig};
use serde::de::DeserializeOwned;

/// redact and truncate over a text in which a secret stands, in every field of an event that
/// takes text: what is left is JSON, holds no secret, is within its limits, and stays as it is when it is
/// cleaned again.
pub fn clean(data: &[u8]) {
    let (choice, rest) = crate::choice(data);
    let text = String::from_utf8_lossy(rest);
    let (before, after) = text.split_at(text.floor_char_boundary(text.len() * usize::from(choice) / 255));
    let secret = secret(data);
    let planted = format!("{before} {secret} {after}");

    let mut event = Event::new(Kind::LOG);
    event.error = Some(planted.clone());
    event.name = Some(before.to_owned());
    event.session_id = Some(after.chars().take(40).collect());
    event.output = Json::from_value(&planted).ok();
    event.input = Json::from_value(&serde_json::json!({before: [planted, {"a": after}], "password": secret})).ok();
    event.attributes = Json::parse(rest_as_object(rest).as_deref().unwrap_or("{}")).ok();

    let redacted = apply(&**REDACT, event);
    assert!(!redacted.to_json().contains(&secret), "the secret is left in {}", redacted.to_json());
    let again = apply(&**REDACT, redacted.clone());
    assert_eq!(again.to_json(), redacted.to_json(), "redacted again it is another");
    let cut = apply(&**TRUNCATE, redacted);
    crate::assert_round_trip(&cut);
    // The longest marker of truncate: see its tests.
    assert!(cut.error.as_ref().is_none_or(|text| text.len() <= 115), "{:?}", cut.error);
    assert!(cut.input.as_ref().is_none_or(|json| json.len() <= 600), "{:?}", cut.input);
    assert_eq!(apply(&**TRUNCATE, cut.clone()), cut, "cut again it is another");
}

/// The bytes as they are, where they are an object: escapes and numbers that nobody here would write.
fn rest_as_object(rest: &[u8]) -> Option<String> {
    let json = Json::parse(std::str::from_utf8(rest).ok()?).ok()?;
    json.is_object().then(|| json.as_str().to_owned())
}

/// A token that is known by its form, made of the input, since none may stand in the repository.
fn secret(data: &[u8]) -> String {
    let digest = engine::identity::digest(&[data]);
    let letters = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(b'A' + nibble));
    format!("ghp_{}", letters.chain(digest.iter().take(4).map(|byte| char::from(b'0' + byte % 10))).collect::<String>())
}

static REDACT: LazyLock<Box<dyn Transform>> = LazyLock::new(|| built::<transforms::Redact>(r#"{"hash_key": "k"}"#));
static TRUNCATE: LazyLock<Box<dyn Transform>> =
    LazyLock::new(|| built::<transforms::Truncate>(r#"{"max_text_bytes": 64, "max_field_bytes": 600}"#));

fn built<C: TransformConfig + DeserializeOwned>(config: &str) -> Box<dyn Transform> {
    let cx = BuildContext::new("clean");
    let config: C = serde_json::from_str(config).unwrap_or_else(|error| panic!("{error}"));
    config.build(&cx).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn apply(transform: &dyn Transform, event: Event) -> Event {
    let credits = Admission::new(1, 1).try_acquire(1, 1).unwrap_or_else(|| panic!("nothing is in flight"));
    let (mut batch, _receipt) = Batch::new(vec![event], credits, false);
    transform.apply(&mut batch);
    let cleaned = batch.iter().next().cloned();
    batch.confirm(0);
    cleaned.unwrap_or_else(|| panic!("cleaning dropped the event"))
}
