//! Deleting what is too old, and what is too much: a little at a time, so that no write waits long.

use engine::Timestamp;
use rusqlite::{Connection, ToSql, TransactionBehavior, params};

use super::{full_text, space};

/// Rows deleted in one transaction.
const STEP: usize = 500;

/// Pages given back to the file system in one step.
const VACUUM_PAGES: usize = 500;

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// 2020-01-01. What is dated before it was taken while the clock was not set (1970, at the start of a
/// machine without one), and is not old: it would be gone the moment the clock is right, pushed or not.
/// The budget of bytes bounds it.
pub(super) const CLOCK_SET: i64 = 1_577_836_800 * 1_000_000_000;

/// The budgets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Age in days; 0: none.
    pub(super) days: u32,
    /// Size in bytes.
    pub(super) bytes: u64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Rows deleted.
    pub(super) deleted: usize,
    /// Of those, rows that had not been pushed.
    pub(super) unsent: usize,
    /// Whether there is more to do.
    pub(super) more: bool,
}

/// Deletes at most [`STEP`] rows, none behind the row `until`: what is not summed yet (`rollup`) waits.
///
/// # Errors
/// SQLite's; nothing is deleted then.
pub(super) fn step(connection: &mut Connection, budget: Budget, until: i64, now: Timestamp) -> rusqlite::Result<Step> {
    let by_age = by_age(connection, budget, until, now)?;
    let done = if by_age.deleted > 0 { by_age } else { by_size(connection, budget, until)? };
    let more = done.deleted > 0 || by_age.more || done.more;
    if done.deleted > 0 || free_pages(connection)? > 0 {
        // Each row that the pragma yields is a page given back; running it to its end is the point.
        let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(Step { more, ..done })
}

fn free_pages(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
}

fn by_age(connection: &mut Connection, budget: Budget, until: i64, now: Timestamp) -> rusqlite::Result<Step> {
    if budget.days == 0 {
        return Ok(Step::default());
    }
    let oldest = now.as_nanos().saturating_sub(i64::from(budget.days).saturating_mul(DAY_NANOS));
    let which = "SELECT id FROM events WHERE ts < ?1 AND ts >= ?4 AND id <= ?3 ORDER BY ts LIMIT ?2";
    let done = delete(connection, which, params![oldest, STEP as i64, until, CLOCK_SET])?;
    let waits = done.deleted == 0
        && connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE ts < ?1 AND ts >= ?3 AND id > ?2)")?
            .query_row([oldest, until, CLOCK_SET], |row| row.get(0))?;
    Ok(Step { more: waits, ..done })
}

fn by_size(connection: &mut Connection, budget: Budget, until: i64) -> rusqlite::Result<Step> {
    let excess = space::used_bytes(connection)?.saturating_sub(budget.bytes);
    if excess == 0 {
        return Ok(Step::default());
    }
    // Pushes go in order, so what was pushed lies before the first that was not.
    let first_unsent: Option<i64> = connection.query_row(
        "SELECT min(id) FROM events INDEXED BY events_unsent WHERE pushed_at IS NULL AND quarantined_at IS NULL",
        [],
        |row| row.get(0),
    )?;
    // No more than the excess: rows differ in size by a factor of a thousand, and a step of large
    // ones could empty a small store. Too little is made good by the next step.
    let which = "SELECT id FROM (
            SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM (
                SELECT id, 200 + ifnull(octet_length(input), 0) + ifnull(octet_length(output), 0)
                    + ifnull(octet_length(attributes), 0) + ifnull(octet_length(error), 0) AS size
                FROM events WHERE id < ?1 AND id <= ?4 ORDER BY id LIMIT ?2
            )
        ) WHERE before < ?3";
    let excess = i64::try_from(excess).unwrap_or(i64::MAX);
    let pushed_before = first_unsent.unwrap_or(i64::MAX);
    let done = delete(connection, which, params![pushed_before, STEP as i64, excess, until])?;
    if done.deleted > 0 {
        return Ok(done);
    }
    // Pushed ones that only wait for their sums still go before any that is not pushed.
    let waits = |before: i64| -> rusqlite::Result<bool> {
        connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE id > ?1 AND id < ?2)")?
            .query_row([until, before], |row| row.get(0))
    };
    if waits(pushed_before)? {
        return Ok(Step { more: true, ..done });
    }
    let waits = waits(i64::MAX)?;
    let done = delete(connection, which, params![i64::MAX, STEP as i64, excess, until])?;
    Ok(Step { more: done.deleted == 0 && waits, ..done })
}

fn delete(connection: &mut Connection, which: &str, bounds: &[&dyn ToSql]) -> rusqlite::Result<Step> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let unsent: i64 = transaction
        .prepare_cached(&format!(
            "SELECT count(*) FROM events WHERE pushed_at IS NULL AND quarantined_at IS NULL AND id IN ({which})"
        ))?
        .query_row(bounds, |row| row.get(0))?;
    if full_text::is_there(&transaction)? {
        transaction.prepare_cached(&format!("DELETE FROM events_fts WHERE rowid IN ({which})"))?.execute(bounds)?;
    }
    let deleted = transaction.prepare_cached(&format!("DELETE FROM events WHERE id IN ({which})"))?.execute(bounds)?;
    transaction.commit()?;
    Ok(Step { deleted, unsent: usize::try_from(unsent).unwrap_or(0), more: deleted > 0 })
}
