//! What the parts of a run share: where the program listens, what was sent, what was found wrong.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::report::{Finding, Kind};

/// Shared by the load, the receiver, the fault and the checker of one run.
#[derive(Debug)]
pub(crate) struct World {
    /// Where events are taken; `None` while the program is down.
    pub(crate) ingest: watch::Sender<Option<SocketAddr>>,
    /// What stands in every planted secret.
    pub(crate) nonce: String,
    /// The load ends: what is open is sent until it is acknowledged, and nothing new.
    pub(crate) ending: AtomicBool,
    /// Exchanges that are under way.
    pub(crate) exchanges: AtomicUsize,
    /// Events that the rig does not know may turn up: hostile clients sent them.
    pub(crate) strangers: AtomicBool,
    ledger: Mutex<Ledger>,
    findings: Mutex<Vec<Finding>>,
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub(crate) fn new(nonce: String) -> Self {
        Self {
            ingest: watch::Sender::new(None),
            nonce,
            ending: AtomicBool::new(false),
            exchanges: AtomicUsize::new(0),
            strangers: AtomicBool::new(false),
            ledger: Mutex::new(Ledger::default()),
            findings: Mutex::new(Vec::new()),
        }
    }

    /// What was sent.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong. The words of the first of a kind are kept, the others are only counted.
    pub(crate) fn find(&self, kind: Kind, count: u64, text: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.iter().filter(|finding| finding.kind == kind).count() >= 5
            && let Some(last) = findings.iter_mut().rfind(|finding| finding.kind == kind)
        {
            last.count += count;
            return;
        }
        findings.push(Finding { kind, count, text: text() });
    }

    /// All that was found.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
