//! A copy of the file as it is at one moment.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{CareError, Progress, existing, room, unreadable};
use crate::sqlite_store::{schema, space};

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::sqlite_store::care::check;

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
