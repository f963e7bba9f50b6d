//! A reload: what is different is exchanged, while the rest runs on.
//!
//! What must hold, whatever the new configuration is and whatever fails:
//!
//! 1. No event is lost or doubled. A batch goes the old way or the new one; who was told "stored" or "queued" finds it so.
//! 2. What is the same keeps its instance: its port, its file, its memory, its place in what it reads.
//! 3. Two instances never have one thing (a port, a file) at once, and of a source or a reader of an outbox
//!    there are never two at work under one name, so that what they keep is not written over.
//! 4. The graph that runs is the whole new one or the whole old one. Where neither can be had, the process ends, and says so.
//!
//! The order, and what happens where a step fails:
//!
//! | step | if it fails |
//! |---|---|
//! | sinks and sources that share nothing with what goes ([`Holds`]) are opened beside it | they are closed again; nothing has happened |
//! | sources that go stop as at a drain: they finish what they have begun, and their batches get their outcome | at 70 % of the time they are cut off; their clients were told nothing |
//! | readers of outboxes that go have their last attempt | they are cut off; what they had is in the store |
//! | where a new sink needs what an old one has: the sources before the old one *hold* (`wiring.rs`), it answers all it was given, and closes | it did not answer in time: the sources let go, the old graph goes on |
//! | what needs it is opened | the old one is opened again, and what had waited goes there |
//! | the new paths are laid, new sources and readers begin | |
//! | sinks that go and were in nobody's way write what they have and close | they are left to it; the drain waits for them too |
//!
//! While sources hold, a client waits for its answer a little longer; it is not refused, but where the budget is used up.
//! Refusing (503) instead would be simpler and was not taken: a client that gives up at the first 503 would lose
//! its events to every reload, and what waits is bounded in any case.
//!
//! Each half of the way, forth and back, has `drain_timeout`. A stop of the process ends all waiting.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::live::{Limit, Live, Opened, share};
use super::queue::{RunningSink, SinkEnd};
use super::wiring::reaches;
use crate::config::{ConfigErrors, RuntimeSettings, Section};
use crate::difference::Difference;
use crate::graph::{Graph, Named};
use crate::metrics::Mark;
use crate::plugin::{Holds, OpenError, Sink, Source};

/// Between two attempts to open again what was closed.
const AGAIN: Duration = Duration::from_millis(250);

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A plugin finds something wrong with its settings; nothing has happened.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A component could not be opened; the old graph goes on.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A sink that is to be exchanged did not finish what it has; the old graph goes on.
    #[error("{0}")]
    Busy(String),
    /// The process is stopping.
    #[error("openclaw-trace is stopping")]
    Stopping,
    /// A component of the new graph could not be opened, and neither could the old one again: the process ends.
    #[error("{0}")]
    Lost(String),
}

/// What is to be done.
pub(super) struct Exchange {
    /// The new graph: its edges, and those of its components that do not run yet.
    pub(super) coming: Graph,
    /// The components that go, built once more, for the way back.
    pub(super) back: Graph,
    pub(super) difference: Difference,
    pub(super) settings: RuntimeSettings,
    /// Before the new components were built.
    pub(super) mark: Mark,
}

/// What is opened once there is room for it.
#[derive(Default)]
struct Late {
    sinks: Vec<Named<Box<dyn Sink>>>,
    sources: Vec<Named<Box<dyn Source>>>,
}

impl Late {
    fn wants(&self) -> Vec<Holds> {
        let sinks = self.sinks.iter().map(|it| it.component.holds());
        sinks.chain(self.sources.iter().map(|it| it.component.holds())).collect()
    }
}

/// Names of what goes.
struct Going {
    sources: Vec<String>,
    transforms: BTreeSet<String>,
    sinks: Vec<String>,
    readers: Vec<String>,
}

