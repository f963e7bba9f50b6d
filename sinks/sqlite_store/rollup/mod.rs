//! The rollup: what the store's events come to, kept beside them, so that no question has to read them all.
//!
//! 1. **It costs the agent nothing.** No sum is made in the transaction that an event waits for. The writer's
//!    thread folds what is new in a moment when nobody waits ([`step`]), a few hundred events at a time.
//! 2. **Each event counts once.** A step reads the events behind its cursor, and writes their sums and the new
//!    cursor in one transaction. An event is deleted only once it lies before the cursor.
//! 3. **It follows what becomes known late.** A `link` (`transforms/assemble`) that says that one run belongs to
//!    another moves its sums there; a session told by one event of a run takes in the whole run.
//! 4. **It is bounded.** Runs and sessions go when no event is left of that time; sums of 5 minutes after 8 days,
//!    sums of an hour with the store's days; a bucket has at most so many names, whatever clients send.
//!
//! `runs.rs` has runs and sessions, `stats.rs` sums and latency by time, `resources.rs` the machine's samples,
//! `forget.rs` what is let go.

mod forget;
mod resources;
mod runs;
mod stats;
mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use engine::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior};
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use forget::forget;
pub(super) use resources::Samples;
pub(super) use runs::{counted, resolve};
pub(super) use stats::{Cell, OTHER};
pub(super) use tables::migration;
use tables::temporary;

/// Width of the two sorts of buckets, in seconds.
pub(super) const FINE: i64 = 300;
/// See [`FINE`].
pub(super) const COARSE: i64 = 3600;

/// For how long buckets of [`FINE`] are kept.
pub(super) const FINE_DAYS: i64 = 8;

/// The most days of which sums are kept, where the store has no age.
const MOST_DAYS: i64 = 400;

const NANOS: i64 = 1_000_000_000;

/// Where the cursor stands, in the table `state`.
const CURSOR: &str = "rollup.cursor";

/// Events folded in one step.
const STEP: usize = 500;

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Events folded.
    pub(super) folded: usize,
    /// Whether there may be more.
    pub(super) more: bool,
}

/// The days of which sums are kept.
pub(super) fn days(retention_days: u32) -> i64 {
    if retention_days == 0 { MOST_DAYS } else { i64::from(retention_days).min(MOST_DAYS) }
}

/// The last event that is folded.
///
/// # Errors
/// SQLite's.
pub(super) fn cursor(connection: &Connection) -> rusqlite::Result<i64> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM state WHERE key = ?1")?
        .query_row([CURSOR], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Folds at most [`STEP`] events.
///
/// # Errors
/// SQLite's; nothing is folded then.
pub(super) fn step(connection: &mut Connection, retention_days: u32, now: Timestamp) -> rusqlite::Result<Step> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let after = cursor(&transaction)?;
    let (last, done) = fold(&transaction, after, STEP, retention_days, now)?;
    if done.folded == 0 {
        return Ok(done);
    }
    transaction
        .prepare_cached("INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")?
        .execute([CURSOR, &last.to_string()])?;
    transaction.commit()?;
    Ok(done)
}

/// Folds all events of a file that may only be read, into tables that end with the connection: what a file of
/// the first version needs to be asked.
///
/// # Errors
/// SQLite's.
pub(super) fn fold_beside(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&temporary())?;
    let mut after = 0;
    loop {
        let (last, done) = fold(connection, after, STEP, 0, Timestamp::now())?;
        after = last;
        if !done.more {
            return Ok(());
        }
    }
}

