//! What the tests of this crate share.

use engine::{Admission, Batch, BuildContext, Event, Kind, Receipt};

/// A context as the runtime would pass it.
pub(crate) fn context() -> BuildContext {
    BuildContext::new("test")
}

/// An event of kind `log`.
pub(crate) fn event() -> Event {
    Event::new(Kind::LOG)
}

/// A batch that was admitted.
#[allow(clippy::unwrap_used)]
pub(crate) fn batch(events: Vec<Event>) -> (Batch, Receipt) {
    let credits = Admission::new(1, 1).try_acquire(events.len(), 1).unwrap();
    Batch::new(events, credits, false)
}

/// The value of one line of the metrics, 0 where it is absent.
pub(crate) fn metric(cx: &BuildContext, line_starts_with: &str) -> u64 {
    let text = cx.metrics.render();
    let line = text.lines().find(|line| line.starts_with(line_starts_with));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}
