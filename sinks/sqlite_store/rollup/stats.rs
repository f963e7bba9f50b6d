//! Sums by time: how often, how long, how many tokens, what cost, by kind and name.

use std::collections::HashMap;

use engine::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{COARSE, FINE, FINE_DAYS, NANOS, Seen, Tokens, Told, bucket, cut, text};

/// Names (and kinds) in one bucket; what comes beyond counts as [`OTHER`].
const MOST_NAMES: i64 = 64;

/// The name of all that has no row of its own.
pub(in crate::sqlite_store) const OTHER: &str = "(other)";

/// Characters of a name.
const NAME: usize = 120;

const DAY: i64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    span: i64,
    bucket: i64,
    kind: String,
    name: String,
    provider: String,
}

/// The sums of one bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::sqlite_store) struct Cell {
    pub(in crate::sqlite_store) calls: i64,
    pub(in crate::sqlite_store) errors: i64,
    pub(in crate::sqlite_store) tokens: Tokens,
    /// Events that told how long they took.
    pub(in crate::sqlite_store) timed: i64,
    /// In milliseconds.
    pub(in crate::sqlite_store) duration_sum: f64,
    pub(in crate::sqlite_store) duration_max: f64,
    /// How many took how long, by step: each is longer than the one before by the eighth root of 2.
    latency: Vec<u32>,
}

/// Steps of [`Cell::latency`] to each doubling, the step of one millisecond, and the last one.
const STEPS: f64 = 8.0;
const ONE_MILLI: f64 = 64.0;
const LAST: u16 = 400;

/// The longest duration that is believed: some 30 years of milliseconds.
const LONGEST: f64 = 1e12;

impl Cell {
    pub(in crate::sqlite_store) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.tokens.add(other.tokens);
        self.timed += other.timed;
        self.duration_sum += other.duration_sum;
        self.duration_max = self.duration_max.max(other.duration_max);
        if self.latency.len() < other.latency.len() {
            self.latency.resize(other.latency.len(), 0);
        }
        for (sum, count) in self.latency.iter_mut().zip(&other.latency) {
            *sum = sum.saturating_add(*count);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn took(&mut self, millis: f64) {
        // A client may send what it likes; a sum of it must stay a number.
        let millis = millis.min(LONGEST);
        self.timed += 1;
        self.duration_sum += millis;
        self.duration_max = self.duration_max.max(millis);
        let step = (millis.max(1e-3).log2() * STEPS + ONE_MILLI).floor().clamp(0.0, f64::from(LAST)) as u16;
        self.count(step, 1);
    }

    fn count(&mut self, step: u16, count: u32) {
        let at = usize::from(step.min(LAST));
        if self.latency.len() <= at {
            self.latency.resize(at + 1, 0);
        }
        self.latency[at] = self.latency[at].saturating_add(count);
    }

    /// The steps that have any.
    fn steps(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        (0u16..).zip(self.latency.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// The duration in milliseconds that a share of the events did not exceed, to within half a step.
    pub(in crate::sqlite_store) fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.latency.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((all as f64 * share).ceil() as u64).clamp(1, all);
        let mut below = 0;
        for (step, count) in self.steps() {
            below += u64::from(count);
            if below >= rank {
                let middle = ((f64::from(step) + 0.5 - ONE_MILLI) / STEPS).exp2();
                return Some(middle.min(self.duration_max));
            }
        }
        None
    }

    fn latency_bytes(&self) -> Vec<u8> {
        self.steps().flat_map(|(step, count)| step.to_le_bytes().into_iter().chain(count.to_le_bytes())).collect()
    }

    /// From the columns after the key, beginning at `at`.
    ///
    /// # Errors
    /// SQLite's.
    pub(in crate::sqlite_store) fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        let mut cell = Self {
            calls: row.get(at)?,
            errors: row.get(at + 1)?,
            tokens: Tokens::read(row, at + 2)?,
            timed: row.get(at + 7)?,
            duration_sum: row.get(at + 8)?,
            duration_max: row.get(at + 9)?,
            latency: Vec::new(),
        };
        for pair in row.get_ref(at + 10)?.as_blob()?.chunks_exact(6) {
            let step = u16::from_le_bytes([pair[0], pair[1]]);
            cell.count(step, u32::from_le_bytes([pair[2], pair[3], pair[4], pair[5]]));
        }
        Ok(cell)
    }

    /// The columns that [`Cell::read`] reads.
    pub(in crate::sqlite_store) const COLUMNS: &str = "calls, errors, input_tokens, cached_tokens, output_tokens, \
         cost_pico, unpriced, timed, duration_sum, duration_max, latency";
}

/// What a step found.
pub(super) struct Stats {
    cells: HashMap<Key, Cell>,
    /// The oldest moment of each sort of bucket, and the latest of both, in seconds.
    oldest: [(i64, i64); 2],
    latest: i64,
}

impl Stats {
    pub(super) fn new(days: i64, now: Timestamp) -> Self {
        let now = now.as_nanos().div_euclid(NANOS);
        let oldest = [(FINE, now - FINE_DAYS.min(days) * DAY), (COARSE, now - days * DAY)];
        Self { cells: HashMap::new(), oldest, latest: now + DAY }
    }