fn fold(
    connection: &Connection,
    after: i64,
    most: usize,
    retention_days: u32,
    now: Timestamp,
) -> rusqlite::Result<(i64, Step)> {
    let mut fold = Fold {
        runs: runs::Runs::default(),
        stats: stats::Stats::new(days(retention_days), now),
        resources: resources::Resources::new(days(retention_days), now),
    };
    let mut statement = connection.prepare_cached(
        "SELECT id, kind, ts, duration_ms, status, error, session_id, run_id, agent_id, name, attributes
         FROM main.events WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query([after, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let (mut last, mut folded) = (after, 0);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        folded += 1;
        match Seen::read(row) {
            Ok(event) => fold.add(&event),
            // One row that somebody spoiled must not end the sums of all others.
            Err(error) if super::damage::is_of_one_row(&error) => {}
            Err(error) => return Err(error),
        }
    }
    drop(rows);
    fold.runs.write(connection)?;
    fold.stats.write(connection)?;
    fold.resources.write(connection)?;
    Ok((last, Step { folded, more: folded == most }))
}

struct Fold {
    runs: runs::Runs,
    stats: stats::Stats,
    resources: resources::Resources,
}

impl Fold {
    fn add(&mut self, event: &Seen<'_>) {
        let told = event.told();
        self.runs.add(event, &told);
        self.stats.add(event, &told);
        if event.kind == "metric" {
            self.resources.add(event);
        }
    }
}

/// What of an event is summed.
struct Seen<'r> {
    kind: &'r str,
    /// In nanoseconds since 1970.
    ts: i64,
    duration_ms: Option<f64>,
    failed: bool,
    error: Option<&'r str>,
    session_id: Option<&'r str>,
    run_id: Option<&'r str>,
    agent_id: Option<&'r str>,
    name: Option<&'r str>,
    attributes: Option<&'r str>,
}

impl<'r> Seen<'r> {
    fn read(row: &'r Row<'_>) -> rusqlite::Result<Self> {
        let text = |at: usize| -> rusqlite::Result<Option<&'r str>> {
            let value = row.get_ref(at)?;
            value
                .as_str_or_null()
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, value.data_type(), Box::new(error)))
        };
        Ok(Self {
            kind: text(1)?.unwrap_or_default(),
            ts: row.get(2)?,
            duration_ms: row.get::<_, Option<f64>>(3)?.filter(|millis| millis.is_finite() && *millis >= 0.0),
            failed: text(4)? == Some("error"),
            error: text(5)?,
            session_id: text(6)?,
            run_id: text(7)?,
            agent_id: text(8)?,
            name: text(9)?,
            attributes: text(10)?,
        })
    }

    #[allow(clippy::cast_possible_truncation)]
    fn ends(&self) -> i64 {
        self.ts.saturating_add((self.duration_ms.unwrap_or(0.0) * 1e6) as i64)
    }

    fn told(&self) -> Told<'r> {
        let asked = matches!(self.kind, "llm_call" | "usage" | "link");
        let attributes = self.attributes.filter(|_| asked);
        attributes.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// The attributes that are summed. A figure that is no number counts as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told<'r> {
    #[serde(borrow, rename = "gen_ai.usage.input_tokens")]
    input: Option<&'r RawValue>,
    #[serde(borrow, rename = "gen_ai.usage.cache_read.input_tokens")]
    cached: Option<&'r RawValue>,
    #[serde(borrow, rename = "gen_ai.usage.output_tokens")]
    output: Option<&'r RawValue>,
    #[serde(borrow)]
    cost_usd: Option<&'r RawValue>,
    #[serde(borrow, rename = "openclaw_trace.cost.source")]
    source: Option<&'r RawValue>,
    #[serde(borrow, rename = "gen_ai.provider.name")]
    provider: Option<&'r RawValue>,
    #[serde(borrow, rename = "gen_ai.request.model")]
    model: Option<&'r RawValue>,
    #[serde(borrow, rename = "link.run_id")]
    other: Option<&'r RawValue>,
}

impl Told<'_> {
    fn tokens(&self) -> Tokens {
        let whole = |value| number(value).map_or(0, clamp);
        Tokens {
            input: whole(self.input),
            cached: whole(self.cached),
            output: whole(self.output),
            cost_pico: pico(number(self.cost_usd)).unwrap_or(0),
            unpriced: i64::from(text(self.source).as_deref() == Some("unpriced")),
        }
    }
}

fn number(value: Option<&RawValue>) -> Option<f64> {
    serde_json::from_str(value?.get()).ok()
}

fn text(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

/// US dollars as whole pico-dollars, as the transform `cost` reckons: sums of them are exact.
fn pico(dollars: Option<f64>) -> Option<i64> {
    dollars.map(|dollars| clamp(dollars * 1e12))
}

/// No figure of one event may be so large that a sum of many overflows.
#[allow(clippy::cast_possible_truncation)]
fn clamp(number: f64) -> i64 {
    number.clamp(0.0, 1e15).round() as i64
}

/// Tokens and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) input: i64,
    pub(super) cached: i64,
    pub(super) output: i64,
    pub(super) cost_pico: i64,
    pub(super) unpriced: i64,
}

impl Tokens {
    pub(super) fn add(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.output = self.output.saturating_add(other.output);
        self.cost_pico = self.cost_pico.saturating_add(other.cost_pico);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
    }

    /// From five columns in this order, beginning at `at`.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            input: row.get(at)?,
            cached: row.get(at + 1)?,
            output: row.get(at + 2)?,
            cost_pico: row.get(at + 3)?,
            unpriced: row.get(at + 4)?,
        })
    }

    pub(super) fn any(self) -> bool {
        self.input + self.output > 0
    }
}

/// The bucket of a moment.
pub(super) fn bucket(ts: i64, span: i64) -> i64 {
    ts.div_euclid(NANOS).div_euclid(span) * span
}

/// At most so many characters of a text that names something.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(at, _)| &text[..at])
}
