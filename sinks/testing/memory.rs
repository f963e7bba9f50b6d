//! An outbox in memory, with the meaning the trait gives it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use engine::{Cursor, Event, Outbox, OutboxError, TraceId, Unsent};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Unsent,
    Confirmed,
    Quarantined(String),
}

#[derive(Default)]
pub(crate) struct Memory {
    events: Mutex<Vec<(Event, Fate)>>,
    /// How many were dropped from the front.
    dropped: AtomicUsize,
    state: Mutex<HashMap<String, String>>,
    /// `confirm` fails while this is set.
    pub(crate) broken: AtomicBool,
    /// How often `waiting` was called.
    pub(crate) polls: AtomicUsize,
}

impl Memory {
    pub(crate) fn with(events: &[Event]) -> std::sync::Arc<Self> {
        let memory = Self::default();
        memory.add(events);
        memory.into()
    }

    pub(crate) fn add(&self, events: &[Event]) {
        self.events.lock().unwrap().extend(events.iter().map(|event| (event.clone(), Fate::Unsent)));
    }

    /// How many are unsent, confirmed, quarantined.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let events = self.events.lock().unwrap();
        let count = |wanted: fn(&Fate) -> bool| events.iter().filter(|(_, fate)| wanted(fate)).count();
        (
            count(|fate| *fate == Fate::Unsent),
            count(|fate| *fate == Fate::Confirmed),
            count(|fate| matches!(fate, Fate::Quarantined(_))),
        )
    }

    /// Drops the first events that are confirmed, but for the count.
    pub(crate) fn forget_confirmed(&self) {
        let mut events = self.events.lock().unwrap();
        let settled = events.iter().take_while(|(_, fate)| *fate == Fate::Confirmed).count();
        events.drain(..settled);
        self.dropped.fetch_add(settled, Ordering::Relaxed);
    }

    /// How many there ever were, and how many of them were dropped.
    pub(crate) fn added(&self) -> (usize, usize) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        (dropped + self.events.lock().unwrap().len(), dropped)
    }

    pub(crate) fn fate(&self, id: TraceId) -> Fate {
        self.events.lock().unwrap().iter().find(|(event, _)| event.trace_id == id).unwrap().1.clone()
    }

    pub(crate) fn state_text(&self) -> String {
        self.state.lock().unwrap().values().cloned().collect()
    }

    fn settle(&self, id: TraceId, fate: Fate) {
        let mut events = self.events.lock().unwrap();
        let entry = events.iter_mut().find(|(event, _)| event.trace_id == id).expect("an event of this outbox");
        assert_eq!(entry.1, Fate::Unsent, "settled twice");
        entry.1 = fate;
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn unsent(&self, after: Cursor, max_events: usize, max_bytes: usize) -> Result<Vec<Unsent>, OutboxError> {
        let mut bytes = 0;
        let events = self.events.lock().unwrap();
        let dropped = self.dropped.load(Ordering::Relaxed);
        let unsent = events.iter().enumerate().map(|(index, entry)| ((dropped + index) as Cursor + 1, entry));
        let page = unsent
            .filter(|(cursor, (_, fate))| *cursor > after && *fate == Fate::Unsent)
            .take(max_events)
            .take_while(|(_, (event, _))| {
                let fits = bytes < max_bytes;
                bytes += event.size_bytes();
                fits
            });
        Ok(page.map(|(cursor, (event, _))| Unsent { cursor, event: event.clone().into() }).collect())
    }

    async fn waiting(&self, at_most: usize) -> Result<usize, OutboxError> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Ok(self.counts().0.min(at_most))
    }

    async fn confirm(&self, events: &[TraceId]) -> Result<(), OutboxError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(OutboxError("disk is gone".into()));
        }
        events.iter().for_each(|id| self.settle(*id, Fate::Confirmed));
        Ok(())
    }

    async fn quarantine(&self, event: TraceId, reason: &str) -> Result<(), OutboxError> {
        self.settle(event, Fate::Quarantined(reason.to_owned()));
        Ok(())
    }

    async fn load_state(&self, key: &str) -> Result<Option<String>, OutboxError> {
        Ok(self.state.lock().unwrap().get(key).cloned())
    }

    async fn states(&self, _: &str) -> Result<Vec<(String, String)>, OutboxError> {
        Ok(Vec::new())
    }

    async fn save_state(&self, key: &str, value: &str) -> Result<(), OutboxError> {
        self.state.lock().unwrap().insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}
