//! Questions to a store, also to that of a running instance: what happened, in which session and run, what it
//! came to, how the machine did.
//!
//! No question reads all of the store: lists come in pages that look at a bounded number of rows
//! (`events.rs`), sums come from the rollup (`../rollup`). Nothing is held between two pages, so a reader
//! that is slow does not keep the write-ahead log from being moved into the file.

mod condition;
mod events;
mod export;
mod lists;
mod resources;
mod row;
mod run;
mod stats;

use std::path::Path;
use std::time::{Duration, Instant};

use engine::Timestamp;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::Serialize;

use super::read::ReadError as Error;
use super::{rollup, schema, space};

pub use condition::{Condition, Order};
pub use events::{Cursor, Page, PageRequest};
pub use export::export;
pub use lists::{List, ListRequest, RunSummary, SessionSummary, Sums};
pub use resources::Resources;
pub use row::{Bodies, EventRow, StoredEvent};
pub use run::{Run, SpanRow, Tree};
pub use stats::{By, Durations, Group, Series, Stats};

/// A store that is read.
pub struct Reader {
    connection: Connection,
}

/// What there is in a store.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Overview {
    /// Events, about: places in the order of arrival less those deleted from its beginning.
    pub events: u64,
    /// Bytes of the database in use.
    pub bytes: u64,
    /// Time of the first and last event.
    pub first: Option<String>,
    /// See `first`.
    pub last: Option<String>,
    /// Events that are not summed up yet.
    pub rollup_behind: u64,
}

/// SQLite's steps between two looks at the clock.
const LOOK_EVERY: i32 = 20_000;

impl Reader {
    /// Opens a store for reading; never makes one.
    ///
    /// A file that an earlier version wrote is summed up in memory first, which takes some seconds for a million
    /// events.
    ///
    /// # Errors
    /// [`Error`]: no such file, not one of ours, or damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            return Err(Error::Missing(path.to_owned()));
        }
        let connection = schema::open_reader(path)?;
        if schema::version(&connection)? == 1 {
            rollup::fold_beside(&connection)?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self { connection })
    }

    /// Ends questions that take longer than this from now on, each with [`Error::TooLong`].
    ///
    /// # Errors
    /// [`Error`].
    pub fn limit(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        Ok(self.connection.progress_handler(LOOK_EVERY, Some(move || Instant::now() > until))?)
    }

    /// Waits until the rollup has all that is stored, but no longer than this: where no instance runs that sums
    /// it up, it never has.
    ///
    /// # Errors
    /// [`Error`].
    pub fn settle(&self, patience: Duration) -> Result<(), Error> {
        let until = Instant::now() + patience;
        while self.last_id()? > rollup::cursor(&self.connection)? && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What there is.
    ///
    /// # Errors
    /// [`Error`].
    pub fn overview(&self) -> Result<Overview, Error> {
        let (first_id, last_id): (Option<i64>, Option<i64>) = (
            self.connection.query_row("SELECT min(id) FROM events", [], |row| row.get(0))?,
            self.connection.query_row("SELECT max(id) FROM events", [], |row| row.get(0))?,
        );
        let at = |which: &str| -> Result<Option<String>, Error> {
            let nanos: Option<i64> =
                self.connection.query_row(&format!("SELECT {which}(ts) FROM events"), [], |row| row.get(0))?;
            Ok(nanos.map(|nanos| Timestamp::from_nanos(nanos).to_string()))
        };
        let behind = last_id.unwrap_or(0) - rollup::cursor(&self.connection)?;
        Ok(Overview {
            events: first_id.zip(last_id).map_or(0, |(first, last)| unsigned(last - first + 1)),
            bytes: space::used_bytes(&self.connection)?,
            first: at("min")?,
            last: at("max")?,
            rollup_behind: unsigned(behind),
        })
    }

    /// The place of the last event in the order of arrival; 0 where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn last_id(&self) -> Result<i64, Error> {
        Ok(self
            .connection
            .prepare_cached("SELECT coalesce(max(id), 0) FROM events")?
            .query_row([], |row| row.get(0))?)
    }
}

/// A sum that is never negative but by damage.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Whole pico-dollars as dollars.
#[allow(clippy::cast_precision_loss)]
fn dollars(pico: i64) -> f64 {
    pico.max(0) as f64 / 1e12
}

fn moment(nanos: i64) -> String {
    Timestamp::from_nanos(nanos).to_string()
}
