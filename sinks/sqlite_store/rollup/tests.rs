//! The rollup against the events that it sums, on real files.

use engine::{Event, Json, Kind, Status, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::sqlite_store::query::{By, ListRequest, Reader, SessionSummary};
use crate::sqlite_store::{Synchronous, schema, transaction};

struct Rig {
    _folder: TempDir,
    path: std::path::PathBuf,
    connection: Connection,
}

impl Rig {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("t.db");
        let connection = schema::open(&path, Synchronous::Normal, std::time::Duration::from_secs(1), false).unwrap();
        Self { _folder: folder, path, connection }
    }

    /// Stores the events as one batch.
    fn store(&mut self, events: Vec<Event>) {
        let admission = engine::Admission::new(10_000, 1 << 30);
        let credits = admission.try_acquire(events.len(), 1).unwrap();
        let (batch, _receipt) = engine::Batch::new(events, credits, false);
        transaction::store(&mut self.connection, &[batch]).unwrap();
    }

    fn fold(&mut self) {
        while step(&mut self.connection, 30, Timestamp::now()).unwrap().more {}
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path).unwrap()
    }

    fn sessions(&self) -> Vec<SessionSummary> {
        self.reader().sessions(&ListRequest { limit: 100, ..ListRequest::default() }).unwrap().items
    }
}

fn event(kind: Kind, run: &str, session: Option<&str>, seconds_ago: i64) -> Event {
    let mut event = Event::new(kind);
    event.timestamp = Timestamp::from_nanos(Timestamp::now().as_nanos() - seconds_ago * NANOS);
    event.run_id = Some(run.to_owned());
    event.session_id = session.map(str::to_owned);
    event
}

fn call(run: &str, session: Option<&str>, seconds_ago: i64, millis: f64, input: i64, cost: f64) -> Event {
    let mut event = event(Kind::LLM_CALL, run, session, seconds_ago);
    event.name = Some("model-a".to_owned());
    event.duration_ms = Some(millis);
    let text = format!(
        r#"{{"gen_ai.provider.name":"p","gen_ai.usage.input_tokens":{input},"gen_ai.usage.output_tokens":10,"cost_usd":{cost}}}"#
    );
    event.attributes = Some(Json::parse(&text).unwrap());
    event
}

