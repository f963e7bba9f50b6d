//! P4: nothing reaches a sink unredacted, and redaction sees the whole text before it is cut.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::json;
use support::{Behaviour, Home, Receiver, Request, eventually, marked, post, stored};

/// A key of a provider's form, made now: no token stands in this repository.
fn key() -> String {
    let body: String = rand::rng().sample_iter(Alphanumeric).take(48).map(char::from).collect();
    format!("{}-{}-{body}9", "sk", "proj")
}

#[tokio::test]
async fn a_secret_across_the_cut_reaches_neither_the_store_nor_the_receiver() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let push = format!(
        "[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nendpoint = \"{}\"\nagent_id = \"a\"\nbatch_events = 1\n",
        receiver.url()
    );
    let sidecar = home.setup().more(&push).set("transforms.truncate.max_text_bytes", "512").start().await;
    let mut secrets = Vec::new();
    // The cut falls before, inside and behind the secret.
    for before in [0, 440, 480, 500, 511, 600] {
        let secret = key();
        let text = format!("{} {secret} {}", "word ".repeat(before / 5), "more ".repeat(300));
        let mut event = marked(&format!("at {before}"));
        event["input"] = json!({ "messages": [{ "content": text.clone() }] });
        event["output"] = json!(text.clone());
        event["error"] = json!(text.clone());
        event["name"] = json!(text.clone());
        event["attributes"]["note"] = json!(text.clone());
        event["attributes"][format!("key {secret}")] = json!(1);
        event["input"]["nested"] = json!(json!({ "deep": text }).to_string());
        let answer = post(sidecar.ingest, &Request::events(event.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        secrets.push(secret);
    }
    eventually("all are pushed", async || receiver.kept().len() == secrets.len()).await;
    let log = sidecar.log();
    sidecar.stop().await;
    let pushed = receiver.pushed().iter().map(|pushed| pushed.body.to_string()).collect::<String>();
    let kept = format!("{:?}", stored(&home.db()));
    assert!(kept.contains("[redacted:openai_key"), "{kept}");
    for secret in &secrets {
        // Half of one is as bad: no piece of it that could not be chance.
        for piece in secret.as_bytes().windows(16).map(|piece| std::str::from_utf8(piece).unwrap()) {
            for (place, text) in [("store", &kept), ("receiver", &pushed), ("log", &log)] {
                assert!(!text.contains(piece), "a piece of a secret reached the {place}");
            }
        }
    }
}

#[tokio::test]
async fn an_id_made_of_a_telephone_number_is_replaced_and_still_groups() {
    let home = Home::new();
    let sidecar = home.setup().set("transforms.redact.hash_key", "a key of this test").start().await;
    for number in ["+15552013344", "+15552013344", "+15552015566"] {
        let mut event = marked(number);
        event["attributes"] = json!({});
        event["session_id"] = json!(format!("agent:main:whatsapp:{number}"));
        assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    }
    sidecar.stop().await;
    let db = support::open(&home.db());
    let mut query = db.prepare("SELECT session_id FROM events ORDER BY id").unwrap();
    let ids: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(ids.iter().all(|id| !id.contains("555201")), "{ids:?}");
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}
