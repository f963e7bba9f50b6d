//! Random graphs with sinks that fail and stall: whatever happens, each receipt resolves once, what
//! was confirmed was delivered to every sink, nothing is delivered after its failure was reported,
//! the credits come back, and the drain ends.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::config::Inputs;
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::plugin::AnySink;
use engine::runtime::Runtime;
use engine::*;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// What the plugins of one run saw. Found by the key `ledger`, since plugins are made from tables.
#[derive(Default)]
struct Ledger {
    /// By sink: the events that it confirmed.
    delivered: BTreeMap<String, Vec<TraceId>>,
    /// Outcomes as the sources heard them.
    stored: Vec<(String, TraceId)>,
    failed: BTreeSet<TraceId>,
    /// Sources that heard of a failure.
    disappointed: BTreeSet<String>,
    refused: usize,
    receipts: usize,
    resolved: usize,
    late: Vec<TraceId>,
}

static LEDGERS: Mutex<BTreeMap<u64, Arc<Mutex<Ledger>>>> = Mutex::new(BTreeMap::new());

fn ledger(number: u64) -> Arc<Mutex<Ledger>> {
    LEDGERS.lock().unwrap().entry(number).or_default().clone()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Burst {
    ledger: u64,
    batches: usize,
    events: usize,
    patient: bool,
}

struct BurstSource(Burst, String);

impl SourceConfig for Burst {
    const TYPE: &'static str = "burst";
    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        Ok(Box::new(BurstSource(self, cx.name.clone())))
    }
}

#[async_trait]
impl Source for BurstSource {
    async fn run(self: Box<Self>, outlet: Outlet, _shutdown: CancellationToken) {
        let ledger = ledger(self.0.ledger);
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..self.0.batches {
            let events: Vec<_> = (0..self.0.events).map(|_| Event::new(Kind::LOG)).collect();
            let ids: Vec<_> = events.iter().map(|event| event.trace_id).collect();
            let sent = if self.0.patient { outlet.send(events, false).await } else { outlet.try_send(events, false) };
            let Ok(mut receipt) = sent else {
                ledger.lock().unwrap().refused += 1;
                tokio::time::sleep(Duration::from_millis(3)).await;
                continue;
            };
            ledger.lock().unwrap().receipts += 1;
            let (ledger, name) = (Arc::clone(&ledger), self.1.clone());
            waiting.spawn(async move {
                let outcome = receipt.outcome().await;
                let mut ledger = ledger.lock().unwrap();
                ledger.resolved += 1;
                match outcome {
                    Outcome::Stored { .. } => ledger.stored.extend(ids.into_iter().map(|id| (name.clone(), id))),
                    Outcome::Failed(_) => {
                        ledger.failed.extend(ids);
                        ledger.disappointed.insert(name);
                    }
                }
            });
        }
        while waiting.join_next().await.is_some() {}
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mark {
    #[serde(default)]
    text: String,
}

struct Marker(String);

impl TransformConfig for Mark {
    const TYPE: &'static str = "mark";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        Ok(Box::new(Marker(self.text)))
    }
}

impl Transform for Marker {
    fn apply(&self, batch: &mut Batch) {
        batch.iter_mut().for_each(|event| event.name = Some(self.0.clone()));
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Flaky {
    ledger: u64,
    /// One of so many writes fails, one is dropped without a word; 0: none.
    fails: u64,
    delay_ms: u64,
}

struct FlakySink {
    name: String,
    config: Flaky,
    writes: u64,
}

impl SinkConfig for Flaky {
    const TYPE: &'static str = "flaky";
    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(FlakySink { name: cx.name.clone(), config: self, writes: 0 })))
    }
}

#[async_trait]
impl Sink for FlakySink {
    async fn write(&mut self, batches: Vec<Batch>) {
        tokio::time::sleep(Duration::from_millis(self.config.delay_ms)).await;
        for batch in batches {
            self.writes += 1;
            let ids: Vec<_> = batch.iter().map(|event| event.trace_id).collect();
            let ledger = ledger(self.config.ledger);
            {
                let mut ledger = ledger.lock().unwrap();
                let late: Vec<_> = ids.iter().filter(|id| ledger.failed.contains(id)).copied().collect();
                ledger.late.extend(late);
            }
            match self.config.fails {
                0 => {}
                n if self.writes.is_multiple_of(n) => {
                    batch.fail(Refusal::new(RefusalKind::Failed, "on purpose", Duration::from_secs(1)));
                    continue;
                }
                n if self.writes % n == 1 => continue,
                _ => {}
            }
            ledger.lock().unwrap().delivered.entry(self.name.clone()).or_default().extend(ids);
            batch.confirm(0);
        }
    }
}

fn registry() -> Registry {
    Registry::default().with_source::<Burst>().with_transform::<Mark>().with_sink::<Flaky>()
}

