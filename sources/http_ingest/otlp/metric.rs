//! A metric's points, as events of kind `metric`.
//!
//! | sent | event |
//! |---|---|
//! | sum, cumulative | what was added since the last point; none where nothing was |
//! | sum, delta | the point; none where it is 0 |
//! | gauge | the value; none where it is the one before |
//! | histogram (any), summary | count and sum that were added, and its buckets that are not empty |
//!
//! Bounds of an exponential histogram's buckets and a summary's quantiles are not kept: OpenClaw
//! sends neither.

use std::borrow::Cow;

use engine::{Event, Json, Kind};

use super::origin::Origin;
use super::series::{Base, Changes, Key, NoRoom, Series};
use super::span::{add_origin, millis, timestamp};
use super::value::{Object, key_value, push_number};
use super::wire::{Field, Malformed, Message, fixed64s};

/// The kinds of metric, by their field in `Metric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Gauge = 5,
    Sum = 7,
    Histogram = 9,
    Exponential = 10,
    Summary = 11,
}

impl Data {
    const ALL: [Self; 5] = [Self::Gauge, Self::Sum, Self::Histogram, Self::Exponential, Self::Summary];

    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::Exponential => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

/// A metric but its points.
struct Metric<'a> {
    name: Cow<'a, str>,
    unit: Cow<'a, str>,
    data: Data,
    delta: bool,
    falls: bool,
}

/// A point, of any kind of metric.
#[derive(Default)]
struct Point {
    start: u64,
    time: u64,
    numbers: Vec<f64>,
    bounds: Vec<f64>,
    min: Option<f64>,
    max: Option<f64>,
    attributes: Object,
    identity: Vec<[u8; 16]>,
    no_value: bool,
}

/// The most buckets of a histogram.
const MAX_BUCKETS: usize = 256;

/// Reads a `Metric` and offers what comes of each of its points to `take`, until that answers false: an
/// event, nothing (nothing was added), or why not.
pub(super) fn events(
    bytes: &[u8],
    origin: &Origin,
    scope: &str,
    series: &mut Series,
    changes: &mut Changes,
    take: &mut dyn FnMut(Result<Option<Event>, PointError>) -> bool,
) -> Result<(), Malformed> {
    let (mut name, mut unit, mut found) = (Cow::Borrowed(""), Cow::Borrowed(""), None);
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => name = field.text(),
            3 => unit = field.text(),
            _ => {
                if let Some(data) = Data::ALL.into_iter().find(|data| *data as u64 == number) {
                    found = Some((data, field.bytes()));
                }
            }
        }
    }
    let Some((data, body)) = found else { return Ok(()) };
    let (mut temporality, mut monotonic) = (2, data != Data::Sum);
    let mut message = Message::new(body);
    while let Some((number, field)) = message.next()? {
        match number {
            2 => temporality = field.integer(),
            3 => monotonic = field.integer() != 0,
            _ => {}
        }
    }
    let metric = Metric { name, unit, data, delta: temporality == 1, falls: !monotonic };
    let mut message = Message::new(body);
    while let Some((number, field)) = message.next()? {
        if number != 1 {
            continue;
        }
        let event = point(field.bytes(), data)
            .map_err(PointError::Malformed)
            .and_then(|point| metric.event(point, origin, scope, series, changes));
        if !take(event) {
            break;
        }
    }
    Ok(())
}

/// Why a point is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PointError {
    Malformed(Malformed),
    NoRoom(NoRoom),
}

fn point(bytes: &[u8], data: Data) -> Result<Point, Malformed> {
    let mut point = Point::default();
    let (mut value, mut count, mut sum, mut buckets) = (0.0, 0, 0.0, Vec::new());
    let attributes_at = match data {
        Data::Gauge | Data::Sum | Data::Summary => 7,
        Data::Histogram => 9,
        Data::Exponential => 1,
    };
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match (number, data) {
            (at, _) if at == attributes_at => attribute(&mut point, field)?,
            (2, _) => point.start = field.integer(),
            (3, _) => point.time = field.integer(),
            (4, Data::Gauge | Data::Sum) => value = field.double(),
            #[allow(clippy::cast_precision_loss)]
            (6, Data::Gauge | Data::Sum) => value = field.integer().cast_signed() as f64,
            (8, Data::Gauge | Data::Sum | Data::Summary) | (10, Data::Histogram | Data::Exponential) => {
                point.no_value = field.integer() & 1 == 1;
            }
            (4, _) => count = field.integer(),
            (5, _) => sum = field.double(),
            #[allow(clippy::cast_precision_loss)]
            (6, Data::Histogram) => buckets.extend(fixed64s(field).map(|count| count as f64)),
            (7, Data::Histogram) => point.bounds.extend(fixed64s(field).map(f64::from_bits)),
            (11, Data::Histogram) | (12, Data::Exponential) => point.min = Some(field.double()),
            (12, Data::Histogram) | (13, Data::Exponential) => point.max = Some(field.double()),
            _ => {}
        }
        if buckets.len() > MAX_BUCKETS || point.bounds.len() > MAX_BUCKETS {
            return Err(Malformed("a histogram has more than 256 buckets"));
        }
    }
    if point.time == 0 {
        return Err(Malformed("a point has no time"));
    }
    #[allow(clippy::cast_precision_loss)]
    match data {
        Data::Gauge | Data::Sum => point.numbers.push(value),
        _ => {
            point.numbers.extend([count as f64, sum]);
            point.numbers.append(&mut buckets);
        }
    }
    if point.numbers.iter().any(|number| !number.is_finite()) {
        point.no_value = true;
    }
    Ok(point)
}

