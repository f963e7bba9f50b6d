//! What clients were told, and what of it the file holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;

use crate::support::{Home, integrity};

/// What was sent and what was answered. Events that are older than the retention are sent too, and
/// are not in here: they may be stored or deleted.
#[derive(Debug, Default)]
pub struct Ledger {
    pub sent: HashSet<Uuid>,
    pub acknowledged: HashSet<Uuid>,
    /// Requests that were refused, or whose connection broke: to be sent again.
    pub pending: Vec<Vec<Value>>,
    pub statuses: BTreeMap<u16, usize>,
    pub broken: usize,
}

/// The comparison.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub stored: usize,
    /// Acknowledged, and neither in the file nor in one that was set aside.
    pub lost: Vec<Uuid>,
    /// More than one row for what was sent as one event.
    pub doubled: Vec<String>,
    pub asides: usize,
    pub integrity: String,
}

/// The files that were set aside as damaged.
pub fn asides(home: &Home) -> Vec<PathBuf> {
    let files = std::fs::read_dir(home.path(".")).expect("the folder can be read");
    let files = files.map(|file| file.expect("the folder can be read").path());
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.contains(".damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    files.filter(is_aside).collect()
}

/// What can be read of a file: identity and marker of each event; a page that is gone takes its events with it.
fn readable(db: &Path) -> Vec<(Uuid, String)> {
    let read = || -> rusqlite::Result<_> {
        let connection = rusqlite::Connection::open(db)?;
        let mut query = connection.prepare("SELECT trace_id, attributes ->> 'marker' FROM events")?;
        let rows = query.query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?)))?;
        Ok(rows.map_while(Result::ok).collect())
    };
    read().unwrap_or_default()
}

impl Ledger {
    /// Compares with the database, opened with SQLite as it is, once the program has ended.
    pub fn compare(&self, home: &Home) -> Verdict {
        let integrity = integrity(&home.db());
        let mut markers: HashMap<String, usize> = HashMap::new();
        let mut found = HashSet::new();
        for (id, marker) in readable(&home.db()) {
            *markers.entry(marker).or_default() += 1;
            found.insert(id);
        }
        let stored = found.intersection(&self.sent).count();
        let asides = asides(home);
        found.extend(asides.iter().flat_map(|aside| readable(aside)).map(|(id, _)| id));
        Verdict {
            acknowledged: self.acknowledged.len(),
            stored,
            lost: self.acknowledged.difference(&found).copied().collect(),
            doubled: markers.into_iter().filter(|(_, count)| *count > 1).map(|(marker, _)| marker).collect(),
            asides: asides.len(),
            integrity,
        }
    }
}

impl Verdict {
    /// Fails unless every acknowledged event is there, once, in a sound file that was never replaced.
    pub fn assert_whole(&self) {
        assert_eq!(self.integrity, "ok");
        assert_eq!(self.asides, 0, "a sound file was set aside");
        assert!(self.lost.is_empty(), "{} of {} acknowledged events are lost", self.lost.len(), self.acknowledged);
        assert!(self.doubled.is_empty(), "stored twice: {:?}", self.doubled);
        assert_eq!(self.stored, self.acknowledged, "all that was sent was acknowledged in the end");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged {}, lost {}, doubled {}, set aside {}, integrity {}",
            self.acknowledged,
            self.lost.len(),
            self.doubled.len(),
            self.asides,
            self.integrity
        )
    }
}
