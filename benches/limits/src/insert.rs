//! What SQLite alone costs: the rows that the product stored, inserted anew with its own schema and pragmas, in
//! transactions of 500, by a bare loop.
//!
//! ```text
//! insert STORE.db SCRATCH.db
//! ```
//!
//! Reads all events of `STORE.db` into memory first, then prints how many were inserted and the CPU seconds of the
//! inserting alone: `{"rows":100000,"cpu_seconds":0.9}`.

use std::error::Error;
use std::process::ExitCode;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

/// What the store sets on its writing connection (docs/configuration.md, `sqlite_store`).
const PRAGMAS: &str = "PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 400;
    PRAGMA cache_size = -1024;";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, scratch] = &arguments[..] else {
        eprintln!("insert: name the store to read and the file to make");
        return ExitCode::from(2);
    };
    match run(store, scratch) {
        Ok((rows, cpu)) => {
            println!(r#"{{"rows":{rows},"cpu_seconds":{cpu}}}"#);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("insert: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(store: &str, scratch: &str) -> Result<(usize, f64), Box<dyn Error>> {
    let source = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let page_size: i64 = source.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let mut statement = source.prepare("SELECT * FROM events ORDER BY id")?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = columns.len();
    let rows: Vec<Vec<Value>> =
        statement.query_map([], |row| (0..width).map(|column| row.get(column)).collect())?.collect::<Result<_, _>>()?;

    let mut target = Connection::open(scratch)?;
    target.execute_batch(&format!("PRAGMA page_size = {page_size}; {PRAGMAS}"))?;
    let mut schema = source.prepare(
        "SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND type IN ('table', 'index') AND sql IS NOT NULL",
    )?;
    for sql in schema.query_map([], |row| row.get::<_, String>(0))? {
        target.execute_batch(&sql?)?;
    }
    let marks = vec!["?"; width].join(", ");
    let insert =
        format!("INSERT INTO events ({}) VALUES ({marks}) ON CONFLICT (trace_id) DO NOTHING", columns.join(", "));
    let before = cpu_seconds()?;
    for batch in rows.chunks(500) {
        let transaction = target.transaction()?;
        {
            let mut insert = transaction.prepare_cached(&insert)?;
            for row in batch {
                insert.execute(params_from_iter(row))?;
            }
        }
        transaction.commit()?;
    }
    Ok((rows.len(), cpu_seconds()? - before))
}

/// User and system time of this process: the 14th and 15th field, in hundredths of a second on Linux.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks =
        || fields.next().ok_or("unexpected /proc/self/stat")?.parse::<f64>().map_err(Box::<dyn Error>::from);
    Ok((ticks()? + ticks()?) / 100.0)
}
