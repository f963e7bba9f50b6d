//! The machine's samples by time: of each figure how many, their sum and the highest.

use std::collections::HashMap;

use engine::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::value::RawValue;

use super::{COARSE, FINE, FINE_DAYS, NANOS, Seen, bucket, number};

const DAY: i64 = 86_400;

/// Where a series is from, in the attributes of `container.resources` (`docs/resource-sampler.md`).
#[derive(Debug, Clone, Copy)]
enum From {
    /// As it is told.
    Value(&'static str),
    /// Told for the interval, kept a second.
    Rate(&'static str),
    /// The sum over the watched processes.
    Processes(&'static str),
}

/// The series, by the name that they are asked for. Their order is that of the stored bytes: new ones go last.
const FROM: [(&str, From); 19] = [
    ("cpu_utilization", From::Value("openclaw_trace.cpu.utilization")),
    ("cpu_throttling_share", From::Value("openclaw_trace.cpu.throttling.share")),
    ("memory_working_set", From::Value("container.memory.working_set")),
    ("memory_limit", From::Value("openclaw_trace.memory.limit")),
    ("memory_utilization", From::Value("openclaw_trace.memory.utilization")),
    ("disk_usage", From::Value("container.filesystem.usage")),
    ("disk_capacity", From::Value("container.filesystem.capacity")),
    ("disk_utilization", From::Value("openclaw_trace.filesystem.utilization")),
    ("pressure_cpu", From::Value("openclaw_trace.pressure.cpu.some.avg10")),
    ("pressure_memory", From::Value("openclaw_trace.pressure.memory.some.avg10")),
    ("pressure_io", From::Value("openclaw_trace.pressure.io.some.avg10")),
    ("network_receive", From::Rate("container.network.io.receive")),
    ("network_transmit", From::Rate("container.network.io.transmit")),
    ("disk_read", From::Rate("container.disk.io.read")),
    ("disk_write", From::Rate("container.disk.io.write")),
    ("agent_memory", From::Processes(".memory.rss")),
    ("agent_cpu", From::Processes(".cpu.usage")),
    ("pids", From::Value("openclaw_trace.pids.current")),
    ("oom_kills", From::Value("openclaw_trace.memory.oom_kills")),
];

const SERIES: usize = FROM.len();

/// Bytes of one series in a row.
const WIDTH: usize = 20;

/// The samples of one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sqlite_store) struct Samples([Sample; SERIES]);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sample {
    count: u32,
    sum: f64,
    max: f64,
}

impl Default for Samples {
    fn default() -> Self {
        Self([Sample::default(); SERIES])
    }
}

impl Samples {
    /// One sample, from an event's attributes; `None` where they are no object.
    pub(in crate::sqlite_store) fn of(attributes: &str) -> Option<Self> {
        let told: HashMap<String, &RawValue> = serde_json::from_str(attributes).ok()?;
        let value = |name: &str| number(told.get(name).copied()).filter(|value| value.is_finite());
        let interval = value("openclaw_trace.sample.interval").filter(|seconds| *seconds > 0.0);
        let mut samples = Self::default();
        for (sample, (_, from)) in samples.0.iter_mut().zip(FROM) {
            let value = match from {
                From::Value(name) => value(name),
                From::Rate(name) => value(name).zip(interval).map(|(bytes, seconds)| bytes / seconds),
                From::Processes(end) => {
                    let names =
                        told.keys().filter(|name| name.starts_with("openclaw_trace.process.") && name.ends_with(end));
                    names.filter_map(|name| value(name)).reduce(|one, two| one + two)
                }
            };
            if let Some(value) = value.map(|value| value.clamp(-1e15, 1e15)) {
                *sample = Sample { count: 1, sum: value, max: value };
            }
        }
        Some(samples)
    }

    pub(in crate::sqlite_store) fn add(&mut self, other: &Self) {
        for (sample, other) in self.0.iter_mut().zip(&other.0) {
            if other.count > 0 {
                sample.max = if sample.count == 0 { other.max } else { sample.max.max(other.max) };
                sample.count = sample.count.saturating_add(other.count);
                sample.sum += other.sum;
            }
        }
    }

    /// Each series' name, mean and highest, where it has samples.
    pub(in crate::sqlite_store) fn figures(&self) -> impl Iterator<Item = (&'static str, Option<(f64, f64)>)> + '_ {
        FROM.iter().zip(&self.0).map(|((name, _), sample)| {
            (*name, (sample.count > 0).then(|| (sample.sum / f64::from(sample.count), sample.max)))
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let one = |sample: &Sample| {
            let parts = [&sample.count.to_le_bytes()[..], &sample.sum.to_le_bytes(), &sample.max.to_le_bytes()];
            parts.concat()
        };
        self.0.iter().flat_map(one).collect()
    }

    /// As they are stored; a row of an earlier version may have fewer series.
    pub(in crate::sqlite_store) fn from_bytes(bytes: &[u8]) -> Self {
        let mut samples = Self::default();
        for (sample, bytes) in samples.0.iter_mut().zip(bytes.chunks_exact(WIDTH)) {
            let float = |at: usize| bytes[at..at + 8].try_into().map_or(0.0, f64::from_le_bytes);
            *sample =
                Sample { count: bytes[..4].try_into().map_or(0, u32::from_le_bytes), sum: float(4), max: float(12) };
        }
        samples
    }
}

/// What a step found.
pub(super) struct Resources {
    by_bucket: HashMap<(i64, i64), Samples>,
    oldest: [(i64, i64); 2],
    latest: i64,
}

impl Resources {
    pub(super) fn new(days: i64, now: Timestamp) -> Self {
        let now = now.as_nanos().div_euclid(NANOS);
        let oldest = [(FINE, now - FINE_DAYS.min(days) * DAY), (COARSE, now - days * DAY)];
        Self { by_bucket: HashMap::new(), oldest, latest: now + DAY }
    }

    pub(super) fn add(&mut self, event: &Seen<'_>) {
        let told = event.attributes.filter(|_| event.name == Some("container.resources")).and_then(Samples::of);
        let Some(samples) = told else { return };
        for (span, oldest) in self.oldest {
            let bucket = bucket(event.ts, span);
            if bucket >= oldest - span && bucket <= self.latest {
                self.by_bucket.entry((span, bucket)).or_default().add(&samples);
            }
        }
    }

    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        for ((span, bucket), mut samples) in self.by_bucket {
            let known: Option<Vec<u8>> = connection
                .prepare_cached("SELECT series FROM resources WHERE span = ?1 AND bucket = ?2")?
                .query_row([span, bucket], |row| row.get(0))
                .optional()?;
            if let Some(known) = known {
                samples.add(&Samples::from_bytes(&known));
            }
            connection
                .prepare_cached("INSERT OR REPLACE INTO resources (span, bucket, series) VALUES (?1, ?2, ?3)")?
                .execute(params![span, bucket, samples.bytes()])?;
        }
        Ok(())
    }
}
