//! P1 and P3: what was acknowledged is in the store after `kill -9`, and is there once.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use support::{
    Client, Home, Request, array, eventually, id_of, integrity, marked, ndjson, open, post, stored, stored_ids,
};
use tokio::task::JoinSet;
use uuid::Uuid;

const ROUNDS: usize = 10;
const CONNECTIONS: usize = 16;
/// Acknowledged events of a round before the kill may come.
const LOAD: usize = 20_000;

/// Sends until the connection breaks: single events, arrays and NDJSON, in a seeded mix. A refused
/// request is sent again as it is. Answers the identities that were acknowledged.
async fn load(
    address: std::net::SocketAddr,
    seed: u64,
    round: usize,
    connection: usize,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<Uuid> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut safe = Vec::new();
    let Ok(mut client) = Client::connect(address).await else { return safe };
    for number in 0.. {
        let count = if random.random_ratio(1, 3) { 1 } else { random.random_range(10..=50) };
        let events: Vec<_> = (0..count).map(|at| marked(&format!("r{round}c{connection}n{number}a{at}"))).collect();
        let request = match (count, random.random_bool(0.5)) {
            (1, _) => Request::events(events[0].to_string()),
            (_, true) => Request::events(array(&events)),
            (_, false) => Request::lines(ndjson(&events)),
        };
        loop {
            let Ok(answer) = client.send(&request).await else { return safe };
            match answer.status {
                200 => break,
                429 | 503 => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{other}: {}", answer.text()),
            }
        }
        safe.extend(events.iter().map(id_of));
        acknowledged.fetch_add(count, Ordering::Relaxed);
    }
    safe
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_nothing_acknowledged_and_doubles_nothing() {
    let home = Home::new();
    // Only what the test is about may remove events.
    let setup = home.setup().set("sinks.store.max_bytes", "4GiB");
    let mut random = StdRng::seed_from_u64(20_261_124);
    let mut safe = HashSet::new();
    for round in 0..ROUNDS {
        let mut sidecar = setup.start().await;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let seed = random.random();
            clients.spawn(load(sidecar.ingest, seed, round, connection, Arc::clone(&acknowledged)));
        }
        let enough = LOAD + random.random_range(0..2_000);
        eventually("the load is taken", async || acknowledged.load(Ordering::Relaxed) >= enough).await;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        sidecar.signal(Signal::KILL);
        assert_eq!(sidecar.exit_code().await, None, "it was killed");
        for ids in clients.join_all().await {
            safe.extend(ids);
        }
        let kept = stored_ids(&home.db());
        let lost: Vec<_> = safe.difference(&kept).collect();
        assert!(lost.is_empty(), "round {round}: {} of {} acknowledged events are lost", lost.len(), safe.len());
        assert_eq!(integrity(&home.db()), "ok", "round {round}");
    }
    setup.start().await.stop().await;
    assert!(safe.is_subset(&stored_ids(&home.db())), "a restart and a stop keep everything");
    assert!(safe.len() >= ROUNDS * LOAD);

    let doubled: i64 = open(&home.db())
        .query_row(
            "SELECT count(*) FROM (SELECT 1 FROM events GROUP BY attributes ->> 'marker' HAVING count(*) > 1)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(doubled, 0, "events are stored twice under different identities");
    let beside: Vec<_> = std::fs::read_dir(home.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(beside.iter().all(|name| !name.to_string_lossy().contains("damaged")), "set aside: {beside:?}");
}

#[tokio::test]
async fn an_event_sent_again_is_a_duplicate_whether_or_not_dedupe_remembers_it() {
    let home = Home::new();
    let events: Vec<_> = (0..30).map(|at| marked(&at.to_string())).collect();
    let request = Request::events(array(&events));
    for start in 0..3 {
        // A restart empties dedupe's memory; the store's own rule then has to hold.
        let sidecar = home.setup().start().await;
        for again in 0..2 {
            let answer = post(sidecar.ingest, &request).await;
            assert_eq!(answer.status, 200);
            let duplicates = if start + again == 0 { 0 } else { 30 };
            assert_eq!(answer.json()["duplicates"], duplicates, "start {start}, sending {again}");
        }
        sidecar.stop().await;
    }
    assert_eq!(stored(&home.db()).len(), 30);
}

#[tokio::test]
async fn an_orderly_stop_loses_nothing_that_was_only_queued() {
    let home = Home::new();
    let mut sidecar = home.setup().set("sources.http.acknowledge", "queued").start().await;
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    let mut safe = HashSet::new();
    for number in 0..200 {
        let events: Vec<_> = (0..20).map(|at| marked(&format!("{number}.{at}"))).collect();
        let answer = client.send(&Request::events(array(&events))).await.unwrap();
        match answer.status {
            202 => safe.extend(events.iter().map(id_of)),
            429 => assert!(answer.retry_after() >= 1),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    assert!(!safe.is_empty());
    assert_eq!(stored_ids(&home.db()), safe);
}
