//! Sums over time: calls, tokens, cost and latency by model, tool or kind.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Reader, dollars, moment, unsigned};
use crate::sqlite_store::rollup::{COARSE, Cell, FINE, FINE_DAYS, OTHER, Tokens, bucket};

/// Steps that are taken where none is asked for, in seconds.
const STEPS: [i64; 10] = [300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

/// Points that are wanted where no step is asked for, and the most that are given.
const POINTS: i64 = 60;
const MOST_POINTS: i64 = 1000;

/// Groups with a row of their own.
const GROUPS: usize = 50;

const NANOS: i64 = 1_000_000_000;

/// What sums are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Model calls, by model and provider.
    Model,
    /// Tool calls, by tool.
    Tool,
    /// All events, by kind.
    Kind,
}

/// Sums over a time.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Stats {
    /// The time that they are of, RFC 3339: from the begin of the first step.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// Time between two points.
    pub step_seconds: i64,
    /// The points: begin of each step, in Unix seconds.
    pub t: Vec<i64>,
    /// The sums of each group, busiest first.
    pub groups: Vec<Group>,
    /// The sums of all groups.
    pub total: Group,
}

/// The sums of one group.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Group {
    /// The model, the tool or the kind.
    pub name: String,
    /// The model's provider.
    pub provider: Option<String>,
    /// How many.
    pub calls: u64,
    /// Of those, how many failed.
    pub errors: u64,
    /// Tokens of input, cached ones included.
    pub input_tokens: u64,
    /// Of those, tokens read from a cache.
    pub cached_tokens: u64,
    /// Tokens of output.
    pub output_tokens: u64,
    /// In US dollars.
    pub cost_usd: f64,
    /// Calls without a price, which the cost leaves out.
    pub unpriced: u64,
    /// How long they took; null where none told it.
    pub duration_ms: Option<Durations>,
    /// The same over time, one figure for each point.
    pub series: Series,
}

/// How long calls took, in milliseconds. All but `max` and `mean` to within 4.5 %.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Durations {
    /// What half of them did not exceed.
    pub p50: f64,
    /// What 95 of 100 did not exceed.
    pub p95: f64,
    /// What 99 of 100 did not exceed.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
}

/// Sums over time.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Series {
    /// How many.
    pub calls: Vec<u64>,
    /// Of those, how many failed.
    pub errors: Vec<u64>,
    /// Tokens of input.
    pub input_tokens: Vec<u64>,
    /// Of those, tokens read from a cache.
    pub cached_tokens: Vec<u64>,
    /// Tokens of output.
    pub output_tokens: Vec<u64>,
    /// In US dollars.
    pub cost_usd: Vec<f64>,
}

/// What one group's rows come to.
#[derive(Clone)]
struct Sum {
    total: Cell,
    points: Vec<(i64, i64, Tokens)>,
    /// What is told of turns as a whole (kind `usage`); the same tokens once more.
    usage: Tokens,
    usage_points: Vec<Tokens>,
}

impl Sum {
    fn new(points: usize) -> Self {
        Self {
            total: Cell::default(),
            points: vec![Default::default(); points],
            usage: Tokens::default(),
            usage_points: vec![Tokens::default(); points],
        }
    }

    fn add(&mut self, at: usize, kind: &str, cell: &Cell, by: By) {
        if kind == "usage" {
            self.usage.add(cell.tokens);
            self.usage_points[at].add(cell.tokens);
            if by != By::Kind {
                return;
            }
        }
        let point = &mut self.points[at];
        point.0 += cell.calls;
        point.1 += cell.errors;
        self.total.add(cell);
        if kind == "usage" {
            // They are told once more below, if at all.
            self.total.tokens = Tokens::default();
        } else {
            point.2.add(cell.tokens);
        }
    }

    fn take(&mut self, other: &Self) {
        self.total.add(&other.total);
        self.usage.add(other.usage);
        for (point, other) in self.points.iter_mut().zip(&other.points) {
            point.0 += other.0;
            point.1 += other.1;
            point.2.add(other.2);
        }
        for (point, other) in self.usage_points.iter_mut().zip(&other.usage_points) {
            point.add(*other);
        }
    }

    /// Where the calls tell no tokens, those told of the turns count.
    fn settle(&mut self) {
        if self.total.tokens.any() || !self.usage.any() {
            return;
        }
        self.total.tokens = self.usage;
        for (point, usage) in self.points.iter_mut().zip(&self.usage_points) {
            point.2 = *usage;
        }
    }

    fn group(self, name: String, provider: Option<String>) -> Group {
        let tokens = self.total.tokens;
        let of = |pick: fn(&Tokens) -> i64| self.points.iter().map(|point| unsigned(pick(&point.2))).collect();
        #[allow(clippy::cast_precision_loss)]
        let durations = self.total.quantile(0.5).map(|p50| Durations {
            p50,
            p95: self.total.quantile(0.95).unwrap_or(p50),
            p99: self.total.quantile(0.99).unwrap_or(p50),
            max: self.total.duration_max,
            mean: self.total.duration_sum / self.total.timed.max(1) as f64,
        });
        Group {
            name,
            provider: provider.filter(|provider| !provider.is_empty()),
            calls: unsigned(self.total.calls),
            errors: unsigned(self.total.errors),
            input_tokens: unsigned(tokens.input),
            cached_tokens: unsigned(tokens.cached),
            output_tokens: unsigned(tokens.output),
            cost_usd: dollars(tokens.cost_pico),
            unpriced: unsigned(tokens.unpriced),
            duration_ms: durations,
            series: Series {
                calls: self.points.iter().map(|point| unsigned(point.0)).collect(),
                errors: self.points.iter().map(|point| unsigned(point.1)).collect(),
                input_tokens: of(|tokens| tokens.input),
                cached_tokens: of(|tokens| tokens.cached),
                output_tokens: of(|tokens| tokens.output),
                cost_usd: self.points.iter().map(|point| dollars(point.2.cost_pico)).collect(),
            },
        }
    }
}

