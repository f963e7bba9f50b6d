//! When cycles begin: every `interval`, or sooner when `batch_events` wait; never while the
//! breaker is open or the receiver asked for quiet; and once more at shutdown.
//!
//! The outbox is asked for its number of waiting events a few times a minute ([`POLL`]); nothing
//! else happens at rest. A full batch brings a cycle forward only after one that went well, so
//! that a growing backlog cannot turn into a storm of requests.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::cycle::{End, Failure, Fault, Pusher};
use super::stop::Stop;

/// How often the outbox is asked how much waits, at most.
const POLL: Duration = Duration::from_secs(5);

/// How far waiting events are counted.
const COUNT_AT_MOST: usize = 10_000;

impl Pusher {
    /// Works until `shutdown`, then tries once more what waits.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let settings = Arc::clone(&self.settings);
        let Some(receiver) = &settings.receiver else {
            info!(component = settings.name, "{}", settings.off);
            shutdown.cancelled().await;
            return;
        };
        info!(component = settings.name, endpoint = receiver, interval = ?settings.interval, "push is on");
        for warning in &settings.warnings {
            warn!(component = settings.name, endpoint = receiver, "{warning}");
        }
        if let Err(error) = self.resume().await {
            warn!(component = settings.name, %error, "state of the push could not be read; starting without it");
        }
        let poll = POLL.min(settings.interval);
        let mut next = Instant::now() + phase(&settings.spread, settings.interval);
        let mut went_well = true;
        let stop = Stop::OnSignal { signal: shutdown.clone(), grace: settings.drain / 4 };
        loop {
            self.meters.breaker_open.set(i64::from(self.breaker.is_open()));
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = sleep_until(next.min(Instant::now() + poll)) => {}
            }
            let now = Instant::now();
            let due = now >= next;
            if due {
                next = now + settings.interval;
            }
            let waiting = self.waiting().await;
            let early = went_well && waiting >= settings.batch_events;
            if waiting == 0 || !(due || early) || !self.may_push(now) {
                continue;
            }
            let tries = if self.breaker.is_open() { 1 } else { settings.max_tries };
            // The last of a backlog brings no further one forward, or its end would be a rush of its own.
            let paced = self.pace.is_some();
            let end = self.cycle(&stop, tries, settings.max_tries).await;
            went_well = matches!(end, End::Done) && !paced;
            self.note(end);
            self.save().await;
            next = Instant::now() + settings.interval;
        }
        let deadline = Instant::now() + settings.drain / 4;
        let waiting = if self.may_push(Instant::now()) { self.waiting().await } else { 0 };
        if waiting > 0 {
            // As many as were counted: with more than that, as many as can be in the time.
            let events = if waiting < COUNT_AT_MOST { waiting } else { usize::MAX };
            let end = self.cycle(&Stop::Last { deadline, events }, 1, 1).await;
            match &end {
                End::Done | End::Enough => debug!(component = settings.name, "all events are pushed"),
                _ => info!(
                    component = settings.name,
                    "not all events could be pushed before the stop; the rest is kept for the next start"
                ),
            }
            self.note(end);
        }
        self.save().await;
    }

    fn may_push(&self, now: Instant) -> bool {
        self.breaker.allows(now) && self.not_before.is_none_or(|at| now >= at)
    }

    async fn waiting(&self) -> usize {
        match self.outbox.waiting(COUNT_AT_MOST.max(self.settings.batch_events)).await {
            Ok(waiting) => {
                self.meters.pending.set(i64::try_from(waiting).unwrap_or(i64::MAX));
                waiting
            }
            Err(error) => {
                warn!(component = self.settings.name, %error, "waiting events could not be counted");
                0
            }
        }
    }

    /// Draws the conclusions from a cycle.
    pub(super) fn note(&mut self, end: End) {
        let End::Failed(Failure { fault, message, retry_after }) = end else { return };
        let now = Instant::now();
        let (component, endpoint) = (&self.settings.name, self.settings.receiver.as_deref().unwrap_or_default());
        self.not_before = retry_after.map(|wait| now + wait.min(super::retry_after::MAX));
        match fault {
            Fault::Outbox => warn!(component, reason = message, "push stopped; events are kept and sent later"),
            Fault::Denied => {
                self.breaker.trip(now);
                if std::mem::replace(&mut self.denied, true) {
                    debug!(component, endpoint, reason = message, "push is still denied");
                } else {
                    let cooldown = self.settings.breaker_cooldown;
                    error!(
                        component,
                        endpoint,
                        reason = message,
                        ?cooldown,
                        "push is denied; events are kept, and one request after each cooldown tries again"
                    );
                }
            }
            Fault::Receiver => {
                self.denied = false;
                self.breaker.failed(now);
                let failed_cycles = self.breaker.failures();
                warn!(
                    component,
                    endpoint,
                    reason = message,
                    failed_cycles,
                    breaker_open = self.breaker.is_open(),
                    "push failed; events are kept and sent later"
                );
            }
        }
        self.meters.breaker_open.set(i64::from(self.breaker.is_open()));
    }
}

/// When the first cycle begins: a share of the interval that depends on the agent, so that a fleet
/// that starts in one moment does not push in one moment.
fn phase(spread: &str, interval: Duration) -> Duration {
    if spread.is_empty() {
        return interval.mul_f64(fastrand::f64());
    }
    let hash = Sha256::digest(spread);
    let share = f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX);
    interval.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_spread_over_the_interval() {
        let interval = Duration::from_secs(300);
        let mut tenths = [0; 10];
        for agent in 0..1000 {
            let at = phase(&format!("agent-{agent}"), interval);
            assert!(at <= interval);
            assert_eq!(at, phase(&format!("agent-{agent}"), interval));
            tenths[(at.as_secs() / 30).min(9) as usize] += 1;
        }
        assert!(tenths.iter().all(|&agents| agents > 50), "{tenths:?}");
    }
}
