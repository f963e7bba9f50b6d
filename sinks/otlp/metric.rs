//! An event of kind `metric`, as metrics.
//!
//! | event | metrics |
//! |---|---|
//! | of the resource sampler, or any other with numbers among its attributes | one for each number: a gauge; a sum with delta temporality where the sampler tells what was added |
//! | made of a metric that came by OTLP (`otel.metric.type`) | the same one again, with delta temporality |
//! | without numbers | none: it is a log record |
//!
//! With [`Deltas::Gauge`] sums are gauges, and a histogram is two, of its count and its sum: what was added in the interval.
//!
//! An attribute whose name has no dot is named after the event: of `queue` with `{"value":5,"oldest":9}` come `queue` and
//! `queue.oldest`. Texts and booleans tell the series apart; ids of sessions and runs do not, or each event would be a series
//! of its own. For the same reason the event itself travels in the `metadata` of its first metric, which identifies
//! nothing and is there for this ("information allowing for lossless roundtrip translation"); the further ones only
//! name the event there, so that our ingest makes one event of them.

use std::borrow::Cow;

use engine::Event;

use super::own::{Number, Own, text_attribute};
use super::write::{Field, Writer};
use super::{Deltas, carry, parts, sampled, since_1970};

/// The list that [`write`] adds to.
pub(super) const METRICS: Field = ("metrics", 2);

const NAME: Field = ("name", 1);
const UNIT: Field = ("unit", 3);
const GAUGE: Field = ("gauge", 5);
const SUM: Field = ("sum", 7);
const HISTOGRAM: Field = ("histogram", 9);
const METADATA: Field = ("metadata", 12);
const POINTS: Field = ("dataPoints", 1);
const TEMPORALITY: Field = ("aggregationTemporality", 2);
const MONOTONIC: Field = ("isMonotonic", 3);
const START: Field = ("startTimeUnixNano", 2);
const TIME: Field = ("timeUnixNano", 3);
const AS_DOUBLE: Field = ("asDouble", 4);
const AS_INT: Field = ("asInt", 6);
const ATTRIBUTES: Field = ("attributes", 7);
const COUNT: Field = ("count", 4);
const HISTOGRAM_SUM: Field = ("sum", 5);
const BUCKETS: Field = ("bucketCounts", 6);
const BOUNDS: Field = ("explicitBounds", 7);
const HISTOGRAM_ATTRIBUTES: Field = ("attributes", 9);
const MIN: Field = ("min", 11);
const MAX: Field = ("max", 12);

const DELTA: u32 = 1;

/// The most metrics of one event.
const MAX_METRICS: usize = 1000;

/// The most bytes of texts that tell a series from another: each metric of the event repeats them.
const MAX_LABELS: usize = 1024;

/// Where the event came from OTLP: what the ingest made of a data point (`sources/http_ingest/otlp/metric.rs`).
const POINT: &str = "otel.metric.";

/// One metric with its one point.
struct Metric<'e> {
    name: Cow<'e, str>,
    unit: Cow<'e, str>,
    data: Data,
}

enum Data {
    Gauge(Number),
    Sum { added: Number, monotonic: bool },
    Histogram(Histogram),
}

struct Histogram {
    count: u64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
    buckets: Vec<u64>,
    bounds: Vec<f64>,
}

/// Whether there is anything to measure in it.
pub(super) fn is_measured(event: &Event, own: &Own<'_>) -> bool {
    !metrics(event, own, Deltas::Sum, 1).is_empty()
}

