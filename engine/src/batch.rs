//! Batches, and the receipt that says what became of one.
//!
//! A batch is its events plus a share in a *delivery*. The delivery is shared by all copies of the
//! batch, one for each sink it goes to, and holds the credits the batch was admitted with.
//! Each copy is either confirmed by its sink ([`Batch::confirm`]) or not; a copy that is dropped
//! without a word has failed. When the last copy is gone the delivery itself is dropped: only then
//! the credits return and the [`Receipt`] resolves. Hence:
//!
//! 1. a receipt resolves exactly once, and never as stored unless every sink confirmed;
//! 2. nothing is delivered after a receipt was reported as failed, since no copy is left;
//! 3. credits cannot leak: they live in a value that is dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{Credits, Event};

/// Why a batch was not taken or not kept, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal it is; sources turn it into their protocol's answer.
    pub kind: RefusalKind,
    /// For the client: what happened, and what to do.
    pub message: String,
    /// When a retry has a chance.
    pub retry_after: Duration,
}

/// The kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No credits: too much is in flight.
    Full,
    /// A sink cannot keep events now (disk reserve reached).
    NoSpace,
    /// A sink failed.
    Failed,
    /// A sink will never take one of the events: sending the same again is no use.
    Refused,
}

impl Refusal {
    /// A refusal; `retry_after` is rounded up to at least one second where it is told.
    pub fn new(kind: RefusalKind, message: impl Into<String>, retry_after: Duration) -> Self {
        Self { kind, message: message.into(), retry_after }
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every sink confirmed. `duplicates` of its events were there already.
    Stored {
        /// Events that were safe before this batch came.
        duplicates: usize,
    },
    /// At least one sink did not.
    Failed(Refusal),
}

type Hook = Box<dyn FnOnce(&Outcome) + Send>;

/// A piece of a source's own state, to be kept in the same transaction as the events that it speaks
/// of: how far a file was read, what a counter stood at. Either both are safe or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Its name, single within the source.
    pub key: String,
    /// What to remember; `None` forgets it.
    pub value: Option<String>,
}

struct Delivery {
    state: Mutex<State>,
    acknowledged: bool,
    keep: Vec<Keep>,
    /// Until the outcome is known.
    credits: Option<Credits>,
}

#[derive(Default)]
struct State {
    failed: Option<Refusal>,
    duplicates: usize,
    hooks: Vec<Hook>,
    report: Option<oneshot::Sender<Outcome>>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let outcome = match state.failed.take() {
            Some(refusal) => Outcome::Failed(refusal),
            None => Outcome::Stored { duplicates: state.duplicates },
        };
        for hook in state.hooks.drain(..) {
            hook(&outcome);
        }
        // Before the client hears of it: one that sends the next batch at once must find room.
        self.credits = None;
        if let Some(report) = state.report.take() {
            // A source that no longer waits (its client is gone) is no failure.
            let _ = report.send(outcome);
        }
    }
}

/// Resolves to the [`Outcome`] once every sink is done with the batch.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Outcome>);

impl Receipt {
    /// Waits for the outcome. Cancel safe.
    pub async fn outcome(&mut self) -> Outcome {
        (&mut self.0).await.unwrap_or_else(|_| {
            Outcome::Failed(Refusal::new(
                RefusalKind::Failed,
                "the pipeline dropped the batch; send it again",
                Duration::from_secs(1),
            ))
        })
    }
}

/// Events on their way, with their share in the delivery. Not `Clone`: a copy for another sink is
/// made by [`Batch::share`], and counts.
pub struct Batch {
    events: Vec<Arc<Event>>,
    duplicates: usize,
    confirmed: bool,
    delivery: Arc<Delivery>,
    /// Held by the sink that it was given to, until it is answered.
    given: Option<TaskTrackerToken>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} events, {} duplicates)", self.events.len(), self.duplicates)
    }
}

