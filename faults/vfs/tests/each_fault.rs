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
use rig::{Disk, Load, hold, seeds, setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Behaviour, Home, Receiver, Setup, Sidecar, eventually};

const SEEDS: u64 = 1;

/// Starts the program on a disk that may fail: then it may say so and end, as at any start that goes
/// wrong, and is started again, at last on a disk that works.
async fn start(setup: &Setup, disk: &mut Disk) -> Sidecar {
    for _ in 0..5 {
        let mut sidecar = setup.spawn();
        if sidecar.started().await {
            return sidecar;
        }
        assert_eq!(sidecar.exit_code().await, Some(1), "{}", sidecar.log());
        assert!(sidecar.log().contains("cannot start"), "{}", sidecar.log());
    }
    disk.heal().await;
    setup.start().await
}

/// Faults of one kind come and go, with a kill and a start on the failing disk between.
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
            if round == 0 {
                disk.fail(rules).await;
                sidecar.signal(Signal::KILL);
                assert_eq!(sidecar.exit_code().await, None);
                sidecar = start(&setup, &mut disk).await;
                load.go_on(sidecar.ingest);
                disk.heal().await;
            }
        }
        let ledger = load.finish().await;
        assert!(sidecar.ended().is_none(), "it ended by itself:\n{}", sidecar.log());
        memory.assert_within_budget();
        sidecar.stop().await;
        let verdict = ledger.compare(&home);
        println!("{what}, seed {seed}: {verdict}; answers {:?}; faults {:?}", ledger.statuses, disk.faults());
        verdict.assert_whole();
        assert!(disk.count("") > 0, "no fault has happened");
    }
}

#[tokio::test]
async fn writes_that_fail() {
    storm("write: error", &[json!({"call": "write", "fault": "error", "probability": 0.2})], |setup| setup).await;
}
