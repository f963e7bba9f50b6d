//! The outlet, the queues and the drain one by one, with a source and a sink that do as a test says.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::config::Inputs;
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::plugin::AnySink;
use engine::runtime::{RunError, Runtime};
use engine::*;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

type Script = Box<dyn FnOnce(Outlet, CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What a test holds of its sink.
struct Probe {
    /// Events of each write.
    writes: Mutex<Vec<Vec<Event>>>,
    /// One permit for each write that may go on.
    permits: Semaphore,
    gate: watch::Sender<Option<Refusal>>,
    states: Vec<(String, String)>,
    size: WriteSize,
}

impl Probe {
    fn new(permits: usize) -> Arc<Self> {
        let (permits, gate) = (Semaphore::new(permits), watch::channel(None).0);
        Arc::new(Self { writes: Mutex::default(), permits, gate, states: Vec::new(), size: WriteSize::default() })
    }

    fn written(&self) -> Vec<usize> {
        self.writes.lock().unwrap().iter().map(Vec::len).collect()
    }
}

// Plugins are made from tables, and find what their test gave them by its number.
static TESTS: Mutex<BTreeMap<u64, Given>> = Mutex::new(BTreeMap::new());

type Given = (Option<Script>, Arc<Probe>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scripted {
    test: u64,
}

impl SourceConfig for Scripted {
    const TYPE: &'static str = "scripted";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Source for Scripted {
    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        let script = TESTS.lock().unwrap().get_mut(&self.test).unwrap().0.take().unwrap();
        script(outlet, shutdown).await;
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Probed {
    test: u64,
}

struct ProbedSink(u64);

impl SinkConfig for Probed {
    const TYPE: &'static str = "probed";
    const OFFERS_OUTBOX: bool = true;
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(ProbedSink(self.test))))
    }
}

fn probe(test: u64) -> Arc<Probe> {
    Arc::clone(&TESTS.lock().unwrap()[&test].1)
}

#[async_trait]
impl Sink for ProbedSink {
    async fn write(&mut self, batches: Vec<Batch>) {
        let probe = probe(self.0);
        probe.permits.acquire().await.unwrap().forget();
        probe.writes.lock().unwrap().push(batches.iter().flat_map(Batch::iter).cloned().collect());
        batches.into_iter().for_each(|batch| batch.confirm(0));
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        Some(Arc::new(States(probe(self.0))))
    }

    fn write_size(&self) -> WriteSize {
        probe(self.0).size
    }

    fn gate(&self) -> Option<watch::Receiver<Option<Refusal>>> {
        Some(probe(self.0).gate.subscribe())
    }
}

/// An outbox that holds nothing but state.
struct States(Arc<Probe>);

#[async_trait]
impl Outbox for States {
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
        Ok(self.0.states.clone())
    }
    async fn save_state(&self, _: &str, _: &str) -> Result<(), OutboxError> {
        Ok(())
    }
}

/// Reads the outbox: at its stop it works on for two seconds, and says that it could.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reader {
    test: u64,
}

impl SinkConfig for Reader {
    const TYPE: &'static str = "reader";
    const READS: Reads = Reads::Outbox;
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Outbox(Box::new(self)))
    }
}

#[async_trait]
impl OutboxSink for Reader {
    async fn run(self: Box<Self>, _: Arc<dyn Outbox>, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        probe(self.test).permits.add_permits(1000);
    }
}

