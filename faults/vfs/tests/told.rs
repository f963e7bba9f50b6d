//! What clients are told while the disk fails, and what becomes of their events.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod rig;

use std::time::Instant;

use rig::{Disk, Load, setup, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Behaviour, Home, Receiver, Request, array, event, eventually, get, marked, post, stored};

#[tokio::test]
async fn a_full_disk_is_answered_503_with_retry_after_and_events_are_taken_again() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let mut disk = Disk::new(&home, 1);
    let sidecar = setup(&home, &disk, &receiver).start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);

    disk.fail(&[json!({"call": "write", "fault": "full"})]).await;
    let refused: Vec<Value> = (0..10).map(|at| marked(&at.to_string())).collect();
    for event in &refused {
        let answer = post(sidecar.ingest, &Request::events(event.to_string())).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.retry_after() >= 1);
        assert!(answer.error().contains("full"), "{}", answer.error());
    }
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200, "it is not ill, it has no room");

    disk.heal().await;
    for event in &refused {
        eventually("the event is taken", async || {
            let answer = post(sidecar.ingest, &Request::events(event.to_string())).await;
            assert!([200, 503].contains(&answer.status), "{}", answer.text());
            if answer.status == 200 {
                assert_eq!(answer.json()["duplicates"], 0, "a refused event left no trace");
            }
            answer.status == 200
        })
        .await;
    }
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 11);
}

#[tokio::test]
async fn a_commit_of_which_nobody_knows_is_not_acknowledged_and_its_retry_does_not_double() {
    let mut came_back = 0;
    for killed in [false, true] {
        for nth in 1..=3 {
            let home = Home::new();
            let mut disk = Disk::new(&home, nth);
            let setup = home.setup().env("FAULTY_CONTROL", disk.control()).set("sinks.store.synchronous", "full");
            let mut sidecar = setup.start().await;
            for number in 1..nth {
                assert_eq!(
                    post(sidecar.ingest, &Request::events(marked(&number.to_string()).to_string())).await.status,
                    200
                );
            }
            // All is written, the mark of the commit too; only the sync says no.
            disk.fail(&[json!({"call": "sync", "file": "-wal", "fault": "error"})]).await;
            let events: Vec<Value> = (0..5).map(|at| marked(&format!("doubtful {at}"))).collect();
            let request = Request::events(array(&events));
            let answer = post(sidecar.ingest, &request).await;
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.retry_after() >= 1);
            assert!(disk.count("Sync Error trace.db-wal") > 0);
            if killed {
                sidecar.signal(Signal::KILL);
                sidecar.exit_code().await;
                disk.heal().await;
                sidecar = start_on(&setup, &mut disk).await;
            }
            disk.heal().await;
            let answer = post(sidecar.ingest, &request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            // After the kill the log is read anew, and the commit counts.
            came_back += usize::from(answer.json()["duplicates"] == 5);
            sidecar.stop().await;
            assert_eq!(stored(&home.db()).len(), usize::try_from(nth).unwrap() - 1 + 5);
        }
    }
    println!("a commit whose sync failed was there after a kill in {came_back} of 3 runs");
    assert!(came_back > 0, "the doubtful case is met");
}

#[tokio::test]
async fn syncs_that_fail_in_each_checkpoint_lose_nothing_at_a_kill() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let mut disk = Disk::new(&home, 1);
    let setup = setup(&home, &disk, &receiver);
    let mut sidecar = setup.start().await;
    let load = Load::start(sidecar.ingest, 1);
    for file in ["trace.db", "-wal"] {
        load.more(100).await;
        disk.fail(&[json!({"call": "sync", "file": file, "fault": "error"})]).await;
        let before = disk.count("Sync");
        eventually("checkpoints fail", async || disk.count("Sync") >= before + 5).await;
        // Without the log's own sync a log that begins anew cannot be used: then every event is refused.
        if file == "trace.db" {
            load.more(100).await;
            assert!(sidecar.log().contains("the checkpoint failed"), "it is said: {}", sidecar.log());
        }
        sidecar.signal(Signal::KILL);
        sidecar.exit_code().await;
        disk.heal().await;
        sidecar = setup.start().await;
        load.go_on(sidecar.ingest);
    }
    let ledger = load.finish().await;
    sidecar.stop().await;
    let verdict = ledger.compare(&home);
    println!("sync in checkpoints: {verdict}; answers {:?}; faults {:?}", ledger.statuses, disk.faults());
    verdict.assert_whole();
}

#[tokio::test]
async fn a_log_whose_locks_are_always_held_is_answered_in_time_and_let_go_of() {
    let home = Home::new();
    let mut disk = Disk::new(&home, 1);
    let setup = home
        .setup()
        .env("FAULTY_CONTROL", disk.control())
        .set("sinks.store.busy_timeout", "200ms")
        .set("sources.http.answer_timeout", "1s");
    let sidecar = setup.start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    disk.fail(&[json!({"call": "shm_lock", "fault": "busy"})]).await;
    let begun = Instant::now();
    let events: Vec<Value> = (0..4).map(|at| marked(&at.to_string())).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for event in events.clone() {
        let address = sidecar.ingest;
        waiting.spawn(async move {
            let answer = post(address, &Request::events(event.to_string())).await;
            (answer, begun.elapsed())
        });
    }
    for (answer, after) in waiting.join_all().await {
        println!("locks of the log held: {} after {after:?}: {}", answer.status, answer.text());
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.retry_after() >= 1);
        assert!(after < std::time::Duration::from_secs(5), "{after:?} for an answer within a second");
    }
    disk.heal().await;
    let healed = Instant::now();
    for event in &events {
        eventually("the event is taken", async || {
            post(sidecar.ingest, &Request::events(event.to_string())).await.status == 200
        })
        .await;
    }
    println!("locks of the log held: all are taken {:?} after they were let go", healed.elapsed());
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 5);
}