#[derive(Debug, Clone)]
struct Shape {
    sources: Vec<(usize, usize, bool)>,
    /// For each transform: which of the components before it, it reads.
    transforms: Vec<usize>,
    /// For each sink: which component it reads, how it fails, how slow it is.
    sinks: Vec<(usize, u64, u64)>,
    max_events: usize,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (
        prop::collection::vec((1usize..12, 1usize..9, any::<bool>()), 1..4),
        prop::collection::vec(any::<usize>(), 0..5),
        prop::collection::vec((any::<usize>(), 0u64..5, 0u64..20), 1..4),
        1usize..24,
    )
        .prop_map(|(sources, transforms, sinks, max_events)| Shape { sources, transforms, sinks, max_events })
}

impl Shape {
    /// The TOML, and for each source the sinks it reaches. Components that would be left unread get
    /// a sink of their own. Last, the sinks that never fail.
    fn toml(&self, number: u64) -> (String, BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
        let mut source_of: BTreeMap<String, String> = BTreeMap::new();
        let mut text = format!("[runtime]\nmax_in_flight_events = {}\n", self.max_events);
        let mut names: Vec<String> = vec![];
        let mut read: BTreeSet<String> = BTreeSet::new();
        for (i, (batches, events, patient)) in self.sources.iter().enumerate() {
            text += &format!(
                "[sources.s{i}]\ntype='burst'\nledger={number}\nbatches={batches}\nevents={events}\npatient={patient}\n"
            );
            source_of.insert(format!("s{i}"), format!("s{i}"));
            names.push(format!("s{i}"));
        }
        for (i, input) in self.transforms.iter().enumerate() {
            let input = &names[input % names.len()];
            text += &format!("[transforms.t{i}]\ntype='mark'\ntext='t{i}'\ninputs=['{input}']\n");
            read.insert(input.clone());
            source_of.insert(format!("t{i}"), source_of[input].clone());
            names.push(format!("t{i}"));
        }
        let mut sinks = self.sinks.clone();
        let mut wanted: Vec<String> = sinks.iter().map(|(input, ..)| names[input % names.len()].clone()).collect();
        read.extend(wanted.iter().cloned());
        for name in names.iter().filter(|name| !read.contains(*name)) {
            sinks.push((0, 3, 1));
            wanted.push(name.clone());
        }
        let mut reach: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (i, ((_, fails, delay), input)) in sinks.iter().zip(&wanted).enumerate() {
            text += &format!(
                "[sinks.k{i}]\ntype='flaky'\nledger={number}\nfails={fails}\ndelay_ms={delay}\ninputs=['{input}']\n"
            );
            reach.entry(source_of[input].clone()).or_default().insert(format!("k{i}"));
        }
        let sound = sinks.iter().enumerate().filter(|(_, (_, fails, _))| *fails == 0).map(|(i, _)| format!("k{i}"));
        (text, reach, sound.collect())
    }
}

fn load(text: &'static str) -> engine::config::Settings {
    let inputs = Inputs { embedded: text, ..Inputs::default() };
    engine::config::load(&inputs, &registry()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_receipt_resolves_once_and_tells_the_truth(shape in shapes(), number in any::<u32>()) {
        let number = u64::from(number);
        let (text, reach, sound) = shape.toml(number);
        let settings = load(text.clone().leak());
        let metrics = Metrics::default();
        let graph = Graph::build(&settings, &registry(), &metrics).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let ended = tokio.block_on(async {
            let run = Runtime::new(graph, settings.runtime.clone(), metrics.clone()).run(CancellationToken::new());
            // Paused time: a deadlock shows as this timeout, at once.
            tokio::time::timeout(Duration::from_secs(3600), run).await
        });
        prop_assert!(ended.is_ok(), "deadlock");
        prop_assert!(ended.unwrap().is_ok(), "what is in flight at the end is said as an error");
        let ledger = LEDGERS.lock().unwrap().remove(&number).unwrap();
        let ledger = ledger.lock().unwrap();
        prop_assert_eq!(ledger.receipts, ledger.resolved);
        prop_assert!(ledger.late.is_empty(), "delivered after the failure was reported");
        for ids in ledger.delivered.values() {
            let distinct: BTreeSet<_> = ids.iter().collect();
            prop_assert_eq!(distinct.len(), ids.len(), "a sink got an event twice");
        }
        for (source, id) in &ledger.stored {
            for sink in &reach[source] {
                let there = ledger.delivered.get(sink).is_some_and(|ids| ids.contains(id));
                prop_assert!(there, "acknowledged by {} and not in {}", source, sink);
            }
        }
        for source in &ledger.disappointed {
            prop_assert!(!reach[source].is_subset(&sound), "{} heard of a failure where no sink fails", source);
        }
        let sent: usize = shape.sources.iter().map(|(batches, ..)| batches).sum();
        prop_assert_eq!(ledger.receipts + ledger.refused, sent);
    }
}
