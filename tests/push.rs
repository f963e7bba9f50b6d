//! P5: pushed means confirmed. What the receiver did not confirm stays, and is sent again under the
//! same identity; one event that it refuses does not hold up the others.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Behaviour, Home, Receiver, Request, Setup, Sidecar, array, eventually, get, id_of, marked, open, post, stored,
};
use uuid::Uuid;

/// A program that pushes as soon as it can, and gives up on a try soon.
fn pushing(home: &Home, receiver: &Receiver) -> Setup {
    home.setup().more(&format!(
        r#"
[sinks.push]
type = "augmi_push"
inputs = ["store"]
endpoint = "{}"
agent_id = "agent-7"
interval = "50ms"
batch_events = 20
timeout = "500ms"
max_tries = 2
base_delay = "10ms"
max_delay = "50ms"
breaker_cooldown = "50ms"
"#,
        receiver.url()
    ))
}

/// Sends events with these markers as one request; answers their identities.
async fn send(sidecar: &Sidecar, markers: &[&str]) -> HashSet<Uuid> {
    let events: Vec<Value> = markers.iter().map(|marker| marked(marker)).collect();
    let answer = post(sidecar.ingest, &Request::events(array(&events))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    events.iter().map(id_of).collect()
}

/// The identities that the store calls pushed.
fn pushed(home: &Home) -> HashSet<Uuid> {
    stored(&home.db()).into_iter().filter(|event| event.pushed).map(|event| event.trace_id).collect()
}

/// The markers of the events that were set aside.
fn quarantined(home: &Home) -> Vec<String> {
    let connection = open(&home.db());
    let mut query = connection
        .prepare(
            "SELECT attributes ->> 'marker' FROM events WHERE quarantined_at IS NOT NULL AND quarantine_reason <> ''",
        )
        .unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn kept(receiver: &Receiver) -> HashSet<Uuid> {
    receiver.kept().into_keys().collect()
}

#[tokio::test]
async fn a_push_carries_what_the_contract_says() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let token = Uuid::now_v7().simple().to_string();
    let sidecar = pushing(&home, &receiver).env("TRACE_PUSH_TOKEN", &token).start().await;
    let mut metric = marked("a sample");
    metric["kind"] = json!("metric");
    let call = marked("a call");
    post(sidecar.ingest, &Request::events(array(&[metric.clone(), call.clone()]))).await;
    eventually("both are confirmed", async || pushed(&home).len() == 2).await;
    sidecar.stop().await;

    let request = receiver.pushed().remove(0);
    assert_eq!(request.headers["authorization"], format!("Bearer {token}"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["idempotency-key"], request.body["batch_id"].as_str().unwrap());
    assert_eq!(request.body["agent_id"], "agent-7");
    assert!(request.body["sent_at"].is_string());
    assert_eq!(request.body["traces"][0]["trace_id"], call["trace_id"]);
    assert_eq!(request.body["metrics"][0]["trace_id"], metric["trace_id"]);
    assert_eq!(request.body["traces"][0]["input"], call["input"]);
}

#[tokio::test]
async fn what_waited_while_the_receiver_was_down_arrives_when_it_is_back() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let (setup, address) = (pushing(&home, &receiver), receiver.address);
    receiver.stop().await;
    let sidecar = setup.start().await;
    let mut sent = HashSet::new();
    for batch in 0..10 {
        let markers: Vec<String> = (0..15).map(|at| format!("b{batch}e{at}")).collect();
        sent.extend(send(&sidecar, &markers.iter().map(String::as_str).collect::<Vec<_>>()).await);
    }
    eventually("pushes fail", async || {
        let metrics = get(sidecar.api, "/metrics").await.text();
        let retries = metrics.lines().find(|line| line.starts_with("openclaw_trace_push_retries_total"));
        retries.is_some_and(|line| !line.ends_with(" 0"))
    })
    .await;
    assert!(pushed(&home).is_empty(), "nobody confirmed anything");

    let receiver = Receiver::start_at(address, Behaviour::Refuse(503)).await;
    eventually("it asks", async || !receiver.pushed().is_empty()).await;
    assert!(pushed(&home).is_empty(), "503 is no confirmation");
    receiver.behave(Behaviour::Accept);
    eventually("everything is confirmed", async || pushed(&home).len() == sent.len()).await;
    sidecar.stop().await;
    assert_eq!(kept(&receiver), sent);
    assert_eq!(pushed(&home), sent);
}

#[tokio::test]
async fn a_status_that_is_no_confirmation_confirms_nothing() {
    for status in [202, 204, 301, 401, 404, 429, 500] {
        let home = Home::new();
        let receiver = Receiver::start(Behaviour::Refuse(status)).await;
        let sidecar = pushing(&home, &receiver).start().await;
        let sent = send(&sidecar, &["a", "b"]).await;
        eventually("it asks", async || !receiver.pushed().is_empty()).await;
        assert!(pushed(&home).is_empty(), "{status} confirmed");
        sidecar.stop().await;
        assert!(pushed(&home).is_empty(), "{status} confirmed");
        assert!(quarantined(&home).is_empty(), "{status} quarantined");
        assert_eq!(stored(&home.db()).len(), sent.len());
    }
}

#[tokio::test]
async fn an_event_that_is_named_as_rejected_is_set_aside_and_the_others_are_confirmed() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Reject("guilty".to_owned())).await;
    let sidecar = pushing(&home, &receiver).start().await;
    let sent = send(&sidecar, &["a", "b", "guilty", "c", "d"]).await;
    eventually("four are confirmed", async || pushed(&home).len() == 4).await;
    let later = send(&sidecar, &["e"]).await;
    eventually("what came later is confirmed", async || pushed(&home).len() == 5).await;
    sidecar.stop().await;
    assert_eq!(quarantined(&home), ["guilty"]);
    let everything: HashSet<Uuid> = sent.union(&later).copied().collect();
    let guilty: HashSet<Uuid> = everything.difference(&kept(&receiver)).copied().collect();
    assert_eq!(guilty.len(), 1);
    assert!(pushed(&home).is_disjoint(&guilty), "the rejected one is not called pushed");
    assert_eq!(pushed(&home), kept(&receiver));
    assert_eq!(stored(&home.db()).len(), 6, "it stays in the store");
}

