//! The power goes: what was not synced is gone, or half of it is. With `synchronous = "full"` no
//! acknowledged event is lost; with `normal` the last may be, but the file is sound.
//!
//! The shim keeps each file as it was when it was last synced. After a kill the files are put back
//! to that, block by block, but for those blocks that the disk happened to have written by itself.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod rig;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rig::{Disk, Load, Verdict, hold, seeds, setup, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Behaviour, Home, Receiver};

const SEEDS: u64 = 5;

/// What the kernel writes at a time.
const BLOCK: usize = 4096;

/// Takes away what was not synced; of each block of it, with this probability.
fn lose_power(home: &Home, probability: f64, random: &mut StdRng) {
    for name in ["trace.db", "trace.db-wal"] {
        // A file that was never synced is there, and empty.
        let synced = std::fs::read(home.path(&format!("{name}.synced"))).unwrap_or_default();
        let Ok(mut file) = std::fs::read(home.path(name)) else { continue };
        if random.random_bool(probability) {
            // The size, too, is as it was.
            file.resize(synced.len(), 0);
        }
        for (number, block) in file.chunks_mut(BLOCK).enumerate() {
            if random.random_bool(probability) {
                let old = synced.get(number * BLOCK..).unwrap_or_default();
                let old = &old[..old.len().min(block.len())];
                block[..old.len()].copy_from_slice(old);
                block[old.len()..].fill(0);
            }
        }
        std::fs::write(home.path(name), file).unwrap();
    }
    // The index of the log is shared memory: gone.
    let _ = std::fs::remove_file(home.path("trace.db-shm"));
}

/// Rounds of load, each of which a power loss ends.
async fn outages(synchronous: &str, rules: &[Value], seed: u64) -> Verdict {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut disk = Disk::keeping_synced(&home, seed);
    let setup = setup(&home, &disk, &receiver).set("sinks.store.synchronous", synchronous);
    let mut sidecar = setup.start().await;
    let load = Load::start(sidecar.ingest, seed);
    for _ in 0..3 {
        disk.fail(rules).await;
        load.more(200).await;
        hold(Duration::from_millis(random.random_range(0..200))).await;
        sidecar.signal(Signal::KILL);
        sidecar.exit_code().await;
        let probability = [1.0, 0.5, 0.1][random.random_range(0..3)];
        lose_power(&home, probability, &mut random);
        sidecar = start_on(&setup, &mut disk).await;
        load.go_on(sidecar.ingest);
    }
    disk.heal().await;
    let ledger = load.finish().await;
    sidecar.stop().await;
    let verdict = ledger.compare(&home);
    println!("power loss, {synchronous}, {} rules, seed {seed}: {verdict}; answers {:?}", rules.len(), ledger.statuses);
    verdict
}

#[tokio::test]
async fn with_synchronous_full_a_power_loss_loses_nothing_acknowledged() {
    for seed in seeds(SEEDS) {
        outages("full", &[], seed).await.assert_whole();
    }
}

#[tokio::test]
async fn with_synchronous_full_and_syncs_that_fail_a_power_loss_loses_nothing_acknowledged() {
    for seed in seeds(SEEDS) {
        let rule = json!({"call": "sync", "fault": "error", "probability": 0.2});
        outages("full", &[rule], seed).await.assert_whole();
    }
}

#[tokio::test]
async fn with_synchronous_normal_a_power_loss_leaves_a_sound_file() {
    for seed in seeds(SEEDS) {
        let verdict = outages("normal", &[], seed).await;
        assert_eq!(verdict.integrity, "ok");
        assert_eq!(verdict.asides, 0, "a sound file was set aside");
        assert!(verdict.doubled.is_empty());
    }
}

/// The test of the tests above: a disk that says "synced" and is not loses events, and they see it.
#[tokio::test]
async fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let lie = json!({"call": "sync", "fault": "lie", "file": "-wal"});
    let mut lost = 0;
    for seed in 0..3 {
        let verdict = outages("full", std::slice::from_ref(&lie), seed).await;
        lost += verdict.lost.len();
    }
    assert!(lost > 0);
}
