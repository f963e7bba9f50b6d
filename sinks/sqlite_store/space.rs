//! How much room there is: on the volume, and within the store's own budget.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// How long a look at the volume is trusted. At 8 MiB/s, the most such a volume takes, no more than
/// 8 MiB are written in that time: less than any sensible reserve.
const TRUST: Duration = Duration::from_secs(1);

/// Watches the volume's free space, and that the file is still the one we opened.
#[derive(Debug)]
pub(super) struct Volume {
    path: PathBuf,
    reserve: u64,
    looked: Option<(Instant, bool)>,
    inode: Option<Identity>,
}

impl Volume {
    pub(super) fn new(path: &Path, reserve: u64) -> Self {
        Self { path: path.to_owned(), reserve, looked: None, inode: identity(path) }
    }

    /// Whether at least the reserve is free; a volume that cannot be asked counts as having room.
    pub(super) fn has_room(&mut self) -> bool {
        match self.looked {
            Some((when, answer)) if when.elapsed() < TRUST => answer,
            _ => {
                let answer = free(&self.path).is_none_or(|free| free >= self.reserve);
                self.looked = Some((Instant::now(), answer));
                answer
            }
        }
    }

    /// Whether the name still leads to the file that was opened.
    pub(super) fn is_same_file(&self) -> bool {
        self.inode.is_some() && identity(&self.path) == self.inode
    }

    /// Takes the file that the name leads to now for ours.
    pub(super) fn opened(&mut self) {
        self.inode = identity(&self.path);
    }
}

/// The folder that a file stands in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Bytes free on the volume of a file; `None` where it cannot be asked.
pub(super) fn free(path: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(folder(path)).ok()?;
    Some(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Device and inode: what a name leads to.
pub(super) type Identity = (u64, u64);

/// What the name leads to now; nothing where there is no file.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Size of the write-ahead log beside `path`, in bytes; 0 where there is none.
pub(super) fn wal_bytes(path: &Path) -> u64 {
    std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len())
}

/// A file beside `path`, whose name goes on like this.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes of the file that hold something: free pages are room, not use.
///
/// # Errors
/// SQLite's.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(u64::try_from(pages.saturating_mul(pragma("page_size")?)).unwrap_or(0))
}
