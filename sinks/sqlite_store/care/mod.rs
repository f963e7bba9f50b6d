//! What a person does with a database file by hand: look whether it is whole, make it small, keep a copy.
//!
//! None of it makes a file, brings one up to date, or sets one aside: that is the store's own work. A check and
//! a backup go on beside a running instance; a vacuum does not, since the agent's events would wait for it.

mod backup;
mod check;
mod vacuum;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::schema::FileError;
use super::space;
pub use backup::backup;
pub use check::{Checked, check};
pub use vacuum::{Vacuumed, vacuum};

/// Told how far the work is: so much done, of so much. The whole may be an estimate; the last call says the end.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Why the work was not done.
#[derive(Debug, thiserror::Error)]
pub enum CareError {
    /// No such file.
    #[error("there is no database {path}; name one with --db", path = .0.display())]
    Missing(PathBuf),
    /// Somebody has it open who must not.
    #[error("{path} is in use: stop openclaw-trace (and close what else reads the file) first, then try again", path = .0.display())]
    InUse(PathBuf),
    /// The volume has too little room.
    #[error(
        "{folder} has {free} free, and {need} may be needed: make room, or lower retention_days or max_bytes and wait for the store to give space back",
        folder = .folder.display(), free = mib(*.free), need = mib(*.need)
    )]
    NoRoom {
        /// The folder on the volume.
        folder: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        free: u64,
    },
    /// There is a file of this name.
    #[error("{path} is there already: choose another name, or overwrite it with --force", path = .0.display())]
    Exists(PathBuf),
    /// The copy would take the place of what is copied.
    #[error("{path} is the database itself: choose another name", path = .0.display())]
    Itself(PathBuf),
    /// The file is not one of ours, damaged, or cannot be read.
    #[error("{0}")]
    Database(String),
    /// What is written to failed.
    #[error("cannot write {path}: {error}", path = path.display())]
    Output {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

impl From<FileError> for CareError {
    fn from(error: FileError) -> Self {
        Self::Database(error.to_string())
    }
}

fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// SQLite's steps between two looks at the progress.
const LOOK_EVERY: u16 = 4096;

/// The size of a file that must be there.
fn existing(path: &Path) -> Result<u64, CareError> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(meta.len()),
        _ => Err(CareError::Missing(path.to_owned())),
    }
}

fn room(path: &Path, need: u64) -> Result<(), CareError> {
    match space::free(path) {
        Some(free) if free < need => Err(CareError::NoRoom { folder: space::folder(path).to_owned(), need, free }),
        _ => Ok(()),
    }
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> CareError {
    CareError::Database(format!("database {} cannot be read: {error}", path.display()))
}

fn events(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0))
        .map(|count| u64::try_from(count).unwrap_or(0))
}

/// Tells `progress` of every [`LOOK_EVERY`]th step, of so many that are expected.
fn watch(connection: &mut Connection, progress: &Progress, expected: u64) -> rusqlite::Result<()> {
    let progress = Arc::clone(progress);
    let mut done = 0u64;
    let look = move || {
        done += u64::from(LOOK_EVERY);
        // An estimate that was too low stops short of the end.
        progress(u64::min(done, expected - expected / 100), expected.max(1));
        false
    };
    connection.progress_handler(LOOK_EVERY.into(), Some(look))
}

fn unwatch(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.progress_handler(0, None::<fn() -> bool>)
}

/// What the tests of this folder share.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::Progress;
    use crate::sqlite_store::{Synchronous, schema};

    pub(super) fn silent() -> Progress {
        Arc::new(|_, _| ())
    }

    pub(super) type Told = Arc<Mutex<Vec<(u64, u64)>>>;

    pub(super) fn counting() -> (Progress, Told) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        (Arc::new(move |done, all| told.lock().unwrap().push((done, all))), kept)
    }

    pub(super) fn filled(path: &std::path::Path, events: i64) -> rusqlite::Connection {
        let connection = schema::open(path, Synchronous::Normal, Duration::from_secs(2), false).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        for at in 0..events {
            let id = i128::from(at).to_be_bytes();
            connection
                .execute(
                    "INSERT INTO events (trace_id, kind, ts, run_id, name, input, received_at)
                     VALUES (?1, 'log', ?2, ?3, 'n', ?4, 0)",
                    rusqlite::params![id, at, format!("r{}", at / 10), format!("\"{}\"", "x".repeat(500))],
                )
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_without_room_is_said_with_what_is_needed() {
        let Err(error) = room(Path::new("a.db"), u64::MAX) else { panic!("there is no such volume") };
        let said = error.to_string();
        assert!(
            said.starts_with(". has ") && said.contains("MiB free, and 175921860") && said.contains("max_bytes"),
            "{said}"
        );
        assert!(room(Path::new("a.db"), 0).is_ok());
    }
}
