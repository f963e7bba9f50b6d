//! What is said in the log, at every level: neither the token nor the contents of an event.

use super::memory::Memory;
use super::receiver::{Action, Receiver, status, take};
use super::*;
use crate::testing::Collected;

#[tokio::test]
async fn neither_the_token_nor_an_event_appears_in_the_log() {
    let log = Collected::default();
    let _listening = log.listen();
    // The receiver quotes what it was sent, as some do.
    let quote = || Action::Answer(400, &[], "bad text: a secret of the agent".into());
    let receiver = Receiver::start(move |n, seen| match n {
        0 => status(500),
        1 => status(401),
        2 => status(302),
        3 => Action::Answer(200, &[], "a secret of the agent".into()),
        _ if seen.has("guilty") => quote(),
        _ => take(),
    })
    .await;
    let mut all = events(10);
    all[3] = event("guilty");
    let outbox = Memory::with(&all);
    let running = Running::start(config(&receiver.url), &outbox);
    until("all settled", || outbox.counts() == (0, 9, 1)).await;
    // Then one that refuses everything, and one that is not there.
    let refusing = Receiver::start(move |_, _| quote()).await;
    running.stop().await;
    for endpoint in [refusing.url.as_str(), "http://127.0.0.1:1/?key=in-the-query"] {
        let outbox = Memory::with(&events(20));
        let running = Running::start(config(endpoint), &outbox);
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.stop().await;
    }
    let log = log.text();
    for said in ["push is on", "push is denied", "push failed", "push works again", "quarantined", "to every event"] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
    assert!(!log.contains("bad text"), "{log}");
    for secret in ["hunter2", "a secret of the agent", "in-the-query"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
    assert_eq!(log.matches("push is denied").count(), 1, "{log}");
}
