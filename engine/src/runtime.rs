//! Runs a graph: opens it, joins it, waits for the signal, drains it.
//!
//! The drain follows the stream. Sources are told to stop; each finishes what it has begun and
//! drops its outlet. When the last outlet is gone the queues are closed, so every sink writes what
//! is left and ends its loop. Then the readers of outboxes get their last attempt, while the outbox
//! is still open; then the sinks close. One deadline stands over all of it. What is still in flight
//! when it passes is counted and said, and the process does not end with 0.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::RuntimeSettings;
use crate::graph::{Edges, Graph, Named};
use crate::metrics::{IntCounter, IntGauge, Metrics};
use crate::plugin::{Failures, OpenError, Outlet, Route, Sink, SourceState, Transform};
use crate::{Admission, Batch, Outbox, Refusal};

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not everything is open yet.
    Starting,
    /// Events are taken.
    Running,
    /// The stop has begun.
    Draining,
}

/// What others may ask of a running pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Status {
    phase: watch::Receiver<Phase>,
    gates: watch::Receiver<Vec<watch::Receiver<Option<Refusal>>>>,
}

impl Status {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Why events are refused now, if a sink takes none.
    #[must_use]
    pub fn refusing(&self) -> Option<Refusal> {
        self.gates.borrow().iter().find_map(|gate| gate.borrow().clone())
    }
}

/// How a run ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component could not be opened; nothing was taken.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A source gave up, or the drain did not end well.
    #[error("it did not end well: {}", .0.join("; "))]
    Drain(Vec<String>),
}

/// A graph ready to run.
pub struct Runtime {
    graph: Graph,
    settings: RuntimeSettings,
    metrics: Metrics,
    phase: watch::Sender<Phase>,
    gates: watch::Sender<Vec<watch::Receiver<Option<Refusal>>>>,
}

/// A sink at work: its queue's end, and how to have it closed.
struct Running {
    name: String,
    drained: oneshot::Receiver<()>,
    close: oneshot::Sender<()>,
    task: JoinHandle<Result<(), OpenError>>,
}

impl Runtime {
    /// Prepares to run `graph`.
    #[must_use]
    pub fn new(graph: Graph, settings: RuntimeSettings, metrics: Metrics) -> Self {
        let (phase, _) = watch::channel(Phase::Starting);
        let (gates, _) = watch::channel(Vec::new());
        Self { graph, settings, metrics, phase, gates }
    }

    /// A handle to ask it while it runs.
    #[must_use]
    pub fn status(&self) -> Status {
        Status { phase: self.phase.subscribe(), gates: self.gates.subscribe() }
    }

    /// Runs until `shutdown` is cancelled or every source has ended, then drains.
    ///
    /// # Errors
    /// [`RunError`]: a component that could not be opened, or a drain that lost something.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let max_bytes = usize::try_from(self.settings.max_in_flight_bytes.0).unwrap_or(usize::MAX);
        let admission = Admission::new(self.settings.max_in_flight_events, max_bytes);
        let Graph { mut sources, transforms, sinks, outbox_sinks, edges, .. } = self.graph;

        let mut queues = BTreeMap::new();
        let mut outboxes: BTreeMap<String, Arc<dyn Outbox>> = BTreeMap::new();
        let mut gates = BTreeMap::new();
        let mut running = Vec::new();
        let mut opening = Ok(());
        for Named { name, mut component } in sinks {
            opening = component.open().await;
            if opening.is_err() {
                break;
            }
            outboxes.extend(component.outbox().map(|outbox| (name.clone(), outbox)));
            gates.extend(component.gate().map(|gate| (name.clone(), gate)));
            let (queue, task) = start_sink(name.clone(), component, &admission, &self.metrics);
            queues.insert(name, queue);
            running.push(task);
        }
        for source in &mut sources {
            if opening.is_ok() {
                opening = source.component.open().await;
            }
        }

