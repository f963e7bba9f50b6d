//! One cycle: everything that waits is sent, batch by batch, until nothing is left or the receiver
//! fails.
//!
//! Invariants:
//! 1. An event leaves the outbox's unsent only when the receiver confirmed it, or refused it alone.
//! 2. A cycle reads from the beginning of what is unsent; whatever an earlier one left is met again.
//! 3. Nothing is held through a wait but a range of the outbox: each try reads its events anew.
//! 4. The tries of one batch carry the same events and the same `batch_id`.
//! 5. A batch that is refused whole (400, 413, 422) is halved until the guilty event stands alone.
//!    It is quarantined once the receiver has confirmed another in this cycle. A receiver that
//!    confirms nothing and refuses more than [`MAX_SUSPECTS`] events one by one is itself at
//!    fault, and nothing is quarantined.
//! 6. The requests of one cycle are bounded: by `max_tries` for a batch that fails, by
//!    [`MAX_SEARCH_REQUESTS`] for the search for guilty events.

use std::sync::Arc;
use std::time::Duration;

use engine::{Cursor, Outbox, OutboxError, Timestamp, TraceId};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::Settings;
use super::answer::{Rejected, Verdict, judge};
use super::breaker::Breaker;
use super::client::{Request, Transport};
use super::meters::Meters;
use super::state::{State, now_millis};
use super::stop::Stop;
use super::wire::{Packed, Packer, Parcel};

/// Events refused alone before anything is confirmed, up to which the fault is taken to be theirs.
const MAX_SUSPECTS: usize = 3;

/// Requests for halves of refused batches, in one cycle. Finding one guilty event among 500 takes
/// about 18; what is left over is found by the next cycle.
const MAX_SEARCH_REQUESTS: u32 = 200;

/// After a 413 bodies get smaller, but not smaller than this.
const MIN_BODY: usize = 64 * 1024;

/// How a cycle ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing waits any more.
    Done,
    /// The bound on requests was reached; the receiver works.
    Paused,
    /// The process stops.
    Stopped,
    /// It failed.
    Failed(Failure),
}

/// Why a cycle failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) message: String,
    /// What the receiver asked for.
    pub(super) retry_after: Option<Duration>,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The receiver's, or the network's.
    Receiver,
    /// The receiver does not accept our token.
    Denied,
    /// Ours: the outbox did not answer.
    Outbox,
}

impl Failure {
    fn receiver(message: impl Into<String>) -> Self {
        Self { fault: Fault::Receiver, message: message.into(), retry_after: None }
    }
}

impl From<OutboxError> for Failure {
    fn from(error: OutboxError) -> Self {
        Self { fault: Fault::Outbox, message: error.to_string(), retry_after: None }
    }
}

/// A stretch of the outbox.
#[derive(Debug, Clone, Copy)]
struct Range {
    after: Cursor,
    /// The last place that belongs to it.
    until: Cursor,
    /// At most so many events of it.
    count: usize,
}

/// What is left of a planned range after this place: not all of it may have fitted one body.
fn rest_of(planned: Option<Range>, place: Cursor) -> Option<Range> {
    planned.filter(|planned| place < planned.until).map(|planned| Range { after: place, ..planned })
}

/// What became of a range.
enum Step {
    /// Nothing was in it.
    Empty,
    /// Up to this place all is settled.
    Settled(Cursor),
    /// Refused whole.
    Split(Range, Range),
    /// Refused, and it stands alone.
    Suspect { cursor: Cursor, trace_id: TraceId, reason: String },
    /// The process stops.
    Stopped,
}

/// What lives through one cycle.
struct Progress {
    tries: u32,
    confirmed: usize,
    suspects: Vec<(TraceId, String)>,
}

/// The worker: what it sends with, and what it remembers from cycle to cycle.
pub(super) struct Pusher {
    pub(super) settings: Arc<Settings>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) packer: Packer,
    pub(super) meters: Meters,
    pub(super) random: fastrand::Rng,
    pub(super) breaker: Breaker,
    /// The receiver asked to be left alone until then.
    pub(super) not_before: Option<Instant>,
    /// The breaker is open because of the token; a restart may have brought a new one.
    pub(super) denied: bool,
    /// Body size that the receiver has been seen to take, where it is less than `max_body`.
    pub(super) soft_limit: usize,
    pub(super) cursor: Cursor,
    pub(super) unfinished: Option<Cursor>,
    pub(super) last_success: Option<i64>,
    /// What the outbox has.
    pub(super) saved: State,
}

