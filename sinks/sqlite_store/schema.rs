//! The file: how it is opened, what is in it, and how it is brought up to date.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::Synchronous;

/// "oCtr": marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x6f43_7472;

/// How many versions of the file there are. `user_version` counts them.
const VERSIONS: usize = 2;

/// One step for each version of the file, never changed once released.
fn migrations() -> [String; VERSIONS] {
    [EVENTS.to_owned(), super::rollup::migration()]
}

/// The first version.
const EVENTS: &str =
    // AUTOINCREMENT: an id is never used again, so an outbox cursor cannot pass by a new event.
    "CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        trace_id BLOB NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        ts INTEGER NOT NULL,
        duration_ms REAL,
        status TEXT,
        error TEXT,
        session_id TEXT,
        run_id TEXT,
        agent_id TEXT,
        span_id TEXT,
        parent_span_id TEXT,
        name TEXT,
        input TEXT,
        output TEXT,
        attributes TEXT,
        received_at INTEGER NOT NULL,
        pushed_at INTEGER,
        quarantined_at INTEGER,
        quarantine_reason TEXT
    );
    CREATE INDEX events_by_ts ON events (ts);
    CREATE INDEX events_by_run ON events (run_id) WHERE run_id IS NOT NULL;
    CREATE INDEX events_unsent ON events (id) WHERE pushed_at IS NULL AND quarantined_at IS NULL;
    CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE VIEW events_text AS SELECT
        id,
        lower(substr(hex(trace_id), 1, 8) || '-' || substr(hex(trace_id), 9, 4) || '-' || substr(hex(trace_id), 13, 4)
            || '-' || substr(hex(trace_id), 17, 4) || '-' || substr(hex(trace_id), 21)) AS trace_id,
        kind,
        strftime('%Y-%m-%dT%H:%M:%fZ', ts / 1e9, 'unixepoch') AS timestamp,
        duration_ms, status, error, session_id, run_id, agent_id, span_id, parent_span_id, name,
        input, output, attributes,
        strftime('%Y-%m-%dT%H:%M:%fZ', received_at / 1e9, 'unixepoch') AS received_at,
        strftime('%Y-%m-%dT%H:%M:%fZ', pushed_at / 1e9, 'unixepoch') AS pushed_at,
        quarantine_reason
    FROM events;";

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// SQLite's own words.
    #[error("database {path}: {error}{advice}", path = path.display())]
    Sqlite { path: PathBuf, error: rusqlite::Error, advice: &'static str },
    /// A later version wrote it.
    #[error(
        "database {path} has schema {found}, and this version knows {known}: use the newer openclaw-trace, or another file",
        path = path.display()
    )]
    Newer { path: PathBuf, found: i32, known: usize },
    /// Somebody else's.
    #[error("{path} is a database of another program: name another file (key path, or TRACE_DB_PATH)", path = path.display())]
    Foreign { path: PathBuf },
    /// It has no bytes, and beside it is a log of what was there.
    #[error("database {path} is empty, and its write-ahead log is not", path = path.display())]
    Emptied { path: PathBuf },
    /// The file could not be made or its mode not set.
    #[error("database {path}: {error}; choose a place that can be written (key path, or TRACE_DB_PATH)", path = path.display())]
    Io { path: PathBuf, error: std::io::Error },
}

impl FileError {
    /// Whether the file is damaged, as against locked, foreign or out of reach.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite { error, .. } => super::damage::is_damage(error),
            Self::Emptied { .. } => true,
            _ => false,
        }
    }

    /// Whether it may be gone a moment later: a failed read or sync, not a lock that was waited for.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Sqlite { error, .. } if super::damage::is_passing(error)
            && error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy))
    }
}

