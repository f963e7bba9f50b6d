//! One cycle: everything that waits is sent, batch by batch, until nothing is left or the receiver
//! fails.
//!
//! Invariants:
//! 1. An event leaves the outbox's unsent only when the receiver confirmed it, or refused it alone.
//! 2. A cycle reads from the beginning of what is unsent; whatever an earlier one left is met again.
//! 3. Nothing is held through a wait but a range of the outbox: each try reads its events anew.
//! 4. The tries of one batch carry the same events and the same `batch_id`, but for those that a
//!    parcel of their own has brought home.
//! 5. A batch that is refused whole is halved until the guilty event stands alone.
//!    It is quarantined once the receiver has confirmed another in this cycle, at the same door where it
//!    has several. A receiver, or a door, that confirms nothing and refuses more than a few ([`MAX_SUSPECTS`](super::progress::MAX_SUSPECTS)) events one by one is itself at
//!    fault, and nothing is quarantined.
//! 6. The requests of one cycle are bounded: by `max_tries` for a batch that fails, by
//!    [`MAX_SEARCH_REQUESTS`] for the search for guilty events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::{Cursor, Outbox, OutboxError, Timestamp, TraceId};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::breaker::Breaker;
use super::meters::Meters;
use super::pace::Pace;
use super::progress::Progress;
use super::state::{State, now_millis};
use super::stop::Stop;
use super::{Packed, Parcel, Protocol, Rejected, Settings, Transport, Verdict};

/// Requests for halves of refused batches, in one cycle. Finding one guilty event among 500 takes
/// about 18; what is left over is found by the next cycle.
const MAX_SEARCH_REQUESTS: u32 = 200;

/// How far a backlog is counted, once after an outage.
const COUNT_BACKLOG: usize = 1_000_000;

/// After a 413 bodies get smaller, but not smaller than this.
const MIN_BODY: usize = 64 * 1024;

/// How a cycle ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing waits any more.
    Done,
    /// The bound on requests was reached; the receiver works.
    Paused,
    /// All that was to be sent is; more has come since.
    Enough,
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
    pub(super) fn receiver(message: impl Into<String>) -> Self {
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

impl Range {
    /// In two, after `middle`, so that each half knows how many of those that are left it has.
    fn split(self, middle: Cursor, left: &BTreeSet<Cursor>) -> Step {
        let before = left.range(..=middle).count();
        let first = Self { until: middle, count: before, ..self };
        let second = Self { after: middle, count: left.len() - before, ..self };
        Step::Split(first, second)
    }
}

/// What is left of a planned range after this place: not all of it may have fitted one body.
fn rest_of(planned: Option<Range>, place: Cursor) -> Option<Range> {
    planned.filter(|planned| place < planned.until).map(|planned| Range { after: place, ..planned })
}

/// What became of a range.
enum Step {
    /// Nothing was in it.
    Empty,
    /// Up to this place all is settled, or under suspicion.
    Settled(Cursor),
    /// Refused whole.
    Split(Range, Range),
    /// The process stops.
    Stopped,
}

/// What became of one try of a range.
enum Attempt {
    /// It needs no other.
    Over(Step),
    /// It may go better later.
    Later { reason: String, retry_after: Option<Duration> },
}

/// What a verdict that confirms and condemns nothing means for a try.
fn held_back(verdict: Verdict) -> Result<Attempt, Failure> {
    match verdict {
        Verdict::Later { reason, retry_after } => Ok(Attempt::Later { reason, retry_after }),
        Verdict::Denied { reason } => Err(Failure { fault: Fault::Denied, message: reason, retry_after: None }),
        Verdict::Wrong { reason } | Verdict::Refused { reason, .. } => Err(Failure::receiver(reason)),
        Verdict::Confirmed(_) => Err(Failure::receiver("receiver confirmed what was not sent")),
    }
}

/// The worker: what it sends with, and what it remembers from cycle to cycle.
pub(crate) struct Pusher {
    pub(super) settings: Arc<Settings>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) protocol: Box<dyn Protocol>,
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
    /// The same by the monotonic clock.
    pub(super) succeeded: Option<Instant>,
    /// How fast the backlog of an outage goes out; `None` once nothing is left of it.
    pub(super) pace: Option<Pace>,
    /// What the outbox has.
    pub(super) saved: State,
}