fn attribute(point: &mut Point, field: Field<'_>) -> Result<(), Malformed> {
    let (key, value) = key_value(field.bytes())?;
    let mut text = String::new();
    value.push_bounded(&mut text)?;
    point.identity.push(engine::identity::digest(&[key.as_bytes(), text.as_bytes()]));
    point.attributes.add_json(&key, text);
    Ok(())
}

impl Metric<'_> {
    fn event(
        &self,
        mut point: Point,
        origin: &Origin,
        scope: &str,
        series: &mut Series,
        changes: &mut Changes,
    ) -> Result<Option<Event>, PointError> {
        if point.no_value {
            return Ok(None);
        }
        point.identity.sort_unstable();
        let key: Key = engine::identity::digest(&[
            &origin.identity,
            scope.as_bytes(),
            self.data.name().as_bytes(),
            self.name.as_bytes(),
            self.unit.as_bytes(),
            &point.identity.concat(),
        ]);
        let now = Base { start: point.start, time: point.time, numbers: std::mem::take(&mut point.numbers) };
        let (numbers, interval) = if self.data == Data::Gauge {
            let numbers = now.numbers.clone();
            if !series.differs(key, now, changes).map_err(PointError::NoRoom)? {
                return Ok(None);
            }
            (numbers, None)
        } else if self.delta {
            if now.numbers.iter().all(|number| *number == 0.0) {
                return Ok(None);
            }
            (now.numbers, Some(point.time.saturating_sub(point.start)))
        } else {
            match series.added(key, now, self.falls, changes).map_err(PointError::NoRoom)? {
                Some((numbers, interval)) => (numbers, Some(interval)),
                None => return Ok(None),
            }
        };
        self.write(key, &point, &numbers, interval, origin, scope).map(Some).map_err(PointError::Malformed)
    }

    fn write(
        &self,
        key: Key,
        point: &Point,
        numbers: &[f64],
        interval: Option<u64>,
        origin: &Origin,
        scope: &str,
    ) -> Result<Event, Malformed> {
        let mut event = Event::new(Kind::METRIC);
        event.trace_id =
            engine::TraceId::derived(&[b"metric", &key, &point.start.to_le_bytes(), &point.time.to_le_bytes()]);
        event.timestamp = timestamp(point.time)?;
        event.name = Some(self.name.clone().into_owned());
        let mut out = Object::default();
        out.add_text("otel.metric.type", self.data.name());
        if !self.unit.is_empty() {
            out.add_text("otel.metric.unit", &self.unit);
        }
        if self.falls {
            out.add_json("otel.metric.monotonic", "false".to_owned());
        }
        if let Some(interval) = interval {
            out.add_number("otel.metric.interval_ms", millis(interval));
        }
        match numbers {
            [value] => out.add_number("otel.metric.value", *value),
            [count, sum, buckets @ ..] => {
                out.add_number("otel.metric.count", *count);
                out.add_number("otel.metric.sum", *sum);
                // Of a cumulative histogram the extremes are those since its start, not since the last point.
                for (name, extreme) in [("otel.metric.min", point.min), ("otel.metric.max", point.max)] {
                    if let Some(extreme) = extreme.filter(|_| self.delta) {
                        out.add_number(name, extreme);
                    }
                }
                if let Some(text) = filled(buckets, &point.bounds) {
                    out.add_json("otel.metric.buckets", text);
                }
            }
            [] => {}
        }
        out.add_all(point.attributes.members());
        add_origin(&mut out, origin, scope);
        event.attributes = out.finish()?;
        Ok(event)
    }
}

/// The buckets that are not empty, as pairs of upper bound and count: `[[25,3],["Infinity",1]]`.
fn filled(buckets: &[f64], bounds: &[f64]) -> Option<String> {
    let mut out = String::from("[");
    for (at, count) in buckets.iter().enumerate().filter(|(_, count)| **count != 0.0) {
        if out.len() > 1 {
            out.push(',');
        }
        out.push('[');
        push_number(&mut out, bounds.get(at).copied().unwrap_or(f64::INFINITY));
        out.push(',');
        push_number(&mut out, *count);
        out.push(']');
    }
    out.push(']');
    (out.len() > 2 && Json::parse(&out).is_ok()).then_some(out)
}
