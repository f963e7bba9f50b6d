//! What this sink counts of itself.

use engine::BuildContext;
use engine::metrics::{IntCounter, IntGauge};

/// The metrics of one component.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) events: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) rotations: IntCounter,
    pub(super) deleted: IntCounter,
    pub(super) bytes: IntGauge,
}

impl Counts {
    /// Registers them.
    pub(super) fn new(cx: &BuildContext) -> Self {
        let counter = |name: &str, help: &str| cx.metrics.counter(&cx.name, name, help);
        Self {
            events: counter("file_events_written_total", "Events written."),
            failures: counter("file_write_failures_total", "Group writes that failed."),
            rotations: counter("file_rotations_total", "Files that were rotated."),
            deleted: counter("file_deleted_files_total", "Rotated files that were deleted for the bounds."),
            bytes: cx.metrics.gauge(&cx.name, "file_bytes", "Bytes of all files."),
        }
    }
}
