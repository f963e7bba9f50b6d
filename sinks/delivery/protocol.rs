//! What a sink of this room implements: how events become requests, and what an answer means.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use engine::{Cursor, Timestamp, TraceId, Unsent};
use reqwest::header::HeaderMap;
use sha2::{Digest, Sha256};

use super::{Endpoint, Transport};

/// Longest text of the receiver's that is kept, in characters.
const MAX_REASON: usize = 200;

/// How one sort of receiver is spoken to.
#[async_trait]
pub(crate) trait Protocol: Send + Sync {
    /// Sees to what must be so before a batch can be sent, such as a table that exists. Called before
    /// each page; cheap once it is so.
    ///
    /// # Errors
    /// The verdict on the batch that was to be sent.
    async fn prepare(&mut self, _transport: &mut dyn Transport) -> Result<(), Verdict> {
        Ok(())
    }

    /// Writes as many of the first events of a page as fit `limit` bytes (a single event may exceed
    /// it, up to the largest body). The same events give the same parcels, but for the time.
    ///
    /// # Errors
    /// When an encoder fails, which no event can cause.
    fn pack(&mut self, page: &[Unsent], limit: usize, now: Timestamp) -> io::Result<Packed>;

    /// What the answer to a parcel of these events means.
    fn judge(&mut self, reply: &Reply, sent: &[TraceId]) -> Verdict;

    /// Which of the receiver's doors a parcel of these events goes through, where it has several: that one
    /// takes events proves nothing of another.
    fn door(&self, _sent: &[TraceId]) -> usize {
        0
    }

    /// No whole answer came.
    fn unanswered(&mut self) {}
}

/// One request to send.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) endpoint: Endpoint,
    /// Beside `User-Agent`. A value that is secret is marked so.
    pub(crate) headers: HeaderMap,
    /// The body, compressed.
    pub(crate) body: Vec<u8>,
    /// Longest answer with a status of success that is read; what any other answer says matters to
    /// people only.
    pub(crate) max_answer: usize,
}

/// Events on their way to the receiver in one request. The events themselves are no longer held.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// What it carries.
    pub(crate) ids: Vec<TraceId>,
    /// Their places in the outbox, growing.
    pub(crate) cursors: Vec<Cursor>,
    /// Identity of the batch.
    pub(crate) batch_id: String,
    pub(crate) request: Request,
    /// Length of the body before compression.
    pub(crate) plain_bytes: usize,
}

/// What became of a page of the outbox.
#[derive(Debug)]
pub(crate) enum Packed {
    /// Nothing was there.
    Empty,
    /// Its first event can never be sent.
    Unsendable { cursor: Cursor, trace_id: TraceId, reason: String },
    /// Some of its events are not for this receiver, by its settings: they are settled without it.
    Unwanted(Vec<TraceId>),
    /// As many of its first events as fit, each in one of these, which may each hold some of them;
    /// never none.
    Parcels(Vec<Parcel>),
}

/// What came back over HTTP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// From `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// Host named by `Location`.
    pub(crate) location: Option<String>,
    /// The body, as far as the bound allows.
    pub(crate) body: Vec<u8>,
    /// The body went on beyond the bound.
    pub(crate) cut: bool,
}

/// An event that the receiver will never take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) trace_id: TraceId,
    pub(crate) reason: String,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every event is confirmed but these.
    Confirmed(Vec<Rejected>),
    /// The receiver does not take this batch as it is: look for the guilty event. What follows the
    /// first `: ` of the reason is the receiver's own text, and is not logged.
    Refused { reason: String, too_large: bool },
    /// The receiver does not know us. More tries change nothing.
    Denied { reason: String },
    /// It may go better later.
    Later { reason: String, retry_after: Option<Duration> },
    /// Not an answer of such a receiver: nothing is confirmed, and another try at once is no use.
    Wrong { reason: String },
}

impl Verdict {
    /// Why it is no confirmation.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Confirmed(_) => "",
            Self::Refused { reason, .. }
            | Self::Denied { reason }
            | Self::Later { reason, .. }
            | Self::Wrong { reason } => reason,
        }
    }
}

/// A receiver's text in one short line. Kept beside the quarantined event, never logged: a receiver
/// may quote what it was sent.
pub(crate) fn excerpt(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// A UUID (version 8) of the sender and these events in this order.
pub(crate) fn batch_id(sender: &str, ids: &[TraceId]) -> String {
    let mut hash = Sha256::new_with_prefix(sender);
    for id in ids {
        hash.update(id.as_bytes());
    }
    id_of(hash)
}

/// A UUID (version 8) of what was hashed.
pub(crate) fn id_of(hash: Sha256) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
