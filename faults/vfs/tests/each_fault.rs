//! Each kind of fault of a disk on its own, coming and going under load and over restarts: no
//! acknowledged event is lost, none is doubled, the program goes on, and clients are told 200, 429 or
//! 503 and nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod rig;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rig::{Disk, Load, hold, seeds, setup, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Behaviour, Home, Receiver, Setup, stored};

const SEEDS: u64 = 1;

fn as_it_is(setup: Setup) -> Setup {
    setup
}

/// Faults of one kind come and go, with a kill, a stop and two starts on the failing disk.
async fn storm(what: &str, rules: &[Value], change: impl Fn(Setup) -> Setup) {
    for seed in seeds(SEEDS) {
        let home = Home::new();
        let receiver = Receiver::start(Behaviour::Accept).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Disk::new(&home, seed * 1_000);
        let setup = change(setup(&home, &disk, &receiver));
        let mut sidecar = setup.start().await;
        let memory = sidecar.watch_memory();
        let load = Load::start(sidecar.ingest, seed);
        for round in 0..2 {
            load.more(50).await;
            for _ in 0..4 {
                disk.fail(rules).await;
                hold(Duration::from_millis(random.random_range(50..300))).await;
                assert!(sidecar.ended().is_none(), "it ended by itself:\n{}", sidecar.log());
                disk.heal().await;
                hold(Duration::from_millis(random.random_range(20..150))).await;
            }
            // Once it is killed and once it is told to stop, while the disk fails; and starts on that disk.
            disk.fail(rules).await;
            sidecar.signal(if round == 0 { Signal::KILL } else { Signal::TERM });
            let code = sidecar.exit_code().await;
            assert_eq!(code, if round == 0 { None } else { Some(0) }, "{}", sidecar.log());
            sidecar = start_on(&setup, &mut disk).await;
            load.go_on(sidecar.ingest);
            disk.heal().await;
        }
        let ledger = load.finish().await;
        assert!(sidecar.ended().is_none(), "it ended by itself:\n{}", sidecar.log());
        memory.assert_within_budget();
        sidecar.stop().await;
        let verdict = ledger.compare(&home);
        println!("{what}, seed {seed}: {verdict}; answers {:?}; faults {:?}", ledger.statuses, disk.faults());
        verdict.assert_whole();
        assert!(rules.iter().all(|rule| rule["fault"].is_null()) || disk.count("") > 0, "no fault has happened");
        let kept = receiver.kept();
        let told = stored(&home.db()).into_iter().filter(|event| event.pushed);
        assert!(told.map(|event| event.trace_id).all(|id| kept.contains_key(&id)), "pushed means confirmed");
    }
}

#[tokio::test]
async fn writes_that_fail() {
    storm("write: error", &[json!({"call": "write", "fault": "error", "probability": 0.2})], as_it_is).await;
}

#[tokio::test]
async fn writes_to_the_log_that_fail() {
    let rule = json!({"call": "write", "file": "-wal", "fault": "error", "probability": 0.1});
    storm("write to the log: error", &[rule], as_it_is).await;
}

#[tokio::test]
async fn writes_of_a_checkpoint_that_fail() {
    let rule = json!({"call": "write", "file": "trace.db", "fault": "error", "probability": 0.5});
    storm("write to the database: error", &[rule], as_it_is).await;
}

#[tokio::test]
async fn writes_that_find_no_space() {
    storm("write: full", &[json!({"call": "write", "fault": "full", "probability": 0.2})], as_it_is).await;
}

#[tokio::test]
async fn writes_that_are_half_done() {
    storm("write: short", &[json!({"call": "write", "fault": "short", "probability": 0.2})], as_it_is).await;
}

#[tokio::test]
async fn reads_that_fail() {
    storm("read: error", &[json!({"call": "read", "fault": "error", "probability": 0.2})], as_it_is).await;
}

#[tokio::test]
async fn syncs_that_fail() {
    storm("sync: error", &[json!({"call": "sync", "fault": "error", "probability": 0.5})], as_it_is).await;
}

#[tokio::test]
async fn syncs_of_each_commit_that_fail() {
    let rule = json!({"call": "sync", "fault": "error", "probability": 0.3});
    storm("sync, synchronous = full: error", &[rule], |setup| setup.set("sinks.store.synchronous", "full")).await;
}

#[tokio::test]
async fn truncations_that_fail() {
    storm("truncate: error", &[json!({"call": "truncate", "fault": "error"})], as_it_is).await;
}

#[tokio::test]
async fn files_that_cannot_be_opened() {
    // The push opens the file anew after a read that failed.
    let rules = ["read", "open"].map(|call| json!({"call": call, "fault": "error", "probability": 0.4}));
    storm("open, read: error", &rules, as_it_is).await;
}

#[tokio::test]
async fn sizes_that_cannot_be_asked() {
    storm("file_size: error", &[json!({"call": "file_size", "fault": "error", "probability": 0.5})], as_it_is).await;
}

#[tokio::test]
async fn files_that_cannot_be_deleted() {
    storm("delete: error", &[json!({"call": "delete", "fault": "error"})], as_it_is).await;
}

#[tokio::test]
async fn locks_that_others_hold() {
    storm("lock: busy", &[json!({"call": "lock", "fault": "busy", "probability": 0.7})], as_it_is).await;
}

#[tokio::test]
async fn locks_of_the_log_that_others_hold() {
    storm("shm_lock: busy", &[json!({"call": "shm_lock", "fault": "busy", "probability": 0.5})], as_it_is).await;
}

#[tokio::test]
async fn locks_of_the_log_that_fail() {
    storm("shm_lock: error", &[json!({"call": "shm_lock", "fault": "error", "probability": 0.3})], as_it_is).await;
}

#[tokio::test]
async fn an_index_of_the_log_that_cannot_be_mapped() {
    storm("shm_map: error", &[json!({"call": "shm_map", "fault": "error", "probability": 0.7})], as_it_is).await;
}

#[tokio::test]
async fn a_disk_that_is_slow() {
    let rules = ["read", "write", "sync", "shm_lock", "open"]
        .map(|call| json!({"call": call, "delay_us": 3_000, "probability": 0.3}));
    storm("delays", &rules, as_it_is).await;
}
