//! What the store says now.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::Timestamp;
use sinks::sqlite_store::{By, EventRow, Group, ListRequest, ReadError, Reader, Resources, RunSummary};

use crate::show;
use crate::text::Style;

/// Events that are shown at first, and the most that are taken in one look: who looks cannot read more.
const EVENTS: usize = 300;

/// Runs that are listed.
const RUNS: usize = 50;

/// The time of which the machine's samples are shown.
const MACHINE: Duration = Duration::from_secs(600);

/// The time over which rates are taken.
const RATE: Duration = Duration::from_secs(60);

/// The longest that one look may take: the keys wait for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Characters of a text in a tree.
const WIDE: usize = 160;

/// What one look found.
#[derive(Default)]
pub(super) struct Found {
    /// When.
    pub(super) now: Option<Timestamp>,
    /// Model calls since midnight (UTC).
    pub(super) today: Group,
    /// All events since midnight, and of them those that failed.
    pub(super) events_today: u64,
    /// See `events_today`.
    pub(super) errors_today: u64,
    /// The models of today, busiest first.
    pub(super) models: Vec<Group>,
    /// The latest runs.
    pub(super) runs: Vec<RunSummary>,
    /// What came in since the last look, in order of arrival.
    pub(super) fresh: Vec<EventRow>,
    /// Events and model calls a minute; `None` before there is a time to take them over.
    pub(super) rates: Option<(f64, f64)>,
    /// The machine.
    pub(super) machine: Machine,
    /// Bytes of the database in use.
    pub(super) bytes: u64,
}

/// The machine's latest samples.
#[derive(Default)]
pub(super) struct Machine {
    /// Of the CPU's quota, 0 to 1.
    pub(super) cpu: Option<f64>,
    /// Bytes used, and of how many.
    pub(super) memory: Option<(f64, Option<f64>)>,
    /// See `memory`.
    pub(super) disk: Option<(f64, Option<f64>)>,
    /// Of the last minutes, in percent.
    pub(super) cpu_before: Vec<Option<u64>>,
    /// See `cpu_before`.
    pub(super) memory_before: Vec<Option<u64>>,
    /// What went wrong in the last minutes: an out-of-memory kill, a process gone, a full disk.
    pub(super) incidents: usize,
}

/// Asks the store.
pub(super) struct Poller {
    path: PathBuf,
    open: Option<Open>,
    /// Places in the order of arrival up to which events were taken.
    after: Option<i64>,
    /// When so many events and model calls came.
    came: VecDeque<(Instant, u64, u64)>,
}

/// A reader, and the file that it leads to: the store may have set that aside and begun another.
struct Open {
    reader: Reader,
    file: (u64, u64),
}

