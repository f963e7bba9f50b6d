//! What this source counts of itself.

use engine::BuildContext;
use engine::metrics::{IntCounter, IntGauge};

use crate::delivery::Delivered;

/// The metrics of one component.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) read: IntCounter,
    pub(super) rejected: IntCounter,
    pub(super) delivered: Delivered,
    pub(super) behind: IntGauge,
}

impl Counts {
    /// Registers them.
    pub(super) fn new(cx: &BuildContext) -> Self {
        let counter = |name: &str, help: &str| cx.metrics.counter(&cx.name, name, help);
        Self {
            read: counter("file_lines_read_total", "Lines read."),
            rejected: counter("file_lines_rejected_total", "Lines that are no event, or too long, and skipped."),
            delivered: Delivered {
                resent: counter("file_batches_resent_total", "Batches that were not stored and sent again."),
                given_up: counter("file_events_given_up_total", "Events that a receiver behind will never take."),
            },
            behind: cx.metrics.gauge(&cx.name, "file_bytes_behind", "Bytes of the file that are not read yet."),
        }
    }
}
