//! A damaged file is set aside, not repaired: the agent's traces go on, and what can be saved of the
//! old file is a person's work, with `sqlite3 FILE .recover`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Whether SQLite says that the file itself is broken.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether it is only that what one row holds cannot be understood.
pub(super) fn is_of_one_row(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Whether trying again may do: somebody holds a lock, the disk is full, a read or write failed.
pub(super) fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
        )
    )
}

/// Renames the file and its log files to `NAME.damaged-20261124T120000Z`, and answers the new name.
///
/// # Errors
/// When the file cannot be renamed.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp: String = engine::Timestamp::now().to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let stamp = stamp.split('.').next().unwrap_or("").trim_end_matches('Z');
    let named = |suffix: &str, number: u32| {
        let mut name = OsString::from(path);
        name.push(format!(".damaged-{stamp}Z"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        name.push(suffix);
        PathBuf::from(name)
    };
    // Twice in a second: the second must not overwrite the first.
    let number = (0..1000).find(|number| !named("", *number).exists()).unwrap_or(1000);
    for suffix in ["-wal", "-shm"] {
        let mut log = OsString::from(path);
        log.push(suffix);
        match std::fs::rename(&log, named(suffix, number)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, named("", number))?;
    Ok(named("", number))
}
