//! P8: the disk does not fill. The store keeps to its budget, and stops before the volume's reserve.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Client, Home, Request, array, event, eventually, get, id_of, integrity, post, stored, stored_ids};

/// What the database and the files beside it take, in bytes.
fn on_disk(home: &Home) -> u64 {
    ["trace.db", "trace.db-wal", "trace.db-shm"]
        .into_iter()
        .map(|file| std::fs::metadata(home.path(file)).map_or(0, |meta| meta.len()))
        .sum()
}

#[tokio::test]
async fn the_files_stay_within_the_budget_while_much_more_is_sent() {
    const BUDGET: u64 = 4 << 20;
    // What may come between two looks at the size, one write, and the write-ahead log.
    const SLACK: u64 = 12 << 20;
    let home = Home::new();
    let sidecar = home.setup().set("sinks.store.max_bytes", "4MiB").start().await;
    let memory = sidecar.watch_memory();
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    let (mut sent, mut most, mut last) = (0, 0, None);
    while sent < 40 << 20 {
        let events: Vec<Value> = (0..100)
            .map(|_| {
                let mut event = event();
                event["output"] = json!(["word ".repeat(700), "word ".repeat(700)]);
                event
            })
            .collect();
        let body = array(&events);
        sent += body.len();
        let answer = client.send(&Request::events(body)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        last = events.last().map(id_of);
        most = most.max(on_disk(&home));
    }
    assert!(most <= BUDGET + SLACK, "{most} bytes on the disk for a budget of {BUDGET}");
    assert!(stored_ids(&home.db()).contains(&last.unwrap()), "the newest is kept");
    memory.assert_within_budget();
    // The log keeps up to 4 MiB of its file for the next writes, and 1 MiB may come between two looks.
    eventually("space is given back", async || on_disk(&home) <= BUDGET + (5 << 20)).await;
    sidecar.stop().await;
    let size = std::fs::metadata(home.db()).unwrap().len();
    assert!(size <= BUDGET + (2 << 20), "{size} bytes after the stop");
    assert!(stored(&home.db()).len() > 100, "what fits is kept");
    assert_eq!(integrity(&home.db()), "ok");
}

#[tokio::test]
async fn old_events_go_and_new_ones_stay() {
    let home = Home::new();
    let sidecar = home
        .setup()
        .set("sinks.store.retention_days", "7")
        .set("sinks.store.retention_interval", "100ms")
        .start()
        .await;
    let (mut old, new) = (event(), event());
    old["timestamp"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(post(sidecar.ingest, &Request::events(array(&[old, new.clone()]))).await.status, 200);
    eventually("the old one is deleted", async || stored(&home.db()).len() == 1).await;
    sidecar.stop().await;
    assert_eq!(stored(&home.db())[0].trace_id, id_of(&new));
}

#[tokio::test]
async fn below_the_reserve_events_are_refused_and_the_program_lives() {
    let home = Home::new();
    // More than any volume has free.
    let setup = home.setup().set("sinks.store.disk_reserve", "8000000GiB");
    let sidecar = setup.start().await;
    let refused = event();
    for _ in 0..3 {
        let answer = post(sidecar.ingest, &Request::events(refused.to_string())).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.retry_after() >= 1);
        assert!(answer.error().contains("reserve"), "{}", answer.error());
    }
    let ready = get(sidecar.api, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("reserve"), "{}", ready.text());
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200, "it is not ill, it has no room");
    assert_eq!(sidecar.log().matches("nothing is stored until there is room").count(), 1, "{}", sidecar.log());
    sidecar.stop().await;
    assert!(stored(&home.db()).is_empty());

    // With room again the very same event is taken.
    let sidecar = home.setup().start().await;
    let answer = post(sidecar.ingest, &Request::events(refused.to_string())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["duplicates"], 0);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_said_at_the_start() {
    let home = Home::new();
    std::fs::write(home.path("file"), "").unwrap();
    std::fs::create_dir(home.path("locked")).unwrap();
    let mut permissions = std::fs::metadata(home.path("locked")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(home.path("locked"), permissions).unwrap();
    let mut places = vec![home.path("file").join("x.db"), home.path("locked"), Path::new("/proc/x.db").to_owned()];
    // Permissions do not stop root.
    if !rustix::process::getuid().is_root() {
        places.push(home.path("locked").join("x.db"));
    }
    for place in places {
        let mut sidecar = home.setup().set("sinks.store.path", place.to_str().unwrap()).spawn();
        assert_eq!(sidecar.exit_code().await, Some(1), "{}", sidecar.log());
        let log = sidecar.log();
        assert!(log.contains(place.to_str().unwrap()), "the place is named: {log}");
        assert!(log.contains("TRACE_DB_PATH"), "and what to do: {log}");
    }
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_the_agent_s_events_go_on() {
    let home = Home::new();
    std::fs::write(home.db(), "this is no database, and no empty file either ".repeat(200)).unwrap();
    let sidecar = home.setup().start().await;
    let answer = post(sidecar.ingest, &Request::events(event().to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(sidecar.log().contains("ERROR") || sidecar.log().contains("WARN"), "it is said: {}", sidecar.log());
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 1);
    let beside = std::fs::read_dir(home.path(".")).unwrap().map(|entry| entry.unwrap().path());
    let kept = beside.filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"this is no database")));
    assert_eq!(kept.count(), 1, "the damaged file is kept under another name");
}
