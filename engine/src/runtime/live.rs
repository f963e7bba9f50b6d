//! What runs: sources, sinks and readers of outboxes, joined as the edges say.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::queue::{RunningSink, SinkEnd};
use super::tasks::Tasks;
use super::wiring::{Paths, Wiring};
use crate::graph::{Edges, Graph, Named, OutboxReader};
use crate::metrics::{IntCounterVec, Metrics};
use crate::plugin::{Failures, Holds, OpenError, Outlet, Sink, Source, Transform};
use crate::{Admission, Refusal};

/// The gates of all sinks, for whoever asks whether events are taken.
pub(super) type Gates = watch::Sender<Vec<watch::Receiver<Option<Refusal>>>>;

/// See the module's description.
pub(super) struct Live {
    pub(super) admission: Admission,
    pub(super) metrics: Metrics,
    refused: IntCounterVec,
    gates: Gates,
    failures: Failures,
    pub(super) edges: Edges,
    pub(super) transforms: BTreeMap<String, Arc<dyn Transform>>,
    pub(super) sinks: BTreeMap<String, RunningSink>,
    /// Sinks that are no part of the graph any more and still write what they were given.
    pub(super) leaving: Vec<Leaving>,
    pub(super) wired: BTreeMap<String, Wired>,
    pub(super) sources: Tasks,
    pub(super) readers: Tasks,
}

/// How a source that runs is joined.
pub(super) struct Wired {
    pub(super) wiring: Arc<Wiring>,
    pub(super) holds: Holds,
}

/// A sink on its way out: nothing comes to it any more, and it closes when it has written what it has.
pub(super) struct Leaving {
    pub(super) name: String,
    pub(super) holds: Holds,
    task: JoinHandle<Result<(), OpenError>>,
}

/// Sinks and sources that are open and not yet at work, each with what it holds.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) sinks: Vec<Named<(Holds, Box<dyn Sink>)>>,
    pub(super) sources: Vec<Named<(Holds, Box<dyn Source>)>>,
}

impl Opened {
    pub(super) async fn sink(&mut self, Named { name, mut component }: Named<Box<dyn Sink>>) -> Result<(), OpenError> {
        let holds = component.holds();
        component.open().await?;
        self.sinks.push(Named { name, component: (holds, component) });
        Ok(())
    }

    pub(super) async fn source(
        &mut self,
        Named { name, mut component }: Named<Box<dyn Source>>,
    ) -> Result<(), OpenError> {
        let holds = component.holds();
        component.open().await?;
        self.sources.push(Named { name, component: (holds, component) });
        Ok(())
    }

    /// Closes all of them: they are not wanted.
    pub(super) async fn close(self, deadline: Instant) {
        // A source closes by being dropped.
        drop(self.sources);
        for Named { name, component: (_, mut sink) } in self.sinks {
            match timeout_at(deadline, sink.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(component = name, %error, "a sink that was not used did not close"),
                Err(_) => tracing::warn!(component = name, "a sink that was not used did not close in time"),
            }
        }
    }
}

impl Live {
    pub(super) fn new(admission: Admission, metrics: Metrics, gates: Gates) -> Self {
        let refused = metrics.counter_by("runtime", "refused_total", "Requests refused at admission.", "reason");
        Self {
            admission,
            metrics,
            refused,
            gates,
            failures: Failures::default(),
            edges: Edges::new(),
            transforms: BTreeMap::new(),
            sinks: BTreeMap::new(),
            leaving: Vec::new(),
            wired: BTreeMap::new(),
            sources: Tasks::default(),
            readers: Tasks::default(),
        }
    }

    /// Opens a whole graph and sets it to work. What is open when one cannot be opened is there to be drained.
    ///
    /// # Errors
    /// Why one could not be opened.
    pub(super) async fn open(&mut self, graph: Graph) -> Result<(), OpenError> {
        (self.edges, self.transforms) = (graph.edges, graph.transforms);
        for sink in graph.sinks {
            let mut opened = Opened::default();
            opened.sink(sink).await?;
            self.start_sinks(opened.sinks);
        }
        let mut opened = Opened::default();
        for source in graph.sources {
            opened.source(source).await?;
        }
        self.join(opened.sources, graph.outbox_sinks);
        Ok(())
    }

    pub(super) fn start_sinks(&mut self, sinks: Vec<Named<(Holds, Box<dyn Sink>)>>) {
        for Named { name, component: (holds, sink) } in sinks {
            let running = RunningSink::start(&name, holds, sink, &self.metrics);
            self.sinks.insert(name, running);
        }
    }

