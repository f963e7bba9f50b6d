#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Receipt, Refusal, RefusalKind};
use proptest::prelude::*;

use super::*;
use crate::testing::{batch, context, metric};

/// An assembler whose clock the test moves, in seconds.
struct Rig {
    assembler: Assembler,
    clock: Arc<AtomicU64>,
    cx: BuildContext,
}

impl Rig {
    fn new(config: Assemble) -> Self {
        let cx = context();
        let clock = Arc::new(AtomicU64::new(0));
        let now = Arc::clone(&clock);
        let assembler =
            config.build_with_clock(&cx, Box::new(move || Duration::from_secs(now.load(Ordering::Relaxed)))).unwrap();
        Self { assembler, clock, cx }
    }

    fn pass(&self, events: &[Event]) -> (Batch, Receipt) {
        let (mut batch, receipt) = batch(events.to_vec());
        self.assembler.apply(&mut batch);
        (batch, receipt)
    }

    /// Passes events in one batch that is stored; answers what came out.
    fn stored(&self, events: &[Event]) -> Vec<Event> {
        let (batch, _receipt) = self.pass(events);
        let out = batch.iter().cloned().collect();
        batch.confirm(0);
        out
    }
}

/// A span of the trace `trace`, from `start` to `end` in milliseconds.
fn span(name: &str, trace: &str, id: &str, parent: &str, start: i64, end: i64) -> Event {
    let kind = match name {
        "model.call" => "llm_call",
        "tool.execution" => "tool_call",
        "model.usage" => "usage",
        "message.processed" => "message",
        "run" | "exec" => name,
        "liveness.warning" => "gateway",
        _ => "span",
    };
    let mut event = Event::new(Kind::parse(kind).unwrap());
    event.timestamp = engine::Timestamp::from_nanos(start * 1_000_000);
    #[allow(clippy::cast_precision_loss)]
    let duration = (end - start) as f64;
    event.duration_ms = Some(duration);
    event.status = Some(Status::Ok);
    event.run_id = Some(trace.to_owned());
    event.span_id = Some(id.to_owned());
    event.parent_span_id = Some(parent.to_owned()).filter(|parent| !parent.is_empty());
    event.name = Some(if kind == "tool_call" { "exec" } else { "m" }.to_owned());
    let attributes = serde_json::json!({
        "otel.span.name": format!("openclaw.{name}"), "service.name": "gw", "openclaw.model": "m"
    });
    event.attributes = Some(engine::Json::from_value(&attributes).unwrap());
    event
}

fn cost(usd: f64, start: i64, end: i64) -> Event {
    let mut event = Event::new(Kind::METRIC);
    event.name = Some("openclaw.cost.usd".to_owned());
    event.timestamp = engine::Timestamp::from_nanos(end * 1_000_000);
    let attributes = serde_json::json!({
        "otel.metric.value": usd, "otel.metric.interval_ms": end - start, "service.name": "gw", "openclaw.model": "m"
    });
    event.attributes = Some(engine::Json::from_value(&attributes).unwrap());
    event
}

fn links(out: &[Event]) -> Vec<&Event> {
    out.iter().filter(|event| event.kind == Kind::LINK).collect()
}

fn run_of(event: &Event) -> &str {
    event.run_id.as_deref().unwrap()
}

