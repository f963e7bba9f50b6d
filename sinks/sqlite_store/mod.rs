//! `sqlite_store`: keeps events in one SQLite file, and offers them as an outbox.
//!
//! What it promises:
//!
//! 1. A batch is confirmed only after the transaction that holds it has committed. All batches that
//!    wait share one transaction, so a burst shares a commit and a lone event waits for nobody.
//! 2. An event whose `trace_id` is there already is a duplicate, never a second row.
//! 3. A batch whose client was already told "queued" is tried again through passing failures (a
//!    lock, a full disk) until the store closes; any other batch fails at once, and leaves no trace.
//! 4. The file stays within its budget of bytes and age, and writing stops before the volume's
//!    reserve is used.
//! 5. A file that is damaged is set aside under a dated name and a new one begun.
//!
//! One thread owns the one writing connection (`writer.rs`); what else touches the file only reads.

pub mod care;
mod counts;
mod damage;
mod format;
mod full_text;
mod outbox;
mod query;
mod read;
mod readers;
mod retention;
mod rollup;
mod schema;
mod space;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Size, Time};
use engine::plugin::AnySink;
use engine::{Batch, BuildContext, Holds, OpenError, Outbox, Problem, Problems, Refusal, Sink, SinkConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

pub use format::{EventWriter, Format};
pub use query::{
    Bodies, By, Condition, Cursor, Durations, EventRow, Group, List, ListRequest, Order, Overview, Page, PageRequest,
    Reader, Resources, Run, RunSummary, Series, SessionSummary, SpanRow, Stats, StoredEvent, Sums, Tree, export,
};
pub use read::ReadError;
pub use readers::{AskError, Readers};
use writer::{Command, Writer};

/// Where the database stands on Augmi's machines: on the volume that outlives a deploy.
const VOLUME: &str = "/data";
const DEFAULT_NAME: &str = "openclaw-trace.db";

/// How a commit is made safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// Safe against a killed process; a power loss may take the last commits.
    Normal,
    /// Safe against a power loss too; each commit waits for the disk.
    Full,
}

/// Keeps events in a SQLite database.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteStore {
    /// The database file; left out: /data/openclaw-trace.db, or ./openclaw-trace.db where /data does not exist.
    pub path: Option<PathBuf>,
    /// Events older than so many days are deleted; 0: kept for ever.
    pub retention_days: u32,
    /// Largest size of the database; beyond it the oldest events are deleted, pushed ones first.
    pub max_bytes: Size,
    /// Free space to leave on the volume; below it nothing is taken (503).
    pub disk_reserve: Size,
    /// `normal`: safe against a killed process; `full`: against a power loss too, and slower.
    pub synchronous: Synchronous,
    /// Index words of names, errors, inputs and outputs, so that a search is fast on a large store.
    pub full_text: bool,
    /// How often the write-ahead log is moved into the database.
    pub checkpoint_interval: Time,
    /// How often old events are looked for.
    pub retention_interval: Time,
    /// How long to wait for another process that holds the database.
    pub busy_timeout: Time,
}

impl Default for SqliteStore {
    fn default() -> Self {
        Self {
            path: None,
            retention_days: 30,
            max_bytes: Size::mib(256),
            disk_reserve: Size::mib(32),
            synchronous: Synchronous::Normal,
            full_text: false,
            checkpoint_interval: Time::seconds(300),
            retention_interval: Time::seconds(60),
            busy_timeout: Time::seconds(10),
        }
    }
}

impl SqliteStore {
    /// The database file that these settings mean on this machine.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| {
            let folder = if Path::new(VOLUME).is_dir() { VOLUME } else { "." };
            Path::new(folder).join(DEFAULT_NAME)
        })
    }
}

/// The database file that a `sqlite_store` table means on this machine.
///
/// # Errors
/// What is wrong with the table.
pub fn database_path(table: &serde_json::Value) -> Result<PathBuf, Problems> {
    engine::config::typed::<SqliteStore>(table).map(|config| config.database())
}

