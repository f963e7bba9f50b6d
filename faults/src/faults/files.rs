//! What happens to the file and its folder while the program runs: the folder is read-only, the
//! file is deleted or replaced, another process holds the lock.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use rusqlite::TransactionBehavior;
use tokio::time::sleep;

use super::Fault;
use crate::check;
use crate::report::Kind;
use crate::rig::{Rig, Stop};
use crate::{machine, sidecar};

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 5] =
    [&Files::ReadOnlyStart, &Files::ReadOnly, &Files::Deleted, &Files::Replaced, &Files::Locked];

enum Files {
    ReadOnlyStart,
    ReadOnly,
    Deleted,
    Replaced,
    Locked,
}

#[async_trait(?Send)]
impl Fault for Files {
    fn name(&self) -> &'static str {
        match self {
            Self::ReadOnlyStart => "readonly-start",
            Self::ReadOnly => "readonly-running",
            Self::Deleted => "db-deleted",
            Self::Replaced => "db-replaced",
            Self::Locked => "lock-held",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::ReadOnlyStart => "a restart with folder and files read-only must be refused, and lose nothing",
            Self::ReadOnly => "folder and files become read-only while it runs",
            Self::Deleted => "the database, alone or with its log files, is deleted while it runs",
            Self::Replaced => "another database is moved over it while it runs",
            Self::Locked => "another process holds the write lock for a while",
        }
    }

    fn quick(&self) -> bool {
        !matches!(self, Self::ReadOnly | Self::Deleted)
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        match self {
            Self::ReadOnlyStart | Self::ReadOnly => as_nobody(rig),
            Self::Locked => {
                // Shorter than the lock is held, or longer: the events wait, or are refused.
                rig.setup.busy_timeout = ["500ms", "10s"][rig.random.random_range(0..2)];
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        match self {
            Self::ReadOnlyStart => read_only_start(rig).await,
            Self::ReadOnly => {
                writable(rig, false);
                rig.pause(0.3, 0.7).await;
                writable(rig, true);
                rig.sidecar().map(|_| ())
            }
            Self::Deleted => deleted(rig).await,
            Self::Replaced => replaced(rig).await,
            Self::Locked => locked(rig, rig.lock_seconds).await,
        }
    }
}

/// Permissions do not stop root, so the program runs as nobody.
fn as_nobody(rig: &mut Rig) -> Result<(), Stop> {
    if !rustix::process::getuid().is_root() {
        return Ok(());
    }
    let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    // It must be able to reach the program too, which may stand below somebody's home.
    let bin = rig.setup.bin.to_string_lossy().into_owned();
    let mut probe: Vec<&str> = arguments.to_vec();
    probe.extend([&*bin, "--version"]);
    if !machine::succeeds("setpriv", &probe) {
        return Err(Stop::Skip("this is root, whom no permission stops, and setpriv cannot make it nobody".to_owned()));
    }
    std::os::unix::fs::chown(&rig.setup.folder, Some(65534), Some(65534)).expect("root can give a folder away");
    rig.setup.wrapper = std::iter::once("setpriv").chain(arguments).map(str::to_owned).collect();
    Ok(())
}

/// Folder and database; the log stays what it is.
fn writable(rig: &Rig, on: bool) {
    let set = |path: &Path, mode: u32| {
        if path.exists() {
            let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
            set.unwrap_or_else(|error| panic!("the mode of {} cannot be set: {error}", path.display()));
        }
    };
    for suffix in ["", "-wal", "-shm"] {
        set(&rig.setup.beside(suffix), if on { 0o600 } else { 0o400 });
    }
    set(&rig.setup.data, if on { 0o700 } else { 0o500 });
}

async fn read_only_start(rig: &mut Rig) -> Result<(), Stop> {
    rig.pause(0.1, 0.3).await;
    if rig.random.random() {
        rig.kill().await?
    } else {
        rig.term().await?
    }
    // The configuration is written before the folder is closed.
    writable(rig, false);
    match rig.try_up().await {
        Ok(()) => rig.world.find(Kind::Broken, 1, || "it started on a database that it cannot write".to_owned()),
        Err((status, log)) => {
            let told = log.contains("trace.db");
            if status.code() != Some(1) || !told {
                let words = sidecar::words(status);
                rig.world.find(Kind::Broken, 1, || format!("a read-only place: {words}, place named: {told}\n{log}"));
            }
        }
    }
    writable(rig, true);
    Ok(())
}

async fn deleted(rig: &mut Rig) -> Result<(), Stop> {
    rig.pause(0.1, 0.4).await;
    // The log files first: a new database must not lose its own.
    let files: &[&str] = if rig.random.random() { &["-wal", "-shm", ""] } else { &[""] };
    for suffix in files {
        let _ = std::fs::remove_file(rig.setup.beside(suffix));
    }
    after_loss(rig, "deleted").await
}

async fn replaced(rig: &mut Rig) -> Result<(), Stop> {
    let other = rig.setup.data.join("backup.db");
    let copied = check::open(&rig.setup.db()).and_then(|db| db.execute("VACUUM INTO ?1", [other.to_string_lossy()]));
    copied.expect("a copy of the database can be made");
    rig.pause(0.1, 0.4).await;
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(rig.setup.beside(suffix));
    }
    std::fs::rename(&other, rig.setup.db()).expect("the copy can be moved over the database");
    after_loss(rig, "replaced").await
}

/// What was there is gone; it must be said, and what comes from now on must stay.
async fn after_loss(rig: &mut Rig, what: &str) -> Result<(), Stop> {
    rig.destroyed(false);
    rig.receiver.lenient(true);
    let before = rig.acknowledged();
    rig.pause(0.4, 0.7).await;
    let log = rig.sidecar()?.log();
    rig.world.find(Kind::Broken, u64::from(!log.contains("deleted or replaced")), || {
        format!("the database was {what}, and the log does not say so")
    });
    let taken = rig.acknowledged() - before;
    rig.world.find(Kind::Broken, u64::from(taken == 0), || format!("nothing was taken after the database was {what}"));
    // A restart must find what the running program began.
    if rig.random.random() {
        rig.kill().await?;
        rig.up().await?;
    }
    Ok(())
}

/// Another connection, as another process has it, holds the lock for so long.
pub(super) async fn locked(rig: &mut Rig, seconds: f64) -> Result<(), Stop> {
    rig.receiver.lenient(true);
    let mut other = check::open(&rig.setup.db()).expect("the database can be opened beside the program");
    let held = other.transaction_with_behavior(TransactionBehavior::Immediate).expect("the lock can be had");
    sleep(Duration::from_secs_f64(seconds)).await;
    drop(held);
    rig.sidecar().map(|_| ())
}