        let stop_sources = CancellationToken::new();
        let stop_readers = CancellationToken::new();
        let failures = Failures::default();
        let mut source_tasks = JoinSet::new();
        let mut reader_tasks = JoinSet::new();
        if opening.is_ok() {
            let routes =
                Routes { edges: &edges, transforms: &transforms, queues: &queues, gates: &gates, outboxes: &outboxes };
            let refused =
                self.metrics.counter_by("runtime", "refused_total", "Requests refused at admission.", "reason");
            for Named { name, component } in sources {
                let (route, gates) = routes.from(&name);
                let state = SourceState { prefix: format!("source.{name}."), store: routes.keeper(&name) };
                let offered = self.metrics.counter(&name, "admitted_events_total", "Events admitted from this source.");
                let outlet = Outlet {
                    admission: admission.clone(),
                    route: Arc::new(route),
                    gates,
                    offered,
                    refused: refused.clone(),
                    state,
                    failures: Arc::clone(&failures),
                };
                let stop = stop_sources.clone();
                source_tasks.spawn(async move {
                    component.run(outlet, stop).await;
                    name
                });
            }
            for reader in outbox_sinks {
                match outboxes.get(&reader.store) {
                    Some(outbox) => {
                        reader_tasks.spawn(reader.component.run(Arc::clone(outbox), stop_readers.clone()));
                    }
                    None => {
                        tracing::error!(component = reader.name, store = reader.store, "the store offers no outbox")
                    }
                }
            }
        }
        drop(queues);
        let watcher = tokio::spawn(watch_admission(admission.clone(), &self.metrics));

        if opening.is_ok() {
            self.gates.send_replace(gates.into_values().collect());
            self.phase.send_replace(Phase::Running);
            wait_for_end(&mut source_tasks, &shutdown).await;
        }
        self.phase.send_replace(Phase::Draining);
        let deadline = Instant::now() + self.settings.drain_timeout.0;
        let mut problems = Vec::new();

        stop_sources.cancel();
        if timeout_at(deadline, join_all(&mut source_tasks)).await.is_err() {
            problems.push("a source did not stop in time".to_owned());
            source_tasks.shutdown().await;
        }
        problems.append(&mut failures.lock().unwrap_or_else(PoisonError::into_inner));
        let mut closing = Vec::new();
        for Running { name, drained, close, task } in running {
            if timeout_at(deadline, drained).await.is_err() {
                problems.push(format!("sinks.{name} did not write its queue in time"));
            }
            closing.push((name, close, task));
        }
        stop_readers.cancel();
        // The readers' events are safe in the store: their last attempt is cut short, not waited for
        // at the cost of the store's own closing.
        let left = deadline.saturating_duration_since(Instant::now());
        let readers_end = Instant::now() + left.mul_f64(0.7);
        if timeout_at(readers_end, join_all(&mut reader_tasks)).await.is_err() {
            tracing::warn!("a push was cut short by the end of the drain; its events stay in the store");
            reader_tasks.shutdown().await;
        }
        drop(outboxes);
        for (name, close, mut task) in closing {
            let _ = close.send(());
            match timeout_at(deadline, &mut task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => problems.push(format!("sinks.{name}: {error}")),
                Ok(Err(panic)) => problems.push(format!("sinks.{name} failed: {panic}")),
                Err(_) => {
                    problems.push(format!("sinks.{name} did not close in time"));
                    task.abort();
                }
            }
        }
        watcher.abort();
        opening?;
        let (events, bytes) = admission.in_flight();
        if events > 0 {
            problems.push(format!("{events} events ({bytes} bytes) were not drained"));
        }
        if problems.is_empty() { Ok(()) } else { Err(RunError::Drain(problems)) }
    }
}

/// Until the signal, or until no source is left. A source that fails does so alone, loudly.
async fn wait_for_end(sources: &mut JoinSet<String>, shutdown: &CancellationToken) {
    loop {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = sources.join_next() => ended,
        };
        match ended {
            None => return,
            Some(Ok(name)) => tracing::info!(component = name, "source ended"),
            Some(Err(error)) => {
                tracing::error!(%error, "a source failed and is gone until the next start; the others go on")
            }
        }
    }
}

async fn join_all<T: 'static>(tasks: &mut JoinSet<T>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task failed while it was stopping");
        }
    }
}