impl SinkConfig for SqliteStore {
    const TYPE: &'static str = "sqlite_store";
    const OFFERS_OUTBOX: bool = true;

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let mut problems = Problems::new();
        if self.path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            problems.push(Problem::new("path", "is empty; name a file, or leave it out"));
        }
        if self.max_bytes < Size::mib(1) {
            problems.push(Problem::new("max_bytes", "must be at least 1MiB"));
        }
        for (key, time) in
            [("checkpoint_interval", self.checkpoint_interval), ("retention_interval", self.retention_interval)]
        {
            if time.0.is_zero() {
                problems.push(Problem::new(key, "must be more than 0"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(AnySink::Stream(Box::new(Store { config: self, cx: cx.clone(), open: None })))
    }
}

struct Store {
    config: SqliteStore,
    cx: BuildContext,
    open: Option<Open>,
}

struct Open {
    commands: std::sync::mpsc::Sender<Command>,
    gate: watch::Receiver<Option<Refusal>>,
    outbox: Arc<outbox::StoreOutbox>,
}

impl Store {
    /// What a person should know of where the file stands.
    fn say_where(&self, path: &Path) {
        let volume = Path::new(VOLUME).is_dir();
        if !volume && self.config.path.is_none() {
            tracing::warn!(path = %path.display(), "/data does not exist: the database is in the working directory");
        } else if volume && !std::path::absolute(path).is_ok_and(|path| path.starts_with(VOLUME)) {
            tracing::warn!(path = %path.display(), "the database is not on /data: a deploy may delete it");
        }
        tracing::info!(path = %path.display(), "database");
    }
}

/// How long a failure of the disk at the start may last before it ends the start: while the program is
/// down, the agent's events are refused.
const START_PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the file, also where a read or a sync fails once or twice.
    async fn open_file(&self, path: &Path, gate: watch::Sender<Option<Refusal>>) -> Result<Writer, OpenError> {
        let until = tokio::time::Instant::now() + START_PATIENCE;
        let first = Duration::from_millis(100);
        let mut wait = first;
        let metrics = counts::Counts::new(&self.cx);
        loop {
            let error = match Writer::open(path.to_owned(), &self.config, &self.cx, gate.clone(), metrics.clone()) {
                Ok(writer) => return Ok(writer),
                Err(error) => error,
            };
            if !error.is_passing() || tokio::time::Instant::now() + wait > until {
                return Err(OpenError(format!("sinks.{}: {error}", self.cx.name)));
            }
            if wait == first {
                tracing::warn!(component = self.cx.name, %error, "the database cannot be opened; tried again for 5 s");
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
}

#[async_trait]
impl Sink for Store {
    fn holds(&self) -> Holds {
        Holds::file(&self.config.database())
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let path = self.config.database();
        self.say_where(&path);
        let (gate_sender, gate) = watch::channel(None);
        let writer = self.open_file(&path, gate_sender).await?;
        let commands =
            writer.start().map_err(|error| OpenError(format!("cannot start the store's thread: {error}")))?;
        let outbox = Arc::new(outbox::StoreOutbox::new(path, commands.clone()));
        self.open = Some(Open { commands, gate, outbox });
        Ok(())
    }

    async fn write(&mut self, batches: Vec<Batch>) {
        let Some(open) = &self.open else { return };
        let (done, written) = oneshot::channel();
        // Where the thread is gone the batches are dropped with the command, which fails them.
        if open.commands.send(Command::Write(batches, done)).is_ok() {
            let _ = written.await;
        }
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.open.as_ref().map(|open| Arc::clone(&open.outbox) as Arc<dyn Outbox>)
    }

    fn gate(&self) -> Option<watch::Receiver<Option<Refusal>>> {
        self.open.as_ref().map(|open| open.gate.clone())
    }

    async fn close(&mut self) -> Result<(), OpenError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let (done, closed) = oneshot::channel();
        let gone = || OpenError("the store's thread ended before it was closed".to_owned());
        open.outbox.close();
        open.commands.send(Command::Close(done)).map_err(|_| gone())?;
        closed.await.map_err(|_| gone())?.map_err(OpenError)
    }
}
