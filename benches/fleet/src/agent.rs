//! One agent: events that come one by one, an outbox in memory, and the real push.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use engine::plugin::AnySink;
use engine::{BuildContext, Cursor, Event, Json, Kind, Outbox, OutboxError, OutboxSink, SinkConfig, TraceId, Unsent};
use sinks::AugmiPush;
use tokio_util::sync::CancellationToken;

use crate::options::Options;

/// See the module's description.
pub(crate) struct Agent {
    number: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unsent: VecDeque<(Cursor, Arc<Event>)>,
    added: usize,
    confirmed: Vec<TraceId>,
    kept: HashMap<String, String>,
}

/// The name of an agent.
pub(crate) fn name(number: usize) -> String {
    format!("agent-{number}")
}

/// The push of an agent, as the configuration would make it.
pub(crate) fn sink(
    options: &Options,
    number: usize,
    endpoint: &str,
    token: &str,
) -> Result<Box<dyn OutboxSink>, String> {
    let millis = |seconds| format!("{}ms", options.short(seconds).as_millis().max(1));
    let table = serde_json::json!({
        "endpoint": endpoint,
        "token": token,
        "agent_id": name(number),
        "interval": millis(300),
        "base_delay": millis(2),
        "max_delay": millis(300),
        "breaker_cooldown": millis(900),
        "catch_up": options.catch_up,
    });
    let config: AugmiPush = serde_json::from_value(table).map_err(|error| error.to_string())?;
    match config.build(&BuildContext::new("push")) {
        Ok(AnySink::Outbox(sink)) => Ok(sink),
        Ok(AnySink::Stream(_)) => Err("augmi_push reads an outbox".to_owned()),
        Err(problems) => Err(format!("{problems:?}")),
    }
}

/// Adds events until the stop, each agent at moments of its own.
pub(crate) async fn work(agent: Arc<Agent>, options: Options, stop: CancellationToken) {
    let every = options.interval / u32::try_from(options.events).unwrap_or(u32::MAX);
    tokio::time::sleep(every.mul_f64(fastrand::f64())).await;
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => agent.add(),
        }
    }
}

impl Agent {
    pub(crate) fn new(number: usize) -> Self {
        Self { number, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A model call of about a kilobyte.
    fn add(&self) {
        let mut event = Event::new(Kind::LLM_CALL);
        let words = ["the", "agent", "reads", "a", "file", "and", "answers", "with", "what", "it", "found"];
        let text: Vec<&str> = (0..120).map(|_| words[fastrand::usize(..words.len())]).collect();
        event.name = Some("model-a".to_owned());
        event.agent_id = Some(name(self.number));
        event.duration_ms = Some(fastrand::f64() * 5000.0);
        event.output = Json::from_value(&text.join(" ")).ok();
        event.attributes = Json::parse(r#"{"gen_ai.usage.input_tokens":1200,"gen_ai.usage.output_tokens":80}"#).ok();
        let mut state = self.state();
        state.added += 1;
        let cursor = Cursor::try_from(state.added).unwrap_or(Cursor::MAX);
        state.unsent.push_back((cursor, Arc::new(event)));
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state().unsent.len()
    }

    pub(crate) fn added(&self) -> usize {
        self.state().added
    }

    pub(crate) fn confirmed(&self) -> Vec<TraceId> {
        std::mem::take(&mut self.state().confirmed)
    }
}

#[async_trait]
impl Outbox for Agent {
    async fn unsent(&self, after: Cursor, max_events: usize, max_bytes: usize) -> Result<Vec<Unsent>, OutboxError> {
        let state = self.state();
        let mut bytes = 0;
        let mut found = Vec::new();
        for (cursor, event) in state.unsent.iter().filter(|(cursor, _)| *cursor > after) {
            if found.len() == max_events || bytes >= max_bytes {
                break;
            }
            bytes += event.size_bytes();
            found.push(Unsent { cursor: *cursor, event: Arc::clone(event) });
        }
        Ok(found)
    }

    async fn waiting(&self, at_most: usize) -> Result<usize, OutboxError> {
        Ok(self.state().unsent.len().min(at_most))
    }

    async fn confirm(&self, events: &[TraceId]) -> Result<(), OutboxError> {
        let mut state = self.state();
        let known: std::collections::HashSet<&TraceId> = events.iter().collect();
        let before = state.unsent.len();
        state.unsent.retain(|(_, event)| !known.contains(&event.trace_id));
        if before - state.unsent.len() != events.len() {
            return Err(OutboxError("an event was confirmed that was not waiting".to_owned()));
        }
        state.confirmed.extend_from_slice(events);
        Ok(())
    }

    async fn quarantine(&self, event: TraceId, reason: &str) -> Result<(), OutboxError> {
        Err(OutboxError(format!("{event} was refused: {reason}")))
    }

    async fn load_state(&self, key: &str) -> Result<Option<String>, OutboxError> {
        Ok(self.state().kept.get(key).cloned())
    }

    async fn states(&self, _prefix: &str) -> Result<Vec<(String, String)>, OutboxError> {
        Ok(Vec::new())
    }

    async fn save_state(&self, key: &str, value: &str) -> Result<(), OutboxError> {
        self.state().kept.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}
