//! Runs a graph: opens it, joins it, waits for the signal, drains it.
//!
//! The drain follows the stream. Sources are told to stop; each finishes what it has begun and
//! drops its outlet. When the last outlet is gone the queues are closed, so every sink writes what
//! is left and ends its loop. Then the readers of outboxes get their last attempt, while the outbox
//! is still open; then the sinks close. One deadline stands over all of it. What is still in flight
//! when it passes is counted and said, and the process does not end with 0.
//!
//! While it runs, its graph can be changed ([`Reloader`]); `exchange.rs` tells how.
//!
//! `live` is what runs, `tasks` its sources and readers, `queue` its sinks, `wiring` what joins them.

mod exchange;
mod live;
mod queue;
mod reloader;
mod tasks;
mod wiring;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{RuntimeSettings, Settings};
use crate::graph::Graph;
use crate::metrics::Metrics;
use crate::plugin::{OpenError, Registry};
use crate::{Admission, Refusal};

pub use exchange::ReloadError;
pub use reloader::{Changes, Reloader};
pub(crate) use wiring::Wiring;

use live::{Gates, Live, watch_admission};
use reloader::Request;

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
    /// A source gave up, a reload lost the graph, or the drain did not end well.
    #[error("it did not end well: {}", .0.join("; "))]
    Drain(Vec<String>),
}

/// A graph ready to run.
pub struct Runtime {
    graph: Graph,
    settings: RuntimeSettings,
    metrics: Metrics,
    phase: watch::Sender<Phase>,
    gates: Gates,
    reloads: Option<mpsc::Receiver<Request>>,
}

impl Runtime {
    /// Prepares to run `graph`.
    #[must_use]
    pub fn new(graph: Graph, settings: RuntimeSettings, metrics: Metrics) -> Self {
        let (phase, _) = watch::channel(Phase::Starting);
        let (gates, _) = watch::channel(Vec::new());
        Self { graph, settings, metrics, phase, gates, reloads: None }
    }

    /// A handle to ask it while it runs.
    #[must_use]
    pub fn status(&self) -> Status {
        Status { phase: self.phase.subscribe(), gates: self.gates.subscribe() }
    }

    /// A handle to change the graph while it runs; `settings` are those that it was built from. There is one: a
    /// second takes the first one's place.
    pub fn reloader<'a>(&mut self, settings: Settings, registry: &'a Registry) -> Reloader<'a> {
        let (requests, reloads) = mpsc::channel(1);
        self.reloads = Some(reloads);
        Reloader { settings, registry, shared: self.graph.shared.clone(), requests }
    }

    /// Runs until `shutdown` is cancelled or every source has ended, then drains.
    ///
    /// # Errors
    /// [`RunError`]: a component that could not be opened, or an end that lost something.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self { graph, settings, metrics, phase, gates, reloads } = self;
        let drain_timeout = settings.drain_timeout.0;
        let (events, bytes) = settings.in_flight();
        let admission = Admission::new(events, bytes);
        let watcher = tokio::spawn(watch_admission(admission.clone(), &metrics));
        let mut live = Live::new(admission.clone(), metrics, gates);

        let opening = live.open(graph).await;
        let mut problems = Vec::new();
        if opening.is_ok() {
            phase.send_replace(Phase::Running);
            problems.extend(serve(&mut live, reloads, drain_timeout, &shutdown).await);
        }
        phase.send_replace(Phase::Draining);
        problems.extend(live.drain(Instant::now() + drain_timeout).await);
        watcher.abort();
        opening?;
        let (events, bytes) = admission.in_flight();
        if events > 0 {
            problems.push(format!("{events} events ({bytes} bytes) were not drained"));
        }
        if problems.is_empty() { Ok(()) } else { Err(RunError::Drain(problems)) }
    }
}

/// What comes next in a run.
enum Next {
    Stop,
    Ended(Option<Result<String, JoinError>>),
    Reload(Request),
}

/// Until the signal, or until no source is left; a source that fails does so alone, loudly. Or until a reload has
/// lost the graph: answers how.
async fn serve(
    live: &mut Live,
    mut reloads: Option<mpsc::Receiver<Request>>,
    time: Duration,
    shutdown: &CancellationToken,
) -> Option<String> {
    loop {
        let next = tokio::select! {
            () = shutdown.cancelled() => Next::Stop,
            ended = live.sources.next() => Next::Ended(ended),
            request = next_request(&mut reloads) => Next::Reload(request),
        };
        match next {
            Next::Stop | Next::Ended(None) => return None,
            Next::Ended(Some(Ok(name))) => tracing::info!(component = name, "source ended"),
            Next::Ended(Some(Err(error))) => {
                tracing::error!(%error, "a source failed and is gone until the next start; the others go on");
            }
            Next::Reload(Request { exchange, answer }) => {
                let done = live.exchange(*exchange, time, shutdown).await;
                let lost = match &done {
                    Err(ReloadError::Lost(why)) => Some(format!("a reload failed, and the way back too: {why}")),
                    _ => None,
                };
                // Who asked may be gone; it is done all the same.
                let _ = answer.send(done);
                if lost.is_some() {
                    return lost;
                }
            }
        }
    }
}

async fn next_request(reloads: &mut Option<mpsc::Receiver<Request>>) -> Request {
    let request = match reloads {
        Some(reloads) => reloads.recv().await,
        None => None,
    };
    match request {
        Some(request) => request,
        // Nobody is there who could ask.
        None => std::future::pending().await,
    }
}
