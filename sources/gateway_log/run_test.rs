//! The source as it runs: delivery, the position that is kept, the stop; and its settings.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use engine::config::Inputs;
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::plugin::AnySink;
use engine::runtime::Runtime;
use engine::{
    Admission, Batch, BuildContext, Event, OutboxError, Problems, Receipt, Refusal, RefusalKind, Registry, Sink,
    SinkConfig, SourceConfig as _, Timestamp, TraceId,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::delivery::Checkpoint;
use super::follow::Limits;
use super::name::Pattern;
use super::tests::{Logs, context, line, now, text};
use super::{Following, GatewayLog};

const LOG: &str = "openclaw-2026-11-25.log";

/// A store: keeps events by id, and the state of the last batch that it stored.
#[derive(Default)]
struct Store {
    /// What becomes of the next batches; stored when it is empty.
    fates: Mutex<Vec<Fate>>,
    tries: Mutex<Vec<(Instant, Vec<TraceId>)>>,
    kept: Mutex<Vec<(TraceId, String)>>,
    state: Mutex<Option<String>>,
}

#[derive(Clone, Copy)]
enum Fate {
    Refused,
    Failed,
    /// Stored, and the position lost.
    StoredOnly,
}

#[async_trait]
impl Checkpoint for Store {
    async fn load(&self) -> Result<Option<String>, OutboxError> {
        Ok(self.state.lock().unwrap().clone())
    }

    async fn send(&self, events: Vec<Event>, state: Option<String>) -> Result<Receipt, Refusal> {
        let ids = events.iter().map(|event| event.trace_id).collect();
        self.tries.lock().unwrap().push((Instant::now(), ids));
        let fate = self.fates.lock().unwrap().pop();
        if matches!(fate, Some(Fate::Refused)) {
            return Err(Refusal::new(RefusalKind::NoSpace, "the disk is full", Duration::from_secs(30)));
        }
        let kept: Vec<_> = events.iter().map(|event| (event.trace_id, text(event))).collect();
        let (batch, receipt) = Batch::new(events, Admission::new(1, 1).try_acquire(1, 1).unwrap(), false);
        if matches!(fate, Some(Fate::Failed)) {
            return Ok(receipt);
        }
        if kept.iter().any(|(_, text)| text.contains("guilty")) {
            batch.fail(Refusal::new(RefusalKind::Refused, "not this one", Duration::ZERO));
            return Ok(receipt);
        }
        batch.confirm(0);
        let mut store = self.kept.lock().unwrap();
        for event in kept {
            if !store.contains(&event) {
                store.push(event);
            }
        }
        if !matches!(fate, Some(Fate::StoredOnly))
            && let Some(state) = state
        {
            *self.state.lock().unwrap() = Some(state);
        }
        Ok(receipt)
    }
}

impl Store {
    fn texts(&self) -> Vec<String> {
        self.kept.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }
}

fn source(logs: &Logs, from_start: bool) -> Following {
    let config = GatewayLog { directory: logs.path("").clone(), from_start, ..GatewayLog::default() };
    Following {
        name: "gateway".into(),
        pattern: Pattern::parse(&config.file).unwrap(),
        limits: Limits { line: 64 * 1024, events: 500, bytes: 256 * 1024 },
        now,
        counts: Counts::new(&context()),
        config,
    }
}

/// Runs it for so long, then stops it.
async fn run(source: &Following, store: &Store, time: Duration) {
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::join!(source.follow(store, shutdown), async {
        sleep(time).await;
        stop.cancel();
    });
}

fn warn(text: &str) -> String {
    line("WARN", "test", text)
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_behind_will_take_is_given_up_and_no_other() {
    for guilty in [0, 3, 6] {
        let logs = Logs::new();
        let told = |n: i32| warn(&if n == guilty { "guilty".to_owned() } else { n.to_string() });
        logs.append(LOG, (0..7).map(told).collect::<String>());
        let store = Store::default();
        let source = source(&logs, true);
        run(&source, &store, Duration::from_secs(10)).await;
        let others: Vec<_> = (0..7).filter(|n| *n != guilty).map(|n: i32| n.to_string()).collect();
        assert_eq!(store.texts(), others);
        assert_eq!((source.counts.given_up.get(), source.counts.resent.get()), (1, 0));
        let position = store.state.lock().unwrap().clone().unwrap();
        let end = std::fs::metadata(logs.path(LOG)).unwrap().len();
        assert!(position.contains(&format!("\"offset\":{end},")), "{position}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_or_fails_is_sent_again_with_the_same_ids() {
    let logs = Logs::new();
    logs.append(LOG, [warn("a"), warn("b")].concat());
    let store = Store::default();
    *store.fates.lock().unwrap() = vec![Fate::Failed, Fate::Failed, Fate::Refused, Fate::Failed];
    let source = source(&logs, true);
    run(&source, &store, Duration::from_secs(300)).await;
    assert_eq!(store.texts(), ["a", "b"]);
    let tries = store.tries.lock().unwrap();
    assert_eq!(tries.len(), 5);
    assert!(tries.iter().all(|(_, ids)| *ids == tries[0].1));
    let waits: Vec<_> = tries.windows(2).map(|two| (two[1].0 - two[0].0).as_secs()).collect();
    assert_eq!(waits, [1, 30, 4, 8], "the waits grow, and what the store asks for is obeyed");
    assert_eq!(source.counts.resent.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_loses_nor_repeats_and_a_crash_before_the_position_repeats_known_ids_only() {
    let logs = Logs::new();
    let store = Store::default();
    logs.append(LOG, warn("a"));
    run(&source(&logs, true), &store, Duration::from_secs(5)).await;
    logs.append(LOG, warn("b"));
    *store.fates.lock().unwrap() = vec![Fate::StoredOnly];
    run(&source(&logs, true), &store, Duration::from_secs(5)).await;
    logs.append(LOG, warn("c"));
    run(&source(&logs, false), &store, Duration::from_secs(5)).await;
    assert_eq!(store.texts(), ["a", "b", "c"]);
    let sent: Vec<_> = store.tries.lock().unwrap().iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!(sent, [1, 1, 2]);
    run(&source(&logs, false), &store, Duration::from_secs(5)).await;
    assert_eq!(store.tries.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_store_fails_ends_at_once_and_leaves_the_position_where_it_was() {
    let logs = Logs::new();
    let store = Store::default();
    logs.append(LOG, warn("a"));
    run(&source(&logs, true), &store, Duration::from_secs(5)).await;
    let position = store.state.lock().unwrap().clone();
    logs.append(LOG, warn("b"));
    *store.fates.lock().unwrap() = vec![Fate::Failed; 1000];
    let began = Instant::now();
    run(&source(&logs, true), &store, Duration::from_secs(100)).await;
    assert_eq!(began.elapsed().as_secs(), 100);
    assert_eq!(*store.state.lock().unwrap(), position);
    store.fates.lock().unwrap().clear();
    run(&source(&logs, true), &store, Duration::from_secs(5)).await;
    assert_eq!(store.texts(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_is_a_first_start() {
    let logs = Logs::new();
    logs.append(LOG, warn("a"));
    let store = Store { state: Mutex::new(Some("{}".to_owned())), ..Store::default() };
    run(&source(&logs, true), &store, Duration::from_secs(5)).await;
    assert_eq!(store.texts(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_it_runs_is_stored_within_a_poll() {
    let logs = Logs::new();
    logs.append(LOG, warn("before"));
    let store = Store::default();
    let source = source(&logs, false);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::join!(source.follow(&store, shutdown), async {
        sleep(Duration::from_secs(3)).await;
        for at in 0..1200 {
            logs.append(LOG, warn(&at.to_string()));
        }
        sleep(Duration::from_secs(3)).await;
        assert_eq!(store.texts(), (0..1200).map(|at| at.to_string()).collect::<Vec<_>>());
        stop.cancel();
    });
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[derive(Deserialize, JsonSchema)]
struct Keep {}

impl SinkConfig for Keep {
    const TYPE: &'static str = "keep";
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(self)))
    }
}

#[async_trait]
impl Sink for Keep {
    async fn write(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            SEEN.lock().unwrap().extend(batch.iter().map(text));
            batch.confirm(0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lines_flow_through_a_graph_until_the_signal() {
    let logs = Logs::new();
    let today: String = Timestamp::now().to_string().chars().take(10).collect();
    logs.append(&format!("openclaw-{today}.log"), (0..600).map(|at| warn(&at.to_string())).collect::<String>());
    let text = format!(
        "[sources.gateway]\ntype = 'gateway_log'\nfrom_start = true\ndirectory = '{}'\n\
         [sinks.keep]\ntype = 'keep'\ninputs = ['gateway']\n",
        logs.path("").display()
    );
    let registry = Registry::default().with_source::<GatewayLog>().with_sink::<Keep>();
    let settings = engine::config::load(&Inputs { embedded: text.leak(), ..Inputs::default() }, &registry).unwrap();
    let metrics = Metrics::default();
    let graph = Graph::build(&settings, &registry, &metrics).unwrap();
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(Runtime::new(graph, settings.runtime.clone(), metrics.clone()).run(shutdown.clone()));
    sleep(Duration::from_secs(10)).await;
    shutdown.cancel();
    run.await.unwrap().unwrap();
    assert_eq!(*SEEN.lock().unwrap(), (0..600).map(|at| at.to_string()).collect::<Vec<_>>());
    let metrics = metrics.render();
    for line in ["lines_read_total{component=\"gateway\"} 600", "bytes_behind{component=\"gateway\"} 0"] {
        assert!(metrics.contains(&format!("openclaw_trace_gateway_log_{line}")), "{metrics}");
    }
}

#[test]
fn every_wrong_setting_is_named() {
    let wrong = GatewayLog {
        directory: "logs".into(),
        file: "a/b".into(),
        poll_interval: serde_json::from_str("\"10ms\"").unwrap(),
        levels: vec![],
        subsystems: vec![],
        max_line: serde_json::from_str("\"2MiB\"").unwrap(),
        agent_id: Some("x".repeat(300)),
        ..GatewayLog::default()
    };
    let keys: Vec<_> = wrong.problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["directory", "file", "poll_interval", "levels", "max_line", "agent_id"]);
    let subsystems = GatewayLog { subsystems: vec!["a/".into()], ..GatewayLog::default() };
    assert_eq!(subsystems.problems()[0].key, "subsystems");
    assert!(GatewayLog::default().build(&context()).is_ok());
    assert!(wrong.build(&context()).is_err());
    assert!(serde_json::from_str::<GatewayLog>(r#"{"levels": ["warn", "loud"]}"#).is_err());
    assert!(serde_json::from_str::<GatewayLog>(r#"{"folder": "/tmp"}"#).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_place_of_the_very_first_start_is_kept_before_any_event() {
    let logs = Logs::new();
    let store = Store::default();
    logs.append(LOG, warn("before"));
    run(&source(&logs, false), &store, Duration::from_secs(5)).await;
    assert!(store.texts().is_empty());
    logs.append(LOG, warn("while it was down"));
    run(&source(&logs, false), &store, Duration::from_secs(5)).await;
    assert_eq!(store.texts(), ["while it was down"]);
}