#[tokio::test]
async fn a_batch_that_chokes_the_receiver_is_halved_until_the_guilty_event_stands_alone() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Choke("guilty".to_owned())).await;
    let sidecar = pushing(&home, &receiver).start().await;
    let mut markers: Vec<String> = (0..50).map(|at| format!("e{at}")).collect();
    markers[17] = "guilty".to_owned();
    let sent = send(&sidecar, &markers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    eventually("the others are confirmed", async || pushed(&home).len() == 49).await;
    eventually("it is set aside", async || quarantined(&home) == ["guilty"]).await;
    sidecar.stop().await;
    assert_eq!(pushed(&home), kept(&receiver));
    assert_eq!(sent.difference(&pushed(&home)).count(), 1);
    assert!(receiver.pushed().len() < 40, "it was found by halving: {} requests", receiver.pushed().len());
}

#[tokio::test]
async fn an_answer_that_never_comes_after_the_batch_was_kept_is_sent_again_as_the_same_batch() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Lose).await;
    let sidecar = pushing(&home, &receiver).start().await;
    let sent = send(&sidecar, &["a", "b", "c"]).await;
    eventually("it tries again", async || receiver.pushed().len() >= 2).await;
    assert!(pushed(&home).is_empty(), "kept, but not confirmed");
    receiver.behave(Behaviour::Accept);
    eventually("they are confirmed", async || pushed(&home) == sent).await;
    sidecar.stop().await;
    let requests = receiver.pushed();
    let key = |at: usize| requests[at].headers["idempotency-key"].clone();
    assert!((1..requests.len()).all(|at| key(at) == key(0)), "a repeat carries the key of the first");
    assert!(receiver.kept().values().all(|times| *times >= 2), "it is a repeat");
    assert_eq!(kept(&receiver), sent, "under the same identities");
}

#[tokio::test]
async fn a_kill_between_push_and_confirmation_loses_no_event() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Lose).await;
    let setup = pushing(&home, &receiver);
    let mut sidecar = setup.start().await;
    let sent = send(&sidecar, &["a", "b", "c"]).await;
    eventually("a batch is in the air", async || !receiver.pushed().is_empty()).await;
    sidecar.signal(Signal::KILL);
    sidecar.exit_code().await;
    assert!(pushed(&home).is_empty());
    let before = receiver.pushed().len();
    receiver.behave(Behaviour::Accept);
    let sidecar = setup.start().await;
    eventually("they are confirmed", async || pushed(&home) == sent).await;
    sidecar.stop().await;
    let requests = receiver.pushed();
    assert_eq!(requests[before].headers["idempotency-key"], requests[0].headers["idempotency-key"]);
    assert_eq!(kept(&receiver), sent);
}

#[tokio::test]
async fn whatever_happens_the_receiver_ends_with_what_was_acknowledged() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let setup = pushing(&home, &receiver);
    let mut random = StdRng::seed_from_u64(5);
    let mut sidecar = setup.start().await;
    let mut sent = HashSet::new();
    for round in 0..24 {
        receiver.behave(match random.random_range(0..6) {
            0 => Behaviour::Refuse(500),
            1 => Behaviour::Refuse(429),
            2 => Behaviour::Lose,
            3 => Behaviour::Hang,
            _ => Behaviour::Accept,
        });
        let markers: Vec<String> = (0..random.random_range(1..60)).map(|at| format!("r{round}e{at}")).collect();
        sent.extend(send(&sidecar, &markers.iter().map(String::as_str).collect::<Vec<_>>()).await);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
        if round % 8 == 7 {
            sidecar.signal(Signal::KILL);
            sidecar.exit_code().await;
            assert!(pushed(&home).is_subset(&kept(&receiver)), "round {round}: pushed, and not kept by anybody");
            sidecar = setup.start().await;
        }
    }
    receiver.behave(Behaviour::Accept);
    eventually("everything is confirmed", async || pushed(&home).len() == sent.len()).await;
    sidecar.stop().await;
    assert_eq!(kept(&receiver), sent);
    assert!(quarantined(&home).is_empty());
}

#[tokio::test]
async fn without_an_endpoint_the_push_is_off_and_says_so_once() {
    let home = Home::new();
    let push = "\n[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\ninterval = \"20ms\"\n";
    let mut sidecar = home.setup().more(push).start().await;
    let sent = send(&sidecar, &["a"]).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    assert_eq!(sidecar.log().matches("push is off").count(), 1, "{}", sidecar.log());
    assert_eq!(stored(&home.db()).len(), sent.len());
    assert!(pushed(&home).is_empty());
}

#[tokio::test]
async fn a_stop_tries_one_last_push() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let setup = pushing(&home, &receiver).set("sinks.push.interval", "1h").set("sinks.push.batch_events", "500");
    let sidecar = setup.start().await;
    let sent = send(&sidecar, &["last"]).await;
    sidecar.stop().await;
    assert_eq!(kept(&receiver), sent);
    assert_eq!(pushed(&home), sent);
}
