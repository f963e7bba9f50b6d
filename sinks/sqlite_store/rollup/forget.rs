//! What the rollup lets go: a little at a time, like the events themselves.

use engine::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::super::retention::CLOCK_SET;
use super::{COARSE, FINE, FINE_DAYS, NANOS, days};

/// Rows of runs or sessions deleted in one step, and buckets of sums.
const ROWS: i64 = 500;
const BUCKETS: i64 = 8;

const DAY: i64 = 86_400;

/// Deletes runs and sessions of which no event is left, and sums that are too old; answers whether there is more.
///
/// # Errors
/// SQLite's; nothing is deleted then.
pub(in crate::sqlite_store) fn forget(
    connection: &mut Connection,
    retention_days: u32,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let now = now.as_nanos().div_euclid(NANOS);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut more = false;
    // One event from before the clock was set must not keep every run for ever.
    let oldest: Option<i64> =
        transaction.query_row("SELECT min(ts) FROM events WHERE ts >= ?1", [CLOCK_SET], |row| row.get(0))?;
    let oldest = oldest.unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "DELETE FROM run_alias WHERE run_id IN
                 (SELECT run_id FROM runs WHERE seen < ?1 ORDER BY seen LIMIT ?2)",
        )?
        .execute([oldest, ROWS])?;
    for (table, column) in [("runs", "seen"), ("sessions", "ended")] {
        let gone = transaction
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < ?1 ORDER BY {column} LIMIT ?2)"
            ))?
            .execute([oldest, ROWS])?;
        more |= i64::try_from(gone).is_ok_and(|gone| gone == ROWS);
    }
    let days = days(retention_days);
    for (span, days) in [(FINE, FINE_DAYS.min(days)), (COARSE, days)] {
        for table in ["stats", "resources"] {
            let before = now - days * DAY - span;
            let gone = transaction
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE span = ?1 AND bucket IN (SELECT DISTINCT bucket FROM {table}
                         WHERE span = ?1 AND bucket < ?2 ORDER BY bucket LIMIT ?3)"
                ))?
                .execute([span, before, BUCKETS])?;
            more |= gone > 0;
        }
    }
    transaction.commit()?;
    Ok(more)
}