impl Poller {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let open = Some(Open::new(path)?);
        Ok(Self { path: path.to_owned(), open, after: None, came: VecDeque::new() })
    }

    /// One look; where it fails the next one opens the file anew.
    pub(super) fn poll(&mut self, failed: bool) -> Result<Found, String> {
        self.reopened().and_then(|()| self.look(failed)).map_err(|error| {
            self.open = None;
            error.to_string()
        })
    }

    /// The tree of a run, line by line.
    pub(super) fn tree(&mut self, run: &str) -> Result<Vec<String>, String> {
        self.reopened().map_err(|error| error.to_string())?;
        let Some(Open { reader, .. }) = &mut self.open else { return Err("the store is not open".to_owned()) };
        let run = reader.limit(PATIENCE).and_then(|()| reader.run(run)).map_err(|error| error.to_string())?;
        let run = run.ok_or("the run is not there any more")?;
        Ok(show::draw(&run, WIDE, Style::plain()).lines().map(str::to_owned).collect())
    }

    fn reopened(&mut self) -> Result<(), ReadError> {
        if self.open.as_ref().is_none_or(|open| identity(&self.path) != Some(open.file)) {
            self.open = Some(Open::new(&self.path)?);
            self.after = None;
        }
        Ok(())
    }

    fn look(&mut self, failed: bool) -> Result<Found, ReadError> {
        let Some(Open { reader, .. }) = &mut self.open else { return Ok(Found::default()) };
        reader.limit(PATIENCE)?;
        let now = Timestamp::now();
        let nanos = now.as_nanos();
        let midnight = nanos - nanos.rem_euclid(86_400_000_000_000);
        // Hours are enough: only their sums are shown.
        let by_model = reader.stats(By::Model, midnight, nanos, Some(3600))?;
        let by_kind = reader.stats(By::Kind, midnight, nanos, Some(3600))?.total;
        let ten_minutes = i64::try_from(MACHINE.as_nanos()).unwrap_or(0);
        let machine = machine(&reader.resources(nanos - ten_minutes, nanos, 60)?);
        let failed = failed.then_some(true);
        let runs = reader.runs(&ListRequest { failed, limit: RUNS, ..ListRequest::default() })?.items;
        let bytes = reader.overview()?.bytes;
        let last = reader.last_id()?;
        let most = i64::try_from(EVENTS).unwrap_or(i64::MAX);
        let first_look = self.after.is_none();
        // Far behind, the latest are enough.
        let mut after = self.after.unwrap_or(0).max(last - most);
        let came = if first_look { 0 } else { u64::try_from(last - self.after.unwrap_or(last)).unwrap_or(0) };
        let mut fresh = Vec::new();
        while after < last {
            let page = reader.arrivals(after, EVENTS)?;
            let Some(end) = page.last().map(|event| event.id) else { break };
            after = end;
            fresh.extend(page);
        }
        self.after = Some(after.max(last));
        let calls = if first_look { 0 } else { fresh.iter().filter(|event| event.kind == "llm_call").count() as u64 };
        let rates = self.rates(Instant::now(), came, calls);
        fresh.retain(EventRow::is_plain);
        Ok(Found {
            now: Some(now),
            today: by_model.total,
            events_today: by_kind.calls,
            errors_today: by_kind.errors,
            models: by_model.groups,
            runs,
            fresh,
            rates,
            machine,
            bytes,
        })
    }

    /// Takes in how many came, and answers the rates of the last minute.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn rates(&mut self, at: Instant, events: u64, calls: u64) -> Option<(f64, f64)> {
        self.came.push_back((at, events, calls));
        while self.came.front().is_some_and(|(then, ..)| at.duration_since(*then) > RATE) {
            self.came.pop_front();
        }
        // What the first look of the time found came before it.
        let (begin, ..) = self.came.front()?;
        let seconds = at.duration_since(*begin).as_secs_f64();
        let sums = self.came.iter().skip(1).fold((0, 0), |sum, (_, events, calls)| (sum.0 + events, sum.1 + calls));
        (seconds >= 5.0).then(|| (sums.0 as f64 * 60.0 / seconds, sums.1 as f64 * 60.0 / seconds))
    }
}

impl Open {
    fn new(path: &Path) -> Result<Self, ReadError> {
        // Looked at first: a file replaced in between is noticed at the next look.
        let file = identity(path).ok_or_else(|| ReadError::Missing(path.to_owned()))?;
        Ok(Self { reader: Reader::open(path)?, file })
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn machine(resources: &Resources) -> Machine {
    let series = |name: &str| resources.series.get(name).map(Vec::as_slice).unwrap_or_default();
    let last = |name: &str| series(name).iter().rev().find_map(|value| *value);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let percent = |name: &str| {
        series(name).iter().map(|value| value.map(|value| (value.clamp(0.0, 1.0) * 100.0).round() as u64)).collect()
    };
    Machine {
        cpu: last("cpu_utilization"),
        memory: last("memory_working_set").map(|used| (used, last("memory_limit"))),
        disk: last("disk_usage").map(|used| (used, last("disk_capacity"))),
        cpu_before: percent("cpu_utilization"),
        memory_before: percent("memory_utilization"),
        incidents: resources.incidents.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let mut poller = Poller { path: PathBuf::new(), open: None, after: None, came: VecDeque::new() };
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!(poller.rates(at(0), 0, 0), None);
        assert_eq!(poller.rates(at(1), 10, 1), None, "too short a time");
        assert_eq!(poller.rates(at(10), 10, 1), Some((120.0, 12.0)));
        for second in 11..=100 {
            poller.rates(at(second), 1, 0);
        }
        assert_eq!(poller.rates(at(101), 1, 0), Some((60.0, 0.0)), "what came at first is forgotten");
    }
}
