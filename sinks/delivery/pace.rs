//! How fast a backlog goes out after an outage.
//!
//! A receiver that comes back meets every sender's backlog at once; were each sent as fast as it can be,
//! the receiver would go down again. So a sender whose cycles failed takes as long to catch up as the
//! outage lasted: in each interval it sends twice what came in during one interval of the outage, and
//! never less than [`LEAST`] requests. A whole fleet then asks for at most twice what it asks for always,
//! however long the outage was. Only the rest of the first cycle and the cycles after it are paced; once
//! nothing waits, all is as before.
//!
//! Pure arithmetic: what waits and how long the outage lasted are handed in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Requests that a paced cycle may always send: twice the one that a quiet sender needs.
const LEAST: u32 = 2;

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// Events of one cycle.
    events: usize,
    /// Events that the last cycle sent beyond its share: its last batch was whole. The next has less.
    ahead: usize,
}

impl Pace {
    /// The pace for `waiting` events after an outage.
    pub(super) fn after(outage: Duration, waiting: usize, interval: Duration) -> Self {
        let intervals = (outage.as_secs_f64() / interval.as_secs_f64()).max(1.0);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let events = (2.0 * waiting as f64 / intervals).ceil() as usize;
        Self { events: events.max(1), ahead: 0 }
    }

    /// Whether a cycle that has sent so many requests and events may send one more.
    pub(super) fn allows(self, requests: u32, events: usize) -> bool {
        requests < LEAST || events < self.events.saturating_sub(self.ahead)
    }

    /// The cycle has ended with so many.
    pub(super) fn ended(&mut self, requests: u32, events: usize) {
        let share = self.events.saturating_sub(self.ahead);
        self.ahead = if requests > LEAST { events.saturating_sub(share).min(self.events) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    /// Requests of each interval until nothing waits, for a sender of `usual` events an interval in
    /// batches of 500.
    fn catch_up(usual: usize, outage_intervals: u32) -> Vec<u32> {
        let mut waiting = usual * outage_intervals as usize;
        let mut pace = Pace::after(INTERVAL * outage_intervals, waiting, INTERVAL);
        let mut cycles = Vec::new();
        while waiting > 0 && cycles.len() < 10_000 {
            let (mut requests, mut events) = (0, 0);
            while waiting > 0 && pace.allows(requests, events) {
                let batch = waiting.min(500);
                waiting -= batch;
                events += batch;
                requests += 1;
            }
            pace.ended(requests, events);
            cycles.push(requests);
            if waiting > 0 {
                waiting += usual;
            }
        }
        cycles
    }

    #[test]
    fn a_backlog_is_sent_at_twice_the_usual_rate_and_in_no_longer_than_the_outage() {
        for usual in [1, 20, 100, 499, 500, 501, 625, 740, 990, 1000, 2600, 40_000] {
            for outage in [1, 2, 12, 72, 500] {
                let cycles = catch_up(usual, outage);
                // A request more than the outage had intervals: the last may be a small one.
                assert!(cycles.len() <= outage as usize + 2, "{usual} for {outage}: {} cycles", cycles.len());
                #[allow(clippy::cast_precision_loss)]
                let steady = (usual as f64 / 500.0).max(1.0);
                // Batches are whole, so two cycles are looked at together.
                for two in cycles.chunks_exact(2) {
                    let requests = f64::from(two[0] + two[1]);
                    assert!(requests <= 4.0 * steady + 1.0, "{usual} for {outage}: {two:?}");
                }
            }
        }
    }
}
