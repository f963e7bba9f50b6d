//! The sink as a protocol of `delivery`: which node is asked, with what, and what follows from its answer.
//!
//! One node is in use. It stays so until it does not answer, or answers that it cannot now; then the next one is, and the
//! batch goes there. The batch is the same bytes with the same identity, so where both nodes hold the same tables, what the
//! first one kept after all is recognised.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use engine::{Event, Timestamp, TraceId, Unsent};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::answer::{self, Meaning};
use super::dialect::Dialect;
use super::layout::Layout;
use super::migrate::Migration;
use super::node::Node;
use super::row;
use crate::delivery::{
    Compression, Fit, Packed, Parcel, Protocol, Reply, Transport, Verdict, fit, id_of, written_bytes,
};

/// After so long a node that has not answered yet is asked again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Longest that batches wait for a node that is not in use.
const LOOK_AT_MOST: Duration = Duration::from_secs(2);

/// See the module's description.
pub(super) struct Sender {
    pub(super) name: String,
    /// At least one.
    pub(super) nodes: Vec<Node>,
    /// The one in use.
    pub(super) current: usize,
    pub(super) layout: Layout,
    pub(super) create: bool,
    pub(super) compression: Compression,
    pub(super) max_body: usize,
    /// 0: no quorum. The time it is waited for, in milliseconds.
    pub(super) quorum: (u32, u128),
}

impl Sender {
    /// Turns to the next node. The one that failed is looked at anew before it is used again: it may come back as another.
    fn move_on(&mut self) {
        let worked = self.nodes[self.current].ready.take().is_some();
        let failed = self.current;
        self.current = (failed + 1) % self.nodes.len();
        if worked && self.nodes.len() > 1 {
            warn!(component = self.name, from = %self.nodes[failed], to = %self.nodes[self.current], "turning to the next node");
        }
    }

    async fn make_ready(&mut self, place: usize, transport: &mut dyn Transport) -> Result<(), Verdict> {
        let node = &self.nodes[place];
        let dialect = Migration { node, layout: &self.layout, create: self.create, transport }.run().await?;
        self.nodes[place].ready = Some(dialect);
        self.nodes[place].look = None;
        Ok(())
    }

    /// Sees to it that every node has its tables, and so its replica of what the one in use is given. One that does not
    /// answer is asked again after a while, not before each batch.
    async fn look_at_others(&mut self, transport: &mut dyn Transport) {
        if !self.create {
            return;
        }
        for place in 0..self.nodes.len() {
            if self.nodes[place].look.is_some_and(|due| due <= Instant::now()) {
                self.nodes[place].look = Some(Instant::now() + LOOK_AGAIN);
                let reason = match timeout(LOOK_AT_MOST, self.make_ready(place, &mut *transport)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(verdict)) => verdict.reason().to_owned(),
                    Err(_) => format!("no answer within {LOOK_AT_MOST:?}"),
                };
                warn!(component = self.name, node = %self.nodes[place], reason, "the node has no tables yet");
            }
        }
    }

    /// What the address of an insert says.
    fn insert(
        &self,
        dialect: Dialect,
        batch_id: &str,
        body: Vec<u8>,
        compression: Compression,
    ) -> crate::delivery::Request {
        let (statement, quorum, wait) = (self.layout.insert(), self.quorum.0.to_string(), self.quorum.1.to_string());
        let mut parameters = vec![("query", statement.as_str())];
        parameters.extend(dialect.insert_settings());
        if dialect == Dialect::Modern {
            parameters.push(("insert_deduplication_token", batch_id));
        }
        if self.quorum.0 > 0 {
            parameters.extend([("insert_quorum", quorum.as_str()), ("insert_quorum_timeout", wait.as_str())]);
        }
        self.nodes[self.current].insert(&parameters, body, compression)
    }
}

fn row_bytes(event: &Event) -> Result<usize, String> {
    written_bytes(|out| row::write(out, event)).map_err(|error| format!("cannot be written as a row: {error}"))
}

#[async_trait]
impl Protocol for Sender {
    async fn prepare(&mut self, transport: &mut dyn Transport) -> Result<(), Verdict> {
        let mut worst: Option<Verdict> = None;
        for _ in 0..self.nodes.len() {
            if self.nodes[self.current].ready.is_some() {
                self.look_at_others(transport).await;
                return Ok(());
            }
            if let Err(verdict) = self.make_ready(self.current, transport).await {
                self.move_on();
                // What may go better later outweighs what will not: a node that is down may come back.
                let hopeless = |verdict: &Verdict| !matches!(verdict, Verdict::Later { .. });
                if worst.as_ref().is_none_or(|known| hopeless(known) && !hopeless(&verdict)) {
                    worst = Some(verdict);
                }
            }
        }
        if self.nodes[self.current].ready.is_some() {
            return Ok(());
        }
        Err(worst.unwrap_or_else(|| Verdict::Wrong { reason: "no endpoint is set".to_owned() }))
    }

    fn pack(&mut self, page: &[Unsent], limit: usize, _now: Timestamp) -> io::Result<Packed> {
        let (count, plain_bytes) = match fit(page, 0, limit, self.max_body, row_bytes) {
            Fit::Events { count: 0, .. } => return Ok(Packed::Empty),
            Fit::Events { count, bytes } => (count, bytes),
            Fit::Unsendable { cursor, trace_id, reason } => return Ok(Packed::Unsendable { cursor, trace_id, reason }),
        };
        let dialect = self.nodes[self.current].ready.unwrap_or(Dialect::Old);
        let compression = match (dialect, self.compression) {
            // It does not know it.
            (Dialect::Old, Compression::Zstd) => Compression::Gzip,
            (_, compression) => compression,
        };
        let events = &page[..count];
        let ids: Vec<TraceId> = events.iter().map(|unsent| unsent.event.trace_id).collect();
        // Of the rows, and not of their identities alone: who sent another's identities first, with other rows, would else
        // have the true ones taken for a repeat.
        let mut hash = Sha256::new();
        let mut line = Vec::new();
        let body = compression.encode(plain_bytes, |out| {
            events.iter().try_for_each(|unsent| {
                line.clear();
                row::write(&mut line, &unsent.event)?;
                hash.update(&line);
                out.write_all(&line)
            })
        })?;
        let batch_id = id_of(hash);
        let request = self.insert(dialect, &batch_id, body, compression);
        let cursors = events.iter().map(|unsent| unsent.cursor).collect();
        Ok(Packed::Parcels(vec![Parcel { ids, cursors, batch_id, request, plain_bytes }]))
    }

    fn judge(&mut self, reply: &Reply, _sent: &[TraceId]) -> Verdict {
        match answer::read(reply) {
            Meaning::Done(text) if text.trim().is_empty() => Verdict::Confirmed(Vec::new()),
            Meaning::Done(_) => {
                self.move_on();
                let reason = "ClickHouse answered 200 with a text, where an insert has none: check endpoints";
                Verdict::Wrong { reason: reason.to_owned() }
            }
            Meaning::Missing { reason } => {
                // The same node: its tables are made before the next try.
                self.nodes[self.current].ready = None;
                Verdict::Later { reason, retry_after: None }
            }
            Meaning::Not(verdict) => {
                if !matches!(verdict, Verdict::Refused { .. }) {
                    self.move_on();
                }
                verdict
            }
        }
    }

    fn unanswered(&mut self) {
        self.move_on();
    }
}