/// Says what is in flight, for the metrics. A gauge that each admission touched would cost every
/// request; once a second costs nothing.
fn watch_admission(admission: Admission, metrics: &Metrics) -> impl Future<Output = ()> + Send + use<> {
    let events = metrics.gauge("runtime", "in_flight_events", "Events admitted and not yet done with.");
    let bytes = metrics.gauge("runtime", "in_flight_bytes", "Bytes of events admitted and not yet done with.");
    async move {
        loop {
            let (now_events, now_bytes) = admission.in_flight();
            events.set(i64::try_from(now_events).unwrap_or(i64::MAX));
            bytes.set(i64::try_from(now_bytes).unwrap_or(i64::MAX));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn start_sink(name: String, sink: Box<dyn Sink>, admission: &Admission, metrics: &Metrics) -> (Queue, Running) {
    // A batch in flight holds at least one event's credit, so no more batches than this can wait.
    let (sender, receiver) = mpsc::channel(admission.max_events().max(1));
    let waiting = metrics.gauge(&name, "queue_batches", "Batches that wait for this sink.");
    let failed =
        metrics.counter(&name, "queue_lost_total", "Batches that found no room in this sink's queue; must stay 0.");
    let (report_drained, drained) = oneshot::channel();
    let (close, closed) = oneshot::channel();
    let task = tokio::spawn(run_sink(sink, receiver, waiting.clone(), report_drained, closed));
    (Queue { sender, waiting, failed }, Running { name, drained, close, task })
}

async fn run_sink(
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
struct Queue {
    sender: mpsc::Sender<Batch>,
    waiting: IntGauge,
    failed: IntCounter,
}

impl Queue {
    fn push(&self, batch: Batch) {
        self.waiting.inc();
        // The queue is as long as the credits allow, so it is full only by a mistake of ours; the
        // batch is then dropped, which its source hears of as a failure.
        if self.sender.try_send(batch).is_err() {
            self.waiting.dec();
            self.failed.inc();
        }
    }
}

/// What lies behind one component: a transform (none behind a source), and what reads from it.
struct Branch {
    transform: Option<Arc<dyn Transform>>,
    branches: Vec<Branch>,
    queues: Vec<Queue>,
}

impl Route for Branch {
    fn send(&self, mut batch: Batch) {
        if let Some(transform) = &self.transform {
            transform.apply(&mut batch);
        }
        if batch.is_empty() && batch.keep().is_empty() {
            // Every event was safe already, or dropped on purpose: done, and well.
            batch.confirm(0);
            return;
        }
        let mut readers = self.branches.len() + self.queues.len();
        let mut batch = Some(batch);
        let mut copy = || {
            readers -= 1;
            if readers == 0 { batch.take() } else { batch.as_ref().map(Batch::share) }
        };
        for branch in &self.branches {
            if let Some(batch) = copy() {
                branch.send(batch);
            }
        }
        for queue in &self.queues {
            if let Some(batch) = copy() {
                queue.push(batch);
            }
        }
    }
}

/// Makes the branches behind the sources.
struct Routes<'a> {
    edges: &'a Edges,
    transforms: &'a BTreeMap<String, Arc<dyn Transform>>,
    queues: &'a BTreeMap<String, Queue>,
    gates: &'a BTreeMap<String, watch::Receiver<Option<Refusal>>>,
    outboxes: &'a BTreeMap<String, Arc<dyn Outbox>>,
}

impl Routes<'_> {
    fn from(&self, name: &str) -> (Branch, Vec<watch::Receiver<Option<Refusal>>>) {
        let mut branch =
            Branch { transform: self.transforms.get(name).cloned(), branches: Vec::new(), queues: Vec::new() };
        let mut gates = Vec::new();
        for reader in self.edges.get(name).into_iter().flatten() {
            if let Some(queue) = self.queues.get(reader) {
                branch.queues.push(queue.clone());
                gates.extend(self.gates.get(reader).cloned());
            } else {
                let (behind, behind_gates) = self.from(reader);
                branch.branches.push(behind);
                gates.extend(behind_gates);
            }
        }
        (branch, gates)
    }

    /// The first sink behind `name` that keeps events, and so a source's state too.
    fn keeper(&self, name: &str) -> Option<Arc<dyn Outbox>> {
        self.edges
            .get(name)?
            .iter()
            .find_map(|reader| self.outboxes.get(reader).cloned().or_else(|| self.keeper(reader)))
    }
}