/// Runs a source that does `script` before a sink with `probe`, on paused time.
async fn run<F: Future<Output = ()> + Send + 'static>(
    test: u64,
    probe: &Arc<Probe>,
    settings: &str,
    stop: CancellationToken,
    script: impl FnOnce(Outlet, CancellationToken) -> F + Send + 'static,
) -> Result<(), RunError> {
    // A source that panics is gone and the others go on; here it must fail the test.
    let finished = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&finished);
    let script: Script = Box::new(|outlet, shutdown| {
        let script = script(outlet, shutdown);
        Box::pin(async move {
            script.await;
            done.store(true, Ordering::SeqCst);
        })
    });
    TESTS.lock().unwrap().insert(test, (Some(script), Arc::clone(probe)));
    let text = format!(
        "{settings}\n[sources.in]\ntype='scripted'\ntest={test}\n[sinks.out]\ntype='probed'\ntest={test}\ninputs=['in']\n\
         [sinks.push]\ntype='reader'\ntest={test}\ninputs=['out']\n"
    );
    let registry = Registry::default().with_source::<Scripted>().with_sink::<Probed>().with_sink::<Reader>();
    let inputs = Inputs { embedded: text.leak(), ..Inputs::default() };
    let settings = engine::config::load(&inputs, &registry).unwrap_or_else(|errors| panic!("{errors}"));
    let metrics = Metrics::default();
    let graph = Graph::build(&settings, &registry, &metrics).unwrap_or_else(|errors| panic!("{errors}"));
    let runtime = Runtime::new(graph, settings.runtime.clone(), metrics);
    let ended = tokio::time::timeout(Duration::from_secs(3600), runtime.run(stop)).await;
    assert!(finished.load(Ordering::SeqCst), "the source failed");
    ended.unwrap_or_else(|_| panic!("never ends"))
}