impl Pusher {
    /// One that has sent nothing yet.
    pub(crate) fn new(
        settings: Settings,
        meters: Meters,
        outbox: Arc<dyn Outbox>,
        protocol: Box<dyn Protocol>,
        transport: Box<dyn Transport>,
    ) -> Self {
        Self {
            breaker: Breaker::new(settings.breaker_failures, settings.breaker_cooldown),
            soft_limit: settings.max_body,
            settings: Arc::new(settings),
            outbox,
            transport,
            protocol,
            meters,
            random: fastrand::Rng::new(),
            not_before: None,
            denied: false,
            cursor: 0,
            unfinished: None,
            last_success: None,
            succeeded: None,
            pace: None,
            saved: State::default(),
        }
    }

    /// Sends everything that waits. `tries` is for the first batch: a probe has one; once the
    /// receiver has confirmed something, all have `max_tries`.
    pub(super) async fn cycle(&mut self, stop: &Stop, tries: u32, max_tries: u32) -> End {
        let mut progress = Progress::new(tries);
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
            if stop.is_enough(progress.confirmed) {
                break End::Enough;
            }
            if self.pace.is_some_and(|pace| !pace.allows(progress.requests, progress.confirmed)) {
                break End::Paused;
            }
            let planned = todo.pop();
            let mut range =
                planned.unwrap_or(Range { after: cursor, until: Cursor::MAX, count: self.settings.batch_events });
            let step = self.deliver(&mut range, stop, &mut progress).await;
            if progress.confirmed > 0 {
                progress.tries = max_tries;
                // Now, and not at the cycle's end: while events keep coming, it does not end.
                if let Err(failure) = self.quarantine_all(progress.take_guilty()).await {
                    break End::Failed(failure);
                }
            }
            if let Some(status) = progress.refused_everything() {
                break End::Failed(Failure::receiver(format!(
                    "{status} to every event, one by one: nothing is quarantined; {}",
                    self.settings.help
                )));
            }
            match step {
                Ok(Step::Empty) if planned.is_some() => {}
                Ok(Step::Empty) => break End::Done,
                Ok(Step::Settled(until)) => {
                    cursor = cursor.max(until);
                    if progress.has_no_suspects() {
                        self.cursor = cursor;
                    }
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
        match (&end, &mut self.pace) {
            (End::Done, pace) => *pace = None,
            (_, Some(pace)) => pace.ended(progress.requests, progress.confirmed),
            (_, None) => {}
        }
        // Without a confirmation an end that is not the end of all events proves nothing.
        if matches!(end, End::Done) {
            progress.nothing_else_waits();
        }
        match self.quarantine_all(progress.take_guilty()).await {
            Ok(()) => end,
            Err(failure) => End::Failed(failure),
        }
    }

    /// Sends one batch, with retries.
    async fn deliver(&mut self, range: &mut Range, stop: &Stop, progress: &mut Progress) -> Result<Step, Failure> {
        let mut failures = 0;
        loop {
            let (reason, retry_after) = match self.attempt(range, stop, progress, failures > 0).await? {
                Attempt::Over(step) => return Ok(step),
                Attempt::Later { reason, retry_after } => (reason, retry_after),
            };
            failures += 1;
            let wait = self.wait(failures, retry_after);
            if failures >= progress.tries || wait > self.settings.backoff.max {
                let message = format!("{reason} (try {failures})");
                return Err(Failure { fault: Fault::Receiver, message, retry_after });
            }
            debug!(component = self.settings.name, reason, ?wait, "push failed; trying again");
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.requested() => return Ok(Step::Stopped),
            }
        }
    }

    /// One try of a batch: all of its parcels, until one is not taken.
    async fn attempt(
        &mut self,
        range: &mut Range,
        stop: &Stop,
        progress: &mut Progress,
        again: bool,
    ) -> Result<Attempt, Failure> {
        let prepared = tokio::select! {
            prepared = self.protocol.prepare(&mut *self.transport) => prepared,
            () = stop.due() => return Ok(Attempt::Over(Step::Stopped)),
        };
        if let Err(verdict) = prepared {
            return held_back(verdict);
        }
        let parcels = loop {
            match self.load(*range).await? {
                Packed::Empty => return Ok(Attempt::Over(Step::Empty)),
                Packed::Unsendable { cursor, trace_id, reason } => {
                    self.quarantine(trace_id, &reason).await?;
                    return Ok(Attempt::Over(Step::Settled(cursor)));
                }
                Packed::Unwanted(ids) => {
                    self.outbox.confirm(&ids).await?;
                    self.meters.left_out.inc_by(ids.len() as u64);
                    if stop.is_requested() {
                        return Ok(Attempt::Over(Step::Stopped));
                    }
                }
                Packed::Parcels(parcels) => break parcels,
            }
        };
        // What is not brought home yet.
        let mut left: BTreeSet<Cursor> = parcels.iter().flat_map(|parcel| parcel.cursors.iter().copied()).collect();
        // From here on the batch is these events, whatever else arrives meanwhile.
        *range = Range { until: left.last().copied().unwrap_or(range.until), count: left.len(), ..*range };
        for Parcel { ids, cursors, batch_id, request, plain_bytes } in parcels {
            if again {
                self.meters.retries.inc();
            }
            debug!(
                component = self.settings.name,
                events = ids.len(),
                bytes = plain_bytes,
                compressed = request.body.len(),
                batch_id,
                "pushing"
            );
            let answer = tokio::select! {
                answer = self.transport.post(request) => answer,
                () = stop.due() => return Ok(Attempt::Over(Step::Stopped)),
            };
            self.meters.answered(answer.as_ref().ok().map(|reply| reply.status));
            let verdict = match answer {
                Ok(reply) => self.protocol.judge(&reply, &ids),
                Err(reason) => {
                    self.protocol.unanswered();
                    Verdict::Later { reason, retry_after: None }
                }
            };
            match verdict {
                Verdict::Confirmed(rejected) => {
                    let (door, before) = (self.protocol.door(&ids), progress.confirmed);
                    self.confirm(ids, rejected, progress).await?;
                    if progress.confirmed > before {
                        progress.took(door);
                    }
                }
                Verdict::Refused { reason, .. } if ids.len() == 1 => {
                    progress.suspect(self.protocol.door(&ids), ids[0], reason);
                }
                Verdict::Refused { too_large, .. } => {
                    if too_large {
                        let before = self.soft_limit;
                        self.soft_limit = self.soft_limit.min(plain_bytes / 2).max(MIN_BODY);
                        // Once for each size: halves of a half that is too large come here too.
                        if self.soft_limit < before {
                            let (bytes, events, next) = (plain_bytes, ids.len(), self.soft_limit);
                            warn!(
                                component = self.settings.name,
                                bytes,
                                events,
                                next,
                                "receiver answered 413: the body is too large for it; smaller ones are sent from now on, and max_body or batch_bytes set for it saves the attempt"
                            );
                        }
                    }
                    return Ok(Attempt::Over(range.split(cursors[ids.len() / 2 - 1], &left)));
                }
                other => return held_back(other),
            }
            for cursor in cursors {
                left.remove(&cursor);
            }
        }
        Ok(Attempt::Over(Step::Settled(range.until)))
    }

    /// Our own backoff, or longer where the receiver asked for it. A wait beyond `max_delay` is not
    /// waited for inside a cycle.
    fn wait(&mut self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let backoff = self.settings.backoff;
        let asked = retry_after.map_or(Duration::ZERO, |wait| wait.saturating_add(backoff.jitter(self.random.f64())));
        backoff.delay(failures, self.random.f64()).max(asked)
    }

    async fn load(&mut self, range: Range) -> Result<Packed, Failure> {
        let mut page = self.outbox.unsent(range.after, range.count, self.settings.batch_bytes).await?;
        page.retain(|unsent| unsent.cursor <= range.until);
        self.protocol.pack(&page, self.soft_limit, Timestamp::now()).map_err(|error| Failure {
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
        progress.requests += 1;
        // The receiver works, even where it took none of these.
        let failed_before = self.breaker.succeeded();
        if failed_before > 0 {
            info!(component = self.settings.name, failed_cycles = failed_before, "push works again");
            self.begin_catching_up(failed_before, ids.len()).await?;
        }
        self.denied = false;
        self.not_before = None;
        let now = now_millis();
        self.last_success = Some(now);
        self.succeeded = Some(Instant::now());
        self.meters.last_success.set(now / 1000);
        self.quarantine_all(rejected.into_iter().map(|entry| (entry.trace_id, entry.reason)).collect()).await
    }

    /// The receiver is back: what has gathered meanwhile goes out at a pace.
    async fn begin_catching_up(&mut self, failed_cycles: u32, just_sent: usize) -> Result<(), Failure> {
        if !self.settings.paced {
            return Ok(());
        }
        let interval = self.settings.interval;
        // Where there never was a success, the outage lasted at least as long as its cycles.
        let outage = self.succeeded.map_or(interval * failed_cycles, |at| at.elapsed());
        let waiting = self.outbox.waiting(COUNT_BACKLOG).await? + just_sent;
        self.pace = Some(Pace::after(outage, waiting, interval));
        Ok(())
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
        warn!(component = self.settings.name, %trace_id, "event is quarantined: the receiver does not take it; the reason is kept beside it");
        Ok(())
    }
}
