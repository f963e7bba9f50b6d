//! The store as an outbox: what is not pushed yet is read here, and marked here once it is.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use engine::{Cursor, Outbox, OutboxError, TraceId, Unsent};
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::read;
use super::space::{self, Identity};
use super::transaction::Change;
use super::writer::Command;
use super::{damage, schema};

/// Reads through a connection of its own, opened at first use, after a failure, and where the name
/// leads to another file than before (the writer may have set it aside); writes through the writer's
/// thread, which is also told of damage that is met here.
pub(super) struct StoreOutbox {
    path: PathBuf,
    commands: Mutex<Option<Sender<Command>>>,
    reader: Arc<Mutex<Option<Reader>>>,
}

/// A connection, and the file that it leads to.
struct Reader {
    connection: Connection,
    file: Option<Identity>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, OutboxError> {
        // Looked at first: a file replaced in between is noticed at the next use.
        let file = space::identity(path);
        let connection = schema::open_reader(path).map_err(|error| OutboxError(error.to_string()))?;
        Ok(Self { connection, file })
    }
}

impl StoreOutbox {
    pub(super) fn new(path: PathBuf, commands: Sender<Command>) -> Self {
        Self { path, commands: Mutex::new(Some(commands)), reader: Arc::default() }
    }

    /// Lets go of the file, so that the last connection to close is the writer's, which moves the
    /// log into it.
    pub(super) fn close(&self) {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let (path, reader) = (self.path.clone(), Arc::clone(&self.reader));
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let current = match reader.take() {
                Some(open) if open.file == space::identity(&path) => open,
                _ => Reader::open(&path)?,
            };
            let answer = query(&current.connection).map_err(|error| {
                if let (true, Some(file), Some(commands)) = (damage::is_damage(&error), current.file, commands) {
                    // Where the thread is gone, so is the store.
                    let _ = commands.send(Command::Damaged(file, error.to_string()));
                }
                OutboxError(format!("cannot read the store: {error}"))
            })?;
            *reader = Some(current);
            Ok(answer)
        });
        reading.await.map_err(|error| OutboxError(format!("the read was cut short: {error}")))?
    }

    async fn change(&self, change: Change) -> Result<(), OutboxError> {
        let (done, changed) = oneshot::channel();
        let closed = || OutboxError("the store is closed".to_owned());
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        commands.send(Command::Change(change, done)).map_err(|_| closed())?;
        changed.await.map_err(|_| closed())?.map_err(OutboxError)
    }
}

/// Rows that could not be read, and why.
type Spoiled = Vec<(Cursor, String)>;

fn rows_after(
    connection: &Connection,
    after: Cursor,
    max_events: usize,
    max_bytes: usize,
) -> rusqlite::Result<(Vec<Unsent>, Spoiled)> {
    let columns = read::COLUMNS;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM events INDEXED BY events_unsent
         WHERE id > ?1 AND pushed_at IS NULL AND quarantined_at IS NULL ORDER BY id LIMIT ?2"
    ))?;
    let limit = i64::try_from(max_events).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after, limit])?;
    let (mut found, mut spoiled, mut bytes) = (Vec::new(), Spoiled::new(), 0);
    while let Some(row) = rows.next()? {
        let cursor = row.get(0)?;
        match read::event(row) {
            Ok(event) => {
                bytes += event.size_bytes();
                found.push(Unsent { cursor, event: Arc::new(event) });
            }
            Err(error) if damage::is_of_one_row(&error) => spoiled.push((cursor, error.to_string())),
            Err(error) => return Err(error),
        }
        if bytes >= max_bytes {
            break;
        }
    }
    Ok((found, spoiled))
}

#[async_trait]
impl Outbox for StoreOutbox {
    async fn unsent(&self, after: Cursor, max_events: usize, max_bytes: usize) -> Result<Vec<Unsent>, OutboxError> {
        let mut after = after;
        loop {
            let (found, spoiled) =
                self.read(move |connection| rows_after(connection, after, max_events, max_bytes)).await?;
            // One row that cannot be read must not hold up all that come after it.
            for (cursor, why) in &spoiled {
                tracing::warn!(id = cursor, why, "a stored event cannot be read; it is set aside (quarantined)");
                self.change(Change::Spoiled(*cursor, why.clone())).await?;
            }
            match spoiled.last() {
                Some((last, _)) if found.is_empty() => after = *last,
                _ => return Ok(found),
            }
        }
    }

    async fn waiting(&self, at_most: usize) -> Result<usize, OutboxError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM events INDEXED BY events_unsent
                 WHERE pushed_at IS NULL AND quarantined_at IS NULL LIMIT ?1)",
            )?;
            let count: i64 = statement.query_row([i64::try_from(at_most).unwrap_or(i64::MAX)], |row| row.get(0))?;
            Ok(usize::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn confirm(&self, events: &[TraceId]) -> Result<(), OutboxError> {
        self.change(Change::Pushed(events.to_vec())).await
    }

    async fn quarantine(&self, event: TraceId, reason: &str) -> Result<(), OutboxError> {
        self.change(Change::Quarantined(event, reason.to_owned())).await
    }

    async fn load_state(&self, key: &str) -> Result<Option<String>, OutboxError> {
        let key = key.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT value FROM state WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn states(&self, prefix: &str) -> Result<Vec<(String, String)>, OutboxError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT key, value FROM state WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")?;
            statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await
    }

    async fn save_state(&self, key: &str, value: &str) -> Result<(), OutboxError> {
        self.change(Change::State(key.to_owned(), value.to_owned())).await
    }
}
