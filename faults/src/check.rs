//! What is left at the end is compared with what was sent.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::event;
use crate::ledger::Ledger;
use crate::report::Kind;
use crate::world::World;

/// Opens a database for reading. Not as read-only: after a crash the first to open must recover.
///
/// # Errors
/// SQLite's.
pub(crate) fn open(db: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(db, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// What SQLite's own check says: `ok`, or what is wrong.
#[must_use]
pub(crate) fn integrity(connection: &Connection) -> String {
    let said = connection.query_row("PRAGMA integrity_check(3)", [], |row| row.get::<_, String>(0));
    said.unwrap_or_else(|error| error.to_string())
}

/// Every identity in a database that can still be read from it.
#[must_use]
pub(crate) fn readable_ids(connection: &Connection) -> HashSet<Uuid> {
    let mut ids = HashSet::new();
    // Not by the index on trace_id: a damaged file may still have one of the two.
    let Ok(mut query) = connection.prepare("SELECT trace_id FROM events NOT INDEXED") else { return ids };
    let Ok(mut rows) = query.query([]) else { return ids };
    while let Ok(Some(row)) = rows.next() {
        if let Ok(id) = row.get_ref(0).map_err(|_| ()).and_then(|id| id.as_blob().map_err(|_| ()))
            && let Ok(id) = Uuid::from_slice(id)
        {
            ids.insert(id);
        }
    }
    ids
}

/// Files beside the database that the program set aside.
#[must_use]
pub(crate) fn set_aside(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|file| file.to_string_lossy().contains(".db.damaged-")).collect()
}

/// What the checker may take into account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowance {
    /// Retention deletes: what is gone is not lost.
    pub(crate) retention: bool,
    /// Events that the receiver refused.
    pub(crate) quarantined: HashSet<Uuid>,
}

/// Compares the store with the ledger.
pub(crate) fn store(db: &Path, world: &World, allow: &Allowance) {
    if let Err(error) = try_store(db, world, allow) {
        let due = world.ledger().due().count() as u64;
        world.find(Kind::Lost, due.max(1), || format!("the store cannot be read: {error}"));
    }
}

fn try_store(db: &Path, world: &World, allow: &Allowance) -> rusqlite::Result<()> {
    let connection = open(db)?;
    let said = integrity(&connection);
    world.find(Kind::Damaged, u64::from(said != "ok"), || format!("integrity_check: {said}"));

    let ledger = world.ledger();
    let mut kept: HashMap<Uuid, u64> = HashMap::new();
    let mut markers: HashMap<String, u64> = HashMap::new();
    let mut query = connection.prepare(
        "SELECT trace_id, kind, ts, duration_ms, status, session_id, run_id, name, input, output, attributes
         FROM events NOT INDEXED",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_blob().ok().and_then(|id| Uuid::from_slice(id).ok()).unwrap_or_default();
        *kept.entry(id).or_default() += 1;
        match ledger.sent.get(&id) {
            Some(sent) if sent.may_differ => {}
            Some(sent) => {
                let now = json_of(row)?;
                let ts = now["timestamp"] == sent.json["timestamp"];
                let difference = event::difference(&sent.json, sent.of, &now);
                if let Some(difference) = difference.or((!ts).then(|| "timestamp".to_owned())) {
                    world.find(Kind::Altered, 1, || format!("stored event {id}: {difference}"));
                }
                *markers.entry(sent.json["attributes"]["marker"].to_string()).or_default() += 1;
            }
            None if world.strangers.load(std::sync::atomic::Ordering::Relaxed) => {}
            None => world.find(Kind::Altered, 1, || format!("event {id} is stored, and nobody sent it")),
        }
    }
    let doubled = kept.values().chain(markers.values()).filter(|count| **count > 1).count() as u64;
    world.find(Kind::Doubled, doubled, || "stored twice".to_owned());
    if !allow.retention {
        lost(db, world, &ledger, &kept);
    }
    Ok(())
}

fn lost(db: &Path, world: &World, ledger: &Ledger, kept: &HashMap<Uuid, u64>) {
    let lost: Vec<Uuid> = ledger.due().map(|(id, _)| *id).filter(|id| !kept.contains_key(id)).collect();
    if lost.is_empty() {
        return;
    }
    let mut aside = HashSet::new();
    for file in set_aside(db.parent().unwrap_or(Path::new("."))) {
        if let Ok(connection) = open(&file) {
            aside.extend(readable_ids(&connection));
        }
    }
    let there = lost.iter().filter(|id| aside.contains(id)).count();
    let anew = lost.iter().filter(|id| ledger.sent[id].anew).count();
    world.find(Kind::Lost, lost.len() as u64, || {
        format!(
            "{} acknowledged events are not in the store; {there} of them are in a file set aside, {anew} were \
             acknowledged when they were sent again after the file that held them was destroyed",
            lost.len()
        )
    });
}

fn json_of(row: &Row<'_>) -> rusqlite::Result<Value> {
    let text = |at: usize| row.get::<_, Option<String>>(at);
    let tree = |at: usize| text(at).map(|text| text.and_then(|text| serde_json::from_str::<Value>(&text).ok()));
    Ok(json!({
        "kind": text(1)?,
        "timestamp": row.get::<_, i64>(2)? / 1_000_000,
        "duration_ms": row.get::<_, Option<f64>>(3)?,
        "status": text(4)?,
        "session_id": text(5)?,
        "run_id": text(6)?,
        "name": text(7)?,
        "input": tree(8)?,
        "output": tree(9)?,
        "attributes": tree(10)?,
    }))
}

/// Looks for planted secrets in every file of a folder.
pub(crate) fn secrets(folder: &Path, world: &World) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            secrets(&path, world);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = memchr::memmem::find_iter(&bytes, world.nonce.as_bytes()).count() as u64;
            world.find(Kind::Unredacted, found, || format!("a planted secret is in {}", path.display()));
        }
    }
}
