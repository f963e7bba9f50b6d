//! The disk fills up: for real, up to the reserve, or up to the store's own budget.

use std::io::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use tokio::time::sleep;

use super::Fault;
use crate::machine;
use crate::report::Kind;
use crate::rig::{Rig, Stop};

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 3] = [&Disk::Full, &Disk::Reserve, &Disk::Quota];

/// Size of the small volume.
const VOLUME: u64 = 24 << 20;

/// The budget of `quota`, and what may come between two looks at the size, one write, and the log.
const BUDGET: u64 = 1 << 20;
const SLACK: u64 = 12 << 20;

enum Disk {
    Full,
    Reserve,
    Quota,
}

#[async_trait(?Send)]
impl Fault for Disk {
    fn name(&self) -> &'static str {
        match self {
            Self::Full => "disk-full",
            Self::Reserve => "disk-reserve",
            Self::Quota => "quota",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Full => "a small volume fills to its last byte, and is freed later",
            Self::Reserve => "a small volume fills to the store's reserve, and is freed later",
            Self::Quota => "far more is sent than the store's budget allows",
        }
    }

    fn quick(&self) -> bool {
        !matches!(self, Self::Reserve)
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        match self {
            Self::Full => small_volume(rig),
            Self::Reserve => {
                rig.setup.disk_reserve = "4MiB";
                small_volume(rig)
            }
            Self::Quota => {
                rig.setup.max_bytes = "1MiB";
                rig.allow.retention = true;
                Ok(())
            }
        }
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        if matches!(self, Self::Quota) {
            return quota(rig).await;
        }
        rig.receiver.lenient(true);
        for _ in 0..rig.random.random_range(1..=2) {
            let ballast = rig.setup.data.join("ballast");
            fill(&ballast);
            rig.pause(0.2, 0.4).await;
            match rig.random.random_range(0..3) {
                // Killed, or stopped, and started without a byte free.
                0 => {
                    rig.kill().await?;
                    start_full(rig).await;
                }
                1 => {
                    rig.signal(rustix::process::Signal::TERM)?;
                    // Whether a stop without room ends with 0 is not promised, only that nothing is lost.
                    rig.gone().await;
                    start_full(rig).await;
                }
                _ => {}
            }
            std::fs::remove_file(&ballast).expect("the ballast can be removed");
            if !rig.is_up() {
                rig.up().await?;
            }
            taken_again(rig).await?;
        }
        Ok(())
    }
}

fn small_volume(rig: &mut Rig) -> Result<(), Stop> {
    if !machine::has_own_mounts() {
        return Err(Stop::Skip("a volume of its own cannot be mounted here (unshare, mount); see `quota`".to_owned()));
    }
    let data = rig.setup.folder.join("data");
    std::fs::create_dir(&data).expect("a folder can be made");
    let place = data.to_string_lossy().into_owned();
    if !machine::succeeds("mount", &["-t", "tmpfs", "-o", &format!("size={VOLUME}"), "faults", &place]) {
        return Err(Stop::Skip("no tmpfs can be mounted here; see `quota`".to_owned()));
    }
    rig.undo.push(vec!["umount".to_owned(), "--lazy".to_owned(), place]);
    rig.setup.data = data;
    Ok(())
}

/// Writes until nothing more fits.
fn fill(ballast: &std::path::Path) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(ballast).expect("a file can be made");
    for size in [1 << 20, 4096, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

/// It may come up or not; where not, it says why and leaves what is there.
async fn start_full(rig: &mut Rig) {
    if let Err((status, log)) = rig.try_up().await {
        let clear = status.code() == Some(1) && (log.contains("full") || log.contains("I/O") || log.contains("space"));
        rig.world.find(Kind::Broken, u64::from(!clear), || {
            format!("a start without room: {}\n{log}", crate::sidecar::words(status))
        });
    }
}

/// With room again, events are taken again, without a restart.
async fn taken_again(rig: &mut Rig) -> Result<(), Stop> {
    let before = rig.acknowledged();
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        rig.sidecar()?;
        if rig.acknowledged() > before {
            return Ok(());
        }
    }
    rig.world.find(Kind::Broken, 1, || "there is room again, and nothing is taken for 10 s".to_owned());
    Ok(())
}

async fn quota(rig: &mut Rig) -> Result<(), Stop> {
    let mut most = 0;
    for _ in 0..20 {
        rig.pause(0.03, 0.06).await;
        rig.sidecar()?;
        let size = |suffix| std::fs::metadata(rig.setup.beside(suffix)).map_or(0, |meta| meta.len());
        most = most.max(size("") + size("-wal") + size("-shm"));
    }
    rig.world.find(Kind::Broken, u64::from(most > BUDGET + SLACK), || {
        format!("{most} bytes on the disk for a budget of {BUDGET}")
    });
    Ok(())
}
