//! The outbox: what a sink that keeps events offers to a sink that passes them on.
//!
//! Failed pushes are not held in memory: the store is the outbox. A reader asks for unsent events
//! after a cursor, confirms those that the receiver confirmed, and sets aside (quarantines) those
//! that the receiver will never take. The reader's own small state lives beside the events.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Event, TraceId};

/// Place in the outbox; grows with every event kept. `0` is before the first.
pub type Cursor = i64;

/// One event that waits to be sent.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// Its place; the next read continues after it.
    pub cursor: Cursor,
    /// The event as it was kept.
    pub event: Arc<Event>,
}

/// Why the outbox did not answer.
#[derive(Debug, thiserror::Error)]
#[error("outbox: {0}")]
pub struct OutboxError(pub String);

/// See the module's description.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Events not yet confirmed nor quarantined, after `after`, in order of arrival; at most
    /// `max_events`, and no more after `max_bytes` of text is reached (always at least one, if any).
    async fn unsent(&self, after: Cursor, max_events: usize, max_bytes: usize) -> Result<Vec<Unsent>, OutboxError>;

    /// How many wait, counted at most up to `at_most`.
    async fn waiting(&self, at_most: usize) -> Result<usize, OutboxError>;

    /// The receiver has confirmed these.
    async fn confirm(&self, events: &[TraceId]) -> Result<(), OutboxError>;

    /// The receiver will never take this one: kept, out of the way, with the reason.
    async fn quarantine(&self, event: TraceId, reason: &str) -> Result<(), OutboxError>;

    /// A piece of the reader's state, by key.
    async fn load_state(&self, key: &str) -> Result<Option<String>, OutboxError>;

    /// All state whose key begins with `prefix`, in the order of the keys.
    async fn states(&self, prefix: &str) -> Result<Vec<(String, String)>, OutboxError>;

    /// Keeps a piece of the reader's state.
    async fn save_state(&self, key: &str, value: &str) -> Result<(), OutboxError>;
}
