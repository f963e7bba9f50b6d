//! Any sequence of reloads, good and bad, beside sources that send: what was told is so, once, and all credits return.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::runtime::ReloadError;
use engine::*;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::rig::{Rig, World, events};

/// One configuration.
#[derive(Debug, Clone)]
struct Config {
    /// By source (`a`, `b`): its port and a setting; the first is always there.
    sources: [Option<(u8, u8)>; 2],
    /// The marks between sources and sinks; none: they are joined directly.
    marks: Vec<u8>,
    store: (u8, u8),
    copy: Option<u8>,
    push: bool,
    /// What cannot be opened.
    fails: Option<&'static str>,
    silent: bool,
    max_events: usize,
}

impl Config {
    fn text(&self) -> String {
        let silent = if self.silent { "silent = true\n" } else { "" };
        let fails = |name: &str| if self.fails == Some(name) { "fails = true\n" } else { "" };
        let mut text = format!("[runtime]\nmax_in_flight_events = {}\n", self.max_events);
        let mut inputs = Vec::new();
        for (name, source) in ["a", "b"].into_iter().zip(self.sources) {
            let Some((port, setting)) = source else { continue };
            text += &format!(
                "[sources.{name}]\ntype = 'tap'\nthing = 'port {port}'\nsetting = {setting}\n{silent}{}",
                fails(name)
            );
            inputs.push(format!("'{name}'"));
        }
        for (at, mark) in self.marks.iter().enumerate() {
            text +=
                &format!("[transforms.mark{at}]\ntype = 'mark'\ninputs = [{}]\nmark = '{mark}.'\n", inputs.join(", "));
            inputs = vec![format!("'mark{at}'")];
        }
        let inputs = inputs.join(", ");
        let (file, setting) = self.store;
        text += &format!(
            "[sinks.store]\ntype = 'shelf'\ninputs = [{inputs}]\nthing = 'file {file}'\nsetting = {setting}\n{silent}{}",
            fails("store")
        );
        if let Some(setting) = self.copy {
            text += &format!(
                "[sinks.copy]\ntype = 'shelf'\ninputs = [{inputs}]\nthing = 'copy'\nsetting = {setting}\n{silent}{}",
                fails("copy")
            );
        }
        if self.push {
            text += "[sinks.push]\ntype = 'pump'\ninputs = ['store']\n";
        }
        text
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reload(Config),
    Pause(u64),
    /// The first file is stalled, or not any more.
    Stall(bool),
}

fn config() -> impl Strategy<Value = Config> {
    // Ports 1 and 2, so that one source may want what the other has had.
    let ports = prop_oneof![Just((1, 2)), Just((2, 1)), Just((1, 3))];
    let settings = (0u8..3, prop::option::of(0u8..3));
    let fails = prop::option::weighted(0.3, prop::sample::select(vec!["a", "b", "store", "copy"]));
    (
        ports,
        settings,
        prop::collection::vec(0u8..3, 0..3),
        (1u8..3, 0u8..2),
        prop::option::of(0u8..2),
        any::<bool>(),
        fails,
        prop::bool::weighted(0.2),
        3usize..30,
    )
        .prop_map(|((one, two), (first, second), marks, store, copy, push, fails, silent, max_events)| Config {
            sources: [Some((one, first)), second.map(|setting| (two, setting))],
            marks,
            store,
            copy,
            push,
            fails,
            silent,
            max_events,
        })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => config().prop_map(Step::Reload),
        3 => (0u64..40).prop_map(Step::Pause),
        1 => any::<bool>().prop_map(Step::Stall),
    ];
    prop::collection::vec(step, 1..14)
}

/// What was told of each event.
#[derive(Default)]
struct Told {
    stored: Vec<TraceId>,
    queued: Vec<TraceId>,
    failed: Vec<TraceId>,
    receipts: usize,
    resolved: usize,
}

/// Sends by the outlet that a source of this name lent last, until the world has enough.
async fn client(world: Arc<World>, source: &'static str, number: u64, told: Arc<Mutex<Told>>) {
    let mut waiting = JoinSet::new();
    for round in 0..120_u64 {
        tokio::time::sleep(Duration::from_millis(1 + (number * 7 + round * 13) % 11)).await;
        let Some((outlet, _request)) = world.lent(source) else { continue };
        let events = events(1 + usize::try_from((number + round) % 4).unwrap());
        let ids: Vec<TraceId> = events.iter().map(|event| event.trace_id).collect();
        // Clients that wait for the outcome, that wait for room too, and that are told "queued".
        let acknowledged = number % 3 == 1;
        let sent = match number % 3 {
            2 => tokio::time::timeout(Duration::from_millis(50), outlet.send(events, false)).await.ok(),
            _ => Some(outlet.try_send(events, acknowledged)),
        };
        let Some(Ok(mut receipt)) = sent else { continue };
        told.lock().unwrap().receipts += 1;
        if acknowledged {
            told.lock().unwrap().queued.extend(&ids);
        }
        let told = Arc::clone(&told);
        waiting.spawn(async move {
            let outcome = receipt.outcome().await;
            let mut told = told.lock().unwrap();
            told.resolved += 1;
            match outcome {
                Outcome::Stored { duplicates } => {
                    assert_eq!(duplicates, 0, "nobody sends twice");
                    told.stored.extend(ids);
                }
                Outcome::Failed(_) => told.failed.extend(ids),
            }
        });
    }
    while let Some(done) = waiting.join_next().await {
        done.unwrap();
    }
}

async fn run(first: Config, steps: Vec<Step>) {
    let mut rig = Rig::start(&Config { fails: None, ..first }.text()).await;
    let (world, told) = (Arc::clone(&rig.world), Arc::new(Mutex::new(Told::default())));
    let mut clients = JoinSet::new();
    for number in 0..6 {
        let source = if number % 2 == 0 { "a" } else { "b" };
        clients.spawn(client(Arc::clone(&world), source, number, Arc::clone(&told)));
    }
    for step in steps {
        match step {
            Step::Reload(config) => match rig.reload(&config.text()).await {
                Ok(_) | Err(ReloadError::Open(_) | ReloadError::Busy(_)) => {}
                Err(error) => panic!("{error}"),
            },
            Step::Pause(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            Step::Stall(stalled) => world.stall("file 1", stalled),
        }
    }
    world.stall("file 1", false);
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let outlet = world.outlet("a");
    rig.stop().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outlet.in_flight(), (0, 0), "credits are gone");

    let mut places: BTreeMap<TraceId, usize> = BTreeMap::new();
    for event in ["file 1", "file 2"].iter().flat_map(|file| world.kept(file)) {
        *places.entry(event.trace_id).or_default() += 1;
    }
    let told = told.lock().unwrap();
    assert_eq!(told.receipts, told.resolved);
    assert!(told.receipts > 0);
    assert!(places.values().all(|times| *times == 1), "an event is in both files");
    for id in told.stored.iter().chain(&told.queued) {
        assert!(places.contains_key(id), "told and not kept");
    }
    // What failed came by an outlet that is none any more; it went nowhere.
    for id in told.failed.iter().filter(|id| !told.queued.contains(id)) {
        assert!(!places.contains_key(id), "told that it failed, and kept");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_reloads_beside_sources_that_send_lose_and_double_nothing(first in config(), steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(first, steps));
    }
}
