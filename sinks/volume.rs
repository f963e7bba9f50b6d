//! How much room a volume has, for the sinks that write to one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::{Refusal, RefusalKind};

/// How long a look at the volume is trusted. At 8 MiB/s, the most such a volume takes, no more than
/// 8 MiB are written in that time: less than any sensible reserve.
const TRUST: Duration = Duration::from_secs(1);

/// Free space that is left to others.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    looked: Option<(Instant, bool)>,
}

impl Reserve {
    /// So many bytes of the volume that this file is on.
    pub(crate) fn new(path: &Path, bytes: u64) -> Self {
        Self { path: path.to_owned(), bytes, looked: None }
    }

    /// Whether at least the reserve is free; a volume that cannot be asked counts as having room.
    pub(crate) fn is_free(&mut self) -> bool {
        match self.looked {
            Some((when, answer)) if when.elapsed() < TRUST => answer,
            _ => {
                let answer = free(&self.path).is_none_or(|free| free >= self.bytes);
                self.looked = Some((Instant::now(), answer));
                answer
            }
        }
    }
}

/// The folder that a file stands in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Bytes free on the volume of a file; `None` where it cannot be asked.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(folder(path)).ok()?;
    Some(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// What clients are told while there is no room.
pub(crate) fn no_space(why: &str) -> Refusal {
    let message = format!("{why}: no events are taken until there is room; send again later");
    Refusal::new(RefusalKind::NoSpace, message, Duration::from_secs(30))
}
