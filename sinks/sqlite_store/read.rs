//! Reading events back, each as it was taken.

use std::path::PathBuf;

use engine::{Event, Json, Kind, Status, Timestamp, TraceId};
use rusqlite::Row;

use super::schema::FileError;

/// The columns that [`event`] reads, in its order.
pub(super) const COLUMNS: &str = "id, trace_id, kind, ts, duration_ms, status, error, session_id, run_id, agent_id, \
     span_id, parent_span_id, name, input, output, attributes";

/// Why a store was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file.
    #[error("there is no database {path}; name one with --db", path = .0.display())]
    Missing(PathBuf),
    /// The file is not one of ours, or damaged.
    #[error("{0}")]
    Database(String),
    /// It took longer than it may.
    #[error("the answer took too long; ask for less: a shorter time, or a narrower filter")]
    TooLong,
    /// What is written to failed.
    #[error("cannot write the export: {0}")]
    Output(#[from] std::io::Error),
}

impl ReadError {
    /// Whether the reader of the output has gone, which is no failure.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl From<FileError> for ReadError {
    fn from(error: FileError) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::TooLong,
            _ => Self::Database(format!("the database cannot be read: {error}")),
        }
    }
}

/// The event of a row with [`COLUMNS`].
///
/// # Errors
/// When the row does not hold what the store wrote: somebody else changed it.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let broken = |at: usize, what: &str| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, what.to_owned().into())
    };
    let json = |at: usize| -> rusqlite::Result<Option<Json>> {
        let text: Option<String> = row.get(at)?;
        text.map(|text| Json::parse(&text).map_err(|_| broken(at, "not JSON"))).transpose()
    };
    let kind: String = row.get(2)?;
    let status: Option<String> = row.get(5)?;
    Ok(Event {
        trace_id: TraceId::from_bytes(row.get(1)?),
        kind: Kind::parse(&kind).map_err(|_| broken(2, "not a kind"))?,
        timestamp: Timestamp::from_nanos(row.get(3)?),
        duration_ms: row.get(4)?,
        status: match status.as_deref() {
            None => None,
            Some("ok") => Some(Status::Ok),
            Some("error") => Some(Status::Error),
            Some(_) => return Err(broken(5, "neither ok nor error")),
        },
        error: row.get(6)?,
        session_id: row.get(7)?,
        run_id: row.get(8)?,
        agent_id: row.get(9)?,
        span_id: row.get(10)?,
        parent_span_id: row.get(11)?,
        name: row.get(12)?,
        input: json(13)?,
        output: json(14)?,
        attributes: json(15)?,
    })
}