/// Writes its metrics, as items of [`METRICS`].
pub(super) fn write(out: &mut Writer, event: &Event, own: &Own<'_>, deltas: Deltas) {
    let labels = labels(own);
    let time = since_1970(event.timestamp).max(1);
    let start = time.saturating_sub(interval(own).unwrap_or(0));
    for (at, metric) in metrics(event, own, deltas, MAX_METRICS).into_iter().enumerate() {
        out.item(METRICS, |out| {
            out.text(NAME, &metric.name);
            if !metric.unit.is_empty() {
                out.text(UNIT, &metric.unit);
            }
            match metric.data {
                Data::Gauge(value) => out.message(GAUGE, |out| points(out, None, time, value, &labels)),
                Data::Sum { added, monotonic } => out.message(SUM, |out| {
                    points(out, Some(start), time, added, &labels);
                    out.number(TEMPORALITY, DELTA);
                    out.flag(MONOTONIC, monotonic);
                }),
                Data::Histogram(histogram) => out.message(HISTOGRAM, |out| {
                    out.list(POINTS, |out| out.item(POINTS, |out| histogram.write(out, start, time, &labels)));
                    out.number(TEMPORALITY, DELTA);
                }),
            }
            out.list(METADATA, |out| {
                if at == 0 { carry::whole(out, METADATA, event) } else { carry::part(out, METADATA, event) }
            });
        });
    }
}

fn metrics<'e>(event: &'e Event, own: &'e Own<'e>, deltas: Deltas, most: usize) -> Vec<Metric<'e>> {
    let name = event.name.as_deref().filter(|name| !name.is_empty());
    if let Some(kind) = own.told("otel.metric.type") {
        let unit = own.told("otel.metric.unit").unwrap_or_default();
        let Some((name, data)) = name.zip(point(own, &kind)) else { return Vec::new() };
        let gauge = |name: Cow<'e, str>, unit, value| Metric { name, unit, data: Data::Gauge(value) };
        return match data {
            Data::Sum { added, .. } if deltas == Deltas::Gauge => vec![gauge(name.into(), unit, added)],
            Data::Histogram(Histogram { count, sum, .. }) if deltas == Deltas::Gauge => vec![
                gauge(format!("{name}.count").into(), "".into(), Number::Int(count.cast_signed())),
                gauge(format!("{name}.sum").into(), unit, Number::Double(sum)),
            ],
            data => vec![Metric { name: name.into(), unit, data }],
        };
    }
    let is_sample = own.raw(sampled::INTERVAL).is_some();
    let numbers = own.members().filter(|(key, _)| *key != sampled::INTERVAL);
    let measured = numbers.filter_map(|(key, raw)| {
        let value = Number::measured(raw)?;
        let data = match deltas == Deltas::Sum && is_sample && sampled::is_added(key) {
            true => Data::Sum { added: value, monotonic: true },
            false => Data::Gauge(value),
        };
        let unit = if is_sample { sampled::unit(key) } else { "" };
        Some(Metric { name: named(name, key), unit: unit.into(), data })
    });
    measured.take(most).collect()
}

fn named<'e>(event: Option<&'e str>, key: &'e str) -> Cow<'e, str> {
    match event {
        Some(event) if key == "value" => event.into(),
        Some(event) if !key.contains('.') => format!("{event}.{key}").into(),
        _ => key.into(),
    }
}

/// The data of a point that came by OTLP.
fn point(own: &Own<'_>, kind: &str) -> Option<Data> {
    let number = |name: &str| own.raw(&format!("{POINT}{name}")).and_then(Number::measured);
    match kind {
        "gauge" => Some(Data::Gauge(number("value")?)),
        "sum" => {
            let monotonic = own.raw("otel.metric.monotonic") != Some("false");
            Some(Data::Sum { added: number("value")?, monotonic })
        }
        "histogram" | "exponential_histogram" | "summary" => {
            let count = whole(number("count")?.double())?;
            let sum = number("sum")?.double();
            let (buckets, bounds) =
                own.raw("otel.metric.buckets").and_then(|raw| filled(raw, count)).unwrap_or_default();
            let [min, max] = ["min", "max"].map(|name| number(name).map(Number::double));
            Some(Data::Histogram(Histogram { count, sum, min, max, buckets, bounds }))
        }
        _ => None,
    }
}

/// A count.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> Option<u64> {
    // 2^53: up to there a double is exact.
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