#[test]
fn pieces_that_come_with_their_run_are_written_into_it() {
    let rig = Rig::new(Assemble::default());
    let out = rig.stored(&[
        span("exec", "t-exec", "e", "", 40, 60),
        span("tool.execution", "t", "tool", "r", 30, 70),
        span("run", "t", "r", "", 10, 100),
        span("harness.run", "t-harness", "h", "never", 9, 101),
        span("message.processed", "t-message", "m", "", 5, 110),
        span("model.usage", "t-usage", "u", "", 4, 111),
    ]);
    assert!(out.iter().all(|event| run_of(event) == "t"), "{out:?}");
    let parents: Vec<_> = out.iter().map(|event| event.parent_span_id.as_deref()).collect();
    assert_eq!(parents, [Some("tool"), Some("r"), Some("h"), Some("m"), None, Some("r")]);
    assert!(out[0].attributes.as_ref().unwrap().as_str().contains(r#""otel.trace_id":"t-exec""#));
    assert_eq!(metric(&rig.cx, "openclaw_trace_assemble_joined_total"), 4);
}

#[test]
fn what_was_assembled_and_comes_again_out_of_an_export_stays_as_it_is() {
    // A command in a trace of its own, and one that bears the id of the harness that it ran under.
    let mut beside = span("exec", "t", "h", "m", 41, 59);
    beside.trace_id = engine::TraceId::new();
    let pieces = [
        span("exec", "t-exec", "e", "", 40, 60),
        beside,
        span("tool.execution", "t", "tool", "r", 30, 70),
        span("run", "t", "r", "", 10, 100),
        span("harness.run", "t", "h", "m", 9, 101),
    ];
    let once = Rig::new(Assemble::default()).stored(&pieces);
    let ids: Vec<_> = once.iter().map(|event| event.span_id.as_deref()).collect();
    assert_eq!(ids[..2], [Some("e"), Some("h-exec")]);
    assert_eq!(Rig::new(Assemble::default()).stored(&once), once);
    // One by one, and by an instance that knows the run already.
    let rig = Rig::new(Assemble::default());
    for _ in 0..2 {
        let again: Vec<_> = once.iter().flat_map(|event| rig.stored(std::slice::from_ref(event))).collect();
        assert_eq!(again, once);
    }
}

#[test]
fn pieces_that_came_before_their_run_are_joined_by_links() {
    let rig = Rig::new(Assemble::default());
    let first = rig.stored(&[span("exec", "t-exec", "e", "", 40, 60)]);
    assert_eq!((first.len(), run_of(&first[0])), (1, "t-exec"));
    let out = rig.stored(&[span("tool.execution", "t", "tool", "r", 30, 70), span("run", "t", "r", "", 10, 100)]);
    let [link] = links(&out)[..] else { panic!("{out:?}") };
    assert_eq!(run_of(link), "t");
    assert_eq!(link.attributes.as_ref().unwrap().as_str(), r#"{"link.run_id":"t-exec"}"#);
    assert_eq!((link.span_id.as_deref(), link.parent_span_id.as_deref()), (Some("e"), Some("tool")));

    let late = rig.stored(&[span("harness.run", "t-h", "h", "never", 9, 101)]);
    assert_eq!(run_of(&late[0]), "t");
    let [link] = links(&late)[..] else { panic!("{late:?}") };
    assert_eq!((link.span_id.as_deref(), link.parent_span_id.as_deref()), (Some("r"), Some("h")));
}

#[test]
fn where_two_runs_fit_nothing_is_guessed() {
    let rig = Rig::new(Assemble::default());
    let out = rig.stored(&[
        span("run", "a", "ra", "", 10, 100),
        span("run", "b", "rb", "", 11, 99),
        span("message.processed", "t-message", "m", "", 5, 110),
    ]);
    assert_eq!(run_of(&out[2]), "t-message");
    assert_eq!(metric(&rig.cx, "openclaw_trace_assemble_ambiguous_total"), 1);
}

#[test]
fn a_run_failed_when_the_last_model_call_in_it_did() {
    let rig = Rig::new(Assemble::default());
    let mut failed = span("model.call", "t", "c1", "r", 20, 30);
    failed.status = Some(Status::Error);
    failed.error = Some("500 upstream".into());
    let good = span("model.call", "t", "c2", "r", 40, 50);
    let run = span("run", "t", "r", "h", 10, 60);
    let harness = span("harness.run", "t", "h", "", 9, 61);
    let out = rig.stored(&[failed.clone(), run.clone(), harness.clone()]);
    for at in [1, 2] {
        assert_eq!((out[at].status, out[at].error.as_deref()), (Some(Status::Error), Some("500 upstream")));
    }
    // A later call that went well makes the turn a good one.
    let rig = Rig::new(Assemble::default());
    let out = rig.stored(&[failed.clone(), good, run.clone()]);
    assert_eq!(out[2].status, Some(Status::Ok));
    // A call that comes after its run was stored.
    let rig = Rig::new(Assemble::default());
    rig.stored(&[run]);
    let out = rig.stored(&[failed]);
    let [link] = links(&out)[..] else { panic!("{out:?}") };
    assert_eq!((link.status, link.span_id.as_deref()), (Some(Status::Error), Some("r")));
}

#[test]
fn the_gateways_own_warnings_are_in_no_run() {
    let rig = Rig::new(Assemble::default());
    let out = rig.stored(&[span("liveness.warning", "t", "w", "", 1, 1)]);
    assert_eq!(out[0].run_id, None);
}

#[test]
fn a_session_that_is_told_once_is_known_for_the_whole_run() {
    let rig = Rig::new(Assemble::default());
    rig.stored(&[span("model.call", "t", "c", "r", 20, 30)]);
    let mut run = span("run", "t", "r", "", 10, 100);
    run.session_id = Some("s".into());
    run.agent_id = Some("main".into());
    let out = rig.stored(&[run]);
    let [link] = links(&out)[..] else { panic!("{out:?}") };
    assert_eq!((run_of(link), link.session_id.as_deref(), link.agent_id.as_deref()), ("t", Some("s"), Some("main")));
    let out = rig.stored(&[span("tool.execution", "t", "x", "r", 40, 50)]);
    assert_eq!(out[0].session_id.as_deref(), Some("s"));
}

#[test]
fn a_cost_belongs_to_the_one_run_that_ended_in_its_time() {
    let rig = Rig::new(Assemble::default());
    rig.stored(&[cost(0.25, 90_000, 100_000)]);
    rig.stored(&[span("run", "t", "r", "", 80_000, 95_000)]);
    rig.clock.store(20, Ordering::Relaxed);
    let out = rig.stored(&[crate::testing::event()]);
    let [link] = links(&out)[..] else { panic!("{out:?}") };
    assert_eq!((run_of(link), link.attributes.as_ref().unwrap().as_str()), ("t", r#"{"cost_usd":0.25}"#));
    // Two that ended in it share it: nothing is guessed.
    let rig = Rig::new(Assemble::default());
    rig.stored(&[cost(0.25, 90_000, 100_000)]);
    rig.stored(&[span("run", "a", "r", "", 80_000, 95_000), span("run", "b", "r", "", 80_000, 96_000)]);
    rig.clock.store(20, Ordering::Relaxed);
    assert!(links(&rig.stored(&[crate::testing::event()])).is_empty());
}

#[test]
fn a_refused_batch_loses_no_link_and_may_come_again() {
    let rig = Rig::new(Assemble::default());
    rig.stored(&[span("exec", "t-exec", "e", "", 40, 60)]);
    let run = [span("tool.execution", "t", "tool", "r", 30, 70), span("run", "t", "r", "", 10, 100)];
    let (batch, _receipt) = rig.pass(&run);
    let told = batch.iter().filter(|event| event.kind == Kind::LINK).cloned().collect::<Vec<_>>();
    batch.fail(Refusal::new(RefusalKind::Failed, "no", Duration::from_secs(1)));
    let again = rig.stored(&run);
    assert_eq!(links(&again).len(), 1);
    assert_eq!(links(&again)[0].trace_id, told[0].trace_id, "the same link");
    assert!(links(&rig.stored(&run)).is_empty(), "it is stored now");
}

#[test]
fn a_run_by_its_own_name_and_by_its_trace_is_one() {
    let rig = Rig::new(Assemble::default());
    rig.stored(&[span("model.call", "t", "c", "r", 20, 30)]);
    let mut told = crate::testing::event();
    told.run_id = Some("run-7".into());
    told.attributes = Some(engine::Json::parse(r#"{"otel.trace_id":"t"}"#).unwrap());
    let out = rig.stored(&[told]);
    let [link] = links(&out)[..] else { panic!("{out:?}") };
    assert_eq!((run_of(link), link.attributes.as_ref().unwrap().as_str()), ("run-7", r#"{"link.run_id":"t"}"#));
    let out = rig.stored(&[span("run", "t", "r", "", 10, 100)]);
    assert_eq!(run_of(&out[0]), "run-7");
}

#[test]
fn what_is_remembered_is_bounded_by_count_bytes_and_age() {
    let rig = Rig::new(Assemble { max_runs: 5, ..Assemble::default() });
    for at in 0..50 {
        rig.stored(&[span("run", &format!("t{at}"), "r", "", 10, 100)]);
    }
    assert_eq!(metric(&rig.cx, "openclaw_trace_assemble_runs"), 5);
    let rig = Rig::new(Assemble { max_bytes: Size(20_000), ..Assemble::default() });
    for at in 0..500 {
        rig.stored(&[span("run", &format!("t{at}"), "r", "", 10, 100)]);
    }
    let known = metric(&rig.cx, "openclaw_trace_assemble_runs");
    assert!((10..100).contains(&known), "{known}");
    rig.clock.store(10_000, Ordering::Relaxed);
    rig.stored(&[span("run", "new", "r", "", 10, 100)]);
    assert_eq!(metric(&rig.cx, "openclaw_trace_assemble_runs"), 1);
}

#[test]
fn a_setting_of_nothing_is_refused() {
    let config = Assemble { max_runs: 0, max_bytes: Size(0), max_age: Time(Duration::ZERO) };
    let problems = config.build(&context()).err().unwrap();
    assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["max_runs", "max_bytes", "max_age"]);
}

/// What a generated turn is made of: pieces in any order, cut into batches at any place.
fn pieces(turn: i64) -> Vec<Event> {
    let at = turn * 100_000;
    let id = |name: &str| format!("{name}{turn}");
    vec![
        span("model.call", &id("t"), "c", "r", at + 20, at + 30),
        span("exec", &id("x"), "e", "", at + 40, at + 60),
        span("tool.execution", &id("t"), "tool", "r", at + 30, at + 70),
        span("run", &id("t"), "r", "", at + 10, at + 100),
        span("harness.run", &id("h"), "h", "never", at + 9, at + 101),
        span("model.usage", &id("u"), "u", "", at + 4, at + 111),
    ]
}

proptest! {
    #[test]
    fn in_whatever_order_and_batches_they_come_turns_come_together(
        order in Just((0..18usize).collect::<Vec<_>>()).prop_shuffle(),
        cuts in prop::collection::vec(1usize..6, 18),
        failing in prop::collection::vec(any::<bool>(), 18),
    ) {
        let rig = Rig::new(Assemble::default());
        let all: Vec<Event> = (0..3).flat_map(pieces).collect();
        let (mut rest, mut out) = (&order[..], Vec::new());
        for (cut, fails) in cuts.into_iter().zip(failing) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            let events: Vec<Event> = now.iter().map(|at| all[*at].clone()).collect();
            if fails {
                let (batch, _receipt) = rig.pass(&events);
                drop(batch);
            }
            out.extend(rig.stored(&events));
        }
        prop_assert_eq!(out.iter().filter(|event| event.kind != Kind::LINK).count(), 18, "nothing is held back");
        let same: std::collections::HashMap<String, String> = links(&out)
            .into_iter()
            .filter_map(|link| {
                let attributes: serde_json::Value = serde_json::from_str(link.attributes.as_ref()?.as_str()).ok()?;
                Some((attributes["link.run_id"].as_str()?.to_owned(), run_of(link).to_owned()))
            })
            .collect();
        for event in &out {
            let run = run_of(event);
            let run = same.get(run).map_or(run, String::as_str);
            let turn = event.timestamp.as_nanos() / 100_000_000_000;
            prop_assert_eq!(run, format!("t{turn}"), "{:?}", event);
        }
    }

    #[test]
    fn any_attributes_pass_without_a_panic(text in any::<String>(), start in any::<i64>(), duration in 0f64..1e300) {
        let rig = Rig::new(Assemble::default());
        let mut event = span("run", "t", "r", "", 0, 1);
        event.timestamp = engine::Timestamp::from_nanos(start);
        event.duration_ms = Some(duration);
        let attributes = serde_json::json!({"otel.span.name": text, "otel.trace_id": [text], "openclaw.model": 5});
        event.attributes = Some(engine::Json::from_value(&attributes).unwrap());
        prop_assert!(!rig.stored(&[event]).is_empty());
    }
}
