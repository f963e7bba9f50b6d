//! A look into the database, beside the program that owns it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

/// One stored event, as far as tests ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub trace_id: Uuid,
    pub kind: String,
    pub name: Option<String>,
    pub error: Option<String>,
    pub input: Option<String>,
    pub output: Option<String>,
    pub attributes: Option<String>,
    pub pushed: bool,
}

impl Stored {
    /// The marker that the event was sent with.
    pub fn marker(&self) -> String {
        let attributes: serde_json::Value =
            serde_json::from_str(self.attributes.as_deref().unwrap_or("{}")).expect("stored attributes are JSON");
        attributes["marker"].as_str().unwrap_or_default().to_owned()
    }
}

/// Opens for reading. Not as read-only: after a crash the first one to open must be able to recover.
pub fn open(db: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(db, flags).unwrap_or_else(|error| panic!("{}: {error}", db.display()));
    connection.busy_timeout(Duration::from_secs(10)).expect("a timeout can be set");
    connection
}

/// Every stored event, in order of arrival.
pub fn stored(db: &Path) -> Vec<Stored> {
    let connection = open(db);
    let mut query = connection
        .prepare("SELECT trace_id, kind, name, error, input, output, attributes, pushed_at FROM events ORDER BY rowid")
        .expect("the events table is as documented");
    let rows = query.query_map([], |row| {
        Ok(Stored {
            trace_id: Uuid::from_slice(row.get_ref(0)?.as_blob()?).expect("a trace_id has 16 bytes"),
            kind: row.get(1)?,
            name: row.get(2)?,
            error: row.get(3)?,
            input: row.get(4)?,
            output: row.get(5)?,
            attributes: row.get(6)?,
            pushed: row.get::<_, Option<i64>>(7)?.is_some(),
        })
    });
    rows.expect("events can be read").collect::<Result<_, _>>().expect("every event can be read")
}

/// The identity of every stored event. More than one row with the same one would fail the test.
pub fn stored_ids(db: &Path) -> HashSet<Uuid> {
    let connection = open(db);
    let mut query = connection.prepare("SELECT trace_id FROM events").expect("the events table is as documented");
    let rows = query.query_map([], |row| Ok(Uuid::from_slice(row.get_ref(0)?.as_blob()?).expect("16 bytes")));
    let mut ids = HashSet::new();
    for id in rows.expect("events can be read") {
        let id = id.expect("every event can be read");
        assert!(ids.insert(id), "{id} is stored twice");
    }
    ids
}

/// What `PRAGMA integrity_check` says.
pub fn integrity(db: &Path) -> String {
    open(db).query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("the check can run")
}
