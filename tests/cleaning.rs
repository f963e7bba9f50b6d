//! P4: nothing reaches a sink unredacted, and redaction sees the whole text before it is cut.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rand::distr::{Alphanumeric, SampleString as _};
use support::{Home, Request, array, event, marked, post, stored};

/// A piece of a secret of this length tells enough to count as a leak.
const PIECE: usize = 12;

/// What only the sender knows, made up for this run.
fn random(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}

/// Fails where any file of the home holds a piece of a secret.
fn assert_kept_nowhere(home: &Home, secrets: &[String]) {
    for file in std::fs::read_dir(home.path(".")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in secrets {
            for piece in secret.as_bytes().windows(PIECE) {
                let found = bytes.windows(PIECE).any(|window| window == piece);
                assert!(!found, "{} holds {} of a secret", path.display(), String::from_utf8_lossy(piece));
            }
        }
    }
}

#[tokio::test]
async fn a_secret_is_in_no_file_wherever_it_stood_in_the_event() {
    let home = Home::new();
    let sidecar = home.setup().set("runtime.log_level", "debug").start().await;
    let secrets: Vec<String> = (0..6).map(|_| random(40)).collect();
    let token = |at: usize| format!("ghp_{}", secrets[at]);
    let mut sent = event();
    sent["input"] = serde_json::json!({"messages": [{"content": format!("use {} for this", token(0))}]});
    sent["output"] = format!("I used {}.", token(1)).into();
    sent["error"] = format!("{} was refused", token(2)).into();
    sent["attributes"] = serde_json::json!({"password": secrets[3], "marker": "m"});
    sent[token(4)] = "in the name of a field that is not known".into();
    sent["name"] = token(5).into();
    let answer = post(sidecar.ingest, &Request::events(sent.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_kept_nowhere(&home, &secrets);
    let log = sidecar.log();
    assert!(secrets.iter().all(|secret| !log.contains(&secret[..PIECE])), "the log holds a secret");
    sidecar.stop().await;
    assert_kept_nowhere(&home, &secrets);
    assert_eq!(stored(&home.db()).len(), 1);
}

#[tokio::test]
async fn a_secret_that_stands_where_the_text_is_cut_is_found_before_the_cut() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let mut secrets = Vec::new();
    let mut events = Vec::new();
    // The cut of a text of 4096 bytes is somewhere in its last 200: the marker takes its room.
    for end in (3900..4140).step_by(8) {
        let secret = random(36);
        let mut event = marked(&end.to_string());
        event["output"] =
            format!("{}ghp_{secret} {}", "a word ".repeat(600).split_at(end - 41).0, "z".repeat(400)).into();
        events.push(event);
        secrets.push(secret);
    }
    let answer = post(sidecar.ingest, &Request::events(array(&events))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    sidecar.stop().await;
    assert_kept_nowhere(&home, &secrets);
    let kept = stored(&home.db());
    assert_eq!(kept.len(), events.len());
    assert!(kept.iter().all(|event| event.output.as_ref().is_some_and(|text| text.len() <= 4098)), "all were cut");
}
