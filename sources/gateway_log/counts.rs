//! What this source counts of itself.

use engine::BuildContext;
use engine::metrics::{IntCounter, IntGauge};

use crate::delivery::Delivered;

/// The metrics of one component.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) read: IntCounter,
    pub(super) taken: IntCounter,
    pub(super) unreadable: IntCounter,
    pub(super) cut: IntCounter,
    pub(super) delivered: Delivered,
    pub(super) behind: IntGauge,
}

impl Counts {
    /// Registers them.
    pub(super) fn new(cx: &BuildContext) -> Self {
        let counter = |name: &str, help: &str| cx.metrics.counter(&cx.name, name, help);
        Self {
            read: counter("gateway_log_lines_read_total", "Lines read from the gateway's log."),
            taken: counter("gateway_log_lines_taken_total", "Lines that became events."),
            unreadable: counter("gateway_log_lines_unreadable_total", "Lines that are no JSON object, and skipped."),
            cut: counter("gateway_log_lines_cut_total", "Lines longer than max_line, of which only the end was read."),
            delivered: Delivered {
                resent: counter("gateway_log_batches_resent_total", "Batches that were not stored and sent again."),
                given_up: counter(
                    "gateway_log_events_given_up_total",
                    "Events that a receiver behind will never take.",
                ),
            },
            behind: cx.metrics.gauge(&cx.name, "gateway_log_bytes_behind", "Bytes of the log that are not read yet."),
        }
    }
}
