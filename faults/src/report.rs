//! What is wrong, by kind, and what a run came to.

use std::path::PathBuf;

/// What went wrong. Each has a column in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Acknowledged, and not in the store.
    Lost,
    /// Twice in the store, or sent again though the receiver had confirmed it.
    Doubled,
    /// Kept or pushed otherwise than it was sent, but for what redaction and truncation do.
    Altered,
    /// A planted secret in a file, a log or a push.
    Unredacted,
    /// The program ended by itself, or an orderly stop did not end with 0.
    Exited,
    /// Memory over the budget.
    Memory,
    /// A database in use that fails SQLite's own check, or that is not at all what was to be.
    Damaged,
    /// Any other broken promise: an answer that is not documented, events not pushed, clients not served.
    Broken,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// What sort of thing.
    pub(crate) kind: Kind,
    /// How many events, or 1.
    pub(crate) count: u64,
    /// In words.
    pub(crate) text: String,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It was run and checked.
    Checked,
    /// It cannot be run here; the reason.
    Skipped(String),
}

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Name of the fault.
    pub(crate) fault: &'static str,
    /// The seed that plays it again.
    pub(crate) seed: u64,
    /// Whether it was run.
    pub(crate) outcome: Outcome,
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Events that were sent again though confirmed, where the fault makes that unavoidable.
    pub(crate) excused_repeats: u64,
    /// Acknowledged events that went with a file that the fault destroyed.
    pub(crate) destroyed: u64,
    /// The most anonymous memory, in KiB.
    pub(crate) peak_kib: u64,
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
    /// The run's folder, where it was kept.
    pub(crate) folder: Option<PathBuf>,
}

impl Run {
    /// A run in which nothing is counted yet.
    #[must_use]
    pub(crate) fn new(fault: &'static str, seed: u64) -> Self {
        Self {
            fault,
            seed,
            outcome: Outcome::Checked,
            acknowledged: 0,
            excused_repeats: 0,
            destroyed: 0,
            peak_kib: 0,
            findings: Vec::new(),
            folder: None,
        }
    }

    /// How many of a kind.
    #[must_use]
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.findings.iter().filter(|finding| finding.kind == kind).map(|finding| finding.count).sum()
    }
}
