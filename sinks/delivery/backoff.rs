//! How long to wait before the next try: `base · 2^n + rand(0, base)`, never more than `max`.
//!
//! The random part keeps machines that failed in the same moment from coming back in the same
//! moment. It is handed in, so that the type itself is pure arithmetic.

use std::time::Duration;

/// The waits between the tries of one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) base: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// The wait after `failures` failed tries (1 after the first); `random` is in `0.0..1.0`.
    pub(super) fn delay(self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).saturating_add(self.jitter(random)).min(self.max)
    }

    /// A share of `base`: what is added to every wait, and to one that the receiver asked for.
    pub(super) fn jitter(self, random: f64) -> Duration {
        self.base.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double() {
        let backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(300) };
        let waits: Vec<u64> = (1..=5).map(|n| backoff.delay(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32]);
        assert_eq!(backoff.delay(1, 0.5), Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(base in 1u64..600_000, max in 1u64..600_000, n in any::<u32>(), random in 0.0..1.0f64) {
            let backoff = Backoff { base: Duration::from_millis(base), max: Duration::from_millis(max) };
            let wait = backoff.delay(n, random);
            prop_assert!(wait <= backoff.max);
            prop_assert!(wait >= backoff.base.min(backoff.max));
            prop_assert!(backoff.delay(n.saturating_add(1), 0.0) >= backoff.delay(n, 0.0));
        }
    }
}
