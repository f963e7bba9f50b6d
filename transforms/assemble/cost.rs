//! What a turn cost. OpenClaw tells it only as a counter, `openclaw.cost.usd`: what was added to it
//! in some seconds belongs to a run where exactly one of that model ended in them.
//!
//! Spans may come after the counter that already counts them, so a cost waits, for as long as an
//! exporter may hold spans back, until it is clear how many runs there were. It is told by a link; the
//! counter's own event passes untouched.

use std::collections::VecDeque;
use std::time::Duration;

use super::link::{Link, Links};
use super::look::{Look, Role};
use super::runs::Runs;

/// How long a cost waits for the spans of its time.
const SETTLE: Duration = Duration::from_secs(15);

/// Most costs that wait.
const MAX_WAITING: usize = 256;

/// Leave for what is counted a little before or after the span ends, in nanoseconds.
const LEAVE: i64 = 500_000_000;

#[derive(Debug)]
struct Cost {
    usd: f64,
    model: Option<String>,
    service: Option<String>,
    start: i64,
    end: i64,
    came: Duration,
}

/// Costs that wait for their run.
#[derive(Default)]
pub(super) struct Costs {
    waiting: VecDeque<Cost>,
}

impl Costs {
    /// Remembers a cost.
    pub(super) fn note(&mut self, look: &Look, now: Duration) {
        let (Role::Cost, Some(usd)) = (look.role, look.cost) else { return };
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Cost {
            usd,
            model: look.name.clone(),
            service: look.service.clone(),
            start: look.start,
            end: look.end,
            came: now,
        });
    }

    /// Tells the costs whose time is up and that belong to exactly one run.
    pub(super) fn settle(&mut self, runs: &Runs, links: &mut Links, now: Duration) {
        while self.waiting.front().is_some_and(|cost| now.saturating_sub(cost.came) >= SETTLE) {
            let Some(cost) = self.waiting.pop_front() else { return };
            let mut ended = runs
                .iter()
                .filter(|(_, run)| !run.is_joined() && run.service == cost.service)
                .filter(|(_, run)| {
                    run.spans.iter().any(|span| {
                        span.role == Role::Run
                            && cost.start.saturating_sub(LEAVE) < span.end
                            && span.end <= cost.end.saturating_add(LEAVE)
                            && (cost.model.is_none() || span.name.is_none() || cost.model == span.name)
                    })
                })
                .map(|(_, run)| run.id().to_owned());
            if let (Some(run), None) = (ended.next(), ended.next()) {
                links.tell(Link { run, cost: Some(cost.usd), at: cost.end, ..Link::default() });
            }
        }
    }
}
