//! P6: an orderly stop drains within its time, or says what it could not.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;

use rustix::process::Signal;
use support::{
    Behaviour, Client, Home, Receiver, Request, array, event, eventually, get, id_of, marked, open, post, stored_ids,
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Sends until the program takes nothing more; a refusal must say when to come back.
async fn send_until_the_end(address: SocketAddr) -> (Vec<Uuid>, usize) {
    let (mut safe, mut told) = (Vec::new(), 0);
    let Ok(mut client) = Client::connect(address).await else { return (safe, told) };
    loop {
        let events: Vec<_> = (0..5).map(|_| event()).collect();
        let Ok(answer) = client.send(&Request::events(array(&events))).await else { return (safe, told) };
        match answer.status {
            200 => safe.extend(events.iter().map(id_of)),
            429 => assert!(answer.retry_after() >= 1),
            503 => {
                assert!(answer.retry_after() >= 1);
                assert!(!answer.error().is_empty());
                told += 1;
            }
            other => panic!("{other}: {}", answer.text()),
        }
        // Whoever is told to wait does so, or the others would starve.
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(answer.status != 200))).await;
    }
}

#[tokio::test]
async fn a_stop_under_load_keeps_everything_acknowledged_and_turns_the_rest_away() {
    let home = Home::new();
    let mut sidecar = home.setup().start().await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(send_until_the_end(sidecar.ingest));
    }
    eventually("events are stored", async || stored_ids(&home.db()).len() > 500).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    let mut safe = HashSet::new();
    for (ids, _) in clients.join_all().await {
        safe.extend(ids);
    }
    let kept = stored_ids(&home.db());
    assert!(safe.is_subset(&kept), "{} acknowledged events are lost", safe.difference(&kept).count());
    assert!(Client::connect(sidecar.ingest).await.is_err(), "the port is closed");
    assert!(!home.path("trace.db-wal").exists(), "the store was closed");
}

#[tokio::test]
async fn while_it_drains_new_requests_are_told_503_and_when_to_come_back() {
    let home = Home::new();
    let mut sidecar = home.setup().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    let lock = open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One request in flight keeps the drain open for as long as the lock is held.
    let (address, in_flight) = (sidecar.ingest, event());
    let id = id_of(&in_flight);
    let pending = tokio::spawn(async move { post(address, &Request::events(in_flight.to_string())).await });
    sidecar.in_flight(1).await;
    sidecar.signal(Signal::TERM);
    eventually("it drains", async || sidecar.log().contains("draining")).await;
    let answer = post(sidecar.ingest, &Request::events(event().to_string())).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.retry_after() >= 1);
    assert!(!answer.error().is_empty());
    assert_eq!(get(sidecar.api, "/readyz").await.status, 503);
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200, "draining is no illness");

    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(pending.await.unwrap().status, 200, "what was begun is finished");
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    assert!(stored_ids(&home.db()).contains(&id));
    assert_eq!(stored_ids(&home.db()).len(), 2, "the refused event is not there");
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_not_with_zero() {
    let home = Home::new();
    let mut sidecar = home.setup().set("runtime.drain_timeout", "10m").start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    let lock = open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let address = sidecar.ingest;
    let pending = tokio::spawn(async move {
        let mut client = Client::connect(address).await.unwrap();
        client.send(&Request::events(event().to_string())).await
    });
    sidecar.in_flight(1).await;
    sidecar.signal(Signal::TERM);
    eventually("it drains", async || sidecar.log().contains("draining")).await;
    sidecar.signal(Signal::TERM);
    let code = sidecar.exit_code().await;
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}");
    assert!(pending.await.unwrap().map_or(true, |answer| answer.status != 200), "it was not acknowledged");
}

#[tokio::test]
async fn what_could_not_be_drained_is_counted_and_the_exit_code_is_not_zero() {
    let home = Home::new();
    let mut sidecar =
        home.setup().set("runtime.drain_timeout", "1s").set("sources.http.acknowledge", "queued").start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 202);
    eventually("the first event is stored", async || stored_ids(&home.db()).len() == 1).await;
    let lock = open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let events: Vec<_> = (0..7).map(|at| marked(&at.to_string())).collect();
    assert_eq!(post(sidecar.ingest, &Request::events(array(&events))).await.status, 202);
    sidecar.signal(Signal::TERM);
    let code = sidecar.exit_code().await;
    lock.execute_batch("ROLLBACK").unwrap();
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}:\n{}", sidecar.log());
    assert!(sidecar.log().contains("7 events"), "the log counts what was lost:\n{}", sidecar.log());
    assert_eq!(stored_ids(&home.db()).len(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_hold_the_stop() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Hang).await;
    let push = format!(
        "\n[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nendpoint = \"{}\"\ninterval = \"100ms\"\n",
        receiver.url()
    );
    let mut sidecar = home.setup().more(&push).set("runtime.drain_timeout", "2s").start().await;
    let sent = event();
    assert_eq!(post(sidecar.ingest, &Request::events(sent.to_string())).await.status, 200);
    eventually("a push hangs", async || !receiver.pushed().is_empty()).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "its events stay in the store:\n{}", sidecar.log());
    assert!(stored_ids(&home.db()).contains(&id_of(&sent)));
}

#[tokio::test]
async fn a_stop_is_orderly_when_nobody_reads_the_log_any_more() {
    let home = Home::new();
    let setup = home
        .setup()
        .set("runtime.log_level", "trace")
        .set("sinks.store.busy_timeout", "100ms")
        .deaf_after("ingest listening");
    let mut sidecar = setup.start().await;
    let sent = event();
    // Each of these writes log lines into a pipe that has no reader.
    for _ in 0..3 {
        assert_eq!(post(sidecar.ingest, &Request::events(sent.to_string())).await.status, 200);
    }
    let lock = open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(
        post(sidecar.ingest, &Request::events(event().to_string())).await.status,
        503,
        "the store's thread lives"
    );
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0));
    assert!(stored_ids(&home.db()).contains(&id_of(&sent)));
}
