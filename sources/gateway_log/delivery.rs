//! Sees to it that a batch is stored before the next one is read.

use std::time::Duration;

use async_trait::async_trait;
use engine::{Event, Keep, OutboxError, Outcome, Outlet, Receipt, Refusal};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::position::Position;

/// The first wait before a batch is sent again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where batches go, and where the position is kept between two starts.
#[async_trait]
pub(super) trait Checkpoint: Send + Sync {
    /// What was kept last.
    async fn load(&self) -> Result<Option<String>, OutboxError>;

    /// Sends events, and has `state` kept if and when they are stored. No event is enough for a state.
    async fn send(&self, events: Vec<Event>, state: String) -> Result<Receipt, Refusal>;
}

/// The key of the position among what the store keeps for this source.
const KEY: &str = "position";

/// The pipeline: the store keeps the position in the transaction of the events before it.
#[async_trait]
impl Checkpoint for Outlet {
    async fn load(&self) -> Result<Option<String>, OutboxError> {
        Ok(self.kept().await?.into_iter().find(|(key, _)| key == KEY).map(|(_, value)| value))
    }

    async fn send(&self, events: Vec<Event>, state: String) -> Result<Receipt, Refusal> {
        let keep = vec![Keep { key: KEY.to_owned(), value: Some(state) }];
        self.send_keeping(events, keep, false).await
    }
}

/// Sends a batch until it is stored, under the same ids. `false`: not stored, and it is time to stop.
pub(super) async fn deliver(
    to: &dyn Checkpoint,
    events: Vec<Event>,
    position: &Position,
    shutdown: &CancellationToken,
    counts: &Counts,
) -> bool {
    let mut wait = FIRST_WAIT;
    loop {
        let refusal = match to.send(events.clone(), position.to_text()).await {
            Ok(mut receipt) => match receipt.outcome().await {
                Outcome::Stored { .. } => return true,
                Outcome::Failed(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        tracing::debug!(%refusal, events = events.len(), "log events were not stored; they are sent again");
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(wait.max(refusal.retry_after).min(LONGEST_WAIT)) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        counts.resent.inc();
    }
}
