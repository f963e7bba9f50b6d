//! Plugins that do as a test says, and a pipeline of them that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Inputs, Settings};
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::plugin::AnySink;
use engine::runtime::{Changes, Phase, ReloadError, Reloader, RunError, Runtime};
use engine::*;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What a test and its plugins share.
#[derive(Default)]
pub(crate) struct World {
    seen: Mutex<Seen>,
    stalled: watch::Sender<BTreeSet<String>>,
}

#[derive(Default)]
struct Seen {
    happened: Vec<String>,
    instances: BTreeMap<String, usize>,
    holders: BTreeMap<String, usize>,
    outlets: BTreeMap<String, Outlet>,
    requests: BTreeMap<String, TaskTracker>,
    /// By thing: the events that are kept there, in order. They outlive the sink, as a file does.
    kept: BTreeMap<String, Vec<Event>>,
    spoiled: BTreeSet<String>,
}

impl World {
    pub(crate) fn happened(&self) -> Vec<String> {
        self.seen.lock().unwrap().happened.clone()
    }

    pub(crate) fn happened_since(&self, before: usize) -> Vec<String> {
        self.happened().split_off(before)
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.happened().iter().filter(|it| *it == what).count()
    }

    /// The names of what is kept there: what the transforms wrote.
    pub(crate) fn names(&self, thing: &str) -> Vec<String> {
        self.kept(thing).iter().map(|event| event.name.clone().unwrap_or_default()).collect()
    }

    pub(crate) fn kept(&self, thing: &str) -> Vec<Event> {
        self.seen.lock().unwrap().kept.get(thing).cloned().unwrap_or_default()
    }

    pub(crate) fn holders(&self, thing: &str) -> usize {
        self.seen.lock().unwrap().holders.get(thing).copied().unwrap_or(0)
    }

    /// Writes to this thing wait.
    pub(crate) fn stall(&self, thing: &str, stalled: bool) {
        self.stalled.send_modify(|things| {
            if stalled {
                things.insert(thing.to_owned())
            } else {
                things.remove(thing)
            };
        });
    }

    /// From now on nobody can open it.
    pub(crate) fn spoil(&self, thing: &str) {
        self.seen.lock().unwrap().spoiled.insert(thing.to_owned());
    }

    fn say(&self, what: String) {
        self.seen.lock().unwrap().happened.push(what);
    }
}

// Plugins are made from tables, and find their world by its number.
static WORLDS: Mutex<BTreeMap<u64, Arc<World>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

fn world(number: u64) -> Arc<World> {
    Arc::clone(&WORLDS.lock().unwrap()[&number])
}

/// What sources and sinks have in common.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    world: u64,
    /// What it has to itself.
    thing: String,
    /// It does not say so.
    #[serde(default)]
    silent: bool,
    /// It cannot be opened.
    #[serde(default)]
    fails: bool,
    /// Seconds that it takes to stop.
    #[serde(default)]
    slow: u64,
    #[serde(default)]
    #[allow(dead_code)]
    setting: u64,
}

/// Something that is open, until it is dropped.
struct Open {
    world: Arc<World>,
    name: String,
    thing: String,
    /// A sink is closed by a call, a source by being dropped.
    unclosed: bool,
}

impl Table {
    fn holds(&self) -> Holds {
        if self.silent { Holds::Unknown } else { Holds::Only(vec![self.thing.clone()]) }
    }

    fn open(&self, name: &str) -> Result<Open, OpenError> {
        let world = world(self.world);
        let mut seen = world.seen.lock().unwrap();
        let instance = seen.instances.entry(name.to_owned()).or_default();
        *instance += 1;
        let instance = *instance;
        if self.fails {
            return Err(OpenError(format!("{name} cannot be opened")));
        }
        if seen.spoiled.contains(&self.thing) {
            return Err(OpenError(format!("{} is spoiled", self.thing)));
        }
        let holders = seen.holders.entry(self.thing.clone()).or_default();
        *holders += 1;
        assert_eq!(*holders, 1, "{name}: two have {} at once", self.thing);
        seen.happened.push(format!("{name} {instance} opens"));
        drop(seen);
        Ok(Open { world, name: format!("{name} {instance}"), thing: self.thing.clone(), unclosed: false })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut seen = self.world.seen.lock().unwrap();
        let how = if self.unclosed { "is dropped" } else { "closes" };
        seen.happened.push(format!("{} {how}", self.name));
        *seen.holders.get_mut(&self.thing).unwrap() -= 1;
    }
}

// ---- a source that lends its outlet to the test

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct Tap(Table);

struct TapSource(Table, String, Option<Open>);

