//! The power fails: what was on the disk at one moment must open, and hold what it should.
//!
//! The program is stopped for the moment of the copy, so that the copy is of one instant; `-shm` is
//! left out, as it does not outlive a power loss. What this cannot show is a disk that lost what
//! was written and not synced: the copy comes from the kernel's cache. For `normal` that is made up
//! for, the end of the log is cut at a random byte: nowhere before what a checkpoint has moved,
//! because a checkpoint syncs the log before it touches the database.

use std::collections::HashSet;
use std::path::Path;

use async_trait::async_trait;
use rand::Rng as _;
use rustix::process::Signal;
use uuid::Uuid;

use super::Fault;
use crate::check;
use crate::report::Kind;
use crate::rig::{Rig, Stop};
use crate::setup::Setup;

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 2] = [&Power::Full, &Power::Normal];

enum Power {
    Full,
    Normal,
}

#[async_trait(?Send)]
impl Fault for Power {
    fn name(&self) -> &'static str {
        match self {
            Self::Full => "power-full",
            Self::Normal => "power-normal",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Full => "synchronous = full: a copy of the files at a moment holds all acknowledged before",
            Self::Normal => "synchronous = normal: the same with the unsynced end of the log cut off is a prefix",
        }
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        if matches!(self, Self::Full) {
            rig.setup.synchronous = "full";
        }
        Ok(())
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        let copies = rig.setup.folder.join("copies");
        std::fs::create_dir(&copies).expect("a folder can be made");
        for number in 0..3 {
            rig.pause(0.1, 0.3).await;
            let copy = copies.join(format!("{number}.db"));
            rig.signal(Signal::STOP)?;
            stopped(rig.sidecar()?.pid());
            // Asked after the stop: what was answered is in, and nothing is answered now.
            let due: HashSet<Uuid> = rig.world.ledger().due().map(|(id, _)| *id).collect();
            let backfilled = copy_files(&rig.setup, &copy);
            rig.receiver.excuse_last();
            rig.signal(Signal::CONT)?;
            if matches!(self, Self::Normal) {
                cut_log(rig, &copy, backfilled);
            }
            self.judge(rig, &copy, &due);
        }
        Ok(())
    }
}

impl Power {
    fn judge(&self, rig: &Rig, copy: &Path, due: &HashSet<Uuid>) {
        let database = match check::open(copy) {
            Ok(database) => database,
            Err(error) => return rig.world.find(Kind::Damaged, 1, || format!("a copy does not open: {error}")),
        };
        let said = check::integrity(&database);
        rig.world.find(Kind::Damaged, u64::from(said != "ok"), || format!("integrity_check of a copy: {said}"));
        let kept = check::readable_ids(&database);
        if matches!(self, Self::Full) {
            let lost = due.difference(&kept).count() as u64;
            rig.world.find(Kind::Lost, lost, || format!("{lost} acknowledged events are not in a copy"));
            return;
        }
        // In the order they were stored: what is there, is there without a gap.
        let asked = database.query_row("SELECT count(*), coalesce(max(id), 0) FROM events", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let gap = asked.as_ref().is_ok_and(|(count, last)| count != last);
        rig.world.find(Kind::Damaged, u64::from(gap), || format!("a copy has gaps: count and last id are {asked:?}"));
    }
}

/// Waits until the kernel says that every thread stands still.
fn stopped(pid: u32) {
    let still = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat"))).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    for _ in 0..1000 {
        if std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|mut tasks| tasks.all(still)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Copies database and log, and answers how many frames of the log a checkpoint may have moved.
fn copy_files(setup: &Setup, copy: &Path) -> u64 {
    std::fs::copy(setup.db(), copy).expect("the database can be copied");
    let log = format!("{}-wal", copy.display());
    if std::fs::copy(setup.beside("-wal"), log).is_err() {
        return 0;
    }
    // `WalCkptInfo` behind the two copies of `WalIndexHdr` (48 bytes each): nBackfillAttempted is at 32
    // in it. https://sqlite.org/walformat.html
    let shm = std::fs::read(setup.beside("-shm")).unwrap_or_default();
    shm.get(128..132).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes).into()
}

/// A power loss takes an end of the log that was not synced.
fn cut_log(rig: &mut Rig, copy: &Path, backfilled: u64) {
    let log = format!("{}-wal", copy.display());
    let Ok(length) = std::fs::metadata(&log).map(|meta| meta.len()) else { return };
    let page = 8192 + 24;
    let least = if backfilled == 0 { 0 } else { 32 + backfilled * page };
    if least < length {
        let cut = rig.random.random_range(least..length);
        let file = std::fs::OpenOptions::new().write(true).open(&log).expect("the copied log can be opened");
        file.set_len(cut).expect("the copied log can be cut");
    }
}