impl Batch {
    /// A batch that was admitted with `credits`. `acknowledged` says that the client was already
    /// told "queued": a sink must then try on through passing failures rather than fail.
    #[must_use]
    pub fn new(events: Vec<Event>, credits: Credits, acknowledged: bool) -> (Self, Receipt) {
        Self::keeping(events, Vec::new(), credits, acknowledged)
    }

    /// A batch with state of its source, which sinks that keep events keep beside them.
    #[must_use]
    pub fn keeping(events: Vec<Event>, keep: Vec<Keep>, credits: Credits, acknowledged: bool) -> (Self, Receipt) {
        let (report, receipt) = oneshot::channel();
        let state = State { report: Some(report), ..State::default() };
        let batch = Self {
            events: events.into_iter().map(Arc::new).collect(),
            duplicates: 0,
            confirmed: false,
            delivery: Arc::new(Delivery { state: Mutex::new(state), acknowledged, keep, credits: Some(credits) }),
            given: None,
        };
        (batch, Receipt(receipt))
    }

    /// The events, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.events.iter().map(Arc::as_ref)
    }

    /// The events, each to be held without a copy.
    pub fn shared(&self) -> impl ExactSizeIterator<Item = Arc<Event>> + '_ {
        self.events.iter().map(Arc::clone)
    }

    /// The events, to be changed. An event that another branch of the graph shares is copied first.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Event> {
        self.events.iter_mut().map(Arc::make_mut)
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Memory that the events stand for, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.iter().map(Event::size_bytes).sum()
    }

    /// The source's state that comes with it.
    #[must_use]
    pub fn keep(&self) -> &[Keep] {
        &self.delivery.keep
    }

    /// Adds an event that a transform has made of the others. It travels on the credits that the
    /// batch was admitted with, so it must be small beside them.
    pub fn push(&mut self, event: Event) {
        self.events.push(Arc::new(event));
    }

    /// Drops the events for which `is_duplicate` says that they are safe already, and counts them.
    pub fn drop_duplicates(&mut self, mut is_duplicate: impl FnMut(&Event) -> bool) {
        let before = self.events.len();
        self.events.retain(|event| !is_duplicate(event));
        self.duplicates += before - self.events.len();
    }

    /// Keeps only the events for which `keep` answers true. The rest counts as delivered: a filter
    /// that drops an event on purpose has not lost it.
    pub fn retain(&mut self, mut keep: impl FnMut(&Event) -> bool) {
        self.events.retain(|event| keep(event));
    }

    /// Runs `hook` once the outcome is known, before the source hears of it.
    pub fn on_outcome(&self, hook: impl FnOnce(&Outcome) + Send + 'static) {
        self.state().hooks.push(Box::new(hook));
    }

    /// Whether the client already has its answer ("queued").
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.delivery.acknowledged
    }

    /// A copy for another sink. The receipt waits for it too.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            events: self.events.clone(),
            duplicates: self.duplicates,
            confirmed: false,
            delivery: Arc::clone(&self.delivery),
            given: None,
        }
    }

    /// From here on the tracker waits until this copy was answered.
    pub(crate) fn give_to(&mut self, tracker: &TaskTracker) {
        self.given = Some(tracker.token());
    }

    /// The sink has kept every event of it; `duplicates` of them it had before.
    pub fn confirm(mut self, duplicates: usize) {
        self.confirmed = true;
        let total = self.duplicates + duplicates;
        let mut state = self.state();
        state.duplicates = state.duplicates.max(total);
    }

    /// The sink could not keep it.
    pub fn fail(self, refusal: Refusal) {
        self.state().failed.get_or_insert(refusal);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.delivery.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.confirmed {
            self.state().failed.get_or_insert_with(|| {
                Refusal::new(RefusalKind::Failed, "a sink dropped the batch; send it again", Duration::from_secs(1))
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Admission;

    fn batch() -> (Batch, Receipt, Admission) {
        let admission = Admission::new(10, 10_000);
        let credits = admission.try_acquire(1, 100).unwrap();
        let (batch, receipt) = Batch::new(vec![Event::new(crate::Kind::LOG)], credits, false);
        (batch, receipt, admission)
    }

    #[tokio::test]
    async fn a_receipt_waits_for_every_sink_and_returns_the_credits() {
        let (batch, mut receipt, admission) = batch();
        let other = batch.share();
        batch.confirm(0);
        assert_eq!(admission.in_flight().0, 1);
        other.confirm(1);
        assert_eq!(receipt.outcome().await, Outcome::Stored { duplicates: 1 });
        assert_eq!(admission.in_flight(), (0, 0));
    }

    #[tokio::test]
    async fn a_dropped_batch_has_failed() {
        let (batch, mut receipt, admission) = batch();
        let other = batch.share();
        batch.confirm(0);
        drop(other);
        assert!(matches!(receipt.outcome().await, Outcome::Failed(_)));
        assert_eq!(admission.in_flight(), (0, 0));
    }

    #[tokio::test]
    async fn duplicates_are_told_and_what_a_filter_dropped_is_not_among_them() {
        let credits = Admission::new(10, 10_000).try_acquire(5, 100).unwrap();
        let events = ["a", "a", "a", "b", "c"].map(|name| {
            let mut event = Event::new(crate::Kind::LOG);
            event.name = Some(name.into());
            event
        });
        let (mut batch, mut receipt) = Batch::new(events.to_vec(), credits, false);
        batch.drop_duplicates(|event| event.name.as_deref() == Some("a"));
        batch.retain(|event| event.name.as_deref() != Some("b"));
        let left: Vec<_> = batch.iter().map(|event| event.name.as_deref()).collect();
        assert_eq!(left, [Some("c")]);
        assert_eq!((batch.len(), batch.is_empty()), (1, false));
        assert_eq!(format!("{batch:?}"), "Batch(1 events, 3 duplicates)");
        batch.retain(|_| false);
        assert!(batch.is_empty());
        batch.confirm(1);
        assert_eq!(receipt.outcome().await, Outcome::Stored { duplicates: 4 });
    }

    #[tokio::test]
    async fn a_hook_hears_the_sinks_own_refusal_while_the_credits_are_still_out() {
        let (batch, mut receipt, admission) = batch();
        let heard = Arc::new(Mutex::new(None));
        let (told, budget) = (Arc::clone(&heard), admission.clone());
        batch.on_outcome(move |outcome| *told.lock().unwrap() = Some((outcome.clone(), budget.in_flight().0)));
        let refusal = Refusal::new(RefusalKind::NoSpace, "the disk is full", Duration::from_secs(7));
        batch.fail(refusal.clone());
        assert_eq!(*heard.lock().unwrap(), Some((Outcome::Failed(refusal.clone()), 1)));
        assert_eq!(receipt.outcome().await, Outcome::Failed(refusal));
        assert_eq!(admission.in_flight(), (0, 0));
    }

    #[tokio::test]
    async fn a_batch_carries_its_sources_state_and_what_its_client_was_told() {
        for acknowledged in [true, false] {
            let credits = Admission::new(10, 10_000).try_acquire(1, 100).unwrap();
            let keep = vec![Keep { key: "offset".into(), value: Some("7".into()) }];
            let event = Event::new(crate::Kind::LOG);
            let one = event.size_bytes();
            let (mut batch, _receipt) = Batch::keeping(vec![event.clone()], keep.clone(), credits, acknowledged);
            batch.push(event);
            let copy = batch.share();
            assert_eq!((copy.keep(), copy.is_acknowledged()), (&keep[..], acknowledged));
            assert_eq!((copy.len(), copy.size_bytes()), (2, 2 * one));
        }
    }

    #[tokio::test]
    async fn a_change_on_one_branch_is_not_seen_on_the_other() {
        let (mut batch, _receipt, _admission) = batch();
        let other = batch.share();
        batch.iter_mut().for_each(|e| e.name = Some("changed".into()));
        assert_eq!(other.iter().next().unwrap().name, None);
        other.confirm(0);
        batch.confirm(0);
    }
}
