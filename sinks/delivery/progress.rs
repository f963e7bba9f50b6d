//! What lives through one cycle: how far it is, and which events are suspected to be guilty of a refusal.

use std::collections::BTreeSet;

use engine::TraceId;

/// Events refused alone at a door before anything is confirmed there, up to which the fault is taken to be theirs.
pub(super) const MAX_SUSPECTS: usize = 3;

/// What lives through one cycle.
pub(super) struct Progress {
    pub(super) tries: u32,
    pub(super) confirmed: usize,
    /// Requests that were confirmed.
    pub(super) requests: u32,
    /// The receiver's doors that have taken an event.
    open: BTreeSet<usize>,
    suspects: Vec<Suspect>,
}

/// An event that was refused when it stood alone.
struct Suspect {
    door: usize,
    trace_id: TraceId,
    reason: String,
}

impl Progress {
    pub(super) fn new(tries: u32) -> Self {
        Self { tries, confirmed: 0, requests: 0, open: BTreeSet::new(), suspects: Vec::new() }
    }

    /// A door has taken an event.
    pub(super) fn took(&mut self, door: usize) {
        self.open.insert(door);
    }

    pub(super) fn has_no_suspects(&self) -> bool {
        self.suspects.is_empty()
    }

    /// Nothing is left but the suspects, which are few: the fault is taken to be theirs.
    pub(super) fn nothing_else_waits(&mut self) {
        self.open.extend(self.suspects.iter().map(|suspect| suspect.door));
    }

    pub(super) fn suspect(&mut self, door: usize, trace_id: TraceId, reason: String) {
        // Met a second time where another parcel of its batch had to be tried again.
        if self.suspects.iter().all(|known| known.trace_id != trace_id) {
            self.suspects.push(Suspect { door, trace_id, reason });
        }
    }

    /// Those that are guilty: the same door has taken others.
    pub(super) fn take_guilty(&mut self) -> Vec<(TraceId, String)> {
        let (guilty, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.suspects).into_iter().partition(|suspect| self.open.contains(&suspect.door));
        self.suspects = others;
        guilty.into_iter().map(|suspect| (suspect.trace_id, suspect.reason)).collect()
    }

    /// What was said at a door that refuses everything.
    pub(super) fn refused_everything(&self) -> Option<&str> {
        let refused = |door| self.suspects.iter().filter(|suspect| suspect.door == door).count();
        let found = self.suspects.iter().find(|suspect| refused(suspect.door) > MAX_SUSPECTS)?;
        // Only the status: the rest may quote an event.
        Some(found.reason.split(": ").next().unwrap_or_default())
    }
}
