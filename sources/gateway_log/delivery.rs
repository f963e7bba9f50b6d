//! Sees to it that a batch is stored before the next one is read.

use std::time::Duration;

use async_trait::async_trait;
use engine::{Event, Outcome, Outlet, Receipt, Refusal};
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
    async fn load(&self) -> Option<Vec<u8>>;

    /// Sends events, and has `state` kept if and when they are stored.
    async fn send(&self, events: Vec<Event>, state: Vec<u8>) -> Result<Receipt, Refusal>;
}

/// The pipeline as it is: it keeps no state, so every start is a first one.
pub(super) struct Unkept(pub(super) Outlet);

#[async_trait]
impl Checkpoint for Unkept {
    async fn load(&self) -> Option<Vec<u8>> {
        None
    }

    async fn send(&self, events: Vec<Event>, _: Vec<u8>) -> Result<Receipt, Refusal> {
        self.0.send(events, false).await
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
        let refusal = match to.send(events.clone(), position.to_bytes()).await {
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
