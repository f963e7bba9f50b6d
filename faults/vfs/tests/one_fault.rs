//! One fault, at each call in turn where it can strike: while the file is made, opened, recovered,
//! written, checkpointed and closed. As SQLite tests itself: the first call fails, then the second,
//! and so on, until a run meets no fault. CI takes each third; `FAULTY_STEP=1` takes each.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mod.rs"]
mod support;

mod rig;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rig::{Disk, asides, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Home, PATIENCE, Request, Setup, Sidecar, array, eventually, id_of, integrity, marked, post, stored, stored_ids,
};

/// From one call looked at to the next.
fn step() -> usize {
    std::env::var("FAULTY_STEP").map_or(3, |step| step.parse().expect("FAULTY_STEP is a number"))
}

/// Calls looked at, at most; a life has fewer but for reads, locks and writes.
const MOST: u64 = 60;

/// The files of a program that was killed with a checkpointed table, and events in the log.
struct Killed {
    home: Home,
    ids: HashSet<uuid::Uuid>,
}

fn setup(home: &Home, disk: &Disk) -> Setup {
    home.setup()
        .env("FAULTY_CONTROL", disk.control())
        .set("sinks.store.busy_timeout", "100ms")
        .set("sinks.store.synchronous", "full")
}

async fn killed() -> Killed {
    let home = Home::new();
    let mut ids = HashSet::new();
    for start in 0..2 {
        let mut sidecar = home.setup().start().await;
        for number in 0..5 {
            let events: Vec<Value> = (0..20).map(|at| marked(&format!("killed{start}.{number}.{at}"))).collect();
            assert_eq!(post(sidecar.ingest, &Request::events(array(&events))).await.status, 200);
            ids.extend(events.iter().map(id_of));
        }
        if start == 0 {
            sidecar.stop().await;
        } else {
            sidecar.signal(Signal::KILL);
            sidecar.exit_code().await;
        }
    }
    Killed { home, ids }
}

fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let named = |path: &Path| {
            let mut name = path.to_owned().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        std::fs::copy(named(from), named(to)).unwrap();
    }
}

/// What the runs of a sweep came to.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    not_started: usize,
    refused: usize,
    stops_not_clean: usize,
}

async fn stop(mut sidecar: Sidecar) -> Option<i32> {
    sidecar.signal(Signal::TERM);
    let code = sidecar.exit_code().await;
    assert!(code.is_some(), "a signal ended it:\n{}", sidecar.log());
    code
}

/// A life with the fault at the `nth` such call, and a second one on a disk that works. `false` where
/// there are fewer calls.
async fn life(rule: &Value, nth: u64, before: Option<&Killed>, tally: &mut Tally) -> bool {
    let home = Home::new();
    if let Some(before) = before {
        copy(&before.home.db(), &home.db());
    }
    let mut safe = before.map(|before| before.ids.clone()).unwrap_or_default();
    let mut disk = Disk::new(&home, nth);
    let setup = setup(&home, &disk);
    let mut rule = rule.clone();
    rule["nth"] = json!(nth);
    disk.fail(&[rule.clone()]).await;

    let mut sidecar = setup.spawn();
    if !sidecar.started().await {
        tally.not_started += 1;
        assert_eq!(sidecar.exit_code().await, Some(1), "{rule}: {}", sidecar.log());
        assert!(disk.count("") > 0, "{rule}: it did not start on a disk that works: {}", sidecar.log());
        disk.heal().await;
        sidecar = start_on(&setup, &mut disk).await;
    }
    for number in 0..3 {
        let events: Vec<Value> = (0..4).map(|at| marked(&format!("{number}.{at}"))).collect();
        let request = Request::events(array(&events));
        let answer = post(sidecar.ingest, &request).await;
        if answer.status != 200 {
            tally.refused += 1;
            assert_eq!(answer.status, 503, "{rule}: {}", answer.text());
            assert!(answer.retry_after() >= 1);
            if rule["times"].is_null() {
                // Once, and it is over: the next one finds a disk that works, and a gate that opens by itself.
                assert!(disk.count("") > 0);
            } else {
                disk.heal().await;
            }
            eventually("what was refused is taken", async || post(sidecar.ingest, &request).await.status == 200).await;
        }
        safe.extend(events.iter().map(id_of));
    }
    if stop(sidecar).await != Some(0) {
        tally.stops_not_clean += 1;
    }
    let met = disk.count("") > 0;
    disk.heal().await;
    start_on(&setup, &mut disk).await.stop().await;

    assert_eq!(integrity(&home.db()), "ok", "{rule}");
    assert!(asides(&home).is_empty(), "{rule}: a sound file was set aside");
    assert_eq!(stored(&home.db()).len(), safe.len(), "{rule}");
    assert_eq!(stored_ids(&home.db()), safe, "{rule}");
    tally.runs += usize::from(met);
    met
}

/// Every call in turn, in a life that begins with no file, and in one that begins after a kill.
async fn sweep(call: &str, fault: &str) {
    let killed = killed().await;
    for (what, before) in [("new", None), ("after a kill", Some(&killed))] {
        // The one call fails; and: from that call on all do, until the disk is mended.
        for times in [Value::Null, json!(1_000_000)] {
            if (call, fault) == ("shm_lock", "busy") && !times.is_null() {
                // SQLite tries a lock of the log that is always held for ten seconds, whatever the
                // busy timeout is: a minute for each life. `told.rs` has one such.
                continue;
            }
            let mut tally = Tally::default();
            let mut rule = json!({"call": call, "fault": fault});
            if !times.is_null() {
                rule["times"] = times.clone();
            }
            let begun = std::time::Instant::now();
            for nth in (1..=MOST).step_by(step()) {
                if !life(&rule, nth, before, &mut tally).await {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE * 5, "{rule}: too slow");
            }
            let kind = if times.is_null() { "one call" } else { "from one call on" };
            println!("{call} {fault}, {what}, {kind}: {tally:?}");
            assert!(tally.runs > 0 || (call == "delete" && before.is_none()), "no fault has happened");
        }
    }
}

macro_rules! sweeps {
    ($($name:ident: $call:literal $fault:literal,)*) => {$(
        #[tokio::test]
        async fn $name() {
            sweep($call, $fault).await;
        }
    )*};
}

sweeps! {
    one_write_fails: "write" "error",
    one_write_finds_no_space: "write" "full",
    one_write_is_half_done: "write" "short",
    one_read_fails: "read" "error",
    one_sync_fails: "sync" "error",
    one_truncation_fails: "truncate" "error",
    one_open_fails: "open" "error",
    one_size_cannot_be_asked: "file_size" "error",
    one_lock_is_held: "lock" "busy",
    one_lock_of_the_log_is_held: "shm_lock" "busy",
    one_lock_of_the_log_fails: "shm_lock" "error",
    one_mapping_fails: "shm_map" "error",
    one_delete_fails: "delete" "error",
}
