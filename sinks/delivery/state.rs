//! What the push keeps in the outbox across a restart.
//!
//! All of it only saves requests; losing it loses no event. In particular `cursor` is for people:
//! every cycle reads from the beginning of what is unsent, so that no place can be skipped for good.

use std::time::Duration;

use engine::{Cursor, Outbox, OutboxError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::cycle::Pusher;
use super::pace::Pace;

/// See the module's description. Times are Unix milliseconds of the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Where it pushes, without secrets. The breaker is about that receiver, not about a new one.
    pub(super) endpoint: String,
    /// Place of the last event that was settled.
    pub(super) cursor: Cursor,
    /// The last confirmation.
    pub(super) last_success: Option<i64>,
    /// Last place of the batch that was not confirmed: it is sent again with the same bounds, so
    /// that it carries the same `Idempotency-Key`.
    pub(super) unfinished: Option<Cursor>,
    /// Failed cycles in a row.
    pub(super) failures: u32,
    /// The breaker is open until then.
    pub(super) open_until: Option<i64>,
    /// The receiver asked to be left alone until then.
    pub(super) not_before: Option<i64>,
    /// The pace of a backlog that is not all sent.
    pub(super) pace: Option<Pace>,
}

impl State {
    /// Reads it; what cannot be read is as if nothing were there.
    pub(super) async fn load(outbox: &dyn Outbox, key: &str) -> Result<Self, OutboxError> {
        let Some(text) = outbox.load_state(key).await? else { return Ok(Self::default()) };
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
            debug!(%error, "stored state of the push is not readable; starting without it");
            Self::default()
        }))
    }

    pub(super) async fn save(&self, outbox: &dyn Outbox, key: &str) -> Result<(), OutboxError> {
        let text = serde_json::to_string(self).map_err(|error| OutboxError(error.to_string()))?;
        outbox.save_state(key, &text).await
    }
}

/// The present by the wall clock.
pub(super) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What is left until a stored moment, or the time between two.
fn left(until: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

/// The moment after so long, to be stored.
fn moment(now: i64, after: Duration) -> i64 {
    now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

impl Pusher {
    /// Takes up what an earlier process left.
    pub(super) async fn resume(&mut self) -> Result<(), OutboxError> {
        let state = State::load(&*self.outbox, self.settings.key).await?;
        self.cursor = state.cursor;
        self.last_success = state.last_success;
        let ago = |at| left(now_millis(), at);
        self.succeeded = state.last_success.and_then(|at| Instant::now().checked_sub(ago(at)));
        self.unfinished = state.unfinished;
        self.pace = state.pace.filter(|_| self.settings.paced);
        self.meters.last_success.set(state.last_success.unwrap_or(0) / 1000);
        // Another receiver starts with a clean sheet.
        if Some(&state.endpoint) == self.settings.receiver.as_ref() {
            let (now, wall) = (Instant::now(), now_millis());
            self.breaker.resume(state.failures, state.open_until.map(|until| left(until, wall)), now);
            self.not_before = state
                .not_before
                .map(|until| now + left(until, wall).min(super::retry_after::MAX))
                .filter(|at| *at > now);
        }
        self.saved = state;
        Ok(())
    }

    /// Keeps what the next process should know. A failure is told and forgotten: only requests
    /// are saved by it.
    pub(super) async fn save(&mut self) {
        let (now, wall) = (Instant::now(), now_millis());
        let until = |left: Option<Duration>| left.map(|left| moment(wall, left));
        let mut state = State {
            endpoint: self.settings.receiver.clone().unwrap_or_default(),
            cursor: self.cursor,
            last_success: self.last_success,
            unfinished: self.unfinished,
            pace: self.pace,
            failures: self.breaker.failures(),
            // Whoever restarts us with a new token should not wait for the old one's cooldown.
            open_until: if self.denied { None } else { until(self.breaker.open_for(now)) },
            not_before: until(self.not_before.map(|at| at.saturating_duration_since(now))),
        };
        // Translated to the wall clock and back, the same moment may differ by a little.
        let close = |a: Option<i64>, b: Option<i64>| matches!((a, b), (Some(a), Some(b)) if a.abs_diff(b) < 1000);
        if close(state.open_until, self.saved.open_until) {
            state.open_until = self.saved.open_until;
        }
        if close(state.not_before, self.saved.not_before) {
            state.not_before = self.saved.not_before;
        }
        if state == self.saved {
            return;
        }
        match state.save(&*self.outbox, self.settings.key).await {
            Ok(()) => self.saved = state,
            Err(error) => warn!(component = self.settings.name, %error, "state of the push could not be kept"),
        }
    }
}
