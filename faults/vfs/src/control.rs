//! What is to fail, and when: read from the file that [`FILE`] names, again whenever it changes.
//!
//! ```json
//! {"seed": 7, "keep_synced": false, "rules": [
//!     {"call": "write", "file": "-wal", "fault": "full", "probability": 0.1},
//!     {"call": "sync", "fault": "error", "nth": 3},
//!     {"call": "read", "delay_us": 500}
//! ]}
//! ```
//!
//! A file that is missing or has no rules lets everything pass. It must be replaced by a rename, so
//! that none is read half-written. Each fault is a line (`call fault name`) in the file beside it,
//! with `.log` after its name: a test sees there that what it wanted to happen did happen.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The environment variable with the control file's path; unset: nothing fails.
const FILE: &str = "FAULTY_CONTROL";

/// How long what was read is trusted without a look at the file. Far shorter than a test waits
/// after a change, and long enough for a query that reads a thousand pages.
const TRUST: Duration = Duration::from_millis(1);

/// A call of the VFS that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    /// xOpen
    Open,
    /// xDelete
    Delete,
    /// xRead
    Read,
    /// xWrite
    Write,
    /// xTruncate
    Truncate,
    /// xSync
    Sync,
    /// xFileSize
    FileSize,
    /// xLock
    Lock,
    /// xShmMap
    ShmMap,
    /// xShmLock, where it takes a lock
    ShmLock,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// The call's own input/output error, before anything is done; CANTOPEN from xOpen.
    Error,
    /// No space left.
    Full,
    /// Somebody else holds the lock.
    Busy,
    /// Half of a read or write is done: IOERR_SHORT_READ, and the rest zeros; or IOERR_WRITE.
    Short,
    /// Nothing is done and success is told.
    Lie,
    /// A read succeeds, and what it yields is not what was written.
    Garbled,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    call: Call,
    /// The file's name ends so.
    #[serde(default)]
    file: String,
    /// Left out: only the delay.
    fault: Option<Fault>,
    /// For each call on its own.
    #[serde(default = "always")]
    probability: f64,
    /// Only from the so-manieth matching call on, counted from 1 when the rule was read.
    #[serde(default)]
    nth: u64,
    /// How many calls at most. Left out: one where `nth` is given, else all.
    times: Option<u64>,
    #[serde(default)]
    delay_us: u64,
    #[serde(skip)]
    seen: u64,
    #[serde(skip)]
    done: u64,
}

fn always() -> f64 {
    1.0
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plan {
    seed: u64,
    keep_synced: bool,
    rules: Vec<Rule>,
}

impl Rule {
    fn meets(&mut self, call: Call, name: &str, random: &mut fastrand::Rng) -> bool {
        if call != self.call || !name.ends_with(&self.file) {
            return false;
        }
        self.seen += 1;
        let most = self.times.unwrap_or(if self.nth > 0 { 1 } else { u64::MAX });
        let meets = self.seen >= self.nth && self.done < most && random.f64() < self.probability;
        self.done += u64::from(meets);
        meets
    }
}

/// The control file as it was read last.
struct Control {
    path: PathBuf,
    log: Option<File>,
    looked: Option<Instant>,
    version: Option<(u64, i64, i64)>,
    plan: Plan,
    random: fastrand::Rng,
}

impl Control {
    fn new(path: PathBuf) -> Self {
        let mut log = path.clone().into_os_string();
        log.push(".log");
        let log = File::options().append(true).create(true).open(log).ok();
        Self { path, log, looked: None, version: None, plan: Plan::default(), random: fastrand::Rng::with_seed(0) }
    }

    fn refresh(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < TRUST) {
            return;
        }
        self.looked = Some(Instant::now());
        let version = std::fs::metadata(&self.path).ok().map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        if version == self.version {
            return;
        }
        self.version = version;
        self.plan = match version {
            Some(_) => read(&self.path),
            None => Plan::default(),
        };
        self.random = fastrand::Rng::with_seed(self.plan.seed);
    }

    fn ask(&mut self, call: Call, name: &str) -> (Duration, Option<Fault>) {
        self.refresh();
        let mut delay = Duration::ZERO;
        for rule in &mut self.plan.rules {
            if !rule.meets(call, name, &mut self.random) {
                continue;
            }
            delay += Duration::from_micros(rule.delay_us);
            if let Some(fault) = rule.fault {
                if let Some(log) = &mut self.log {
                    let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
                    // A test that counts too few says so itself.
                    let _ = log.write_all(format!("{call:?} {fault:?} {file}\n").as_bytes());
                }
                return (delay, Some(fault));
            }
        }
        (delay, None)
    }
}

/// A mistake in the file is the test's: it must not pass as a disk without faults.
fn read(path: &Path) -> Plan {
    let plan = std::fs::read(path).map_err(|error| error.to_string());
    let plan = plan.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    plan.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn control() -> Option<MutexGuard<'static, Control>> {
    static CONTROL: OnceLock<Option<Mutex<Control>>> = OnceLock::new();
    let control = CONTROL.get_or_init(|| std::env::var_os(FILE).map(|path| Mutex::new(Control::new(path.into()))));
    control.as_ref().map(|control| control.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How this call on the file `name` is to fail, after the delay that is asked of it.
pub(crate) fn ask(call: Call, name: &str) -> Option<Fault> {
    let (delay, fault) = control()?.ask(call, name);
    if !delay.is_zero() {
        std::thread::sleep(delay);
    }
    fault
}

fn keeps_synced() -> bool {
    control().is_some_and(|mut control| {
        control.refresh();
        control.plan.keep_synced
    })
}

/// After a sync that was done: keeps the file as it is now under its name with `.synced` after it, if
/// the control wants it. What a power loss may take is the difference between the two.
pub(crate) fn synced(name: &str) {
    if keeps_synced() {
        // Renamed when it is whole: the process may be killed inside the copy.
        let (half, whole) = (format!("{name}.syncing"), format!("{name}.synced"));
        let kept = std::fs::copy(name, &half).and_then(|_| std::fs::rename(&half, &whole));
        kept.unwrap_or_else(|error| panic!("{whole}: {error}"));
    }
}

/// Before a file is deleted: what is kept of it does not come back either.
pub(crate) fn deleted(name: &str) {
    if keeps_synced() {
        // It may never have been synced.
        let _ = std::fs::remove_file(format!("{name}.synced"));
    }
}
