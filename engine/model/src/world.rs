//! A whole run: clients, the graph source → gauge → dedupe → sinks, commits that fail, reloads, a stop, and
//! after each step what the promises say.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use shuttle::rand::Rng as _;
use tokio_util::sync::CancellationToken;

use super::dedupe::Dedupe;
use super::engine::config::{Inputs, Settings, load};
use super::engine::graph::Graph;
use super::engine::metrics::Metrics;
use super::engine::plugin::AnySink;
use super::engine::runtime::{Phase, ReloadError, Reloader, RunError, Runtime};
use super::engine::*;
use crate::plan::{self, Client, Manner, Plan, Search, Stop, Tally};
use crate::shim::step;
use crate::shim::tokio::task::{self, JoinSet, spawn};
use crate::shim::tokio::time;

/// Looks for an execution of `plan` that breaks a promise.
///
/// # Errors
/// What broke.
pub fn explore(plan: &Plan, search: Search, tally: &Tally) -> Result<usize, String> {
    let (plan, tally) = (plan.clone(), tally.clone());
    let settings = settings(&plan)?;
    plan::explore(search, move || execute(&plan, &settings, &tally))
}

/// All that the parts of one execution know of it. Its lock is no step: it belongs to the observer.
struct World {
    plan: Plan,
    tally: Tally,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// By sink: what is committed.
    disks: BTreeMap<usize, BTreeSet<TraceId>>,
    /// By sink: which instance of it is open, and how many there have been.
    open: BTreeMap<usize, usize>,
    opened: usize,
    /// Events that hold credits.
    live: usize,
    /// What passed admission.
    admitted: BTreeSet<TraceId>,
    /// Attempts that a client heard have failed.
    failed: BTreeSet<String>,
    /// Events that a client heard are stored and were not there before.
    told_new: usize,
    /// Events of clients that were told "queued".
    queued: BTreeSet<TraceId>,
    /// Events that were stored when their client heard of them.
    insisted: BTreeSet<TraceId>,
    failures: usize,
    hung: bool,
    clients_done: usize,
}

thread_local! {
    // Plugins are made from tables, so they find the world here. All tasks run on one thread.
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

fn world() -> Arc<World> {
    WORLD.with_borrow(|world| world.clone().expect("set at the start of each execution"))
}

impl World {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(event: u8) -> TraceId {
    TraceId::derived(&[&[event]])
}

/// The configuration that is run first, and those that reloads bring. Made once, and within an execution: what is
/// tried out while a configuration is read has locks of shuttle's.
fn settings(plan: &Plan) -> Result<Vec<Settings>, String> {
    let sinks = |setting: u8| {
        let sink = |number| {
            format!(
                "[sinks.disk{number}]\ntype = 'disk'\nnumber = {number}\nsetting = {setting}\ninputs = ['dedupe']\n"
            )
        };
        (0..plan.sinks).map(sink).collect::<String>()
    };
    let text = |gauge: u8, disk: u8| {
        format!(
            "[runtime]\nmax_in_flight_events = {}\n[sources.clients]\ntype = 'clients'\n\
             [transforms.gauge]\ntype = 'gauge'\nsetting = {gauge}\ninputs = ['clients']\n\
             [transforms.dedupe]\ntype = 'dedupe'\ninputs = ['gauge']\n{}",
            plan.max_events,
            sinks(disk)
        )
    };
    let texts = [text(0, 0), text(1, 0), text(0, 1), text(1, 2), text(1, UNOPENABLE)];
    let loaded = Arc::new(Mutex::new(Vec::new()));
    let filled = Arc::clone(&loaded);
    plan::explore(Search::Random { seed: 0, executions: 1 }, move || {
        let load = |text: &String| {
            let inputs = Inputs { embedded: text.clone().leak(), ..Inputs::default() };
            load(&inputs, registry()).unwrap_or_else(|errors| panic!("{errors}"))
        };
        *filled.lock().unwrap_or_else(PoisonError::into_inner) = texts.iter().map(load).collect();
    })?;
    let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *loaded))
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        Registry::default()
            .with_source::<Clients>()
            .with_transform::<Gauge>()
            .with_transform::<Dedupe>()
            .with_sink::<Disk>()
    })
}

