//! Lines that are no event: each is counted, and as many are said as a person reads.

use std::time::{Duration, Instant};

use engine::metrics::IntCounter;

/// So many are said one by one in each [`WINDOW`].
const SAID: u32 = 10;
const WINDOW: Duration = Duration::from_secs(30);

/// Says what was skipped.
#[derive(Debug)]
pub(super) struct Rejected {
    component: String,
    file: String,
    count: IntCounter,
    all: u64,
    until: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Rejected {
    pub(super) fn new(component: String, file: String, count: IntCounter) -> Self {
        Self { component, file, count, all: 0, until: None, said: 0, unsaid: 0 }
    }

    /// The line of this number was skipped.
    pub(super) fn line(&mut self, line: u64, why: &str) {
        self.count.inc();
        self.all += 1;
        let now = Instant::now();
        if self.until.is_none_or(|until| now >= until) {
            self.say_rest();
            (self.until, self.said) = (Some(now + WINDOW), 0);
        }
        if self.said == SAID {
            self.unsaid += 1;
            return;
        }
        self.said += 1;
        let (component, file) = (&self.component, &self.file);
        tracing::warn!(component, file, line, why, "a line is no event; it was skipped");
    }

    /// How many there were in all; what was not said one by one is said as a number.
    pub(super) fn end(&mut self) -> u64 {
        self.say_rest();
        self.all
    }

    fn say_rest(&mut self) {
        let lines = std::mem::take(&mut self.unsaid);
        if lines > 0 {
            let (component, file) = (&self.component, &self.file);
            tracing::warn!(component, file, lines, "more lines are no events; they were skipped");
        }
    }
}
