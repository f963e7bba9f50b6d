//! Links: what became known of a run after its events were stored.

use std::collections::VecDeque;

use engine::json::quoted;
use engine::{Event, Kind, Status, Timestamp, TraceId};

/// What one link says. `None` says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Link {
    /// The run.
    pub(super) run: String,
    /// Another id under which events of it are stored.
    pub(super) other: Option<String>,
    pub(super) span: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) session: Option<String>,
    pub(super) agent: Option<String>,
    /// Why it failed.
    pub(super) failure: Option<String>,
    /// What it cost, in USD.
    pub(super) cost: Option<f64>,
    /// When what it speaks of began, in nanoseconds since 1970.
    pub(super) at: i64,
}

impl Link {
    fn event(self) -> Event {
        let mut event = Event::new(Kind::LINK);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let says = [
            self.run.clone(),
            text(&self.other),
            text(&self.span),
            text(&self.parent),
            text(&self.session),
            text(&self.agent),
            text(&self.failure),
            self.cost.map(|cost| format!("{cost} {}", self.at)).unwrap_or_default(),
        ];
        let parts: Vec<&[u8]> = std::iter::once(&b"link"[..]).chain(says.iter().map(String::as_bytes)).collect();
        event.trace_id = TraceId::derived(&parts);
        event.timestamp = Timestamp::from_nanos(self.at);
        event.run_id = Some(self.run);
        event.span_id = self.span;
        event.parent_span_id = self.parent;
        event.session_id = self.session;
        event.agent_id = self.agent;
        if self.failure.is_some() {
            event.status = Some(Status::Error);
            event.error = self.failure;
        }
        if let Some(other) = &self.other {
            event.add_attributes([("link.run_id", quoted(other))]);
        }
        if let Some(cost) = self.cost {
            event.add_attributes([("cost_usd", cost.to_string())]);
        }
        event
    }
}

/// Most links that wait to be told; the oldest is dropped beyond it.
const MAX_WAITING: usize = 256;

/// The links that are not known to be stored.
#[derive(Default)]
pub(super) struct Links {
    waiting: VecDeque<(Event, bool)>,
}

impl Links {
    /// Has a link told with this batch or the next.
    pub(super) fn tell(&mut self, link: Link) {
        let event = link.event();
        if self.waiting.iter().any(|(other, _)| other.trace_id == event.trace_id) {
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((event, false));
    }

    /// Those that are in no batch now; they count as being in one until [`Links::settle`].
    pub(super) fn take_untold(&mut self) -> Vec<Event> {
        let untold = self.waiting.iter_mut().filter(|(_, in_flight)| !in_flight);
        untold
            .map(|(event, in_flight)| {
                *in_flight = true;
                event.clone()
            })
            .collect()
    }

    /// What became of the batch that these were in.
    pub(super) fn settle(&mut self, ids: &[TraceId], stored: bool) {
        if stored {
            self.waiting.retain(|(event, _)| !ids.contains(&event.trace_id));
        } else {
            for (event, in_flight) in &mut self.waiting {
                *in_flight &= !ids.contains(&event.trace_id);
            }
        }
    }
}
