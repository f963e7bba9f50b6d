//! When the push must end, seen from inside a cycle.
//!
//! Two moments: from the first on nothing new is begun and no wait goes on; at the second a
//! request in flight is given up, too. Between them the receiver may still answer what it has
//! already been sent. Confirming in the outbox is never cut short.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// See the module's description.
pub(super) enum Stop {
    /// When the process is told to stop; a request in flight has `grace` left.
    OnSignal { signal: CancellationToken, grace: Duration },
    /// At a moment.
    At(Instant),
    /// At a moment, or after so many events: the last push. At a reload the store takes events on, and a push of all
    /// that comes would end at the moment only, in the middle of a request.
    Last { deadline: Instant, events: usize },
}

impl Stop {
    /// Whether nothing new may begin.
    pub(super) fn is_requested(&self) -> bool {
        match self {
            Self::OnSignal { signal, .. } => signal.is_cancelled(),
            Self::At(deadline) | Self::Last { deadline, .. } => Instant::now() >= *deadline,
        }
    }

    /// Whether so many events are all that was to be sent.
    pub(super) fn is_enough(&self, confirmed: usize) -> bool {
        matches!(self, Self::Last { events, .. } if confirmed >= *events)
    }

    /// Resolves when nothing new may begin.
    pub(super) async fn requested(&self) {
        match self {
            Self::OnSignal { signal, .. } => signal.cancelled().await,
            Self::At(deadline) | Self::Last { deadline, .. } => sleep_until(*deadline).await,
        }
    }

    /// Resolves when a request in flight must be given up.
    pub(super) async fn due(&self) {
        self.requested().await;
        if let Self::OnSignal { grace, .. } = self {
            sleep(*grace).await;
        }
    }
}
