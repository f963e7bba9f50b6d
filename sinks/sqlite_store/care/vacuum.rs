//! The file written anew, without what was deleted.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{CareError, Progress, events, existing, room, unwatch, watch};
use crate::sqlite_store::{schema, space};

/// What a vacuum did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vacuumed {
    /// Size of the file before, its write-ahead log included.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// Steps that SQLite makes for one event, about: measured, for the estimate of how far the work is.
const STEPS: u64 = 21;

/// How long a lock of a moment (a reader, a checkpoint) is waited for.
const MOMENT: Duration = Duration::from_secs(2);

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
    watch(&mut connection, progress, events.saturating_mul(STEPS)).map_err(failed)?;
    connection.execute_batch("VACUUM").map_err(failed)?;
    unwatch(&mut connection).map_err(failed)?;
    // The work is done and safe in the log; what fails from here on the next one who opens the file makes good.
    let unmoved = |error| CareError::Database(schema::sqlite_error(path, error).to_string());
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(unmoved)?;
    connection.close().map_err(|(_, error)| unmoved(error))?;
    progress(1, 1);
    Ok(Vacuumed { before, after: existing(path)? + space::wal_bytes(path) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::sqlite_store::Synchronous;

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
}
