//! `assemble`: what a turn did comes together as one run.
//!
//! OpenClaw's exporter tells a turn in pieces: the model calls and tools in one trace, the command
//! that a tool ran, the tokens it used and the message it answered in others; no piece names the
//! session, none the cost, and a run whose model call failed is told as a good one. This transform
//! looks at the pieces as they pass and joins them. What it promises:
//!
//! 1. **Nothing is held back.** An event passes in the call that brought it. What is known by then is
//!    written into it; what becomes known later is told by a row of its own, of kind `link`.
//! 2. **Nothing is guessed.** A piece is joined to a run only where exactly one fits: it names the
//!    run, or its time lies inside (or around) that of exactly one. Where two fit it stays alone, and is
//!    counted.
//! 3. **What is known is bounded**, by `max_runs`, `max_bytes` and `max_age`: the run not heard of for
//!    longest is forgotten. A piece that comes later still stays alone.
//! 4. **A refused request may come again.** A link stays to be told until a batch with it is stored, and
//!    its identity is made of what it says, so that telling it twice is telling it once.
//!
//! A `link` event reads: what bears the run id `link.run_id` belongs to `run_id`; the span `span_id`
//! hangs below `parent_span_id`; the run's session, agent, failure or cost is this one.
//!
//! `look.rs` reads from an event what matters here, `runs.rs` remembers it, `join.rs` has the rules,
//! `cost.rs` those for the cost, `link.rs` writes what became known too late.

mod cost;
mod join;
mod link;
mod look;
mod runs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::config::{Size, Time};
use engine::json::quoted;
use engine::metrics::{IntCounter, IntGauge};
use engine::{Batch, BuildContext, Event, Kind, Outcome, Problem, Problems, Status, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use cost::Costs;
use link::Links;
use look::{Look, Role};
use runs::Runs;

/// Joins the pieces of a turn into one run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Assemble {
    /// Most runs that are remembered.
    pub max_runs: u32,
    /// Most memory for them.
    pub max_bytes: Size,
    /// How long a run is remembered after it was last heard of.
    pub max_age: Time,
}

impl Default for Assemble {
    fn default() -> Self {
        Self { max_runs: 1000, max_bytes: Size(1024 * 1024), max_age: Time::seconds(3600) }
    }
}

impl TransformConfig for Assemble {
    const TYPE: &'static str = "assemble";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        let start = Instant::now();
        self.build_with_clock(cx, Box::new(move || start.elapsed())).map(|built| Box::new(built) as Box<dyn Transform>)
    }
}

/// Time since some fixed moment.
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

impl Assemble {
    fn build_with_clock(self, cx: &BuildContext, clock: Clock) -> Result<Assembler, Problems> {
        let bounds = [
            ("max_runs", u64::from(self.max_runs)),
            ("max_bytes", self.max_bytes.0),
            ("max_age", u64::from(!self.max_age.0.is_zero())),
        ];
        let problems: Problems = bounds
            .into_iter()
            .filter(|(_, value)| *value == 0)
            .map(|(key, _)| Problem::new(key, "must be more than 0; to leave the pieces apart, remove this transform"))
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let bytes = usize::try_from(self.max_bytes.0).unwrap_or(usize::MAX);
        let state = State {
            runs: Runs::new(self.max_runs as usize, bytes, self.max_age.0),
            costs: Costs::default(),
            links: Links::default(),
        };
        let (metrics, name) = (&cx.metrics, cx.name.as_str());
        Ok(Assembler {
            state: Arc::new(Mutex::new(state)),
            clock,
            known: metrics.gauge(name, "assemble_runs", "Runs that are remembered."),
            joined: metrics.counter(name, "assemble_joined_total", "Pieces joined to a run told elsewhere."),
            ambiguous: metrics.counter(
                name,
                "assemble_ambiguous_total",
                "Times a piece fitted more than one run and was left alone.",
            ),
        })
    }
}

struct State {
    runs: Runs,
    costs: Costs,
    links: Links,
}

struct Assembler {
    state: Arc<Mutex<State>>,
    clock: Clock,
    known: IntGauge,
    joined: IntCounter,
    ambiguous: IntCounter,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transform for Assembler {
    fn apply(&self, batch: &mut Batch) {
        let now = (self.clock)();
        let looks: Vec<Option<Look>> = batch.iter().map(look::look).collect();
        let mut state = lock(&self.state);
        let State { runs, costs, links } = &mut *state;
        runs.begin(now);
        for look in looks.iter().flatten() {
            runs.note(look, links);
            costs.note(look, now);
        }
        let tally = join::join(runs, links);
        self.joined.inc_by(tally.joined);
        self.ambiguous.inc_by(tally.ambiguous);
        for (event, look) in batch.iter_mut().zip(&looks) {
            if let Some(look) = look {
                complete(event, look, runs);
            }
        }
        runs.tell_failures(links);
        costs.settle(runs, links, now);
        runs.end();
        self.known.set(i64::try_from(runs.len()).unwrap_or(i64::MAX));
        let told = links.take_untold();
        drop(state);
        if told.is_empty() {
            return;
        }
        let ids: Vec<_> = told.iter().map(|link| link.trace_id).collect();
        for link in told {
            batch.push(link);
        }
        let state = Arc::clone(&self.state);
        batch.on_outcome(move |outcome| lock(&state).links.settle(&ids, matches!(outcome, Outcome::Stored { .. })));
    }
}

/// Writes into an event what is known of its run.
fn complete(event: &mut Event, look: &Look, runs: &Runs) {
    if look.role == Role::Infrastructure {
        // The gateway speaks of itself: that is part of no turn.
        if let Some(trace) = event.run_id.take() {
            event.add_attributes([("otel.trace_id", quoted(&trace))]);
        }
        return;
    }
    let Some(run) = look.trace.as_deref().and_then(|trace| runs.get(trace)) else { return };
    if event.run_id.as_deref() != Some(run.id())
        && let Some(trace) = event.run_id.replace(run.id().to_owned())
    {
        event.add_attributes([("otel.trace_id", quoted(&trace))]);
    }
    if event.session_id.is_none() {
        event.session_id = run.session().map(str::to_owned);
    }
    if event.agent_id.is_none() {
        event.agent_id = run.agent().map(str::to_owned);
    }
    let Some(place) = runs.place(run, look) else { return };
    if let Some(span) = place.new_id
        && let Some(sent) = event.span_id.replace(span)
    {
        event.add_attributes([("otel.span_id", quoted(&sent))]);
    }
    if place.parent.is_some() {
        event.parent_span_id = place.parent;
    }
    if let Some(error) = place.failure
        && event.status != Some(Status::Error)
        && event.kind != Kind::USAGE
    {
        event.status = Some(Status::Error);
        event.error.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests;
