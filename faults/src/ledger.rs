//! What was sent, and what was acknowledged: the truth that the store is measured by.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::event::{Made, Trait};

/// How soon after a loss a repeat is still taken for one of what was lost.
const GRACE: Duration = Duration::from_millis(500);

/// One event that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// As it was sent.
    pub(crate) json: Value,
    /// What is special about it.
    pub(crate) of: Trait,
    /// When the try began that was acknowledged last.
    pub(crate) acknowledged: Option<Instant>,
    /// A fault destroyed the file that held it: it may be gone.
    pub(crate) may_be_gone: bool,
    /// It was acknowledged anew after that.
    pub(crate) anew: bool,
    /// A fault spoiled the file that held it: it may be there and differ.
    pub(crate) may_differ: bool,
}

/// Every event of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By identity.
    pub(crate) sent: HashMap<Uuid, Sent>,
    /// How many were acknowledged.
    pub(crate) acknowledged: u64,
    /// When a fault last destroyed what was stored.
    destroyed_at: Option<Instant>,
}

impl Ledger {
    /// Before it is sent for the first time.
    pub(crate) fn begin(&mut self, events: &[Made]) {
        for event in events {
            let sent = Sent {
                json: event.json.clone(),
                of: event.of,
                acknowledged: None,
                may_be_gone: false,
                anew: false,
                may_differ: false,
            };
            self.sent.insert(event.id, sent);
        }
    }

    /// After a 2xx to a try that began at `began`.
    pub(crate) fn acknowledge(&mut self, ids: &[Uuid], began: Instant) {
        for id in ids {
            let Some(sent) = self.sent.get_mut(id) else { continue };
            self.acknowledged += u64::from(sent.acknowledged.is_none());
            sent.acknowledged = Some(began);
            // Sent again after its file was destroyed and acknowledged anew: it counts again.
            sent.anew |= std::mem::take(&mut sent.may_be_gone);
            // Under way when it was destroyed, it may have been stored before. And a repeat may come
            // before the program can have met the loss; it was told the truth about the first one.
            let grace = if sent.anew { GRACE } else { Duration::ZERO };
            sent.may_be_gone = self.destroyed_at.is_some_and(|moment| began <= moment + grace);
        }
    }

    /// What was acknowledged by tries begun before `moment` stood in a file that is no more, or, where
    /// it may differ, in which single bits are wrong.
    pub(crate) fn destroyed(&mut self, moment: Instant, may_differ: bool) {
        self.destroyed_at = Some(moment);
        for sent in self.sent.values_mut() {
            if sent.acknowledged.is_some_and(|began| began <= moment) {
                sent.may_be_gone = true;
            }
            // What was sent and never answered may stand there too.
            sent.may_differ |= may_differ;
        }
    }

    /// What must be kept.
    pub(crate) fn due(&self) -> impl Iterator<Item = (&Uuid, &Sent)> {
        self.sent.iter().filter(|(_, sent)| sent.acknowledged.is_some() && !sent.may_be_gone)
    }
}
