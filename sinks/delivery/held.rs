//! The events of one write of the live stream, as an outbox: so that they are sent, halved and settled
//! as those of a store are. Nothing of it outlives the write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use engine::{Batch, Cursor, Event, Outbox, OutboxError, TraceId, Unsent};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Unsent,
    Delivered,
    Refused,
}

/// See the module's description.
pub(super) struct Held {
    events: Vec<Arc<Event>>,
    /// Where each is; one that comes twice is sent once.
    places: HashMap<TraceId, usize>,
    fates: Mutex<Vec<Fate>>,
}

impl Held {
    pub(super) fn new<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Self {
        let (mut events, mut places) = (Vec::new(), HashMap::new());
        for event in batches.into_iter().flat_map(Batch::shared) {
            places.entry(event.trace_id).or_insert_with(|| {
                events.push(event);
                events.len() - 1
            });
        }
        let fates = Mutex::new(vec![Fate::Unsent; events.len()]);
        Self { events, places, fates }
    }

    /// What became of the events of `batch` as a whole: the worst of them.
    pub(super) fn fate(&self, batch: &Batch) -> Fate {
        let fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |event: &Event| self.places.get(&event.trace_id).map_or(Fate::Unsent, |place| fates[*place]);
        let found: Vec<Fate> = batch.iter().map(of).collect();
        [Fate::Unsent, Fate::Refused].into_iter().find(|fate| found.contains(fate)).unwrap_or(Fate::Delivered)
    }

    fn set(&self, events: &[TraceId], fate: Fate) {
        let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        for place in events.iter().filter_map(|id| self.places.get(id)) {
            fates[*place] = fate;
        }
    }
}

#[async_trait]
impl Outbox for Held {
    async fn unsent(&self, after: Cursor, max_events: usize, max_bytes: usize) -> Result<Vec<Unsent>, OutboxError> {
        let fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut bytes) = (Vec::new(), 0);
        let first = usize::try_from(after).unwrap_or(0);
        for (place, event) in self.events.iter().enumerate().skip(first) {
            if found.len() == max_events || bytes >= max_bytes {
                break;
            }
            if fates[place] == Fate::Unsent {
                bytes += event.size_bytes();
                found.push(Unsent { cursor: Cursor::try_from(place).unwrap_or(0) + 1, event: Arc::clone(event) });
            }
        }
        Ok(found)
    }

    async fn waiting(&self, at_most: usize) -> Result<usize, OutboxError> {
        let fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(fates.iter().filter(|fate| **fate == Fate::Unsent).take(at_most).count())
    }

    async fn confirm(&self, events: &[TraceId]) -> Result<(), OutboxError> {
        self.set(events, Fate::Delivered);
        Ok(())
    }

    async fn quarantine(&self, event: TraceId, _reason: &str) -> Result<(), OutboxError> {
        self.set(&[event], Fate::Refused);
        Ok(())
    }

    async fn load_state(&self, _key: &str) -> Result<Option<String>, OutboxError> {
        Ok(None)
    }

    async fn states(&self, _prefix: &str) -> Result<Vec<(String, String)>, OutboxError> {
        Ok(Vec::new())
    }

    async fn save_state(&self, _key: &str, _value: &str) -> Result<(), OutboxError> {
        Ok(())
    }
}
