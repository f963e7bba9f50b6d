//! The power fails: what was on the disk at one moment must open, and hold what it should.
//!
//! `power-*` copies the files. The program is stopped for the moment of the copy, so that the copy is
//! of one instant; `-shm` is left out, as it does not outlive a power loss. The copy comes from the
//! kernel's cache, so it holds what a disk would not have yet. For `normal` that is made up for: the
//! end of the log is cut at a random byte, nowhere before what a checkpoint has moved, because a
//! checkpoint syncs the log before it touches the database.
//!
//! `outage-*` is nearer to the truth, and needs root: the database is on an ext4 in an image file. The
//! image holds only what the file system has handed to its disk, so a copy of it, mounted, is what
//! is there after a power loss: what was written and not synced is mostly gone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rand::Rng as _;
use rustix::process::Signal;
use uuid::Uuid;

use super::Fault;
use crate::check;
use crate::machine;
use crate::report::Kind;
use crate::rig::{Rig, Stop};
use crate::setup::Setup;

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 4] = [
    &Power { full: true, volume: false },
    &Power { full: false, volume: false },
    &Power { full: true, volume: true },
    &Power { full: false, volume: true },
];

struct Power {
    /// `synchronous = "full"`.
    full: bool,
    /// On a volume of its own.
    volume: bool,
}

#[async_trait(?Send)]
impl Fault for Power {
    fn name(&self) -> &'static str {
        match (self.volume, self.full) {
            (false, true) => "power-full",
            (false, false) => "power-normal",
            (true, true) => "outage-full",
            (true, false) => "outage-normal",
        }
    }

    fn about(&self) -> &'static str {
        match (self.volume, self.full) {
            (false, true) => "synchronous = full: the files copied at a moment hold all acknowledged before",
            (false, false) => "synchronous = normal: the same, with the log's unsynced end cut off, is a prefix",
            (true, true) => "synchronous = full: the volume as its disk has it holds all acknowledged before",
            (true, false) => "synchronous = normal: the volume as its disk has it holds a prefix",
        }
    }

    fn quick(&self) -> bool {
        self.volume || !self.full
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        if self.full {
            rig.setup.synchronous = "full";
        }
        if self.volume { volume(rig) } else { Ok(()) }
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        let copies = rig.setup.folder.join("copies");
        std::fs::create_dir(&copies).expect("a folder can be made");
        for number in 0..3 {
            rig.pause(0.1, 0.3).await;
            rig.signal(Signal::STOP)?;
            stopped(rig.sidecar()?.pid());
            // Asked after the stop: what was answered is in, and nothing is answered now.
            let due: HashSet<Uuid> = rig.world.ledger().due().map(|(id, _)| *id).collect();
            let copy = copies.join(number.to_string());
            let backfilled = if self.volume {
                std::fs::copy(image(&rig.setup), &copy).expect("the image can be copied");
                0
            } else {
                copy_files(&rig.setup, &copy)
            };
            rig.receiver.excuse_last();
            rig.signal(Signal::CONT)?;
            if self.volume {
                self.judge_image(rig, &copy, &due);
            } else {
                if !self.full {
                    cut_log(rig, &copy, backfilled);
                }
                self.judge(rig, &copy, &due);
            }
        }
        Ok(())
    }
}

impl Power {
    /// Mounts the copied image, which replays the file system's own journal, and looks into it.
    fn judge_image(&self, rig: &Rig, image: &Path, due: &HashSet<Uuid>) {
        let place = image.with_extension("mounted");
        std::fs::create_dir(&place).expect("a folder can be made");
        if !machine::succeeds("mount", &["-o", "loop", &image.to_string_lossy(), &place.to_string_lossy()]) {
            panic!("the copied image cannot be mounted");
        }
        self.judge(rig, &place.join("trace.db"), due);
        let _ = machine::succeeds("umount", &[&place.to_string_lossy()]);
        let _ = std::fs::remove_file(image);
    }

    fn judge(&self, rig: &Rig, copy: &Path, due: &HashSet<Uuid>) {
        let database = match check::open(copy) {
            Ok(database) => database,
            Err(error) => return rig.world.find(Kind::Damaged, 1, || format!("a copy does not open: {error}")),
        };
        let said = check::integrity(&database);
        rig.world.find(Kind::Damaged, u64::from(said != "ok"), || format!("integrity_check of a copy: {said}"));
        let kept = check::readable_ids(&database);
        if self.full {
            let lost = due.difference(&kept).count() as u64;
            rig.world.find(Kind::Lost, lost, || format!("{lost} acknowledged events are not in a copy"));
            return;
        }
        // In the order they were stored: what is there, is there without a gap. Ids may have gaps of their own,
        // where an event was there already; then the file that went on has them too.
        let asked = database.query_row("SELECT count(*), coalesce(max(id), 0) FROM events", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let same = |last: i64| {
            let live = check::open(&rig.setup.db())?;
            live.query_row("SELECT count(*) FROM events WHERE id <= ?1", [last], |row| row.get::<_, i64>(0))
        };
        match asked.as_ref().map(|(count, last)| (*count, same(*last))) {
            Ok((count, Ok(live))) if count == live => {}
            told => rig
                .world
                .find(Kind::Damaged, 1, || format!("a copy has gaps: its events and those of the file are {told:?}")),
        }
    }
}

/// Where the image of the volume is.
fn image(setup: &Setup) -> PathBuf {
    setup.folder.join("volume.img")
}

/// The database goes onto a file system of its own.
fn volume(rig: &mut Rig) -> Result<(), Stop> {
    if !machine::has_own_mounts() {
        return Err(Stop::Skip("a volume of its own cannot be mounted here (unshare, mount)".to_owned()));
    }
    let (image, data) = (image(&rig.setup), rig.setup.folder.join("data"));
    let file = std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20));
    file.expect("an image file can be made");
    std::fs::create_dir(&data).expect("a folder can be made");
    let (image, data) = (image.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
    // Nothing but what is synced is to reach the image: no commit by the clock, as far as it goes.
    if !machine::succeeds("mkfs.ext4", &["-q", "-F", &image])
        || !machine::succeeds("mount", &["-o", "loop,commit=60", &image, &data])
    {
        return Err(Stop::Skip("no ext4 in an image file can be mounted here".to_owned()));
    }
    rig.undo.push(vec!["umount".to_owned(), "--lazy".to_owned(), data.clone()]);
    rig.setup.data = data.into();
    Ok(())
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
