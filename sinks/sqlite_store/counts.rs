//! What the store counts of itself.

use engine::BuildContext;
use engine::metrics::{Histogram, IntCounter, IntGauge};

/// The metrics of one store.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) events: IntCounter,
    pub(super) duplicates: IntCounter,
    pub(super) commits: Histogram,
    pub(super) failures: IntCounter,
    pub(super) folded: IntCounter,
    pub(super) deleted: IntCounter,
    pub(super) deleted_unsent: IntCounter,
    pub(super) bytes: IntGauge,
    pub(super) wal: IntGauge,
}

impl Counts {
    pub(super) fn new(cx: &BuildContext) -> Self {
        let (metrics, name) = (&cx.metrics, cx.name.as_str());
        Self {
            events: metrics.counter(name, "store_events_total", "Events stored."),
            duplicates: metrics.counter(name, "store_duplicates_total", "Events that were there already."),
            commits: metrics.seconds(name, "store_commit_seconds", "Time of a group write, from begin to commit."),
            failures: metrics.counter(name, "store_failures_total", "Group writes that failed."),
            folded: metrics.counter(name, "store_folded_total", "Events summed up for the query API."),
            deleted: metrics.counter(name, "store_deleted_total", "Events deleted by retention."),
            deleted_unsent: metrics.counter(
                name,
                "store_deleted_unsent_total",
                "Events deleted by retention that had not been pushed.",
            ),
            bytes: metrics.gauge(name, "store_bytes", "Bytes of the database in use."),
            wal: metrics.gauge(name, "store_wal_bytes", "Bytes of the write-ahead log."),
        }
    }
}