    pub(super) fn add(&mut self, event: &Seen<'_>, told: &Told<'_>) {
        if event.kind == "link" {
            return;
        }
        let calls = matches!(event.kind, "llm_call" | "usage");
        let name = match event.kind {
            "llm_call" | "usage" => event.name.map(str::to_owned).or_else(|| text(told.model)),
            "tool_call" => event.name.map(str::to_owned),
            _ => None,
        };
        let name = cut(name.as_deref().unwrap_or_default(), NAME).to_owned();
        let provider = cut(&text(told.provider).filter(|_| calls).unwrap_or_default(), NAME).to_owned();
        let mut cell = Cell {
            calls: 1,
            errors: i64::from(event.failed),
            tokens: if calls { told.tokens() } else { Tokens::default() },
            ..Cell::default()
        };
        if let Some(millis) = event.duration_ms {
            cell.took(millis);
        }
        for (span, oldest) in self.oldest {
            let bucket = bucket(event.ts, span);
            if bucket >= oldest - span && bucket <= self.latest {
                let key =
                    Key { span, bucket, kind: event.kind.to_owned(), name: name.clone(), provider: provider.clone() };
                self.cells.entry(key).or_default().add(&cell);
            }
        }
    }

    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        for (key, cell) in self.cells {
            write(connection, key, cell)?;
        }
        Ok(())
    }
}

fn read(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Cell>> {
    let columns = Cell::COLUMNS;
    connection
        .prepare_cached(&format!(
            "SELECT {columns} FROM stats WHERE span = ?1 AND bucket = ?2 AND kind = ?3 AND name = ?4 AND provider = ?5"
        ))?
        .query_row(params![key.span, key.bucket, key.kind, key.name, key.provider], |row| Cell::read(row, 0))
        .optional()
}

fn write(connection: &Connection, mut key: Key, mut cell: Cell) -> rusqlite::Result<()> {
    let mut known = read(connection, &key)?;
    if known.is_none() {
        let names: i64 = connection
            .prepare_cached("SELECT count(*) FROM stats WHERE span = ?1 AND bucket = ?2")?
            .query_row([key.span, key.bucket], |row| row.get(0))?;
        if names >= MOST_NAMES {
            // Of the two sorts that are asked for by name the kind is kept.
            if !matches!(key.kind.as_str(), "llm_call" | "tool_call" | "usage") {
                key.kind = OTHER.to_owned();
            }
            key.name = OTHER.to_owned();
            key.provider.clear();
            known = read(connection, &key)?;
        }
    }
    if let Some(known) = known {
        cell.add(&known);
    }
    let columns = Cell::COLUMNS;
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO stats (span, bucket, kind, name, provider, {columns})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        ))?
        .execute(params![
            key.span,
            key.bucket,
            key.kind,
            key.name,
            key.provider,
            cell.calls,
            cell.errors,
            cell.tokens.input,
            cell.tokens.cached,
            cell.tokens.output,
            cell.tokens.cost_pico,
            cell.tokens.unpriced,
            cell.timed,
            cell.duration_sum,
            cell.duration_max,
            cell.latency_bytes(),
        ])?;
    Ok(())
}