impl SourceConfig for Tap {
    const TYPE: &'static str = "tap";
    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        Ok(Box::new(TapSource(self.0, cx.name.clone(), None)))
    }
}

#[async_trait]
impl Source for TapSource {
    fn holds(&self) -> Holds {
        self.0.holds()
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        self.2 = Some(self.0.open(&self.1)?);
        Ok(())
    }

    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        let Self(table, name, open) = *self;
        let open = open.unwrap();
        {
            let mut seen = open.world.seen.lock().unwrap();
            seen.outlets.insert(name.clone(), outlet);
            seen.requests.insert(name.clone(), TaskTracker::new());
        }
        shutdown.cancelled().await;
        let requests = open.world.seen.lock().unwrap().requests[&name].clone();
        requests.close();
        requests.wait().await;
        if table.slow > 0 {
            open.world.say(format!("{} stops", open.name));
            tokio::time::sleep(Duration::from_secs(table.slow)).await;
        }
    }
}

// ---- a transform that counts what it has seen

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mark {
    mark: String,
}

struct Marker(String, Mutex<usize>);

impl TransformConfig for Mark {
    const TYPE: &'static str = "mark";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        Ok(Box::new(Marker(self.mark, Mutex::new(0))))
    }
}

impl Transform for Marker {
    fn apply(&self, batch: &mut Batch) {
        let mut batches = self.1.lock().unwrap();
        *batches += 1;
        for event in batch.iter_mut() {
            let before = event.name.take().unwrap_or_default();
            event.name = Some(format!("{before}{}{batches}", self.0));
        }
    }
}

// ---- a sink that keeps events, each once

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct Shelf(Table);

struct ShelfSink(Table, String, Option<Open>);

impl SinkConfig for Shelf {
    const TYPE: &'static str = "shelf";
    const OFFERS_OUTBOX: bool = true;
    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(ShelfSink(self.0, cx.name.clone(), None))))
    }
}

#[async_trait]
impl Sink for ShelfSink {
    fn holds(&self) -> Holds {
        self.0.holds()
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let mut open = self.0.open(&self.1)?;
        open.unclosed = true;
        self.2 = Some(open);
        Ok(())
    }

    async fn write(&mut self, batches: Vec<Batch>) {
        let (world, thing) = (world(self.0.world), &self.0.thing);
        let _ = world.stalled.subscribe().wait_for(|stalled| !stalled.contains(thing)).await;
        assert!(self.2.is_some(), "a write after the close");
        for batch in batches {
            let mut seen = world.seen.lock().unwrap();
            let kept = seen.kept.entry(thing.clone()).or_default();
            let mut duplicates = 0;
            for event in batch.iter() {
                if kept.iter().any(|it| it.trace_id == event.trace_id) {
                    duplicates += 1;
                } else {
                    kept.push(event.clone());
                }
            }
            drop(seen);
            batch.confirm(duplicates);
        }
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        Some(Arc::new(Nothing))
    }

    async fn close(&mut self) -> Result<(), OpenError> {
        self.2.take().unwrap().unclosed = false;
        Ok(())
    }
}

struct Nothing;

#[async_trait]
impl Outbox for Nothing {
    async fn unsent(&self, _: Cursor, _: usize, _: usize) -> Result<Vec<Unsent>, OutboxError> {
        Ok(Vec::new())
    }
    async fn waiting(&self, _: usize) -> Result<usize, OutboxError> {
        Ok(0)
    }
    async fn confirm(&self, _: &[TraceId]) -> Result<(), OutboxError> {
        Ok(())
    }
    async fn quarantine(&self, _: TraceId, _: &str) -> Result<(), OutboxError> {
        Ok(())
    }
    async fn load_state(&self, _: &str) -> Result<Option<String>, OutboxError> {
        Ok(None)
    }
    async fn states(&self, _: &str) -> Result<Vec<(String, String)>, OutboxError> {
        Ok(Vec::new())
    }
    async fn save_state(&self, _: &str, _: &str) -> Result<(), OutboxError> {
        Ok(())
    }
}

// ---- a reader of an outbox

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pump {
    #[serde(default)]
    world: u64,
}

struct PumpSink(u64, String);

impl SinkConfig for Pump {
    const TYPE: &'static str = "pump";
    const READS: Reads = Reads::Outbox;
    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Outbox(Box::new(PumpSink(self.world, cx.name.clone()))))
    }
}

#[async_trait]
impl OutboxSink for PumpSink {
    async fn run(self: Box<Self>, _: Arc<dyn Outbox>, shutdown: CancellationToken) {
        let world = world(self.0);
        world.say(format!("{} starts", self.1));
        shutdown.cancelled().await;
        world.say(format!("{} stops", self.1));
        // The last attempt.
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.say(format!("{} ends", self.1));
    }
}

