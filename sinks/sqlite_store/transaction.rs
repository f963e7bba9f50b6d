//! What is written, each in one transaction: events with the state of their sources, and what the outbox's
//! reader says of them. When the function returns, it is committed.

use engine::{Batch, Cursor, Event, Status, Timestamp, TraceId};
use rusqlite::{Connection, TransactionBehavior, params};

/// A change by the outbox's reader.
pub(super) enum Change {
    /// The receiver has confirmed these.
    Pushed(Vec<TraceId>),
    /// The receiver will never take this one.
    Quarantined(TraceId, String),
    /// What this row holds cannot be read.
    Spoiled(Cursor, String),
    /// A piece of the reader's state.
    State(String, String),
}

/// Stores these batches, and answers how many events of each were there already.
///
/// # Errors
/// SQLite's; then nothing of them is stored.
pub(super) fn store(connection: &mut Connection, batches: &[Batch]) -> rusqlite::Result<Vec<usize>> {
    let now = Timestamp::now().as_nanos();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut duplicates = Vec::with_capacity(batches.len());
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (trace_id, kind, ts, duration_ms, status, error, session_id, run_id, agent_id,
                 span_id, parent_span_id, name, input, output, attributes, received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (trace_id) DO NOTHING",
        )?;
        for batch in batches {
            let mut already = 0;
            for event in batch.iter() {
                already += usize::from(insert_event(&mut insert, event, now)? == 0);
            }
            duplicates.push(already);
            for item in batch.keep() {
                keep_state(&transaction, &item.key, item.value.as_deref())?;
            }
        }
    }
    transaction.commit()?;
    Ok(duplicates)
}

/// Makes a change.
///
/// # Errors
/// SQLite's; then nothing is changed.
pub(super) fn change(connection: &mut Connection, change: &Change) -> rusqlite::Result<()> {
    let now = Timestamp::now().as_nanos();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match change {
        Change::Pushed(events) => {
            let mut update = transaction
                .prepare_cached("UPDATE events SET pushed_at = ?2 WHERE trace_id = ?1 AND pushed_at IS NULL")?;
            for event in events {
                update.execute(params![event.as_bytes(), now])?;
            }
        }
        Change::Quarantined(event, reason) => {
            transaction
                .prepare_cached("UPDATE events SET quarantined_at = ?2, quarantine_reason = ?3 WHERE trace_id = ?1")?
                .execute(params![event.as_bytes(), now, reason])?;
        }
        Change::Spoiled(id, reason) => {
            transaction
                .prepare_cached("UPDATE events SET quarantined_at = ?2, quarantine_reason = ?3 WHERE id = ?1")?
                .execute(params![id, now, reason])?;
        }
        Change::State(key, value) => keep_state(&transaction, key, Some(value))?,
    }
    transaction.commit()
}

fn keep_state(connection: &Connection, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => connection
            .prepare_cached(
                "INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            )?
            .execute(params![key, value])?,
        None => connection.prepare_cached("DELETE FROM state WHERE key = ?1")?.execute([key])?,
    };
    Ok(())
}

fn insert_event(insert: &mut rusqlite::CachedStatement<'_>, event: &Event, now: i64) -> rusqlite::Result<usize> {
    insert.execute(params![
        event.trace_id.as_bytes(),
        event.kind.as_str(),
        event.timestamp.as_nanos(),
        event.duration_ms,
        event.status.map(|status| match status {
            Status::Ok => "ok",
            Status::Error => "error",
        }),
        event.error,
        event.session_id,
        event.run_id,
        event.agent_id,
        event.span_id,
        event.parent_span_id,
        event.name,
        event.input.as_ref().map(engine::Json::as_str),
        event.output.as_ref().map(engine::Json::as_str),
        event.attributes.as_ref().map(engine::Json::as_str),
        now,
    ])
}
