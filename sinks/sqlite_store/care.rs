//! What a person does with a database file by hand: look whether it is whole, make it small, keep a copy.
//!
//! None of it makes a file, brings one up to date, or sets one aside: that is the store's own work. A check and
//! a backup go on beside a running instance; a vacuum does not, since the agent's events would wait for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::schema::{self, FileError};
use super::{damage, space};

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

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// How many events it holds; 0 where they cannot be counted.
    pub events: u64,
    /// What is wrong, in SQLite's words, at most 100 things; nothing in a file that is whole.
    pub problems: Vec<String>,
}

/// What a vacuum did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vacuumed {
    /// Size of the file before, its write-ahead log included.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// SQLite's steps between two looks at the progress.
const LOOK_EVERY: u16 = 4096;

/// Steps that SQLite makes for one event, about: measured, for the estimate of how far the work is.
const CHECK_STEPS: u64 = 65;
const VACUUM_STEPS: u64 = 21;

/// How long a lock of a moment (a reader, a checkpoint) is waited for.
const MOMENT: Duration = Duration::from_secs(2);

/// Reads every page and holds each index against its table.
///
/// # Errors
/// [`CareError`]: no such file, somebody else's, or it cannot be read. Damage is an answer, not an error.
pub fn check(path: &Path, progress: &Progress) -> Result<Checked, CareError> {
    let bytes = existing(path)?;
    let damaged = |problem: String| Ok(Checked { bytes, events: 0, problems: vec![problem] });
    let mut connection = match schema::open_reader(path) {
        Ok(connection) => connection,
        Err(error) if error.is_damage() => return damaged(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let events = match events(&connection) {
        Ok(events) => events,
        Err(error) if damage::is_damage(&error) => return damaged(error.to_string()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    watch(&mut connection, progress, events.saturating_mul(CHECK_STEPS)).map_err(|error| unreadable(path, &error))?;
    match problems(&connection) {
        Ok(problems) => {
            progress(1, 1);
            Ok(Checked { bytes, events, problems })
        }
        Err(error) if damage::is_damage(&error) => damaged(error.to_string()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn problems(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let said = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(said.into_iter().filter(|line| line != "ok").collect())
}

/// Writes the file anew without its free pages. Nobody else may have it open meanwhile.
///
/// # Errors
/// [`CareError`].
pub fn vacuum(path: &Path, progress: &Progress) -> Result<Vacuumed, CareError> {
    let before = existing(path)? + space::wal_bytes(path);
    // Once for the copy that SQLite makes, once for the log of what it writes back.
    room(path, before.saturating_mul(2))?;
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => CareError::InUse(path.to_owned()),
        _ => CareError::Database(format!("database {}: {error}; nothing was changed", path.display())),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(MOMENT).map_err(failed)?;
    // Asked for before the first read: SQLite then takes the file for itself, or says that others have it.
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(())).map_err(failed)?;
    connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0)).map_err(failed)?;
    schema::check_owner(&connection, path, |error| schema::sqlite_error(path, error))?;
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .and_then(|held| held.rollback())
        .map_err(failed)?;
    // The copy stands beside the file, on the volume that was asked for room: not in memory, of which there
    // is little, nor in a /tmp that may be memory.
    connection.pragma_update(None, "temp_store", "FILE").map_err(failed)?;
    let folder = space::folder(path).display().to_string();
    connection.pragma_update(None, "temp_store_directory", folder).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -1024).map_err(failed)?;
    let events = events(&connection).map_err(failed)?;
    watch(&mut connection, progress, events.saturating_mul(VACUUM_STEPS)).map_err(failed)?;
    connection.execute_batch("VACUUM").map_err(failed)?;
    unwatch(&mut connection).map_err(failed)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    progress(1, 1);
    Ok(Vacuumed { before, after: existing(path)? + space::wal_bytes(path) })
}

/// Pages copied between two looks at the progress: 1 MiB.
const PAGES: i32 = 128;

/// Copies the file as it stands at this moment, also that of a running instance, and answers the copy's size.
///
/// The copy is made under another name beside `to` and takes its place when it is whole and on the disk. One
/// transaction is held meanwhile, so that writers do not make the copy begin again; the write-ahead log grows by
/// what they write in that time.
///
/// # Errors
/// [`CareError`].
pub fn backup(path: &Path, to: &Path, force: bool, progress: &Progress) -> Result<u64, CareError> {
    let bytes = existing(path)? + space::wal_bytes(path);
    if space::identity(to).is_some() {
        if space::identity(to) == space::identity(path) {
            return Err(CareError::Itself(to.to_owned()));
        }
        if !force || to.is_dir() {
            return Err(CareError::Exists(to.to_owned()));
        }
    }
    room(to, bytes)?;
    let partial = space::beside(to, ".partial");
    let written = |error| CareError::Output { path: partial.clone(), error };
    let fresh = || {
        let _ = std::fs::remove_file(&partial);
        schema::create_private(&partial)
    };
    fresh().map_err(written)?;
    let done = copy(path, &partial, progress).and_then(|()| put(&partial, to, force));
    if done.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    done?;
    progress(1, 1);
    existing(to)
}

fn copy(path: &Path, partial: &Path, progress: &Progress) -> Result<(), CareError> {
    let source = schema::open_reader(path)?;
    let read = |error: rusqlite::Error| unreadable(path, &error);
    let written =
        |error: rusqlite::Error| CareError::Output { path: partial.to_owned(), error: std::io::Error::other(error) };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(partial, flags).map_err(written)?;
    // A copy that is cut short is thrown away: it needs no journal, and one sync at its end.
    target.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(())).map_err(written)?;
    target.pragma_update(None, "synchronous", "OFF").map_err(written)?;
    source.execute_batch("BEGIN").map_err(read)?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(read)?;
    let work = Backup::new(&source, &mut target).map_err(written)?;
    loop {
        let step = work.step(PAGES).map_err(written)?;
        let at = work.progress();
        let (left, all) = (u64::try_from(at.remaining).unwrap_or(0), u64::try_from(at.pagecount).unwrap_or(0));
        progress(all.saturating_sub(left), all);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Busy, locked: nobody but this process writes the copy.
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    drop(work);
    target.close().map_err(|(_, error)| written(error))
}

/// Brings the copy to the disk and gives it its name.
fn put(partial: &Path, to: &Path, force: bool) -> Result<(), CareError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let written = |error| CareError::Output { path: to.to_owned(), error };
    std::fs::File::open(partial).and_then(|file| file.sync_all()).map_err(written)?;
    if force {
        std::fs::rename(partial, to).map_err(written)?;
    } else {
        match renameat_with(CWD, partial, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(CareError::Exists(to.to_owned())),
            // A file system that cannot promise it: it was looked at a moment ago.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
                std::fs::rename(partial, to).map_err(written)?;
            }
            Err(error) => return Err(written(error.into())),
        }
    }
    std::fs::File::open(space::folder(to)).and_then(|folder| folder.sync_all()).map_err(written)
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::sqlite_store::Synchronous;

    fn silent() -> Progress {
        Arc::new(|_, _| ())
    }

    type Told = Arc<Mutex<Vec<(u64, u64)>>>;

    fn counting() -> (Progress, Told) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        (Arc::new(move |done, all| told.lock().unwrap().push((done, all))), kept)
    }

    fn filled(path: &Path, events: i64) -> Connection {
        let connection = schema::open(path, Synchronous::Normal, MOMENT, false).unwrap();
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

    #[test]
    fn a_whole_file_is_found_whole_and_the_progress_ends_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(filled(&path, 3000));
        let (progress, told) = counting();
        let checked = check(&path, &progress).unwrap();
        assert_eq!((checked.events, checked.problems), (3000, Vec::new()));
        let told = told.lock().unwrap();
        assert!(told.len() > 10, "{told:?}");
        assert!(told.iter().all(|(done, all)| done <= all));
        assert_eq!(told.last(), Some(&(1, 1)));
        // What is said to be half is about half.
        let steps = u64::try_from(told.len()).unwrap() * u64::from(LOOK_EVERY) / 3000;
        assert!((CHECK_STEPS / 2..CHECK_STEPS * 2).contains(&steps), "{steps} steps an event");
    }

    #[test]
    fn damage_is_an_answer_that_says_what() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(filled(&path, 2000));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2 / 8192 * 8192;
        bytes[middle..middle + 16_384].fill(0xa5);
        std::fs::write(&path, &bytes).unwrap();
        assert!(!check(&path, &silent()).unwrap().problems.is_empty());
        std::fs::write(&path, "no database at all, but long enough to be looked at as one by somebody").unwrap();
        assert!(!check(&path, &silent()).unwrap().problems.is_empty());
        assert!(matches!(check(&folder.path().join("none"), &silent()), Err(CareError::Missing(_))));
    }

    #[test]
    fn a_vacuum_gives_back_the_room_and_keeps_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = filled(&path, 3000);
        connection.execute("DELETE FROM events WHERE id <= 2900", []).unwrap();
        assert!(matches!(vacuum(&path, &silent()), Err(CareError::InUse(_))), "somebody has it open");
        drop(connection);
        let done = vacuum(&path, &silent()).unwrap();
        assert!(done.after < done.before / 4, "{done:?}");
        let connection = schema::open(&path, Synchronous::Normal, MOMENT, false).unwrap();
        assert_eq!(events(&connection).unwrap(), 100);
        // An id is never used again, and space is still given back bit by bit.
        let next: i64 = connection
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(next, 3000);
        let mode: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
        assert_eq!(mode, 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "the file, its log and the log's index");
    }

    #[test]
    fn a_backup_of_a_file_in_use_is_whole_private_and_overwrites_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let connection = filled(&path, 1000);
        // In the write-ahead log only.
        connection.execute("UPDATE events SET name = 'last' WHERE id = 1000", []).unwrap();
        backup(&path, &to, false, &silent()).unwrap();
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = schema::open_reader(&to).unwrap();
        let name: String = copy.query_row("SELECT name FROM events WHERE id = 1000", [], |row| row.get(0)).unwrap();
        assert_eq!(name, "last");
        drop(copy);
        assert!(matches!(backup(&path, &to, false, &silent()), Err(CareError::Exists(_))));
        assert!(matches!(backup(&path, &path, true, &silent()), Err(CareError::Itself(_))));
        backup(&path, &to, true, &silent()).unwrap();
        assert!(check(&to, &silent()).unwrap().problems.is_empty());
        assert!(!folder.path().join("b.db.partial").exists());
        let other = folder.path().join("none");
        assert!(matches!(backup(&path, &other.join("b.db"), false, &silent()), Err(CareError::Output { .. })));
    }
}
