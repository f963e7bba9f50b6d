//! P2: where the disk stalls, clients are told so at once; what was refused can be sent again.
//!
//! The disk is stalled by this process, which holds the database's write lock.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use support::{
    Answer, Client, Home, Request, array, event, eventually, get, id_of, marked, open, post, stored, stored_ids,
};
use tokio::task::JoinSet;

/// Holds the write lock until it is dropped.
struct Stall(Connection);

impl Stall {
    fn begin(home: &Home) -> Self {
        let connection = open(&home.db());
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

/// The value of a metric, summed over its labels.
async fn metric(api: SocketAddr, name: &str) -> f64 {
    let text = get(api, "/metrics").await.text();
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn a_stalled_disk_is_answered_429_and_what_was_refused_can_be_sent_again() {
    const BUDGET: usize = 64;
    let home = Home::new();
    let sidecar = home.setup().set("runtime.max_in_flight_events", &BUDGET.to_string()).start().await;
    let memory = sidecar.watch_memory();
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);

    let stall = Stall::begin(&home);
    let events: Vec<Value> = (0..200).map(|at| marked(&at.to_string())).collect();
    let mut waiting = JoinSet::new();
    let mut refused = Vec::new();
    for event in events.clone() {
        let address = sidecar.ingest;
        waiting.spawn(async move {
            let answer = post(address, &Request::events(event.to_string())).await;
            (event, answer)
        });
    }
    // Those beyond the budget hear of it while the disk still stands; the others wait.
    while refused.len() < events.len() - BUDGET {
        let (event, answer): (Value, Answer) = waiting.join_next().await.unwrap().unwrap();
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(answer.retry_after() >= 1);
        assert!(!answer.error().is_empty());
        refused.push(event);
    }
    assert_eq!(waiting.len(), BUDGET);
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200, "it lives");
    assert!([200, 503].contains(&get(sidecar.api, "/readyz").await.status), "it answers");
    eventually("the metrics tell what is in flight", async || {
        metric(sidecar.api, "openclaw_trace_in_flight_events").await == BUDGET as f64
    })
    .await;
    assert_eq!(stored(&home.db()).len(), 1, "nothing was committed");

    drop(stall);
    for (_, answer) in waiting.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    for event in &refused {
        let answer = client.send(&Request::events(event.to_string())).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["duplicates"], 0, "a refused event left no trace");
    }
    memory.assert_within_budget();
    sidecar.stop().await;
    let mut markers: HashMap<String, usize> = HashMap::new();
    for event in stored(&home.db()) {
        *markers.entry(event.marker()).or_default() += 1;
    }
    assert_eq!(markers.len(), events.len() + 1);
    assert!(markers.values().all(|count| *count == 1), "each event is stored once");
}

#[tokio::test]
async fn memory_is_bounded_in_bytes_while_the_disk_stalls() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    let memory = sidecar.watch_memory();
    let stall = Stall::begin(&home);
    let mut clients = JoinSet::new();
    // 96 events of 256 KiB: six times the budget of 4 MiB in flight.
    for _ in 0..96 {
        let mut large = event();
        large["input"] = "word ".repeat(50_000).into();
        let address = sidecar.ingest;
        clients.spawn(async move {
            let request = Request::events(large.to_string());
            let mut refusals = 0;
            loop {
                let answer = post(address, &request).await;
                match answer.status {
                    200 => return (id_of(&large), refusals),
                    429 | 503 => {
                        assert!(answer.retry_after() >= 1);
                        refusals += 1;
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    other => panic!("{other}: {}", answer.text()),
                }
            }
        });
    }
    eventually("requests are refused", async || metric(sidecar.api, "openclaw_trace_refused_total").await > 50.0).await;
    drop(stall);
    let done = clients.join_all().await;
    assert!(done.iter().any(|(_, refusals)| *refusals > 0));
    memory.assert_within_budget();
    let sent: HashSet<_> = done.into_iter().map(|(id, _)| id).collect();
    sidecar.stop().await;
    assert!(sent.is_subset(&stored_ids(&home.db())));
    assert_eq!(stored_ids(&home.db()).len(), 97);
}

#[tokio::test]
async fn a_batch_larger_than_the_budget_is_taken_alone() {
    let home = Home::new();
    let sidecar = home.setup().set("runtime.max_in_flight_events", "10").start().await;
    let events: Vec<Value> = (0..500).map(|at| marked(&at.to_string())).collect();
    let answer = post(sidecar.ingest, &Request::events(array(&events))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["accepted"], 500);

    // Beside another request it finds no room, and finds it again afterwards.
    let stall = Stall::begin(&home);
    let address = sidecar.ingest;
    let small = tokio::spawn(async move { post(address, &Request::events(event().to_string())).await });
    eventually("one event is in flight", async || metric(sidecar.api, "openclaw_trace_in_flight_events").await == 1.0)
        .await;
    let more: Vec<Value> = (500..1000).map(|at| marked(&at.to_string())).collect();
    let request = Request::events(array(&more));
    let answer = post(sidecar.ingest, &request).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.retry_after() >= 1);
    drop(stall);
    assert_eq!(small.await.unwrap().status, 200);
    eventually("the large batch is taken", async || post(sidecar.ingest, &request).await.status == 200).await;
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 1001);
}

#[tokio::test]
async fn an_event_whose_commit_failed_is_kept_when_it_is_sent_again() {
    let home = Home::new();
    let setup = home.setup().set("sinks.store.busy_timeout", "200ms");
    let sidecar = setup.start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    let stall = Stall::begin(&home);
    let late = marked("late");
    let answer = post(sidecar.ingest, &Request::events(late.to_string())).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.retry_after() >= 1);
    assert!(!answer.error().is_empty());
    drop(stall);
    eventually("the event is taken", async || {
        let answer = post(sidecar.ingest, &Request::events(late.to_string())).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        answer.status == 200
    })
    .await;
    sidecar.stop().await;
    let kept = stored(&home.db());
    assert_eq!(kept.iter().filter(|event| event.marker() == "late").count(), 1, "dedupe did not swallow it");
}

#[tokio::test]
async fn a_rate_limit_is_answered_429_and_what_was_refused_can_be_sent_again() {
    let home = Home::new();
    let sidecar = home.setup().set("sources.http.rate_limit", "20").set("sources.http.rate_burst", "5").start().await;
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    let mut refusals = 0;
    for number in 0..20 {
        let request = Request::events(marked(&number.to_string()).to_string());
        loop {
            let answer = client.send(&request).await.unwrap();
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 429, "{}", answer.text());
            assert!(answer.retry_after() >= 1);
            refusals += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(refusals > 0, "the limit was met");
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 20);
}
