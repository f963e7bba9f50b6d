//! What the push keeps in the outbox across a restart.
//!
//! All of it only saves requests; losing it loses no event. In particular `cursor` is for people:
//! every cycle reads from the beginning of what is unsent, so that no place can be skipped for good.

use std::time::Duration;

use engine::{Cursor, Outbox, OutboxError};
use serde::{Deserialize, Serialize};
use tracing::debug;

/// The key in the outbox.
const KEY: &str = "augmi_push";

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
}

impl State {
    /// Reads it; what cannot be read is as if nothing were there.
    pub(super) async fn load(outbox: &dyn Outbox) -> Result<Self, OutboxError> {
        let Some(text) = outbox.load_state(KEY).await? else { return Ok(Self::default()) };
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
            debug!(%error, "stored state of the push is not readable; starting without it");
            Self::default()
        }))
    }

    pub(super) async fn save(&self, outbox: &dyn Outbox) -> Result<(), OutboxError> {
        let text = serde_json::to_string(self).map_err(|error| OutboxError(error.to_string()))?;
        outbox.save_state(KEY, &text).await
    }
}

/// The present by the wall clock.
pub(super) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What is left until a stored moment.
pub(super) fn left(until: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

/// The moment after so long, to be stored.
pub(super) fn moment(now: i64, after: Duration) -> i64 {
    now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}