    /// Joins what runs as the edges say, and sets these sources and readers to work.
    pub(super) fn join(&mut self, sources: Vec<Named<(Holds, Box<dyn Source>)>>, readers: Vec<OutboxReader>) {
        let paths = Paths { edges: &self.edges, transforms: &self.transforms, sinks: &self.sinks };
        for (name, wired) in &self.wired {
            wired.wiring.lay(paths.from(name));
        }
        for Named { name, component: (holds, source) } in sources {
            let wiring = Arc::new(Wiring::new(&name, paths.from(&name)));
            let outlet = Outlet {
                admission: self.admission.clone(),
                wiring: Arc::clone(&wiring),
                offered: self.metrics.counter(&name, "admitted_events_total", "Events admitted from this source."),
                refused: self.refused.clone(),
                failures: Arc::clone(&self.failures),
            };
            self.sources.spawn(&name, |stop| source.run(outlet, stop));
            self.wired.insert(name, Wired { wiring, holds });
        }
        for OutboxReader { name, store, component } in readers {
            match self.sinks.get(&store).and_then(|sink| sink.outbox.clone()) {
                Some(outbox) => self.readers.spawn(&name, |stop| component.run(outbox, stop)),
                None => tracing::error!(component = name, store, "the store offers no outbox"),
            }
        }
        self.gates.send_replace(self.sinks.values().filter_map(|sink| sink.gate.clone()).collect());
    }

    /// Sends a sink on its way out. Its readers must have ended.
    pub(super) fn leave(&mut self, name: String, sink: RunningSink) {
        let RunningSink { holds, end: SinkEnd { close, task, .. }, .. } = sink;
        // It waits for the word only once it has written all; where its task failed, nobody hears it.
        let _ = close.send(());
        self.leaving.push(Leaving { name, holds, task });
    }

    /// Waits for the sinks on their way out that `which` names. Those that are not gone within the limit are there
    /// to be waited for again. Answers what did not end well.
    pub(super) async fn gone(&mut self, which: impl Fn(&Leaving) -> bool, limit: &Limit<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut at = 0;
        while let Some(leaving) = self.leaving.get_mut(at) {
            let ended = if which(leaving) { limit.within(&mut leaving.task).await } else { None };
            let Some(ended) = ended else {
                at += 1;
                continue;
            };
            let Leaving { name, .. } = self.leaving.remove(at);
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!("sinks.{name}: {error}")),
                Err(panic) => problems.push(format!("sinks.{name} failed: {panic}")),
            }
        }
        problems
    }

    /// Stops everything in the order of the stream. Answers what did not end well.
    pub(super) async fn drain(mut self, deadline: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        let sources = self.sources.stop_all();
        if timeout_at(deadline, self.sources.ended(&sources)).await.is_err() {
            let late = self.sources.cut_off(&sources).await;
            problems.extend(late.iter().map(|name| format!("sources.{name} did not stop in time")));
        }
        problems.append(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        // What is left of a source that was cut off must not keep the queues open.
        let dropped: usize = std::mem::take(&mut self.wired).values().map(|wired| wired.wiring.end()).sum();
        if dropped > 0 {
            problems.push(format!("{dropped} events that had been taken found no sink"));
        }
        let mut closing = Vec::new();
        for (name, RunningSink { queue, end, .. }) in std::mem::take(&mut self.sinks) {
            drop(queue);
            closing.push((name, end));
        }
        for (name, end) in &mut closing {
            if timeout_at(deadline, &mut end.drained).await.is_err() {
                problems.push(format!("sinks.{name} did not write its queue in time"));
            }
        }
        let readers = self.readers.stop_all();
        self.readers_ended(&readers, share(deadline)).await;
        for (name, SinkEnd { close, mut task, .. }) in closing {
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
        problems.extend(self.gone(|_| true, &Limit { deadline, shutdown: None }).await);
        for Leaving { name, task, .. } in self.leaving {
            problems.push(format!("sinks.{name}, as it was before a reload, did not write its queue in time"));
            task.abort();
        }
        problems
    }

    /// Waits for readers that were told to stop. Their events are safe in the store: a last attempt is cut short, not
    /// waited for at the cost of what comes after it.
    pub(super) async fn readers_ended(&mut self, readers: &[String], deadline: Instant) {
        if timeout_at(deadline, self.readers.ended(readers)).await.is_err() {
            tracing::warn!("a push was cut short by the end of the drain; its events stay in the store");
            self.readers.cut_off(readers).await;
        }
    }
}

/// How long something may be waited for: until a moment, or until the process stops.
pub(super) struct Limit<'a> {
    pub(super) deadline: Instant,
    pub(super) shutdown: Option<&'a CancellationToken>,
}

impl Limit<'_> {
    /// `None`: it took too long.
    pub(super) async fn within<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let Some(shutdown) = self.shutdown else { return timeout_at(self.deadline, future).await.ok() };
        tokio::select! {
            done = timeout_at(self.deadline, future) => done.ok(),
            () = shutdown.cancelled() => None,
        }
    }

    /// Whether it is the process's stop that ends it.
    pub(super) fn is_stop(&self) -> bool {
        self.shutdown.is_some_and(CancellationToken::is_cancelled)
    }
}

/// The part of the time until `deadline` that may be spent before the last step.
pub(super) fn share(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now).mul_f64(0.7)
}

/// Says what is in flight, for the metrics. A gauge that each admission touched would cost every
/// request; once a second costs nothing.
pub(super) fn watch_admission(admission: Admission, metrics: &Metrics) -> impl Future<Output = ()> + Send + use<> {
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
