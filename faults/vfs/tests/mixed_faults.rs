//! All that a disk can do at once, with `kill -9` between: one run for each seed. `FAULTY_SEEDS` says
//! how many, `FAULTY_FIRST` with which one to begin.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod rig;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rig::{Disk, Load, hold, seeds, setup, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Behaviour, Client, Home, Receiver, Request, array, id_of, marked, stored, stored_ids};

const SEEDS: u64 = 20;
const ROUNDS: usize = 3;

/// What a sound file survives whole; a disk that lies or garbles is another test's.
const FAULTS: [(&str, &str); 12] = [
    ("write", "error"),
    ("write", "full"),
    ("write", "short"),
    ("read", "error"),
    ("sync", "error"),
    ("truncate", "error"),
    ("open", "error"),
    ("lock", "busy"),
    ("shm_lock", "busy"),
    ("shm_lock", "error"),
    ("shm_map", "error"),
    ("file_size", "error"),
];

/// One to four rules: some for one file, some for one call, some slow.
fn weather(random: &mut StdRng) -> Vec<Value> {
    let count = random.random_range(1..=4);
    let rule = |_| {
        let (call, fault) = FAULTS.choose(random).unwrap();
        let file = ["", "", "-wal", "trace.db"].choose(random).unwrap();
        let mut rule = json!({"call": call, "fault": fault, "file": file});
        match random.random_range(0..3) {
            0 => rule["nth"] = json!(random.random_range(1..20)),
            1 => rule["probability"] = json!(random.random_range(0.02..0.9)),
            _ => {
                rule["probability"] = json!(random.random_range(0.02..0.3));
                rule["delay_us"] = json!(random.random_range(0..5_000));
            }
        }
        rule
    };
    (0..count).map(rule).collect()
}

#[tokio::test]
async fn all_faults_at_once_and_kills_lose_nothing_acknowledged_and_double_nothing() {
    for seed in seeds(SEEDS) {
        let home = Home::new();
        let receiver = Receiver::start(Behaviour::Accept).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Disk::new(&home, seed * 1_000);
        let mut setup = setup(&home, &disk, &receiver);
        if random.random_bool(0.3) {
            setup = setup.set("sinks.store.synchronous", "full");
        }
        let mut sidecar = setup.start().await;
        let load = Load::start(sidecar.ingest, seed);
        for _ in 0..ROUNDS {
            for _ in 0..random.random_range(2..6) {
                disk.fail(&weather(&mut random)).await;
                hold(Duration::from_millis(random.random_range(20..250))).await;
                assert!(sidecar.ended().is_none(), "seed {seed}: it ended by itself:\n{}", sidecar.log());
                if random.random_bool(0.6) {
                    disk.heal().await;
                    hold(Duration::from_millis(random.random_range(5..100))).await;
                }
            }
            sidecar.signal(Signal::KILL);
            assert_eq!(sidecar.exit_code().await, None);
            sidecar = start_on(&setup, &mut disk).await;
            load.go_on(sidecar.ingest);
        }
        disk.heal().await;
        let ledger = load.finish().await;
        assert!(sidecar.ended().is_none(), "seed {seed}: it ended by itself:\n{}", sidecar.log());
        sidecar.stop().await;
        let verdict = ledger.compare(&home);
        println!("mixed, seed {seed}: {verdict}; answers {:?}; faults {:?}", ledger.statuses, disk.faults());
        verdict.assert_whole();
        let kept = receiver.kept();
        let told = stored(&home.db()).into_iter().filter(|event| event.pushed);
        assert!(told.map(|event| event.trace_id).all(|id| kept.contains_key(&id)), "pushed means confirmed");
    }
}

#[tokio::test]
async fn what_was_only_queued_outlives_the_faults_until_an_orderly_stop() {
    for seed in seeds(3) {
        let home = Home::new();
        let receiver = Receiver::start(Behaviour::Accept).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Disk::new(&home, seed * 1_000);
        let setup = setup(&home, &disk, &receiver).set("sources.http.acknowledge", "queued");
        let mut sidecar = setup.start().await;
        let mut client = Client::connect(sidecar.ingest).await.unwrap();
        let mut safe = std::collections::HashSet::new();
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        for number in 0..400 {
            if number % 20 == 0 {
                disk.fail(&weather(&mut random)).await;
            }
            let events: Vec<_> = (0..10).map(|at| marked(&format!("{number}.{at}"))).collect();
            let answer = client.send(&Request::events(array(&events))).await.unwrap();
            *statuses.entry(answer.status).or_default() += 1;
            match answer.status {
                202 => safe.extend(events.iter().map(id_of)),
                429 | 503 => {
                    assert!(answer.retry_after() >= 1);
                    hold(Duration::from_millis(5)).await;
                }
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert!(sidecar.ended().is_none(), "it ended by itself:\n{}", sidecar.log());
        disk.heal().await;
        sidecar.stop().await;
        let kept = stored_ids(&home.db());
        let lost = safe.difference(&kept).count();
        println!(
            "queued, seed {seed}: acknowledged {}, lost {lost}; answers {statuses:?}; faults {:?}",
            safe.len(),
            disk.faults()
        );
        assert_eq!(lost, 0);
        assert_eq!(kept.len(), safe.len(), "what was refused left no trace");
    }
}