impl Pusher {
    /// Sends everything that waits. `tries` is for the first batch: a probe has one; once the
    /// receiver has confirmed something, all have `max_tries`.
    pub(super) async fn cycle(&mut self, stop: &Stop, tries: u32, max_tries: u32) -> End {
        let mut progress = Progress { tries, confirmed: 0, suspects: Vec::new() };
        let mut todo: Vec<Range> = Vec::new();
        if let Some(until) = self.unfinished.take() {
            todo.push(Range { after: 0, until, count: self.settings.batch_events });
        }
        let mut cursor = 0;
        let mut search_requests = 0;
        let end = loop {
            if stop.is_requested() {
                break End::Stopped;
            }
            let planned = todo.pop();
            let mut range =
                planned.unwrap_or(Range { after: cursor, until: Cursor::MAX, count: self.settings.batch_events });
            let step = self.deliver(&mut range, stop, &mut progress).await;
            if progress.confirmed > 0 {
                progress.tries = max_tries;
                // Now, and not at the cycle's end: while events keep coming, it does not end.
                if let Err(failure) = self.quarantine_all(std::mem::take(&mut progress.suspects)).await {
                    break End::Failed(failure);
                }
            }
            match step {
                Ok(Step::Empty) if planned.is_some() => {}
                Ok(Step::Empty) => break End::Done,
                Ok(Step::Settled(until)) => {
                    cursor = cursor.max(until);
                    self.cursor = cursor;
                    todo.extend(rest_of(planned, until));
                }
                Ok(Step::Split(first, second)) => {
                    todo.extend(rest_of(planned, second.until));
                    search_requests += 2;
                    if search_requests > MAX_SEARCH_REQUESTS {
                        let reason =
                            "receiver refuses batch after batch; the search for the guilty events goes on later";
                        break if progress.confirmed > 0 {
                            End::Paused
                        } else {
                            End::Failed(Failure::receiver(reason))
                        };
                    }
                    todo.extend([second, first]);
                }
                Ok(Step::Suspect { cursor: at, trace_id, reason }) => {
                    cursor = cursor.max(at);
                    todo.extend(rest_of(planned, at));
                    progress.suspects.push((trace_id, reason));
                    if progress.confirmed == 0 && progress.suspects.len() > MAX_SUSPECTS {
                        let (_, reason) = progress.suspects.swap_remove(0);
                        // Only the status: the rest may quote an event.
                        let status = reason.split(": ").next().unwrap_or_default();
                        break End::Failed(Failure::receiver(format!(
                            "{status} to every event, one by one: nothing is quarantined; \
                             check that endpoint takes this format (docs/augmi-push.md)"
                        )));
                    }
                }
                Ok(Step::Stopped) => {
                    self.unfinished = (range.until < Cursor::MAX).then_some(range.until);
                    break End::Stopped;
                }
                Err(failure) => {
                    self.unfinished = (range.until < Cursor::MAX).then_some(range.until);
                    break End::Failed(failure);
                }
            }
        };
        // Without a confirmation an end that is not the end of all events proves nothing.
        if (progress.confirmed > 0 || matches!(end, End::Done))
            && let Err(failure) = self.quarantine_all(progress.suspects).await
        {
            return End::Failed(failure);
        }
        end
    }