fn events(number: usize) -> Vec<Event> {
    (0..number).map(|_| Event::new(Kind::LOG)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_its_events_and_the_bytes_of_events_and_state() {
    let probe = Probe::new(0);
    let held = Arc::clone(&probe);
    let ended = run(1, &probe, "", CancellationToken::new(), |outlet, _| async move {
        let sent = events(3);
        let bytes: usize = sent.iter().map(Event::size_bytes).sum();
        let keep = vec![Keep { key: "abcd".into(), value: Some("efg".into()) }, Keep { key: "h".into(), value: None }];
        let mut receipt = outlet.try_send_keeping(sent, keep, false).unwrap();
        assert_eq!(outlet.in_flight(), (3, bytes + 4 + 3 + 1));
        held.permits.add_permits(1);
        assert_eq!(receipt.outcome().await, Outcome::Stored { duplicates: 0 });
        assert_eq!(outlet.in_flight(), (0, 0));
    });
    assert!(ended.await.is_ok());
    assert_eq!(probe.written(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_refuses_before_admission_in_the_sinks_own_words() {
    let probe = Probe::new(1);
    let held = Arc::clone(&probe);
    let ended = run(2, &probe, "", CancellationToken::new(), |outlet, _| async move {
        assert!(!outlet.is_refusing());
        let refusal = Refusal::new(RefusalKind::NoSpace, "the disk is full", Duration::from_secs(9));
        held.gate.send_replace(Some(refusal.clone()));
        assert!(outlet.is_refusing());
        assert_eq!(outlet.try_send(events(1), false).unwrap_err(), refusal);
        assert_eq!(outlet.send(events(1), false).await.unwrap_err(), refusal);
        assert_eq!(outlet.in_flight(), (0, 0));
        held.gate.send_replace(None);
        let mut receipt = outlet.try_send(events(1), false).unwrap();
        assert_eq!(receipt.outcome().await, Outcome::Stored { duplicates: 0 });
    });
    assert!(ended.await.is_ok());
    assert_eq!(probe.written(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_source_finds_its_own_state_and_nobody_elses() {
    let states = [("source.in.offset", "7"), ("source.other.offset", "8"), ("source.in.place", "x")];
    let states = states.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let probe = Arc::new(Probe { states, ..Arc::into_inner(Probe::new(1)).unwrap() });
    let ended = run(3, &probe, "", CancellationToken::new(), |outlet, _| async move {
        let kept = outlet.kept().await.unwrap();
        assert_eq!(kept, [("offset".into(), "7".into()), ("place".into(), "x".into())]);
    });
    assert!(ended.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_more_no_longer_than_its_age_and_for_no_more_than_it_holds() {
    let size = WriteSize { events: 5, age: Duration::from_secs(2), ..WriteSize::default() };
    let probe = Arc::new(Probe { size, ..Arc::into_inner(Probe::new(10)).unwrap() });
    let held = Arc::clone(&probe);
    let ended = run(9, &probe, "", CancellationToken::new(), |outlet, _| async move {
        let mut receipts = Vec::new();
        for number in [1, 2] {
            receipts.push(outlet.try_send(events(number), false).unwrap());
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(held.written(), [0; 0]);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(held.written(), [3], "its age is that of its first batch");
        for number in [1, 4] {
            receipts.push(outlet.try_send(events(number), false).unwrap());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(held.written(), [3, 5], "a full one does not wait");
        // What waits when the drain begins is written at once: nothing can follow.
        receipts.push(outlet.try_send(events(2), false).unwrap());
    });
    assert!(ended.await.is_ok());
    assert_eq!(probe.written(), [3, 5, 2]);
}

#[tokio::test(start_paused = true)]
async fn all_that_waits_is_one_write_up_to_a_thousand_events() {
    let probe = Probe::new(0);
    let held = Arc::clone(&probe);
    let settings = "[runtime]\nmax_in_flight_events = 4000";
    let ended = run(4, &probe, settings, CancellationToken::new(), |outlet, _| async move {
        let mut receipts = vec![outlet.try_send(events(1), false).unwrap()];
        // The first is being written by now; the others wait for it.
        tokio::time::sleep(Duration::from_millis(1)).await;
        receipts.extend([500, 500, 400, 400, 400].map(|number| outlet.try_send(events(number), false).unwrap()));
        held.permits.add_permits(10);
        for receipt in &mut receipts {
            assert_eq!(receipt.outcome().await, Outcome::Stored { duplicates: 0 });
        }
    });
    assert!(ended.await.is_ok());
    assert_eq!(probe.written(), [1, 1000, 1200]);
}

#[tokio::test(start_paused = true)]
async fn a_write_takes_no_more_batches_once_it_holds_four_mebibytes() {
    let probe = Probe::new(0);
    let held = Arc::clone(&probe);
    let settings = "[runtime]\nmax_in_flight_bytes = '64MiB'";
    let ended = run(5, &probe, settings, CancellationToken::new(), |outlet, _| async move {
        let large = |mib: usize| {
            let mut large = events(1);
            large[0].error = Some("x".repeat(mib * 1024 * 1024 - large[0].size_bytes()));
            large
        };
        let mut receipts = vec![outlet.try_send(events(1), false).unwrap()];
        tokio::time::sleep(Duration::from_millis(1)).await;
        receipts.extend([4, 2, 1, 2, 1, 1].map(|mib| outlet.try_send(large(mib), false).unwrap()));
        held.permits.add_permits(10);
        for receipt in &mut receipts {
            assert_eq!(receipt.outcome().await, Outcome::Stored { duplicates: 0 });
        }
    });
    assert!(ended.await.is_ok());
    assert_eq!(probe.written(), [1, 1, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_a_source_has_begun_and_for_the_queue_behind_it() {
    let probe = Probe::new(10);
    let stop = CancellationToken::new();
    let signal = stop.clone();
    let began = tokio::time::Instant::now();
    let ended = run(6, &probe, "", stop, |outlet, shutdown| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        signal.cancel();
        shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // Answered before it is stored, and nobody waits for the receipt.
        drop(outlet.try_send(events(2), true).unwrap());
    });
    assert!(ended.await.is_ok());
    assert_eq!(probe.written(), [2]);
    assert!(began.elapsed() >= Duration::from_secs(63));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_outbox_has_time_for_its_last_attempt() {
    let probe = Probe::new(1);
    let ended = run(7, &probe, "", CancellationToken::new(), |_, _| async {});
    assert!(ended.await.is_ok());
    assert!(probe.permits.available_permits() >= 1000, "the last attempt was cut off");
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_never_wrote_is_counted_at_the_end() {
    let probe = Probe::new(0);
    let ended = run(8, &probe, "", CancellationToken::new(), |outlet, _| async move {
        drop(outlet.try_send(events(2), true).unwrap());
    });
    let Err(RunError::Drain(problems)) = ended.await else { panic!("ended well") };
    assert_eq!(problems[0], "sinks.out did not write its queue in time");
    let last = problems.last().unwrap();
    assert!(last.starts_with("2 events (") && last.ends_with("were not drained"), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_gave_up_is_said_at_the_end_and_what_it_sent_is_kept() {
    let probe = Probe::new(1);
    let ended = run(10, &probe, "", CancellationToken::new(), |outlet, _| async move {
        drop(outlet.try_send(events(2), true).unwrap());
        outlet.give_up("sources.in: the file ends in the middle");
    });
    let Err(RunError::Drain(problems)) = ended.await else { panic!("ended well") };
    assert_eq!(problems, ["sources.in: the file ends in the middle"]);
    assert_eq!(probe.written(), [2]);
}
