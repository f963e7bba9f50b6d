//! P5: pushed means confirmed, whatever the receiver does and whenever the program dies.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashSet;

use rustix::process::Signal;
use support::{Behaviour, Home, Receiver, Request, Setup, array, eventually, marked, post, stored};
use uuid::Uuid;

fn setup(home: &Home, receiver: &Receiver) -> Setup {
    home.setup().more(&format!(
        "[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nendpoint = \"{}\"\nagent_id = \"agent\"\n\
         batch_events = 1\ninterval = \"1s\"\nbase_delay = \"20ms\"\nmax_delay = \"100ms\"\ntimeout = \"1s\"\nbreaker_cooldown = \"200ms\"\n",
        receiver.url()
    ))
}

async fn send(sidecar: &support::Sidecar, markers: impl IntoIterator<Item = String>) -> HashSet<Uuid> {
    let events: Vec<_> = markers.into_iter().map(|marker| marked(&marker)).collect();
    let answer = post(sidecar.ingest, &Request::events(array(&events))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.trace_ids().into_iter().collect()
}

fn pushed(home: &Home) -> HashSet<Uuid> {
    stored(&home.db()).into_iter().filter(|event| event.pushed).map(|event| event.trace_id).collect()
}

fn kept(receiver: &Receiver) -> HashSet<Uuid> {
    receiver.kept().into_keys().collect()
}

#[tokio::test]
async fn what_waited_while_the_receiver_was_down_arrives_when_it_is_back() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Refuse(503)).await;
    let sidecar = setup(&home, &receiver).start().await;
    let sent = send(&sidecar, (0..50).map(|n| n.to_string())).await;
    eventually("it was tried", async || receiver.pushed().len() >= 3).await;
    assert!(pushed(&home).is_empty(), "a try is no confirmation");
    receiver.behave(Behaviour::Accept);
    eventually("all are confirmed", async || pushed(&home) == sent).await;
    assert_eq!(kept(&receiver), sent);
    sidecar.stop().await;
}

#[tokio::test]
async fn an_event_that_is_named_as_rejected_is_set_aside_and_the_others_are_confirmed() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Reject("guilty".to_owned())).await;
    let sidecar = setup(&home, &receiver).start().await;
    let guilty = send(&sidecar, ["guilty".to_owned()]).await;
    let others = send(&sidecar, (0..20).map(|n| n.to_string())).await;
    eventually("the others are confirmed", async || pushed(&home) == others).await;
    sidecar.stop().await;
    let db = support::open(&home.db());
    let set_aside: Vec<Vec<u8>> = db
        .prepare("SELECT trace_id FROM events WHERE quarantined_at IS NOT NULL")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(set_aside, guilty.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_that_chokes_the_receiver_is_halved_until_the_guilty_event_stands_alone() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Choke("guilty".to_owned())).await;
    let sidecar = setup(&home, &receiver).start().await;
    let markers = (0..30).map(|n| if n == 17 { "guilty".to_owned() } else { n.to_string() });
    let sent = send(&sidecar, markers).await;
    eventually("all but one are confirmed", async || pushed(&home).len() == sent.len() - 1).await;
    assert_eq!(kept(&receiver), pushed(&home));
    // Halving thirty takes at most a request for each half of each half.
    assert!(receiver.pushed().len() <= 40, "{} requests", receiver.pushed().len());
    sidecar.stop().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_after_the_batch_was_kept_is_sent_again_as_the_same_batch() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Lose).await;
    let sidecar = setup(&home, &receiver).start().await;
    let sent = send(&sidecar, (0..5).map(|n| n.to_string())).await;
    eventually("it was sent again", async || receiver.pushed().len() >= 2).await;
    receiver.behave(Behaviour::Accept);
    eventually("all are confirmed", async || pushed(&home) == sent).await;
    let requests = receiver.pushed();
    let same = |at: usize| (requests[at].headers["idempotency-key"].clone(), requests[at].body["batch_id"].clone());
    assert_eq!(same(0), same(1), "a retry carries the same key");
    assert_eq!(kept(&receiver), sent);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_kill_between_push_and_confirmation_loses_no_event() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Lose).await;
    let mut sent = HashSet::new();
    for round in 0..3 {
        let mut sidecar = setup(&home, &receiver).start().await;
        sent.extend(send(&sidecar, (0..20).map(|n| format!("{round}.{n}"))).await);
        let before = receiver.pushed().len();
        eventually("a push is under way", async || receiver.pushed().len() > before).await;
        sidecar.signal(Signal::KILL);
        sidecar.exit_code().await;
    }
    receiver.behave(Behaviour::Accept);
    let sidecar = setup(&home, &receiver).start().await;
    eventually("all are confirmed", async || pushed(&home) == sent).await;
    assert_eq!(kept(&receiver), sent);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_stop_tries_one_last_push() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let sidecar =
        setup(&home, &receiver).set("sinks.push.interval", "1h").set("sinks.push.batch_events", "500").start().await;
    let sent = send(&sidecar, ["last".to_owned()]).await;
    sidecar.stop().await;
    assert_eq!(kept(&receiver), sent);
    assert_eq!(pushed(&home), sent);
}
