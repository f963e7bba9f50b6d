//! How much room there is: on the volume, and within the store's own budget.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::volume::Reserve;
pub(super) use crate::volume::{folder, free};

/// Watches the volume's free space, and that the file is still the one we opened.
#[derive(Debug)]
pub(super) struct Volume {
    path: PathBuf,
    reserve: Reserve,
    inode: Option<Identity>,
}

impl Volume {
    pub(super) fn new(path: &Path, reserve: u64) -> Self {
        Self { path: path.to_owned(), reserve: Reserve::new(path, reserve), inode: identity(path) }
    }

    /// Whether at least the reserve is free; a volume that cannot be asked counts as having room.
    pub(super) fn has_room(&mut self) -> bool {
        self.reserve.is_free()
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
