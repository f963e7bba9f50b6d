//! All events, or those of a condition, in the order in which they came.
//!
//! They are read in pages by that order, and a page is written after its transaction has ended: however slow
//! whoever reads the output is, a running instance can move its write-ahead log into the file.

use std::io::Write;
use std::path::Path;

use engine::Event;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::condition::Sql;
use super::{Condition, Error, Reader};
use crate::sqlite_store::format::{EventWriter, Format};
use crate::sqlite_store::{read, schema};

/// Places in the order of arrival that one page looks at.
const PLACES: i64 = 2000;

/// Bytes after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// Writes the events of a file that are such, in order of arrival, and answers how many. Works on the file of a
/// running instance; ends at what was stored when it began. `told` hears how many places of how many were looked at.
///
/// # Errors
/// [`Error`].
pub fn export(
    path: &Path,
    condition: &Condition,
    format: Format,
    out: &mut dyn Write,
    told: &mut dyn FnMut(u64, u64),
) -> Result<u64, Error> {
    // Which events are a session's or a run's is asked of the rollup; the rest does without.
    let reader = if condition.session.is_some() || condition.run.is_some() {
        Reader::open(path)?
    } else if path.is_file() {
        Reader { connection: schema::open_reader(path)? }
    } else {
        return Err(Error::Missing(path.to_owned()));
    };
    let mut writer = EventWriter::new(format, out)?;
    let mut count = 0;
    let sql = reader.wanted(condition)?;
    let last = reader.last_id()?;
    let first: i64 = reader.connection.query_row("SELECT coalesce(min(id), 1) FROM events", [], |row| row.get(0))?;
    let (mut at, all) = (first - 1, super::unsigned(last - first + 1));
    while at < last {
        let (events, next) = reader.arrived(&sql, at, last)?;
        writer.write(&events)?;
        count += events.len() as u64;
        at = next;
        told(super::unsigned(at - first + 1).min(all), all);
    }
    writer.flush()?;
    Ok(count)
}

impl Reader {
    /// The condition with its times.
    fn wanted(&self, condition: &Condition) -> Result<Sql, Error> {
        let runs = match &condition.run {
            Some(run) => self.names(run)?,
            None => Vec::new(),
        };
        let mut sql = condition.sql(&runs);
        for (bound, time) in [("ts >= ?", condition.from), ("ts < ?", condition.to)] {
            if let Some(time) = time {
                sql.text = format!("{} AND {bound}", sql.text);
                sql.values.push(Value::Integer(time));
            }
        }
        Ok(sql)
    }

    /// The events behind the place `after` up to `last`, as many as a page holds, and the place that it came to.
    fn arrived(&self, sql: &Sql, after: i64, last: i64) -> Result<(Vec<Event>, i64), Error> {
        let until = last.min(after.saturating_add(PLACES));
        let columns = read::COLUMNS;
        // In the order of arrival a page is a few neighbours; by an index it would be all over the file.
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {columns} FROM events NOT INDEXED WHERE id > ? AND id <= ? AND ({}) ORDER BY id",
            sql.text
        ))?;
        let bounds = [after, until].map(Value::Integer);
        let mut rows = statement.query(params_from_iter(bounds.iter().chain(&sql.values)))?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let event = read::event(row)?;
            bytes += event.size_bytes();
            events.push(event);
            if bytes >= PAGE_BYTES {
                return Ok((events, row.get(0)?));
            }
        }
        Ok((events, until))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sqlite_store::Synchronous;

    fn filled(path: &Path, events: i64) -> rusqlite::Connection {
        let connection = schema::open(path, Synchronous::Normal, Duration::from_secs(10), false).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        for at in 0..events {
            let kind = if at % 10 == 0 { "tool_call" } else { "log" };
            let status = (at % 100 == 0).then_some("error");
            connection
                .execute(
                    "INSERT INTO events (trace_id, kind, ts, status, name, received_at) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                    rusqlite::params![i128::from(at).to_be_bytes(), kind, at * 1_000_000, status, format!("n{at}")],
                )
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        connection
    }

    fn all() -> Condition {
        Condition { kinds: vec!["*".to_owned()], ..Condition::default() }
    }

    fn names(path: &Path, condition: &Condition) -> Vec<String> {
        let mut out = Vec::new();
        export(path, condition, Format::Ndjson, &mut out, &mut |_, _| ()).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| Event::from_json(line).unwrap().name.unwrap()).collect()
    }

    #[test]
    fn pages_lose_nothing_and_add_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = filled(&path, 5000);
        connection.execute("DELETE FROM events WHERE id < 100 OR id BETWEEN 2100 AND 4300", []).unwrap();
        let (mut out, mut told) = (Vec::new(), Vec::new());
        let count = export(&path, &all(), Format::Csv, &mut out, &mut |done, of| told.push((done, of))).unwrap();
        assert_eq!(count, 5000 - 99 - 2201);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1 + 5000 - 99 - 2201);
        assert!(told.len() > 2 && told.is_sorted() && told.last() == Some(&(4901, 4901)), "{told:?}");
    }

    #[test]
    fn a_condition_narrows_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(filled(&path, 5000));
        let of_kind = Condition { kinds: vec!["tool_call".to_owned()], ..Condition::default() };
        assert_eq!(names(&path, &of_kind).len(), 500);
        let failed = Condition { status: Some(engine::Status::Error), ..all() };
        assert_eq!(names(&path, &failed).len(), 50);
        let in_time = Condition { from: Some(10_000_000), to: Some(13_000_000), ..all() };
        assert_eq!(names(&path, &in_time), ["n10", "n11", "n12"]);
        assert!(names(&path, &Condition { run: Some("none".to_owned()), ..all() }).is_empty());
    }

    /// Whoever reads the output, and how long it takes.
    struct Slow<'c>(&'c rusqlite::Connection, usize);

    impl Write for Slow<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // A reader that were in a transaction would keep the log from being emptied.
            let busy: i64 = self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
            assert_eq!(busy, 0);
            self.0.execute("UPDATE events SET pushed_at = 1 WHERE id = 1", []).unwrap();
            self.1 += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_transaction_waits_for_whoever_reads_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = filled(&path, 50);
        connection.busy_timeout(Duration::ZERO).unwrap();
        let mut out = Slow(&connection, 0);
        assert_eq!(export(&path, &all(), Format::Ndjson, &mut out, &mut |_, _| ()).unwrap(), 50);
        assert!(out.1 >= 50);
    }

    #[test]
    fn an_export_makes_no_database_and_reads_none_but_ours() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.db");
        let answer = export(&missing, &all(), Format::Ndjson, &mut Vec::new(), &mut |_, _| ());
        assert!(matches!(answer, Err(Error::Missing(_))));
        assert!(!missing.exists());
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "no database").unwrap();
        assert!(export(&text, &all(), Format::Ndjson, &mut Vec::new(), &mut |_, _| ()).is_err());
        assert_eq!(std::fs::read_to_string(&text).unwrap(), "no database");
    }
}