/// Buckets from pairs of upper bound and count, those that are empty left out: `[[25,3],["Infinity",1]]`. Their lower
/// bounds are further down than they were; how many lie below each bound stays true.
fn filled(raw: &str, count: u64) -> Option<(Vec<u64>, Vec<f64>)> {
    let (mut buckets, mut bounds, mut rest) = (Vec::new(), Vec::new(), 0);
    let mut fits = true;
    parts::elements(raw, |pair| {
        let mut parts_of_pair = Vec::with_capacity(2);
        parts::elements(pair, |part| {
            parts_of_pair.push(part);
            parts_of_pair.len() < 3
        });
        let read = match parts_of_pair[..] {
            [bound, filled] => {
                Number::measured(filled).and_then(|filled| whole(filled.double())).map(|filled| (bound, filled))
            }
            _ => None,
        };
        match read {
            Some(("\"Infinity\"", filled)) => rest = filled,
            Some((bound, filled)) => match Number::measured(bound).map(Number::double) {
                Some(bound) if bounds.last().is_none_or(|last| *last < bound) => {
                    bounds.push(bound);
                    buckets.push(filled);
                }
                _ => fits = false,
            },
            None => fits = false,
        }
        fits
    });
    buckets.push(rest);
    let sum = buckets.iter().try_fold(0u64, |sum, bucket| sum.checked_add(*bucket));
    (fits && sum == Some(count)).then_some((buckets, bounds))
}

/// What tells the series of an event apart: its texts and booleans, and, of a point that came by OTLP, its numbers too.
fn labels<'e>(own: &'e Own<'e>) -> Vec<(&'e str, Cow<'e, str>)> {
    let came_by_otlp = own.raw("otel.metric.type").is_some();
    let labels = own.members().filter(|(key, _)| !key.starts_with(POINT)).filter_map(|(key, raw)| {
        let text = match raw.as_bytes().first()? {
            b'"' => parts::text(raw)?,
            b't' | b'f' => raw.into(),
            b'[' | b'{' | b'n' => return None,
            _ if came_by_otlp => raw.into(),
            _ => return None,
        };
        Some((key, text))
    });
    let mut room = MAX_LABELS;
    let fitting = labels.filter(|(key, text)| {
        let left = room.checked_sub(key.len() + text.len());
        room = left.unwrap_or(room);
        left.is_some()
    });
    fitting.collect()
}

/// How long the event's counts were added up, in nanoseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn interval(own: &Own<'_>) -> Option<u64> {
    let number = |key: &str| own.raw(key).and_then(Number::measured).map(Number::double);
    let sampled = number(sampled::INTERVAL).map(|seconds| seconds * 1e9);
    let nanos = sampled.or_else(|| number("otel.metric.interval_ms").map(|millis| millis * 1e6))?;
    Some(nanos.round() as u64)
}

fn points(out: &mut Writer, start: Option<u64>, time: u64, value: Number, labels: &[(&str, Cow<'_, str>)]) {
    out.list(POINTS, |out| {
        out.item(POINTS, |out| {
            if let Some(start) = start {
                out.fixed64(START, start);
            }
            out.fixed64(TIME, time);
            match value {
                Number::Int(value) => out.signed_fixed64(AS_INT, value),
                Number::Double(value) => out.double(AS_DOUBLE, value),
            }
            write_labels(out, ATTRIBUTES, labels);
        });
    });
}

fn write_labels(out: &mut Writer, list: Field, labels: &[(&str, Cow<'_, str>)]) {
    out.list(list, |out| {
        for (key, text) in labels {
            text_attribute(out, list, key, text);
        }
    });
}

impl Histogram {
    fn write(&self, out: &mut Writer, start: u64, time: u64, labels: &[(&str, Cow<'_, str>)]) {
        out.fixed64(START, start);
        out.fixed64(TIME, time);
        out.fixed64(COUNT, self.count);
        out.double(HISTOGRAM_SUM, self.sum);
        if !self.buckets.is_empty() {
            out.fixed64s(BUCKETS, &self.buckets);
            out.doubles(BOUNDS, &self.bounds);
        }
        write_labels(out, HISTOGRAM_ATTRIBUTES, labels);
        for (field, extreme) in [(MIN, self.min), (MAX, self.max)] {
            if let Some(extreme) = extreme {
                out.double(field, extreme);
            }
        }
    }
}
