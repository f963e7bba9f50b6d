//! What is said in the log, at every level: neither the token nor the contents of an event.

use std::fmt::Write as _;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber, span};

use super::memory::Memory;
use super::receiver::{Action, Receiver, status, take};
use super::*;

/// Collects every log line of this thread.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<String>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Collected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sinks")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push_str(&(line.0 + "\n"));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn neither_the_token_nor_an_event_appears_in_the_log() {
    let log = Collected::default();
    // With a single subscriber alive, tracing asks that of whichever thread first reaches a line
    // whether the line is wanted; tests on other threads have none. With two it asks both of these.
    let _second = tracing::Dispatch::new(log.clone());
    let _guard = tracing::subscriber::set_default(log.clone());
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
    let log = log.0.lock().unwrap().clone();
    for said in ["push is on", "push is denied", "push failed", "push works again", "quarantined", "to every event"] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
    assert!(!log.contains("bad text"), "{log}");
    for secret in ["hunter2", "a secret of the agent", "in-the-query"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
    assert_eq!(log.matches("push is denied").count(), 1, "{log}");
}
