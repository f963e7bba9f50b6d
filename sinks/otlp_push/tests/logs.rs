//! What is said in the log, at every level: neither a header's value nor the contents of an event.

use super::backend::{Backend, Seen, status, taken};
use super::*;
use crate::testing::Collected;

#[tokio::test]
async fn neither_a_header_nor_an_event_appears_in_the_log() {
    let log = Collected::default();
    let _guard = log.listen();
    // The backend quotes what it was sent, as some do.
    let quoted = || b"bad text: a secret of the agent".to_vec();
    let guilty = |seen: &Seen| seen.has("guilty");
    let backend = Backend::start(move |n, seen| match n {
        0 => status(500),
        1 => status(401),
        2 => status(404),
        3 => (200, &[], quoted()),
        4 => (429, &[("retry-after", "0")], quoted()),
        _ if guilty(seen) => (400, &[], quoted()),
        // partial_success { rejected_spans: 1, error_message: "a secret of the agent" }
        _ => {
            let mut body = vec![0x0a, 25, 8, 1, 0x12, 21];
            body.extend(b"a secret of the agent");
            (200, &[], body)
        }
    })
    .await;
    let mut events = mixed(12);
    events[3] = event("llm_call", "guilty");
    let outbox = Memory::with(&events);
    let endpoint = format!("{}?key=in-the-query", backend.url);
    let running = Running::start(config(&endpoint), &outbox);
    until("all settled", || outbox.counts() == (0, 11, 1)).await;
    running.stop().await;
    let refusing = Backend::start(move |_, _| (400, &[], quoted())).await;
    let outbox = Memory::with(&mixed(20));
    let running = Running::start(config(&refusing.url), &outbox);
    until("it gives up", || log.text().contains("to every event")).await;
    running.stop().await;
    assert!(matches!(taken().0, 200));
    let log = log.text();
    for said in ["push is on", "push is denied", "push failed", "rejected some of it", "quarantined", "v1/traces"] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
    for secret in ["hunter2", "a secret of the agent", "bad text", "in-the-query"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}