impl Reader {
    /// The sums of a time, in nanoseconds since 1970; `step` in seconds, made to fit.
    ///
    /// # Errors
    /// [`Error`].
    pub fn stats(&self, by: By, from: i64, to: i64, step: Option<i64>) -> Result<Stats, Error> {
        let now = engine::Timestamp::now().as_nanos();
        let (span, step) = widths(from, to, step, now);
        let first = bucket(from, step);
        let last = (to.max(from) - 1).div_euclid(NANOS);
        let count = usize::try_from((last - first).div_euclid(step) + 1).unwrap_or(1);
        let mut sums: HashMap<(String, String), Sum> = HashMap::new();
        let kinds = match by {
            By::Model => "AND kind IN ('llm_call', 'usage')",
            By::Tool => "AND kind = 'tool_call'",
            By::Kind => "",
        };
        let columns = Cell::COLUMNS;
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT bucket, kind, name, provider, {columns} FROM stats
             WHERE span = ?1 AND bucket >= ?2 AND bucket <= ?3 {kinds}"
        ))?;
        let mut rows = statement.query([span, first, last])?;
        while let Some(row) = rows.next()? {
            let at = usize::try_from((row.get::<_, i64>(0)? - first).div_euclid(step)).unwrap_or(0);
            let kind: String = row.get(1)?;
            let key = match by {
                By::Model => (row.get(2)?, row.get(3)?),
                By::Tool => (row.get(2)?, String::new()),
                By::Kind => (kind.clone(), String::new()),
            };
            let cell = Cell::read(row, 4)?;
            sums.entry(key).or_insert_with(|| Sum::new(count)).add(at.min(count - 1), &kind, &cell, by);
        }
        Ok(answer(by, sums, (first, last, step, count)))
    }
}

fn answer(by: By, sums: HashMap<(String, String), Sum>, (first, last, step, count): (i64, i64, i64, usize)) -> Stats {
    let mut total = Sum::new(count);
    let mut sums: Vec<_> = sums.into_iter().collect();
    for (_, sum) in &mut sums {
        // A turn's sum repeats what its calls tell: of all kinds together only the calls' tokens count, where
        // they tell any; of one model it is one or the other.
        if by == By::Model {
            sum.settle();
            sum.usage = Tokens::default();
        }
        total.take(sum);
        sum.settle();
    }
    total.settle();
    sums.sort_by(|one, two| two.1.total.calls.cmp(&one.1.total.calls).then_with(|| one.0.cmp(&two.0)));
    // What had no row of its own in some bucket goes with what has none here.
    let (unnamed, mut sums): (Vec<_>, Vec<_>) = sums.into_iter().partition(|((name, _), _)| name == OTHER);
    let mut rest = sums.split_off(sums.len().min(GROUPS));
    rest.extend(unnamed);
    let mut groups: Vec<Group> =
        sums.into_iter().map(|((name, provider), sum)| sum.group(name, Some(provider))).collect();
    if !rest.is_empty() {
        let mut other = Sum::new(count);
        rest.iter().for_each(|(_, sum)| other.take(sum));
        groups.push(other.group(OTHER.to_owned(), None));
    }
    let points = i64::try_from(count).unwrap_or(0);
    Stats {
        from: moment(first * NANOS),
        to: moment((last + 1) * NANOS),
        step_seconds: step,
        t: (0..points).map(|at| first + at * step).collect(),
        groups,
        total: total.group("total".to_owned(), None),
    }
}

/// Which buckets are read, and how many of them are one point.
fn widths(from: i64, to: i64, step: Option<i64>, now: i64) -> (i64, i64) {
    let seconds = to.saturating_sub(from).div_euclid(NANOS).max(1);
    let wanted = step.unwrap_or_else(|| {
        STEPS.into_iter().find(|step| seconds / step <= POINTS).unwrap_or(86_400 * (seconds / 86_400 / POINTS + 1))
    });
    let wanted = wanted.max(seconds.div_euclid(MOST_POINTS) + 1);
    let kept = now.saturating_sub(FINE_DAYS * 86_400 * NANOS);
    let span = if from >= kept && wanted < 6 * COARSE && wanted % COARSE != 0 { FINE } else { COARSE };
    (span, (wanted + span - 1).div_euclid(span) * span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    #[test]
    fn a_step_fits_the_time_and_the_buckets_that_are_kept() {
        let now = 1_800_000_000 * NANOS;
        let ago = |seconds: i64| now - seconds * NANOS;
        assert_eq!(widths(ago(HOUR), now, None, now), (FINE, 300));
        assert_eq!(widths(ago(24 * HOUR), now, None, now), (FINE, 1800));
        assert_eq!(widths(ago(7 * 24 * HOUR), now, None, now), (COARSE, 14_400));
        assert_eq!(widths(ago(30 * 24 * HOUR), now, None, now), (COARSE, 43_200));
        // Of a day that long ago there are only hours.
        assert_eq!(widths(ago(20 * 24 * HOUR), ago(19 * 24 * HOUR), None, now), (COARSE, HOUR));
        assert_eq!(widths(ago(HOUR), now, Some(7), now), (FINE, 300));
        // Years of seconds are not a million points.
        let (_, step) = widths(ago(300 * 24 * HOUR), now, Some(300), now);
        assert!(300 * 24 * HOUR / step <= MOST_POINTS + 1, "{step}");
    }
}