impl Live {
    /// Carries it out; answers what a person should know of how it went.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub(super) async fn exchange(
        &mut self,
        exchange: Exchange,
        time: Duration,
        shutdown: &CancellationToken,
    ) -> Result<Vec<String>, ReloadError> {
        let Exchange { mut coming, back, difference, settings, mark } = exchange;
        let limit = Limit { deadline: Instant::now() + time, shutdown: Some(shutdown) };
        let going = self.going(&difference);
        let mut warnings = Vec::new();

        let (mut opened, late) = self.open_beside(&mut coming, &going, &limit).await?;
        let closed = match self.make_way(&going, &late.wants(), &limit, time, &mut warnings).await {
            Ok(closed) => closed,
            Err(error) => {
                opened.close(Instant::now() + time).await;
                if let ReloadError::Busy(_) = error {
                    self.put_back(back, &[], time).await?;
                }
                return Err(error);
            }
        };
        if let Err(error) = open_late(&mut opened, late, Instant::now() + time).await {
            opened.close(Instant::now() + time).await;
            self.put_back(back, &closed, time).await.map_err(|lost| ReloadError::Lost(format!("{error}; {lost}")))?;
            return Err(error.into());
        }

        self.edges = coming.edges;
        self.transforms.retain(|name, _| !going.transforms.contains(name));
        self.transforms.extend(coming.transforms);
        let unused: Vec<(String, RunningSink)> =
            going.sinks.iter().filter_map(|name| self.sinks.remove_entry(name)).collect();
        self.start_sinks(opened.sinks);
        let (events, bytes) = settings.in_flight();
        self.admission.resize(events, bytes);
        self.join(opened.sources, coming.outbox_sinks);

        for (name, sink) in unused {
            self.leave(name, sink);
        }
        let limit = Limit { deadline: Instant::now() + time, ..limit };
        warnings.extend(self.gone(|leaving| going.sinks.contains(&leaving.name), &limit).await);
        warnings.extend(self.leaving.iter().map(|leaving| {
            format!("sinks.{}, as it was before, still writes what it was given; the stop waits for it", leaving.name)
        }));
        for section in Section::ALL {
            difference.going(section).into_iter().for_each(|name| self.metrics.forget(name, mark));
        }
        Ok(warnings)
    }

    fn going(&self, difference: &Difference) -> Going {
        let named = |section| difference.going(section).into_iter().map(str::to_owned);
        let (sinks, readers) = named(Section::Sinks).partition(|name| self.sinks.contains_key(name));
        Going {
            sources: named(Section::Sources).collect(),
            transforms: named(Section::Transforms).collect(),
            sinks,
            readers,
        }
    }

    /// Opens what shares nothing with what goes, and answers what must wait.
    async fn open_beside(
        &mut self,
        coming: &mut Graph,
        going: &Going,
        limit: &Limit<'_>,
    ) -> Result<(Opened, Late), ReloadError> {
        let (sinks, sources) = (std::mem::take(&mut coming.sinks), std::mem::take(&mut coming.sources));
        let all = Late { sinks, sources };
        let wanted = all.wants();
        // What an earlier reload has sent away may still have what is wanted now.
        let _ = self.gone(|leaving| meets(&wanted, &leaving.holds), limit).await;
        if let Some(leaving) = self.leaving.iter().find(|leaving| meets(&wanted, &leaving.holds)) {
            return Err(ReloadError::Busy(format!(
                "sinks.{}, as it was before an earlier reload, still writes what it was given",
                leaving.name
            )));
        }
        let sources_going = going.sources.iter().filter_map(|name| Some(self.wired.get(name)?.holds.clone()));
        let sinks_going = going.sinks.iter().filter_map(|name| Some(self.sinks.get(name)?.holds.clone()));
        let taken: Vec<Holds> = sources_going.chain(sinks_going).collect();

        let (mut opened, mut late) = (Opened::default(), Late::default());
        let mut opening = Ok(());
        for sink in all.sinks {
            if meets(&taken, &sink.component.holds()) {
                late.sinks.push(sink);
            } else if opening.is_ok() {
                opening = in_time(limit.deadline, &sink.name.clone(), opened.sink(sink)).await;
            }
        }
        for source in all.sources {
            if meets(&taken, &source.component.holds()) {
                late.sources.push(source);
            } else if opening.is_ok() {
                opening = in_time(limit.deadline, &source.name.clone(), opened.source(source)).await;
            }
        }
        match opening {
            Ok(()) => Ok((opened, late)),
            Err(error) => {
                opened.close(limit.deadline).await;
                Err(error.into())
            }
        }
    }

    /// Stops what goes, and closes the sinks that have what is wanted. Answers the sinks that were closed.
    async fn make_way(
        &mut self,
        going: &Going,
        wanted: &[Holds],
        limit: &Limit<'_>,
        time: Duration,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<String>, ReloadError> {
        let stopping = Limit { deadline: share(limit.deadline), ..*limit };
        self.sources.stop(&going.sources);
        if stopping.within(self.sources.ended(&going.sources)).await.is_none() {
            if limit.is_stop() {
                return Err(ReloadError::Stopping);
            }
            let late = self.sources.cut_off(&going.sources).await;
            warnings.extend(late.iter().map(|name| format!("sources.{name} did not stop in time and was cut off")));
        }
        for name in &going.sources {
            let Some(wired) = self.wired.get(name) else { continue };
            if stopping.within(wired.wiring.resolved()).await.is_none() && limit.is_stop() {
                return Err(ReloadError::Stopping);
            }
            wired.wiring.end();
            self.wired.remove(name);
        }
        self.readers.stop(&going.readers);
        if stopping.within(self.readers.ended(&going.readers)).await.is_none() {
            if limit.is_stop() {
                return Err(ReloadError::Stopping);
            }
            self.readers.cut_off(&going.readers).await;
        }
        let in_the_way = |name: &&String| self.sinks.get(*name).is_some_and(|sink| meets(wanted, &sink.holds));
        let in_the_way: Vec<String> = going.sinks.iter().filter(in_the_way).cloned().collect();
        self.close_sinks(&in_the_way, limit, time, warnings).await?;
        Ok(in_the_way)
    }

    /// Has the sources before these sinks hold, and closes the sinks once they have answered all that they were given.
    async fn close_sinks(
        &mut self,
        sinks: &[String],
        limit: &Limit<'_>,
        time: Duration,
        warnings: &mut Vec<String>,
    ) -> Result<(), ReloadError> {
        let before = self.wired.iter().filter(|(name, _)| reaches(&self.edges, name, sinks));
        let before: Vec<_> = before.map(|(_, wired)| wired.wiring.clone()).collect();
        before.iter().for_each(|wiring| wiring.hold());
        for name in sinks {
            let Some(sink) = self.sinks.get(name) else { continue };
            if limit.within(sink.queue.answered()).await.is_none() {
                before.iter().for_each(|wiring| wiring.release());
                return Err(match limit.is_stop() {
                    true => ReloadError::Stopping,
                    false => ReloadError::Busy(format!(
                        "sinks.{name} did not finish what it was given within runtime.drain_timeout ({time:?})"
                    )),
                });
            }
        }
        before.iter().for_each(|wiring| wiring.cut());
        for name in sinks {
            let Some(RunningSink { queue, end: SinkEnd { close, mut task, .. }, .. }) = self.sinks.remove(name) else {
                continue;
            };
            drop(queue);
            let _ = close.send(());
            match timeout_at(Instant::now() + time, &mut task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => warnings.push(format!("sinks.{name} did not close well: {error}")),
                Ok(Err(panic)) => warnings.push(format!("sinks.{name} had failed: {panic}")),
                Err(_) => {
                    task.abort();
                    return Err(ReloadError::Lost(format!(
                        "sinks.{name} was to be exchanged and did not close, so what it has cannot be opened again"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The way back: opens again what was closed, and sets the old graph to work.
    async fn put_back(&mut self, back: Graph, closed: &[String], time: Duration) -> Result<(), ReloadError> {
        let deadline = Instant::now() + time;
        let mut opened = Opened::default();
        for Named { name, mut component } in back.sinks.into_iter().filter(|sink| closed.contains(&sink.name)) {
            let holds = component.holds();
            while !is_open(timeout_at(deadline, component.open()).await, deadline)? {
                sleep(AGAIN).await;
            }
            opened.sinks.push(Named { name, component: (holds, component) });
        }
        for Named { name, mut component } in back.sources {
            let holds = component.holds();
            while !is_open(timeout_at(deadline, component.open()).await, deadline)? {
                sleep(AGAIN).await;
            }
            opened.sources.push(Named { name, component: (holds, component) });
        }
        self.start_sinks(opened.sinks);
        self.join(opened.sources, back.outbox_sinks);
        Ok(())
    }
}

fn meets(some: &[Holds], one: &Holds) -> bool {
    some.iter().any(|other| other.meets(one))
}

async fn open_late(opened: &mut Opened, late: Late, deadline: Instant) -> Result<(), OpenError> {
    for sink in late.sinks {
        in_time(deadline, &sink.name.clone(), opened.sink(sink)).await?;
    }
    for source in late.sources {
        in_time(deadline, &source.name.clone(), opened.source(source)).await?;
    }
    Ok(())
}

async fn in_time(
    deadline: Instant,
    name: &str,
    opening: impl Future<Output = Result<(), OpenError>>,
) -> Result<(), OpenError> {
    let opened = timeout_at(deadline, opening).await;
    opened.unwrap_or_else(|_| Err(OpenError(format!("{name} could not be opened within runtime.drain_timeout"))))
}

/// Whether what was open before is open again. It is tried again and again: whoever took its place meanwhile may be
/// gone in a moment.
fn is_open(opened: Result<Result<(), OpenError>, Elapsed>, deadline: Instant) -> Result<bool, ReloadError> {
    let why = match opened {
        Ok(Ok(())) => return Ok(true),
        Ok(Err(_)) if Instant::now() + AGAIN < deadline => return Ok(false),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not come to an end".to_owned(),
    };
    Err(ReloadError::Lost(format!("what was there before cannot be opened again: {why}")))
}
