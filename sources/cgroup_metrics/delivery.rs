//! Sends samples without waiting, and sees to it that error events arrive.
//!
//! The outlet is a function here, so that tests refuse and fail as they like.

use std::time::Duration;

use engine::metrics::IntCounter;
use engine::{BuildContext, Event, Outcome, Receipt, Refusal};

use super::sample::Sample;

/// Error events that wait to be offered again; the oldest give way.
pub(super) const MAX_KEPT: usize = 32;
/// Batches that are not answered yet. When the sinks are so far behind, samples are dropped.
const MAX_UNANSWERED: usize = 4;

/// `Outlet::try_send`.
pub(super) type Offer<'a> = &'a mut (dyn FnMut(Vec<Event>, bool) -> Result<Receipt, Refusal> + Send);

/// What this source counts of itself.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) samples_dropped: IntCounter,
    pub(super) errors_dropped: IntCounter,
}

impl Counts {
    pub(super) fn new(cx: &BuildContext) -> Self {
        let counter = |name: &str, help: &str| cx.metrics.counter(&cx.name, name, help);
        Self {
            samples_dropped: counter("resource_samples_dropped_total", "Resource samples refused or not stored."),
            errors_dropped: counter("resource_errors_dropped_total", "Error events given up: too many, or the stop."),
        }
    }
}

/// See the module.
pub(super) struct Delivery {
    kept: Vec<Event>,
    unanswered: Vec<Unanswered>,
    counts: Counts,
}

struct Unanswered {
    receipt: Receipt,
    /// Of a batch of errors; a sample is not sent twice.
    errors: Vec<Event>,
}

impl Delivery {
    /// Nothing sent yet.
    pub(super) fn new(counts: Counts) -> Self {
        Self { kept: Vec::new(), unanswered: Vec::new(), counts }
    }

    /// Takes the answers that are there, without waiting for those that are not.
    pub(super) async fn settle(&mut self) {
        for mut sent in std::mem::take(&mut self.unanswered) {
            match tokio::time::timeout(Duration::ZERO, sent.receipt.outcome()).await {
                Err(_not_yet) => self.unanswered.push(sent),
                Ok(Outcome::Stored { .. }) => {}
                Ok(Outcome::Failed(_)) if sent.errors.is_empty() => self.counts.samples_dropped.inc(),
                Ok(Outcome::Failed(_)) => self.keep(sent.errors),
            }
        }
    }

    /// Offers a sample, and the errors that are kept from earlier ones.
    pub(super) fn offer(&mut self, sample: Sample, send: Offer<'_>) {
        self.keep(sample.errors);
        self.send_errors(send, false);
        let Some(metric) = sample.metric else { return };
        let sent = (self.unanswered.len() < MAX_UNANSWERED).then(|| send(vec![metric], false));
        match sent {
            Some(Ok(receipt)) => self.unanswered.push(Unanswered { receipt, errors: Vec::new() }),
            Some(Err(_)) | None => self.counts.samples_dropped.inc(),
        }
    }

    /// What is kept gets one more chance, and sinks that try on.
    pub(super) fn finish(mut self, send: Offer<'_>) {
        self.unanswered.clear();
        self.send_errors(send, true);
        self.counts.errors_dropped.inc_by(self.kept.len() as u64);
    }

    fn keep(&mut self, errors: Vec<Event>) {
        self.kept.extend(errors);
        let excess = self.kept.len().saturating_sub(MAX_KEPT);
        self.kept.drain(..excess);
        self.counts.errors_dropped.inc_by(excess as u64);
    }

    fn send_errors(&mut self, send: Offer<'_>, last: bool) {
        if self.kept.is_empty() || self.unanswered.len() >= MAX_UNANSWERED {
            return;
        }
        if let Ok(receipt) = send(self.kept.clone(), last) {
            self.unanswered.push(Unanswered { receipt, errors: std::mem::take(&mut self.kept) });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::{Admission, Batch, Kind, RefusalKind, TraceId};

    fn delivery() -> Delivery {
        let cx = BuildContext::new("resources");
        Delivery::new(Counts::new(&cx))
    }

    fn sample(errors: usize) -> Sample {
        let errors = (0..errors).map(|_| Event::new(Kind::ERROR)).collect();
        Sample { metric: Some(Event::new(Kind::METRIC)), errors }
    }

    fn refuse(_: Vec<Event>, _: bool) -> Result<Receipt, Refusal> {
        Err(Refusal::new(RefusalKind::Full, "full", Duration::from_secs(1)))
    }

    fn batch(events: Vec<Event>) -> (Batch, Receipt) {
        Batch::new(events, Admission::new(100, 1 << 20).try_acquire(1, 1).unwrap(), false)
    }

    #[tokio::test]
    async fn a_refused_sample_is_dropped_and_counted_and_a_refused_error_is_offered_again_under_its_id() {
        let mut delivery = delivery();
        let sample_with_error = sample(1);
        let id = sample_with_error.errors[0].trace_id;
        delivery.offer(sample_with_error, &mut refuse);
        assert_eq!(delivery.counts.samples_dropped.get(), 1);
        let mut seen: Vec<Vec<TraceId>> = vec![];
        delivery.settle().await;
        delivery.offer(sample(0), &mut |events, _| {
            seen.push(events.iter().map(|event| event.trace_id).collect());
            let (batch, receipt) = batch(events);
            batch.confirm(0);
            Ok(receipt)
        });
        assert_eq!(seen[0], [id]);
        assert_eq!(seen.len(), 2, "the errors, and the sample");
        delivery.settle().await;
        assert!(delivery.kept.is_empty() && delivery.unanswered.is_empty());
        assert_eq!(delivery.counts.errors_dropped.get(), 0);
    }

    #[tokio::test]
    async fn an_error_that_was_taken_and_not_stored_is_offered_again() {
        let mut delivery = delivery();
        delivery.offer(sample(2), &mut |events, _| Ok(batch(events).1));
        delivery.settle().await;
        assert_eq!(delivery.counts.samples_dropped.get(), 1);
        assert_eq!(delivery.kept.len(), 2);
    }

    #[tokio::test]
    async fn sinks_that_do_not_answer_cost_samples_and_no_memory() {
        let mut delivery = delivery();
        let mut stuck = vec![];
        for _ in 0..100 {
            delivery.settle().await;
            delivery.offer(sample(1), &mut |events, _| {
                let (batch, receipt) = batch(events);
                stuck.push(batch);
                Ok(receipt)
            });
        }
        assert_eq!(stuck.len(), MAX_UNANSWERED);
        assert_eq!(delivery.kept.len(), MAX_KEPT);
        assert_eq!(delivery.counts.samples_dropped.get(), 100 - 2);
        let mut last = vec![];
        // An answer comes late: what was sent is safe, what is kept can go.
        stuck.into_iter().for_each(|batch| batch.confirm(0));
        delivery.settle().await;
        delivery.finish(&mut |events, acknowledged| {
            last.push((events.len(), acknowledged));
            Ok(batch(events).1)
        });
        assert_eq!(last, [(MAX_KEPT, true)]);
    }
}
