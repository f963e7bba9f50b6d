//! Is the file whole.

use std::path::Path;

use rusqlite::Connection;

use super::{CareError, Progress, events, existing, unreadable, watch};
use crate::sqlite_store::{damage, schema};

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

/// Steps that SQLite makes for one event, about: measured, for the estimate of how far the work is.
const STEPS: u64 = 65;

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
    watch(&mut connection, progress, events.saturating_mul(STEPS)).map_err(|error| unreadable(path, &error))?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::sqlite_store::care::LOOK_EVERY;

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
        assert!((STEPS / 2..STEPS * 2).contains(&steps), "{steps} steps an event");
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
}