// ---- the pipeline

/// A pipeline that runs.
pub(crate) struct Rig {
    pub world: Arc<World>,
    pub metrics: Metrics,
    number: u64,
    registry: &'static Registry,
    reloader: Reloader<'static>,
    stop: CancellationToken,
    run: Option<JoinHandle<Result<(), RunError>>>,
}

/// A reload under way.
pub(crate) struct Reloading {
    task: JoinHandle<(Rig, Result<Changes, ReloadError>)>,
    stop: CancellationToken,
}

impl Reloading {
    pub(crate) fn stop_soon(&self) {
        self.stop.cancel();
    }
}

impl Future for Reloading {
    type Output = (Rig, Result<Changes, ReloadError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx).map(Result::unwrap)
    }
}

/// The configuration, with the world's number in every table that takes it.
fn settings(text: &str, number: u64, registry: &Registry) -> Settings {
    let mut with = String::new();
    for line in text.lines() {
        with += &format!("{line}\n");
        if ["'tap'", "'shelf'", "'pump'"].iter().any(|of| line.starts_with("type") && line.ends_with(of)) {
            with += &format!("world = {number}\n");
        }
    }
    let inputs = Inputs { embedded: with.leak(), ..Inputs::default() };
    engine::config::load(&inputs, registry).unwrap_or_else(|errors| panic!("{errors}"))
}

impl Rig {
    pub(crate) async fn start(text: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let world = Arc::new(World::default());
        WORLDS.lock().unwrap().insert(number, Arc::clone(&world));
        let registry =
            Registry::default().with_source::<Tap>().with_transform::<Mark>().with_sink::<Shelf>().with_sink::<Pump>();
        let registry: &'static Registry = Box::leak(Box::new(registry));
        let (settings, metrics) = (settings(text, number, registry), Metrics::default());
        let graph = Graph::build(&settings, registry, &metrics).unwrap_or_else(|errors| panic!("{errors}"));
        let mut runtime = Runtime::new(graph, settings.runtime.clone(), metrics.clone());
        let status = runtime.status();
        let reloader = runtime.reloader(settings, registry);
        let stop = CancellationToken::new();
        let run = tokio::spawn(runtime.run(stop.clone()));
        while status.phase() != Phase::Running {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        Self { world, metrics, number, registry, reloader, stop, run: Some(run) }
    }

    pub(crate) fn outlet(&self, source: &str) -> Outlet {
        self.world.outlet(source)
    }

    pub(crate) fn send(&self, source: &str, count: usize) -> Result<Receipt, Refusal> {
        self.world.send(source, count)
    }

    pub(crate) fn in_flight(&self) -> (usize, usize) {
        self.world.seen.lock().unwrap().outlets.values().next().unwrap().in_flight()
    }

    pub(crate) async fn reload(&mut self, text: &str) -> Result<Changes, ReloadError> {
        let settings = settings(text, self.number, self.registry);
        let applied = tokio::time::timeout(Duration::from_secs(3600), self.reloader.apply(settings)).await;
        let applied = applied.expect("a reload ends");
        // What was started has begun.
        tokio::time::sleep(Duration::from_millis(1)).await;
        applied
    }

    /// Reloads while the test goes on.
    pub(crate) fn reload_beside(mut self, text: &str) -> Reloading {
        let (text, stop) = (text.to_owned(), self.stop.clone());
        let task = tokio::spawn(async move {
            let done = self.reload(&text).await;
            (self, done)
        });
        Reloading { task, stop }
    }

    pub(crate) async fn stop(&mut self) -> Result<(), RunError> {
        self.stop.cancel();
        self.ended().await
    }

    pub(crate) async fn ended(&mut self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(Duration::from_secs(3600), self.run.take().unwrap()).await;
        ended.expect("a run ends").unwrap()
    }
}

impl World {
    pub(crate) fn outlet(&self, source: &str) -> Outlet {
        self.seen.lock().unwrap().outlets[source].clone()
    }

    /// The outlet of a source that runs now. The source does not end before the token is dropped: whoever has one is
    /// a request that it has begun.
    pub(crate) fn lent(&self, source: &str) -> Option<(Outlet, TaskTrackerToken)> {
        let seen = self.seen.lock().unwrap();
        let requests = seen.requests.get(source).filter(|requests| !requests.is_closed())?;
        Some((seen.outlets[source].clone(), requests.token()))
    }

    pub(crate) fn send(&self, source: &str, count: usize) -> Result<Receipt, Refusal> {
        self.outlet(source).try_send(events(count), false)
    }
}

pub(crate) fn events(count: usize) -> Vec<Event> {
    (0..count).map(|_| Event::new(Kind::LOG)).collect()
}
