//! How many events a second are taken.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::answer::Answer;

/// One limit: so many a second, and so many at once.
pub(super) struct Rate {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
}

impl Rate {
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)), burst }
    }

    /// # Errors
    /// 429, and when so many will pass.
    pub(super) fn check(&self, events: usize) -> Result<(), Answer> {
        // A request larger than the burst takes the whole burst: it could never pass otherwise.
        let wanted = u32::try_from(events).ok().and_then(NonZeroU32::new).map_or(self.burst, |n| n.min(self.burst));
        match self.limiter.check_n(wanted) {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => Err(Answer::over_rate(not_until.wait_time_from(DefaultClock::default().now()))),
        }
    }
}