    /// Sends one batch, with retries.
    async fn deliver(&mut self, range: &mut Range, stop: &Stop, progress: &mut Progress) -> Result<Step, Failure> {
        let mut failures = 0;
        loop {
            let parcel = match self.load(*range).await? {
                Packed::Empty => return Ok(Step::Empty),
                Packed::Unsendable { cursor, trace_id, reason } => {
                    self.quarantine(trace_id, &reason).await?;
                    return Ok(Step::Settled(cursor));
                }
                Packed::Parcel(parcel) => parcel,
            };
            // From here on the batch is these events, whatever else arrives meanwhile.
            *range = Range {
                after: range.after,
                until: parcel.cursors.last().copied().unwrap_or(range.until),
                count: parcel.ids.len(),
            };
            if failures > 0 {
                self.meters.retries.inc();
            }
            let Parcel { ids, cursors, batch_id, body, plain_bytes } = parcel;
            debug!(events = ids.len(), bytes = plain_bytes, compressed = body.len(), batch_id, "pushing");
            let content_encoding = self.settings.compression.content_encoding();
            let request = Request { batch_id, body, content_encoding, events: ids.len() };
            let answer = tokio::select! {
                answer = self.transport.post(request) => answer,
                () = stop.due() => return Ok(Step::Stopped),
            };
            self.meters.answered(answer.as_ref().ok().map(|reply| reply.status));
            let verdict = match answer {
                Ok(reply) => judge(&reply, &ids),
                Err(reason) => Verdict::Later { reason, retry_after: None },
            };
            match verdict {
                Verdict::Confirmed(rejected) => {
                    self.confirm(ids, rejected, progress).await?;
                    return Ok(Step::Settled(range.until));
                }
                Verdict::Refused { reason, .. } if ids.len() == 1 => {
                    return Ok(Step::Suspect { cursor: range.until, trace_id: ids[0], reason });
                }
                Verdict::Refused { too_large, .. } => {
                    if too_large {
                        self.soft_limit = self.soft_limit.min(plain_bytes / 2).max(MIN_BODY);
                    }
                    let half = ids.len() / 2;
                    let middle = cursors[half - 1];
                    let first = Range { until: middle, count: half, ..*range };
                    let second = Range { after: middle, count: ids.len() - half, ..*range };
                    return Ok(Step::Split(first, second));
                }
                Verdict::Denied { reason } => {
                    return Err(Failure { fault: Fault::Denied, message: reason, retry_after: None });
                }
                Verdict::Wrong { reason } => return Err(Failure::receiver(reason)),
                Verdict::Later { reason, retry_after } => {
                    failures += 1;
                    let wait = self.wait(failures, retry_after);
                    if failures >= progress.tries || wait > self.settings.backoff.max {
                        let message = format!("{reason} (try {failures})");
                        return Err(Failure { fault: Fault::Receiver, message, retry_after });
                    }
                    debug!(reason, ?wait, "push failed; trying again");
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = stop.requested() => return Ok(Step::Stopped),
                    }
                }
            }
        }
    }

    /// Our own backoff, or longer where the receiver asked for it. A wait beyond `max_delay` is not
    /// waited for inside a cycle.
    fn wait(&mut self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let backoff = self.settings.backoff;
        let asked = retry_after.map_or(Duration::ZERO, |wait| wait.saturating_add(backoff.jitter(self.random.f64())));
        backoff.delay(failures, self.random.f64()).max(asked)
    }

    async fn load(&self, range: Range) -> Result<Packed, Failure> {
        let mut page = self.outbox.unsent(range.after, range.count, self.settings.batch_bytes).await?;
        page.retain(|unsent| unsent.cursor <= range.until);
        self.packer.pack(&page, self.soft_limit, Timestamp::now()).map_err(|error| Failure {
            fault: Fault::Outbox,
            message: format!("body: {error}"),
            retry_after: None,
        })
    }

    async fn confirm(
        &mut self,
        mut ids: Vec<TraceId>,
        rejected: Vec<Rejected>,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        if !rejected.is_empty() {
            let refused: std::collections::HashSet<TraceId> = rejected.iter().map(|entry| entry.trace_id).collect();
            ids.retain(|id| !refused.contains(id));
        }
        if !ids.is_empty() {
            self.outbox.confirm(&ids).await?;
        }
        self.meters.confirmed.inc_by(ids.len() as u64);
        progress.confirmed += ids.len();
        // The receiver works, even where it took none of these.
        let failed_before = self.breaker.succeeded();
        if failed_before > 0 {
            info!(failed_cycles = failed_before, "push works again");
        }
        self.denied = false;
        self.not_before = None;
        let now = now_millis();
        self.last_success = Some(now);
        self.meters.last_success.set(now / 1000);
        self.quarantine_all(rejected.into_iter().map(|entry| (entry.trace_id, entry.reason)).collect()).await
    }

    async fn quarantine_all(&self, events: Vec<(TraceId, String)>) -> Result<(), Failure> {
        for (trace_id, reason) in events {
            self.quarantine(trace_id, &reason).await?;
        }
        Ok(())
    }

    async fn quarantine(&self, trace_id: TraceId, reason: &str) -> Result<(), Failure> {
        self.outbox.quarantine(trace_id, reason).await?;
        self.meters.quarantined.inc();
        warn!(%trace_id, "event is quarantined: the receiver does not take it; the reason is kept beside it");
        Ok(())
    }
}
