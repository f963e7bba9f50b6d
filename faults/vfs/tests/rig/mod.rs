//! What the tests of failing disks share: the disk's control, clients that keep a ledger of what they
//! were told, and the comparison of that ledger with the file.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, unused_imports, unreachable_pub)]

mod disk;
mod ledger;
mod load;

pub use disk::{Disk, hold};
pub use ledger::{Ledger, Verdict, asides};
pub use load::Load;

use crate::support::{Home, Receiver, Setup, Sidecar};

/// The program on this disk, impatient in all it does, so that a few seconds of a test hold many
/// checkpoints, deletions, pushes and retries.
pub fn setup(home: &Home, disk: &Disk, receiver: &Receiver) -> Setup {
    home.setup()
        .env("FAULTY_CONTROL", disk.control())
        .set("sinks.store.busy_timeout", "200ms")
        .set("sinks.store.checkpoint_interval", "50ms")
        .set("sinks.store.retention_interval", "50ms")
        .more(&format!(
            r#"
[sinks.push]
type = "augmi_push"
inputs = ["store"]
endpoint = "{}"
agent_id = "agent-7"
interval = "50ms"
batch_events = 50
timeout = "1s"
max_tries = 2
base_delay = "10ms"
max_delay = "50ms"
breaker_cooldown = "50ms"
"#,
            receiver.url()
        ))
}

/// Starts the program on a disk that may fail: then it may say so and end, as at any start that goes
/// wrong, and is started again, at last on a disk that works.
pub async fn start_on(setup: &Setup, disk: &mut Disk) -> Sidecar {
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

/// So many seeds as `FAULTY_SEEDS` says, or as CI has time for.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("FAULTY_SEEDS").ok().map(|seeds| seeds.parse().expect("FAULTY_SEEDS is a number"));
    // From FAULTY_FIRST on: one seed that failed is met again with `FAULTY_FIRST=17 FAULTY_SEEDS=1`.
    let first = std::env::var("FAULTY_FIRST").map_or(0, |first| first.parse().expect("FAULTY_FIRST is a number"));
    first..first + wanted.unwrap_or(usual)
}
