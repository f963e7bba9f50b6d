//! A page of the file is damaged: the file is set aside, and the agent's events go on.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod rig;

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rig::{Disk, asides, hold, setup};
use serde_json::{Value, json};
use support::{
    Behaviour, Client, Home, Receiver, Request, array, event, eventually, id_of, integrity, marked, open, post, stored,
    stored_ids,
};

/// Writes a database of some MiB and spoils a page of the table's older half.
async fn spoiled(home: &Home) {
    let sidecar = home.setup().start().await;
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    for _ in 0..40 {
        assert_eq!(client.send(&Request::events(array(&large(50)))).await.unwrap().status, 200);
    }
    sidecar.stop().await;
    let connection = open(&home.db());
    let page: u32 = connection
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 5",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(connection);
    let file = std::fs::File::options().write(true).open(home.db()).unwrap();
    file.write_all_at(&[0x5a; 8192], (u64::from(page) - 1) * 8192).unwrap();
}

fn large(count: usize) -> Vec<Value> {
    (0..count)
        .map(|_| {
            let mut event = event();
            event["output"] = json!("word ".repeat(300));
            event
        })
        .collect()
}

#[tokio::test]
async fn a_damaged_page_does_not_end_the_budget_of_bytes() {
    const BUDGET: u64 = 2 << 20;
    let home = Home::new();
    spoiled(&home).await;
    let disk = Disk::new(&home, 1);
    let setup = home
        .setup()
        .env("FAULTY_CONTROL", disk.control())
        .set("sinks.store.max_bytes", "2MiB")
        .set("sinks.store.retention_interval", "100ms");
    let sidecar = setup.start().await;
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    for _ in 0..120 {
        assert_eq!(client.send(&Request::events(array(&large(50)))).await.unwrap().status, 200);
    }
    let begun = Instant::now();
    let size = || std::fs::metadata(home.db()).unwrap().len();
    while size() > BUDGET + (6 << 20) && begun.elapsed() < Duration::from_secs(10) {
        hold(Duration::from_millis(50)).await;
    }
    let (size, log) = (size(), sidecar.log());
    let failed = log.lines().filter(|line| line.contains("retention failed")).count();
    println!(
        "a budget of {BUDGET} bytes: {size} bytes, {failed} times \"retention failed\", {} set aside",
        asides(&home).len()
    );
    assert!(size <= BUDGET + (6 << 20), "{size} bytes for a budget of {BUDGET}; retention failed {failed} times");
    assert_eq!(asides(&home).len(), 1, "set aside");
    sidecar.stop().await;
}

#[tokio::test]
async fn a_damaged_page_does_not_end_the_push() {
    let home = Home::new();
    spoiled(&home).await;
    let receiver = Receiver::start(Behaviour::Accept).await;
    let disk = Disk::new(&home, 1);
    let sidecar = setup(&home, &disk, &receiver).set("sinks.store.retention_interval", "1h").start().await;
    let begun = Instant::now();
    let mut new = Vec::new();
    // What was stored before the damage is met goes with the file; what comes later must arrive.
    while begun.elapsed() < Duration::from_secs(8) && receiver.kept().keys().all(|id| !new.contains(id)) {
        let event = event();
        assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
        new.push(id_of(&event));
        hold(Duration::from_millis(50)).await;
    }
    let kept = receiver.kept();
    let arrived = new.iter().filter(|id| kept.contains_key(*id)).count();
    let failed = sidecar.log().lines().filter(|line| line.contains("cannot read the store")).count();
    println!("push: {arrived} of {} new events arrived, the store could not be read {failed} times", new.len());
    assert!(arrived > 0, "no new event is pushed: the store could not be read {failed} times");
}

/// The next write meets this: page 1, read anew, is no page of a database.
async fn next_write_reads_rubbish(home: &Home, disk: &mut Disk) {
    // Another process's commit makes the writer forget what it has in memory.
    open(&home.db()).execute("INSERT INTO state (key, value) VALUES ('other', 'process')", []).unwrap();
    disk.fail(&[json!({"call": "read", "fault": "garbled", "nth": 1})]).await;
}

#[tokio::test]
async fn a_page_that_reads_as_rubbish_sets_the_file_aside_and_events_go_on() {
    let home = Home::new();
    let mut disk = Disk::new(&home, 1);
    let sidecar = home.setup().env("FAULTY_CONTROL", disk.control()).start().await;
    let (before, after) = (event(), event());
    assert_eq!(post(sidecar.ingest, &Request::events(before.to_string())).await.status, 200);
    next_write_reads_rubbish(&home, &mut disk).await;
    let answer = post(sidecar.ingest, &Request::events(after.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(disk.count("Read Garbled"), 1);
    assert!(sidecar.log().contains("damaged"), "it is said: {}", sidecar.log());
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 1);
    assert!(stored_ids(&home.db()).contains(&id_of(&after)));
    let asides = asides(&home);
    assert_eq!(asides.len(), 1);
    assert_eq!(integrity(&asides[0]), "ok", "what was set aside is whole, with its log");
    assert!(stored_ids(&asides[0]).contains(&id_of(&before)));
}

/// Pushes one event, makes the file another one, and waits for the next event at the receiver.
async fn push_goes_on(what: &str, replace: impl AsyncFnOnce(&Home, &mut Disk)) {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let mut disk = Disk::new(&home, 1);
    let sidecar = setup(&home, &disk, &receiver).set("sinks.store.retention_interval", "1h").start().await;
    let (before, after) = (marked("before"), marked("after"));
    assert_eq!(post(sidecar.ingest, &Request::events(before.to_string())).await.status, 200);
    eventually("the first is pushed", async || receiver.kept().contains_key(&id_of(&before))).await;
    replace(&home, &mut disk).await;
    assert_eq!(post(sidecar.ingest, &Request::events(after.to_string())).await.status, 200);
    assert!(stored_ids(&home.db()).contains(&id_of(&after)));
    let begun = Instant::now();
    while !receiver.kept().contains_key(&id_of(&after)) && begun.elapsed() < Duration::from_secs(10) {
        hold(Duration::from_millis(50)).await;
    }
    println!("{what}: pushed {}, after {:?}", receiver.kept().contains_key(&id_of(&after)), begun.elapsed());
    assert!(receiver.kept().contains_key(&id_of(&after)), "the new file's events are never pushed:\n{}", sidecar.log());
}

#[tokio::test]
async fn the_push_goes_on_after_the_file_was_set_aside() {
    push_goes_on("set aside", async |home, disk| next_write_reads_rubbish(home, disk).await).await;
}

#[tokio::test]
async fn the_push_goes_on_after_the_file_was_deleted() {
    push_goes_on("deleted", async |home, _| {
        for name in ["trace.db", "trace.db-wal", "trace.db-shm"] {
            std::fs::remove_file(home.path(name)).unwrap();
        }
    })
    .await;
}
