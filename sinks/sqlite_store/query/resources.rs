//! How the machine did: the samples of a time as series, and what happened to the agent.

use std::collections::BTreeMap;

use engine::Status;
use schemars::JsonSchema;
use serde::Serialize;

use super::condition::Condition;
use super::events::PageRequest;
use super::{Error, EventRow, Reader};
use crate::sqlite_store::rollup::{COARSE, FINE, FINE_DAYS, Samples};

const NANOS: i64 = 1_000_000_000;

/// Up to this time samples are read one by one, in seconds; beyond it their sums are.
const ONE_BY_ONE: i64 = 6 * 3600;

/// Samples that are read one by one, at the most.
const MOST: i64 = 4000;

/// Incidents in one answer.
const INCIDENTS: usize = 200;

/// The machine over time.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Resources {
    /// The points, in Unix seconds.
    pub t: Vec<f64>,
    /// Time between two points.
    pub step_seconds: f64,
    /// One figure for each point by name; null: no sample.
    pub series: BTreeMap<String, Vec<Option<f64>>>,
    /// Events of kind `error` of this time, latest first.
    pub incidents: Vec<EventRow>,
}

/// Series of which the highest is given too.
const WITH_MAX: [&str; 2] = ["cpu_utilization", "memory_utilization"];

impl Reader {
    /// The samples of a time, in nanoseconds since 1970, in about so many points.
    ///
    /// # Errors
    /// [`Error`].
    pub fn resources(&self, from: i64, to: i64, points: usize) -> Result<Resources, Error> {
        let seconds = to.saturating_sub(from).div_euclid(NANOS).max(1);
        let points_wanted = i64::try_from(points.clamp(10, 1000)).unwrap_or(300);
        let samples =
            if seconds <= ONE_BY_ONE { self.one_by_one(from, to)? } else { self.summed(from, to, points_wanted)? };
        let condition = Condition {
            kinds: vec!["error".to_owned()],
            status: Some(Status::Error),
            from: Some(from),
            to: Some(to),
            ..Condition::default()
        };
        let incidents = self.events(&PageRequest { condition, limit: INCIDENTS, ..PageRequest::default() })?.events;
        let (samples, step_seconds) = thinned(samples, seconds, points_wanted);
        Ok(series(&samples, step_seconds, incidents))
    }

    fn one_by_one(&self, from: i64, to: i64) -> Result<Vec<(f64, Samples)>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT ts, attributes FROM events
             WHERE kind = 'metric' AND ts >= ?1 AND ts < ?2 AND name = 'container.resources' AND attributes IS NOT NULL
             ORDER BY ts LIMIT ?3",
        )?;
        let mut rows = statement.query([from, to, MOST])?;
        let mut samples = Vec::new();
        while let Some(row) = rows.next()? {
            let (ts, attributes): (i64, String) = (row.get(0)?, row.get(1)?);
            #[allow(clippy::cast_precision_loss)]
            samples.extend(Samples::of(&attributes).map(|sample| (ts as f64 / 1e9, sample)));
        }
        Ok(samples)
    }

    fn summed(&self, from: i64, to: i64, points: i64) -> Result<Vec<(f64, Samples)>, Error> {
        let now = engine::Timestamp::now().as_nanos();
        let seconds = (to - from).div_euclid(NANOS);
        let fine = from >= now.saturating_sub(FINE_DAYS * 86_400 * NANOS) && seconds / FINE <= points * 8;
        let span = if fine { FINE } else { COARSE };
        let mut statement = self.connection.prepare_cached(
            "SELECT bucket, series FROM resources WHERE span = ?1 AND bucket >= ?2 AND bucket < ?3 ORDER BY bucket",
        )?;
        let mut rows = statement.query([span, from.div_euclid(NANOS) - span + 1, to.div_euclid(NANOS)])?;
        let mut samples = Vec::new();
        while let Some(row) = rows.next()? {
            let bucket: i64 = row.get(0)?;
            #[allow(clippy::cast_precision_loss)]
            samples.push((bucket as f64, Samples::from_bytes(row.get_ref(1)?.as_blob().unwrap_or_default())));
        }
        Ok(samples)
    }
}

/// Joins neighbours until there are about as many points as wanted; answers the time between them too.
#[allow(clippy::cast_precision_loss)]
fn thinned(samples: Vec<(f64, Samples)>, seconds: i64, points: i64) -> (Vec<(f64, Samples)>, f64) {
    let gap = typical_gap(&samples);
    if i64::try_from(samples.len()).is_ok_and(|count| count <= points) {
        return (samples, gap);
    }
    // At least two samples to a point: else one that comes a little late would leave a hole.
    let step = (seconds as f64 / points as f64).max(2.0 * gap);
    let mut joined: Vec<(f64, Samples)> = Vec::new();
    for (at, sample) in samples {
        let begin = (at / step).floor() * step;
        match joined.last_mut() {
            Some((last, sum)) if *last >= begin => sum.add(&sample),
            _ => joined.push((begin, sample)),
        }
    }
    (joined, step)
}

fn typical_gap(samples: &[(f64, Samples)]) -> f64 {
    let mut gaps: Vec<f64> = samples.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(15.0)
}

fn series(samples: &[(f64, Samples)], step_seconds: f64, incidents: Vec<EventRow>) -> Resources {
    let mut t = Vec::new();
    let mut series: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    let nothing = Samples::default();
    for (at, sample) in samples {
        // Where samples are missing a line must break, not run on.
        if let Some(last) = t.last().copied()
            && at - last > 2.5 * step_seconds
        {
            t.push(last + step_seconds);
            push(&mut series, &nothing);
        }
        t.push(*at);
        push(&mut series, sample);
    }
    series.retain(|_, values| values.iter().any(Option::is_some));
    Resources { t, step_seconds, series, incidents }
}

fn push(series: &mut BTreeMap<String, Vec<Option<f64>>>, sample: &Samples) {
    for (name, figures) in sample.figures() {
        series.entry(name.to_owned()).or_default().push(figures.map(|(mean, _)| mean));
        if WITH_MAX.contains(&name) {
            series.entry(format!("{name}_max")).or_default().push(figures.map(|(_, max)| max));
        }
    }
}
