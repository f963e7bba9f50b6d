//! What a sample is gathered in, and how a counter becomes what it grew by.

use engine::Json;
use serde_json::{Map, Value};

/// The flat object of an event.
#[derive(Debug, Default)]
pub(super) struct Attributes(Map<String, Value>);

impl Attributes {
    /// Sets one.
    pub(super) fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a whole number, if it is known.
    pub(super) fn count(&mut self, name: impl Into<String>, value: Option<u64>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a fraction, if it is known, to six places: a microsecond, or a millionth of a CPU.
    pub(super) fn fraction(&mut self, name: impl Into<String>, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.set(name, (value * 1e6).round() / 1e6);
        }
    }

    /// As JSON text.
    pub(super) fn into_json(self) -> Option<Json> {
        // A flat map of strings and finite numbers can always be written.
        Json::from_value(&self.0).ok()
    }
}

/// A counter's last value.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counter(Option<u64>);

impl Counter {
    /// What it grew by since the last look. `None` at the first one, after one that found nothing,
    /// and when it went back: then what was counted started anew, and how much is lost is not known.
    pub(super) fn grew(&mut self, now: Option<u64>) -> Option<u64> {
        let before = std::mem::replace(&mut self.0, now)?;
        now?.checked_sub(before)
    }
}

/// `part / whole`, for shares and rates.
#[allow(clippy::cast_precision_loss)]
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_goes_back_gives_no_growth_and_counts_on_from_there() {
        let mut counter = Counter::default();
        let grew = [Some(10), Some(15), Some(3), Some(4), None, Some(9), Some(9)].map(|now| counter.grew(now));
        assert_eq!(grew, [None, Some(5), None, Some(1), None, None, Some(0)]);
    }
}