/// Opens the file for writing, makes it where it is missing, and brings it up to date.
///
/// # Errors
/// [`FileError`].
pub(super) fn open(
    path: &Path,
    synchronous: Synchronous,
    busy_timeout: Duration,
    full_text: bool,
) -> Result<Connection, FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    create_private(path).map_err(io)?;
    check_writable(path).map_err(io)?;
    // Left behind by a process that did not close the file: a crash, a power loss.
    let unclean = super::space::wal_bytes(path) > 0;
    if unclean && std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0) {
        // SQLite would take the file for a new one, and delete the log.
        return Err(FileError::Emptied { path: path.to_owned() });
    }
    let sqlite = |error: rusqlite::Error| {
        let advice = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => "; another process holds it: stop that process",
            Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly) => {
                "; the file and its folder must be writable (key path, or TRACE_DB_PATH)"
            }
            _ => "",
        };
        FileError::Sqlite { path: path.to_owned(), error, advice }
    };
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(sqlite)?;
    connection.busy_timeout(busy_timeout).map_err(sqlite)?;
    check_owner(&connection, path, sqlite)?;
    set_up(&connection, synchronous).map_err(sqlite)?;
    migrate(&mut connection, sqlite)?;
    super::full_text::set_up(&connection, full_text).map_err(sqlite)?;
    // Reads the end of the table, so that a file cut short is met now and not at the first write.
    connection.query_row("SELECT max(id), max(ts) FROM events", [], |_| Ok(())).map_err(sqlite)?;
    // A damaged page might else be met in weeks, or only by readers, and what is stored meanwhile be lost with it.
    if unclean {
        check_all(&connection).map_err(sqlite)?;
    }
    Ok(connection)
}

/// Reads every page and holds each index against its table (0.9 s for 228 MiB); what is wrong is answered
/// as an error of damage.
///
/// # Errors
/// SQLite's own, and `SQLITE_CORRUPT` where the check says so.
pub(super) fn check_all(connection: &Connection) -> rusqlite::Result<()> {
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said == "ok" {
        return Ok(());
    }
    // The check tells a failed read as one more thing that is wrong with the file. It is the disk's.
    let told = said.rsplit_once("error code=").and_then(|(_, code)| code.trim().parse::<i32>().ok());
    let code =
        told.filter(|code| code & 0xff != rusqlite::ffi::SQLITE_CORRUPT).unwrap_or(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(said)))
}

/// The file holds what an agent said: nobody but its owner reads it. SQLite gives the log files
/// beside it the same mode.
pub(super) fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = std::fs::metadata(path)?;
            if meta.is_dir() {
                return Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "is a folder"));
            }
            let mode = meta.permissions().mode();
            if mode & 0o077 != 0 {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether file and folder may be written. SQLite would only say that it cannot open the file, which a
/// disk that fails for a moment says too, and that is tried again.
fn check_writable(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{Access, access};
    access(path, Access::READ_OK | Access::WRITE_OK)?;
    // The log files stand beside it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

pub(super) fn check_owner(
    connection: &Connection,
    path: &Path,
    sqlite: impl Fn(rusqlite::Error) -> FileError + Copy,
) -> Result<(), FileError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sqlite)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sqlite)?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(FileError::Foreign { path: path.to_owned() });
    }
    let found = version(connection).map_err(sqlite)?;
    if usize::try_from(found).is_ok_and(|found| found > VERSIONS) {
        return Err(FileError::Newer { path: path.to_owned(), found, known: VERSIONS });
    }
    Ok(())
}

fn set_up(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    // The first two take effect only while the file is empty.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let synchronous = match synchronous {
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 400)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 4 * 1024 * 1024, |_| Ok(()))?;
    // In KiB: with the readers' caches and the log, what the memory budget leaves for the store.
    connection.pragma_update(None, "cache_size", -1024)?;
    // Sorting of ours is small; in memory it needs no temporary file on a volume that may be full.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn migrate(connection: &mut Connection, sqlite: impl Fn(rusqlite::Error) -> FileError + Copy) -> Result<(), FileError> {
    let version = version(connection).map_err(sqlite)?;
    let done = usize::try_from(version).unwrap_or(0);
    for (at, step) in migrations().iter().enumerate().skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        transaction.execute_batch(step).map_err(sqlite)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
        transaction.pragma_update(None, "user_version", i32::try_from(at + 1).unwrap_or(i32::MAX)).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
    }
    Ok(())
}

/// SQLite's words about a file.
pub(super) fn sqlite_error(path: &Path, error: rusqlite::Error) -> FileError {
    FileError::Sqlite { path: path.to_owned(), error, advice: "" }
}

/// Opens the file for reading only; never makes one, and brings none up to date.
///
/// # Errors
/// [`FileError`].
pub(super) fn open_reader(path: &Path) -> Result<Connection, FileError> {
    let sqlite = |error| sqlite_error(path, error);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(sqlite)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(sqlite)?;
    check_owner(&connection, path, sqlite)?;
    connection.pragma_update(None, "cache_size", -512).map_err(sqlite)?;
    Ok(connection)
}

/// The version of an open file.
///
/// # Errors
/// SQLite's.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
