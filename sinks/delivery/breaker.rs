//! The circuit breaker: a receiver that fails cycle after cycle is left alone for a while.
//!
//! Closed, it counts failed cycles in a row; at the threshold it opens. Open, cycles are skipped
//! until the cooldown is over; the next one is then a probe: one request, without retries. A
//! success closes it, a failure opens it for another cooldown.
//!
//! Time is handed in. The instants are of the monotonic clock, so that a wall clock set back
//! cannot hold the breaker open; `state.rs` translates them for the store.

use std::time::Duration;

use tokio::time::Instant;

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    threshold: u32,
    cooldown: Duration,
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// A closed one that opens after `threshold` failures in a row.
    pub(super) fn new(threshold: u32, cooldown: Duration) -> Self {
        Self { threshold, cooldown, failures: 0, open_until: None }
    }

    /// Takes up what was so before a restart. `open_for` is cut to one cooldown: whatever the
    /// stored time says, the next probe is no further away than that.
    pub(super) fn resume(&mut self, failures: u32, open_for: Option<Duration>, now: Instant) {
        self.failures = failures;
        self.open_until = open_for.map(|left| now + left.min(self.cooldown));
    }

    /// Whether a cycle may begin.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| now >= until)
    }

    /// Whether it is open, or half open and waiting for the outcome of the probe.
    pub(super) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// What is left of the cooldown.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        self.open_until.map(|until| until.saturating_duration_since(now))
    }

    /// Failed cycles in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The receiver has confirmed something. Answers how many cycles had failed before.
    pub(super) fn succeeded(&mut self) -> u32 {
        self.open_until = None;
        std::mem::take(&mut self.failures)
    }

    /// A cycle failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() || self.failures >= self.threshold {
            self.open_until = Some(now + self.cooldown);
        }
    }

    /// Opens at once: the receiver said something that more tries cannot change.
    pub(super) fn trip(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.open_until = Some(now + self.cooldown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COOLDOWN: Duration = Duration::from_secs(60);

    #[test]
    fn opens_at_the_threshold_lets_one_probe_through_and_closes_on_success() {
        let start = Instant::now();
        let mut breaker = Breaker::new(2, COOLDOWN);
        breaker.failed(start);
        assert!(breaker.allows(start) && !breaker.is_open());
        breaker.failed(start);
        assert!(!breaker.allows(start + COOLDOWN / 2));
        let later = start + COOLDOWN;
        assert!(breaker.allows(later) && breaker.is_open());
        breaker.failed(later);
        assert!(!breaker.allows(later + COOLDOWN / 2));
        assert_eq!(breaker.succeeded(), 3);
        assert!(breaker.allows(later) && !breaker.is_open());
    }

    #[test]
    fn a_stored_time_in_the_far_future_holds_it_open_for_one_cooldown_at_most() {
        let now = Instant::now();
        let mut breaker = Breaker::new(2, COOLDOWN);
        breaker.resume(7, Some(Duration::from_secs(1_000_000_000)), now);
        assert!(!breaker.allows(now));
        assert!(breaker.allows(now + COOLDOWN));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Succeeded,
        Failed,
        Tripped,
        Passed(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Succeeded), Just(Step::Failed), Just(Step::Tripped), (0u64..100).prop_map(Step::Passed)]
    }

    proptest! {
        /// The model: the time of the last opening and the failures since the last success.
        #[test]
        fn follows_its_model(steps in prop::collection::vec(step(), 0..60), threshold in 1u32..6) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(threshold, COOLDOWN);
            let (mut failures, mut opened) = (0u32, None::<Instant>);
            for step in steps {
                match step {
                    Step::Passed(seconds) => now += Duration::from_secs(seconds),
                    Step::Succeeded => { breaker.succeeded(); failures = 0; opened = None; }
                    Step::Tripped => { breaker.trip(now); failures += 1; opened = Some(now); }
                    Step::Failed => {
                        breaker.failed(now);
                        failures += 1;
                        if failures >= threshold || opened.is_some() { opened = Some(now); }
                    }
                }
                prop_assert_eq!(breaker.failures(), failures);
                prop_assert_eq!(breaker.is_open(), opened.is_some());
                prop_assert_eq!(breaker.allows(now), opened.is_none_or(|at| now >= at + COOLDOWN));
                prop_assert!(breaker.allows(now + COOLDOWN));
            }
        }
    }
}
