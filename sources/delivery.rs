//! Sees to it that a batch is stored before the next one is read: for sources that read what can wait.

use std::time::Duration;

use async_trait::async_trait;
use engine::metrics::IntCounter;
use engine::{Event, Keep, OutboxError, Outcome, Outlet, Receipt, Refusal, RefusalKind};
use tokio_util::sync::CancellationToken;

/// The first wait before a batch is sent again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where batches go, and where the position is kept between two starts.
#[async_trait]
pub(crate) trait Checkpoint: Send + Sync {
    /// What was kept last.
    async fn load(&self) -> Result<Option<String>, OutboxError>;

    /// Sends events, and has `state`, if any, kept if and when they are stored. No event is enough for a state.
    async fn send(&self, events: Vec<Event>, state: Option<String>) -> Result<Receipt, Refusal>;
}

/// The key of the position among what the store keeps for a source.
const KEY: &str = "position";

/// The pipeline: the store keeps the position in the transaction of the events before it.
#[async_trait]
impl Checkpoint for Outlet {
    async fn load(&self) -> Result<Option<String>, OutboxError> {
        Ok(self.kept().await?.into_iter().find(|(key, _)| key == KEY).map(|(_, value)| value))
    }

    async fn send(&self, events: Vec<Event>, state: Option<String>) -> Result<Receipt, Refusal> {
        let keep = state.map(|state| Keep { key: KEY.to_owned(), value: Some(state) });
        self.send_keeping(events, keep.into_iter().collect(), false).await
    }
}

/// What was kept last, asked for until the store answers. An error: it is time to stop.
pub(crate) async fn last_kept(
    to: &dyn Checkpoint,
    component: &str,
    again: Duration,
    shutdown: &CancellationToken,
) -> Result<Option<String>, Stopped> {
    let mut said = false;
    loop {
        match to.load().await {
            Ok(kept) => return Ok(kept),
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::warn!(component, %error, "the position that was kept cannot be read from the store; tried again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Err(Stopped),
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// It is time to stop.
pub(crate) struct Stopped;

/// What a source counts of its batches.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    /// Batches that were not stored and sent again.
    pub(crate) resent: IntCounter,
    /// Events that a receiver behind will never take.
    pub(crate) given_up: IntCounter,
}

/// Sends a batch until it is stored, under the same ids. `false`: not stored, and it is time to stop.
pub(crate) async fn deliver(
    to: &dyn Checkpoint,
    events: Vec<Event>,
    state: Option<String>,
    shutdown: &CancellationToken,
    counts: &Delivered,
) -> bool {
    // Parts of the batch that somebody behind the pipeline would not take whole, the next one last.
    let mut parts = vec![events];
    while let Some(mut events) = parts.pop() {
        let last = parts.is_empty();
        match send(to, &events, state.clone().filter(|_| last), shutdown, counts).await {
            Sent::Stored => {}
            Sent::Stopping => return false,
            Sent::Refused(refusal) if events.len() <= 1 => {
                // It must not hold up all that come after it.
                tracing::warn!(%refusal, "an event is given up");
                counts.given_up.inc_by(events.len() as u64);
                if last && !events.is_empty() {
                    parts.push(Vec::new());
                }
            }
            Sent::Refused(_) => {
                let rest = events.split_off(events.len() / 2);
                parts.extend([rest, events]);
            }
        }
    }
    true
}

enum Sent {
    Stored,
    Stopping,
    Refused(Refusal),
}

async fn send(
    to: &dyn Checkpoint,
    events: &[Event],
    state: Option<String>,
    shutdown: &CancellationToken,
    counts: &Delivered,
) -> Sent {
    let mut wait = FIRST_WAIT;
    loop {
        let refusal = match to.send(events.to_vec(), state.clone()).await {
            Ok(mut receipt) => match receipt.outcome().await {
                Outcome::Stored { .. } => return Sent::Stored,
                Outcome::Failed(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        if refusal.kind == RefusalKind::Refused {
            return Sent::Refused(refusal);
        }
        tracing::debug!(%refusal, events = events.len(), "events were not stored; they are sent again");
        tokio::select! {
            () = shutdown.cancelled() => return Sent::Stopping,
            () = tokio::time::sleep(wait.max(refusal.retry_after).min(LONGEST_WAIT)) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        counts.resent.inc();
    }
}