/// Reloads at any moment; each brings one of the configurations.
async fn reload(mut reloader: Reloader<'static>, settings: Vec<Settings>, world: Arc<World>) {
    for _ in 0..world.plan.reloads {
        linger(60).await;
        let which = shuttle::rand::thread_rng().gen_range(0..settings.len());
        match reloader.apply(settings[which].clone()).await {
            Ok(changes) if changes.is_none() => {}
            Ok(changes) => {
                let sinks = changes.changed.iter().any(|name| name.starts_with("sinks"));
                world.tally.count(if sinks { "sinks exchanged" } else { "transforms exchanged" });
            }
            Err(ReloadError::Open(_)) => world.tally.count("sinks put back"),
            Err(ReloadError::Stopping) => return world.tally.count("reloads cut short by the stop"),
            // A deadline that had passed.
            Err(_) if world.plan.stop == Stop::WithDeadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn execute(plan: &Plan, settings: &[Settings], tally: &Tally) {
    time::reset();
    task::reset();
    let ledger = Ledger { failures: plan.failures, ..Ledger::default() };
    let world = Arc::new(World { plan: plan.clone(), tally: tally.clone(), ledger: Mutex::new(ledger) });
    WORLD.set(Some(Arc::clone(&world)));
    let metrics = Metrics::default();
    let first = &settings[0];
    let graph = Graph::build(first, registry(), &metrics).unwrap_or_else(|errors| panic!("{errors}"));
    let mut runtime = Runtime::new(graph, first.runtime.clone(), metrics.clone());
    if plan.reloads > 0 {
        let reloader = runtime.reloader(first.clone(), registry());
        drop(spawn(reload(reloader, settings.to_vec(), Arc::clone(&world))));
    }
    let shutdown = CancellationToken::new();
    let status = runtime.status();
    if plan.stop != Stop::AtTheEnd {
        let (stop, with_deadline) = (shutdown.clone(), plan.stop == Stop::WithDeadline);
        drop(spawn(async move {
            linger(40).await;
            stop.cancel();
            if with_deadline {
                linger(60).await;
                // The deadline counts from the begin of the drain.
                while status.phase() != Phase::Draining {
                    shuttle::future::yield_now().await;
                }
                time::elapse();
            }
        }));
    }
    // A run that never ends is found by shuttle: nothing can go on, or the steps run out (P6).
    let ended = shuttle::future::block_on(async {
        let ended = runtime.run(shutdown).await;
        task::all_ended().await;
        ended
    });
    judge(&world, ended, &metrics);
    WORLD.set(None);
}

/// What must hold after the end.
fn judge(world: &World, ended: Result<(), RunError>, metrics: &Metrics) {
    let (plan, ledger) = (&world.plan, world.ledger());
    let lost: usize = metrics
        .render()
        .lines()
        .filter(|line| line.starts_with("openclaw_trace_queue_lost_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum();
    let every = |what: &BTreeSet<TraceId>| ledger.disks.values().all(|disk| what.is_subset(disk));
    if plan.stop != Stop::WithDeadline {
        assert_eq!(lost, 0, "P2: a queue overflowed");
        assert!(ended.is_ok(), "P6: {ended:?}");
    }
    assert!(every(&ledger.insisted), "P1: stored, and gone");
    match ended {
        Ok(()) => {
            world.tally.count("drained");
            assert!(!ledger.hung, "P6: a write hung and the drain ended well");
            assert_eq!(ledger.clients_done, plan.clients.len(), "P6: a client still waits");
            assert_eq!(ledger.live, 0, "P6: events are still in flight");
            assert!(every(&ledger.queued), "P6: told queued, and not stored by an orderly stop");
            assert!(ledger.open.is_empty() && ledger.opened >= plan.sinks, "P6: a sink was not closed");
        }
        Err(RunError::Drain(problems)) => {
            world.tally.count("cut short");
            assert!(!problems.is_empty(), "P6: an end that says nothing");
        }
        Err(other) => panic!("{other}"),
    }
    let leaves = plan.clients.iter().any(|client| matches!(client.manner, Manner::Leaves | Manner::IsToldQueued));
    if let (1, Some(disk)) = (plan.sinks, ledger.disks.get(&0)) {
        assert!(ledger.told_new <= disk.len(), "P3: told stored as new more often than there are events");
        if !leaves && plan.stop != Stop::WithDeadline {
            assert_eq!(ledger.told_new, disk.len(), "P3: an event in the store that no answer counted");
        }
    }
    if plan.stop == Stop::AtTheEnd {
        for client in plan.clients.iter().filter(|client| matches!(client.manner, Manner::Insists | Manner::Waits)) {
            let ids = client.batches.iter().flatten().map(|event| id(*event)).collect();
            assert!(every(&ids), "P2: sent until it was stored, and not in the store");
        }
    }
}

/// Up to so many times, lets others go on.
async fn linger(at_most: usize) {
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..=at_most) {
        shuttle::future::yield_now().await;
    }
}

// ---- the source

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Clients {}

impl SourceConfig for Clients {
    const TYPE: &'static str = "clients";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Source for Clients {
    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        let world = world();
        let mut clients = JoinSet::new();
        for (number, client) in world.plan.clients.iter().enumerate() {
            let sender = Sender {
                world: Arc::clone(&world),
                outlet: outlet.clone(),
                shutdown: shutdown.clone(),
                number,
                client: client.clone(),
            };
            clients.spawn(sender.run());
        }
        drop(outlet);
        while clients.join_next().await.is_some() {
            world.ledger().clients_done += 1;
        }
    }
}

/// A client at work.
struct Sender {
    world: Arc<World>,
    outlet: Outlet,
    shutdown: CancellationToken,
    number: usize,
    client: Client,
}

impl Sender {
    async fn run(self) {
        let manner = self.client.manner;
        let mut attempt = 0;
        for batch in &self.client.batches {
            match manner {
                Manner::Insists | Manner::Waits => {
                    if !self.insist(batch, &mut attempt).await {
                        return;
                    }
                    // P3: what was told stored is a duplicate from then on.
                    attempt += 1;
                    if let Ok(mut receipt) = self.outlet.try_send(self.events(batch, attempt), false) {
                        let (outcome, known) = (receipt.outcome().await, batch.len());
                        self.hear(batch, attempt, &outcome);
                        if let Outcome::Stored { duplicates } = outcome {
                            assert_eq!(duplicates, known, "P3: stored twice");
                            self.world.tally.count("repeats told as such");
                        }
                    }
                }
                Manner::IsToldQueued => {
                    while self.outlet.try_send(self.events(batch, attempt), true).is_err() {
                        self.world.tally.count("refusals");
                        if self.shutdown.is_cancelled() {
                            return;
                        }
                        shuttle::future::yield_now().await;
                    }
                    self.world.ledger().queued.extend(batch.iter().map(|event| id(*event)));
                    self.world.tally.count("told queued");
                }
                Manner::Leaves => {
                    let (outlet, events) = (self.outlet.clone(), self.events(batch, attempt));
                    let sending = spawn(async move {
                        if let Ok(mut receipt) = outlet.send(events, false).await {
                            receipt.outcome().await;
                        }
                    });
                    linger(20).await;
                    sending.abort();
                    let _ = sending.await;
                    self.world.tally.count("clients gone");
                }
            }
            attempt += 1;
        }
    }

    /// Until it is stored; or says that it was not, since the stop came.
    async fn insist(&self, batch: &[u8], attempt: &mut usize) -> bool {
        loop {
            *attempt += 1;
            let events = self.events(batch, *attempt);
            let sent = if self.client.manner == Manner::Waits {
                self.outlet.send(events, false).await
            } else {
                self.outlet.try_send(events, false)
            };
            match sent {
                Ok(mut receipt) => {
                    let outcome = receipt.outcome().await;
                    self.hear(batch, *attempt, &outcome);
                    if matches!(outcome, Outcome::Stored { .. }) {
                        return true;
                    }
                }
                Err(refusal) => {
                    assert_eq!(refusal.kind, RefusalKind::Full);
                    self.world.tally.count("refusals");
                }
            }
            if self.shutdown.is_cancelled() {
                return false;
            }
            shuttle::future::yield_now().await;
        }
    }

    /// P1: whoever hears "stored" finds it in every sink, at that moment.
    fn hear(&self, batch: &[u8], attempt: usize, outcome: &Outcome) {
        let mut ledger = self.world.ledger();
        match outcome {
            Outcome::Stored { duplicates } => {
                for event in batch {
                    for sink in 0..self.world.plan.sinks {
                        let there = ledger.disks.get(&sink).is_some_and(|disk| disk.contains(&id(*event)));
                        assert!(there, "P1: event {event} was told stored and is not in sink {sink}");
                    }
                    ledger.insisted.insert(id(*event));
                }
                ledger.told_new += batch.len() - duplicates;
            }
            Outcome::Failed(_) => {
                ledger.failed.insert(self.tag(attempt));
                self.world.tally.count("failures heard");
            }
        }
    }

    fn tag(&self, attempt: usize) -> String {
        format!("{}.{attempt}", self.number)
    }

    fn events(&self, batch: &[u8], attempt: usize) -> Vec<Event> {
        let event = |number: &u8| {
            let mut event = Event::new(Kind::LOG);
            event.trace_id = id(*number);
            event.name = Some(self.tag(attempt).into());
            event
        };
        batch.iter().map(event).collect()
    }
}

// ---- the gauge, first behind the source: what passes here holds credits until its outcome

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Gauge {
    #[allow(dead_code)]
    setting: u8,
}

impl TransformConfig for Gauge {
    const TYPE: &'static str = "gauge";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        Ok(Box::new(self))
    }
}

impl Transform for Gauge {
    fn apply(&self, batch: &mut Batch) {
        let (world, events) = (world(), batch.len());
        {
            let mut ledger = world.ledger();
            ledger.live += events;
            ledger.admitted.extend(batch.iter().map(|event| event.trace_id));
            let alone = ledger.live == events;
            assert!(ledger.live <= world.plan.max_events || alone, "P2: {} events in flight", ledger.live);
        }
        batch.on_outcome(move |_| world.ledger().live -= events);
        step();
    }
}

// ---- the sink, a model of the store's writer

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Disk {
    number: usize,
    setting: u8,
}

/// A setting with which a disk cannot be opened.
const UNOPENABLE: u8 = 9;

struct DiskSink {
    number: usize,
    setting: u8,
    /// The writer's thread, which does one thing after the other.
    writer: Arc<shuttle::sync::Mutex<Writer>>,
}

struct Writer {
    number: usize,
    /// Which of the instances that have been open it belongs to.
    instance: usize,
    /// Acknowledged batches that could not be written yet.
    held: Vec<Batch>,
}

impl SinkConfig for Disk {
    const TYPE: &'static str = "disk";
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        let writer = shuttle::sync::Mutex::new(Writer { number: self.number, instance: 0, held: Vec::new() });
        let Self { number, setting } = self;
        Ok(AnySink::Stream(Box::new(DiskSink { number, setting, writer: Arc::new(writer) })))
    }
}

#[async_trait]
impl Sink for DiskSink {
    fn holds(&self) -> Holds {
        Holds::Only(vec![self.number.to_string()])
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let (world, mut writer) = (world(), lock(&self.writer));
        let mut ledger = world.ledger();
        if self.setting == UNOPENABLE {
            return Err(OpenError("on purpose".to_owned()));
        }
        ledger.opened += 1;
        writer.instance = ledger.opened;
        ledger.disks.entry(self.number).or_default();
        let other = ledger.open.insert(self.number, writer.instance);
        assert!(other.is_none(), "reload: two have one disk at once");
        Ok(())
    }

    async fn write(&mut self, batches: Vec<Batch>) {
        let world = world();
        if world.plan.hangs && self.number == 0 {
            world.ledger().hung = true;
            world.tally.count("hung");
            std::future::pending::<()>().await;
        }
        if batches.len() > 1 {
            world.tally.count("group commits");
        }
        let holds = {
            let mut writer = lock(&self.writer);
            writer.take(&world, batches);
            !writer.held.is_empty()
        };
        if holds {
            let writer = Arc::clone(&self.writer);
            drop(spawn(upkeep(world, writer)));
        }
        // The writer's thread answers; the sink waits for it.
        shuttle::future::yield_now().await;
    }

    async fn close(&mut self) -> Result<(), OpenError> {
        let (world, mut writer) = (world(), lock(&self.writer));
        while !writer.held.is_empty() {
            writer.again(&world);
        }
        world.ledger().open.remove(&self.number);
        Ok(())
    }
}

/// Tries again what is held, from time to time.
async fn upkeep(world: Arc<World>, writer: Arc<shuttle::sync::Mutex<Writer>>) {
    while !lock(&writer).held.is_empty() {
        linger(10).await;
        lock(&writer).again(&world);
    }
}

fn lock(writer: &shuttle::sync::Mutex<Writer>) -> shuttle::sync::MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    fn again(&mut self, world: &World) {
        let held = std::mem::take(&mut self.held);
        self.take(world, held);
    }

    /// Writes the batches, and answers each of them.
    fn take(&mut self, world: &World, batches: Vec<Batch>) {
        if world.plan.confirms_first {
            let ids = batches.iter().map(|batch| batch.iter().map(|event| event.trace_id).collect()).collect();
            batches.into_iter().for_each(|batch| batch.confirm(0));
            self.insert(world, ids);
            return;
        }
        match self.commit(world, &batches) {
            Some(duplicates) => confirm(batches, duplicates),
            None if batches.len() == 1 => self.give_back(world, batches),
            None => {
                for batch in batches {
                    match self.commit(world, std::slice::from_ref(&batch)) {
                        Some(duplicates) => confirm(vec![batch], duplicates),
                        None => self.give_back(world, vec![batch]),
                    }
                }
            }
        }
    }

    /// One transaction; `None` where it failed and left nothing.
    fn commit(&self, world: &World, batches: &[Batch]) -> Option<Vec<usize>> {
        if batches.is_empty() {
            return Some(Vec::new());
        }
        for event in batches.iter().flat_map(Batch::iter) {
            let failed = event.name.as_deref().is_some_and(|tag| world.ledger().failed.contains(tag));
            assert!(!failed, "P1: a batch is written after its failure was told");
        }
        step();
        let fails = {
            let mut ledger = world.ledger();
            assert_eq!(ledger.open.get(&self.number), Some(&self.instance), "P6: a write after the close");
            let fails = ledger.failures > 0 && shuttle::rand::thread_rng().gen_bool(0.4);
            ledger.failures -= usize::from(fails);
            fails
        };
        if fails {
            world.tally.count("failing commits");
            return None;
        }
        let ids = batches.iter().map(|batch| batch.iter().map(|event| event.trace_id).collect()).collect();
        let duplicates = self.insert(world, ids);
        step();
        Some(duplicates)
    }

    fn insert(&self, world: &World, batches: Vec<Vec<TraceId>>) -> Vec<usize> {
        let mut ledger = world.ledger();
        assert!(batches.iter().flatten().all(|id| ledger.admitted.contains(id)), "P2: not admitted, and stored");
        let disk = ledger.disks.entry(self.number).or_default();
        batches.iter().map(|ids| ids.iter().filter(|id| !disk.insert(**id)).count()).collect()
    }

    /// Fails the batches, in words or by dropping them, but for those that were acknowledged.
    fn give_back(&mut self, world: &World, batches: Vec<Batch>) {
        for batch in batches {
            if batch.is_acknowledged() {
                world.tally.count("held");
                self.held.push(batch);
            } else if shuttle::rand::thread_rng().gen_bool(0.5) {
                batch.fail(Refusal::new(RefusalKind::Failed, "on purpose", Duration::from_secs(1)));
            }
        }
    }
}

fn confirm(batches: Vec<Batch>, duplicates: Vec<usize>) {
    for (batch, duplicates) in batches.into_iter().zip(duplicates) {
        step();
        batch.confirm(duplicates);
    }
}