fn link(run: &str, other: &str) -> Event {
    let mut link = event(Kind::LINK, run, None, 1);
    link.attributes = Some(Json::parse(&format!(r#"{{"link.run_id":"{other}"}}"#)).unwrap());
    link
}

#[test]
fn each_event_counts_once_however_the_steps_fall() {
    let mut rig = Rig::new();
    for at in 0..1234 {
        rig.store(vec![call(&format!("run-{}", at % 10), Some("s"), at, 5.0, 3, 0.001)]);
        if at % 7 == 0 {
            step(&mut rig.connection, 30, Timestamp::now()).unwrap();
        }
    }
    rig.fold();
    let session = rig.sessions().remove(0);
    assert_eq!((session.runs, session.sums.llm_calls, session.sums.input_tokens), (10, 1234, 3702));
    assert!((session.sums.cost_usd - 1.234).abs() < 1e-9, "{session:?}");
    let now = Timestamp::now().as_nanos();
    let stats = rig.reader().stats(By::Model, now - 3600 * NANOS, now, None).unwrap();
    assert_eq!((stats.total.calls, stats.total.input_tokens), (1234, 3702));
    assert_eq!(stats.groups[0].series.calls.iter().sum::<u64>(), 1234);
    assert_eq!(stats.groups[0].provider.as_deref(), Some("p"));
}

#[test]
fn a_link_moves_what_a_run_came_to_and_its_session_takes_in_the_whole_run() {
    let mut rig = Rig::new();
    rig.store(vec![call("b", None, 20, 5.0, 100, 0.5)]);
    rig.fold();
    assert_eq!(rig.sessions(), []);
    // The session is told by one event of the other run, and the link later still.
    rig.store(vec![call("a", Some("s"), 10, 5.0, 10, 0.25)]);
    rig.fold();
    assert_eq!(rig.sessions()[0].sums.input_tokens, 10);
    rig.store(vec![link("a", "b")]);
    rig.fold();
    rig.store(vec![call("b", None, 5, 5.0, 1, 0.0)]);
    rig.fold();
    let session = rig.sessions().remove(0);
    assert_eq!((session.runs, session.sums.llm_calls, session.sums.input_tokens), (1, 3, 111));
    assert!((session.sums.cost_usd - 0.75).abs() < 1e-9);
    let run = rig.reader().run_summary("b").unwrap().unwrap();
    assert_eq!((run.run_id.as_str(), run.sums.input_tokens, run.events), ("a", 111, 3));
}

#[test]
fn links_that_go_in_a_circle_belong_to_one_run() {
    let mut rig = Rig::new();
    rig.store(vec![call("a", Some("s"), 9, 1.0, 1, 0.0), call("b", Some("s"), 8, 1.0, 1, 0.0)]);
    rig.store(vec![link("a", "b"), link("b", "a"), link("c", "c")]);
    rig.fold();
    rig.store(vec![call("a", Some("s"), 7, 1.0, 1, 0.0), call("b", Some("s"), 6, 1.0, 1, 0.0)]);
    rig.fold();
    let session = rig.sessions().remove(0);
    assert_eq!((session.runs, session.sums.llm_calls), (1, 4));
}

#[test]
fn a_session_told_late_takes_in_what_its_run_had_before() {
    let mut rig = Rig::new();
    rig.store(vec![call("a", None, 9, 1.0, 5, 0.0)]);
    rig.fold();
    let mut failed = event(Kind::RUN, "a", Some("s"), 1);
    failed.status = Some(Status::Error);
    failed.error = Some("out of luck".to_owned());
    rig.store(vec![failed]);
    rig.fold();
    let session = rig.sessions().remove(0);
    assert_eq!((session.runs, session.sums.input_tokens, session.sums.errors), (1, 5, 1));
    let run = rig.reader().run_summary("a").unwrap().unwrap();
    assert_eq!((run.status.as_str(), run.error.as_deref()), ("error", Some("out of luck")));
}

#[test]
fn a_turns_sum_counts_only_where_its_calls_tell_no_tokens() {
    let mut rig = Rig::new();
    let usage = |run: &str| {
        let mut usage = call(run, Some("s"), 5, 1.0, 70, 0.07);
        usage.kind = Kind::USAGE;
        usage
    };
    let mut silent = event(Kind::LLM_CALL, "old", Some("s"), 5);
    silent.name = Some("model-old".to_owned());
    let mut of_old = usage("old");
    of_old.name = Some("model-old".to_owned());
    rig.store(vec![call("new", Some("s"), 6, 1.0, 70, 0.07), usage("new"), silent, of_old]);
    rig.fold();
    assert_eq!(rig.sessions()[0].sums.input_tokens, 140);
    let now = Timestamp::now().as_nanos();
    let stats = rig.reader().stats(By::Model, now - 3600 * NANOS, now, None).unwrap();
    assert_eq!((stats.total.calls, stats.total.input_tokens), (2, 140));
    let kinds = rig.reader().stats(By::Kind, now - 3600 * NANOS, now, None).unwrap();
    assert_eq!((kinds.total.calls, kinds.total.input_tokens), (4, 70));
}

#[test]
fn percentiles_are_within_half_a_step_of_the_true_ones() {
    let mut rig = Rig::new();
    let millis: Vec<f64> = (1..=2000).map(|at| f64::from(at) * 1.7).collect();
    rig.store(millis.iter().map(|millis| call("a", None, 1, *millis, 1, 0.0)).collect());
    rig.fold();
    let now = Timestamp::now().as_nanos();
    let stats = rig.reader().stats(By::Model, now - 3600 * NANOS, now + NANOS, None).unwrap();
    let told = stats.total.duration_ms.unwrap();
    for (said, share) in [(told.p50, 0.5), (told.p95, 0.95), (told.p99, 0.99)] {
        let truth = 2000.0 * share * 1.7;
        assert!((said / truth - 1.0).abs() < 0.05, "{said} for {truth}");
    }
    assert!((told.max - 3400.0).abs() < 1e-9);
    assert!((told.mean - 1700.85).abs() < 1e-6, "{}", told.mean);
}

#[test]
fn however_many_names_are_sent_a_bucket_stays_bounded() {
    let mut rig = Rig::new();
    let mut events = Vec::new();
    for at in 0..3000 {
        let mut event = event(Kind::parse(&format!("kind_{}", at % 100)).unwrap(), "r", None, 1);
        event.name = Some(format!("name-{at}"));
        let mut tool = event.clone();
        tool.trace_id = engine::TraceId::new();
        tool.kind = Kind::TOOL_CALL;
        events.extend([event, tool]);
    }
    rig.store(events);
    rig.fold();
    let (rows, calls): (i64, i64) = rig
        .connection
        .query_row("SELECT count(*), sum(calls) FROM stats WHERE span = 3600", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(rows <= 2 * 66, "{rows} rows");
    assert_eq!(calls, 6000, "what has no row of its own is counted as other");
}

#[test]
fn what_is_old_or_has_no_events_left_is_let_go() {
    let mut rig = Rig::new();
    rig.store(vec![call("old", Some("gone"), 20 * 86_400, 1.0, 1, 0.0), call("new", Some("here"), 5, 1.0, 1, 0.0)]);
    let mut old_link = link("old", "older");
    old_link.timestamp = Timestamp::from_nanos(Timestamp::now().as_nanos() - 20 * 86_400 * NANOS);
    rig.store(vec![old_link]);
    rig.fold();
    rig.connection.execute("DELETE FROM events WHERE run_id = 'old'", []).unwrap();
    while forget(&mut rig.connection, 10, Timestamp::now()).unwrap() {}
    assert_eq!(rig.sessions().len(), 1);
    assert!(rig.reader().run_summary("old").unwrap().is_none());
    let count = |what: &str| -> i64 { rig.connection.query_row(what, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM run_alias"), 0);
    assert_eq!(count("SELECT sum(calls) FROM stats WHERE span = 3600"), 1);
}

#[test]
fn a_file_of_the_first_version_is_summed_up_when_it_is_asked() {
    let mut rig = Rig::new();
    rig.store(vec![call("a", Some("s"), 9, 1.0, 5, 0.0), call("b", Some("s"), 8, 1.0, 6, 0.0), link("a", "b")]);
    let tables = ["runs", "run_alias", "sessions", "stats", "resources"];
    for table in tables {
        rig.connection.execute_batch(&format!("DROP TABLE {table}")).unwrap();
    }
    rig.connection
        .execute_batch("DROP INDEX events_failed; DROP INDEX events_metric; PRAGMA user_version = 1")
        .unwrap();
    let session = rig.sessions().remove(0);
    assert_eq!((session.runs, session.sums.input_tokens), (1, 11));
    // And for good, once it is opened for writing.
    rig.connection = schema::open(&rig.path, Synchronous::Normal, std::time::Duration::from_secs(1), false).unwrap();
    rig.fold();
    assert_eq!(rig.sessions().remove(0), session);
}

#[test]
fn samples_keep_their_mean_and_highest() {
    let mut rig = Rig::new();
    let now = Timestamp::now().as_nanos();
    let begin = now - now.rem_euclid(FINE * NANOS) - 2 * FINE * NANOS;
    for at in 0..4 {
        let mut sample = Event::new(Kind::METRIC);
        sample.timestamp = Timestamp::from_nanos(begin + at * 15 * NANOS);
        sample.name = Some("container.resources".to_owned());
        let text = format!(
            r#"{{"openclaw_trace.sample.interval":15,"openclaw_trace.cpu.utilization":{},"container.network.io.receive":150,
                "openclaw_trace.process.a.memory.rss":5,"openclaw_trace.process.b.memory.rss":7}}"#,
            at as f64 / 10.0
        );
        sample.attributes = Some(Json::parse(&text).unwrap());
        rig.store(vec![sample]);
        rig.fold();
    }
    let days = rig.reader().resources(begin - 86_400 * NANOS, now, 300).unwrap();
    let at = days.t.iter().position(|t| *t as i64 == begin / NANOS).unwrap();
    let of = |name: &str| days.series[name][at].unwrap();
    assert!((of("cpu_utilization") - 0.15).abs() < 1e-9);
    assert!((of("cpu_utilization_max") - 0.3).abs() < 1e-9);
    assert!((of("network_receive") - 10.0).abs() < 1e-9);
    assert!((of("agent_memory") - 12.0).abs() < 1e-9);
    assert!(!days.series.contains_key("disk_read"));
    let hour = rig.reader().resources(begin - 60 * NANOS, begin + 3600 * NANOS, 300).unwrap();
    assert_eq!(hour.t.len(), 4);
    assert!((hour.step_seconds - 15.0).abs() < 1e-9);
}

#[test]
fn figures_without_measure_leave_sums_that_are_numbers() {
    let mut rig = Rig::new();
    let mut events = Vec::new();
    for at in 0..3 {
        let mut event = call("r", Some("s"), at, 1.6e308, 1, 0.0);
        let told = r#"{"gen_ai.usage.input_tokens":1e300,"gen_ai.usage.output_tokens":-5,"cost_usd":1e308}"#;
        event.attributes = Some(Json::parse(told).unwrap());
        let mut sample = Event::new(Kind::METRIC);
        sample.name = Some("container.resources".to_owned());
        sample.attributes = Some(Json::parse(r#"{"openclaw_trace.cpu.utilization":1.7e308}"#).unwrap());
        events.extend([event, sample]);
    }
    rig.store(events);
    rig.fold();
    let now = Timestamp::now().as_nanos();
    let stats = rig.reader().stats(By::Model, now - 3600 * NANOS, now + NANOS, None).unwrap();
    let told = stats.total.duration_ms.unwrap();
    assert!([told.p50, told.p99, told.max, told.mean].iter().all(|figure| figure.is_finite()), "{told:?}");
    assert!(stats.total.cost_usd.is_finite() && stats.total.output_tokens == 0);
    let machine = rig.reader().resources(now - 86_400 * NANOS, now + NANOS, 100).unwrap();
    assert!(machine.series["cpu_utilization"].iter().flatten().all(|figure| figure.is_finite()));
    let session = rig.sessions().remove(0);
    assert!(session.sums.cost_usd.is_finite() && session.sums.input_tokens > 0, "{session:?}");
}
