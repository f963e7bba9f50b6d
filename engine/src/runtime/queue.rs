//! The queue ahead of a sink, and the task that empties it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::metrics::{IntCounter, IntGauge, Metrics};
use crate::plugin::{Holds, OpenError, Sink};
use crate::{Batch, Outbox, Refusal};

/// The most batches that can wait. What does wait is bounded by admission, whose budget may change while the
/// queue is there; so this is only more than any budget. It takes memory for what is in it alone.
const MOST_BATCHES: usize = 1 << 28;

/// A sink at work: its queue's beginning, and how to have it closed.
pub(super) struct RunningSink {
    pub(super) queue: Queue,
    pub(super) holds: Holds,
    pub(super) gate: Option<watch::Receiver<Option<Refusal>>>,
    pub(super) outbox: Option<Arc<dyn Outbox>>,
    pub(super) end: SinkEnd,
}

/// The end of a sink at work.
pub(super) struct SinkEnd {
    /// Its queue has no beginning any more, and all that was in it is written.
    pub(super) drained: oneshot::Receiver<()>,
    /// It may close once it is drained.
    pub(super) close: oneshot::Sender<()>,
    pub(super) task: JoinHandle<Result<(), OpenError>>,
}

impl RunningSink {
    /// Starts a sink that is open.
    pub(super) fn start(name: &str, holds: Holds, sink: Box<dyn Sink>, metrics: &Metrics) -> Self {
        let (sender, receiver) = mpsc::channel(MOST_BATCHES);
        let waiting = metrics.gauge(name, "queue_batches", "Batches that wait for this sink.");
        let failed =
            metrics.counter(name, "queue_lost_total", "Batches that found no room in this sink's queue; must stay 0.");
        let (gate, outbox) = (sink.gate(), sink.outbox());
        let (report_drained, drained) = oneshot::channel();
        let (close, closed) = oneshot::channel();
        let task = tokio::spawn(run(sink, receiver, waiting.clone(), report_drained, closed));
        let queue = Queue { sender, waiting, failed, unanswered: TaskTracker::new() };
        Self { queue, holds, gate, outbox, end: SinkEnd { drained, close, task } }
    }
}

async fn run(
    mut sink: Box<dyn Sink>,
    mut queue: mpsc::Receiver<Batch>,
    waiting: IntGauge,
    drained: oneshot::Sender<()>,
    close: oneshot::Receiver<()>,
) -> Result<(), OpenError> {
    let size = sink.write_size();
    while let Some(first) = queue.recv().await {
        let (mut events, mut bytes) = (first.len(), first.size_bytes());
        let mut batches = vec![first];
        let due = (!size.age.is_zero()).then(|| Instant::now() + size.age);
        while events < size.events && bytes < size.bytes {
            let Some(next) = next_within(&mut queue, due).await else { break };
            events += next.len();
            bytes += next.size_bytes();
            batches.push(next);
        }
        waiting.sub(i64::try_from(batches.len()).unwrap_or(0));
        sink.write(batches).await;
    }
    // Nobody waits any more where the runtime has given up; the sink is closed all the same.
    let _ = drained.send(());
    let _ = close.await;
    sink.close().await
}

/// The next batch that waits, or that comes before `due`.
async fn next_within(queue: &mut mpsc::Receiver<Batch>, due: Option<Instant>) -> Option<Batch> {
    match due {
        None => queue.try_recv().ok(),
        Some(due) => timeout_at(due, queue.recv()).await.ok().flatten(),
    }
}

/// The sending end of a sink's queue.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Batch>,
    waiting: IntGauge,
    failed: IntCounter,
    /// Batches that were given to the sink and not answered yet, in the queue or in its hands.
    unanswered: TaskTracker,
}

impl Queue {
    pub(super) fn push(&self, mut batch: Batch) {
        self.waiting.inc();
        batch.give_to(&self.unanswered);
        // The queue has room for all that is admitted, and is there as long as this end; so this fails
        // only by a mistake of ours, or where the sink's task failed. The batch is then dropped, which its source
        // hears of as a failure.
        if self.sender.try_send(batch).is_err() {
            self.waiting.dec();
            self.failed.inc();
        }
    }

    /// Until the sink holds nothing. Only once nothing can be pushed meanwhile.
    pub(super) async fn answered(&self) {
        // Closed, it still counts.
        self.unanswered.close();
        self.unanswered.wait().await;
    }
}
