//! What a run showed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gateway::Cost;
use crate::options::Options;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests of each second before the outage, and after it.
    pub(crate) steady: Vec<u64>,
    pub(crate) after: Vec<u64>,
    /// From the gateway's return until no backlog was left.
    pub(crate) drained: Option<Duration>,
    /// Of the gateway, before the outage and after it.
    pub(crate) costs: Vec<Cost>,
    /// Batches by the status that answered them.
    pub(crate) statuses: BTreeMap<String, u64>,
    pub(crate) added: usize,
    pub(crate) confirmed: usize,
    pub(crate) waiting: usize,
    /// Confirmed, and not in the gateway's store, or there twice.
    pub(crate) missing: usize,
}

impl Seen {
    fn rows(&self, options: &Options) -> Vec<(&'static str, String)> {
        let interval = usize::try_from(options.interval.as_secs()).unwrap_or(1).max(1);
        let mean = |counts: &[u64]| counts.iter().sum::<u64>() as f64 / counts.len().max(1) as f64;
        let steady = mean(&self.steady);
        let peak = self.after.windows(interval).map(mean).fold(0.0, f64::max);
        let second = self.after.iter().max().copied().unwrap_or(0);
        let drained = self.drained.map_or("not within the run".to_owned(), |time| {
            format!(
                "{:.0} s, {:.2} of the outage",
                time.as_secs_f64(),
                time.as_secs_f64() / options.outage.as_secs_f64()
            )
        });
        let statuses = self.statuses.iter().map(|(status, count)| format!("{status}: {count}"));
        let memory = self.costs.iter().map(|cost| cost.memory_kib).max().unwrap_or(0);
        let cpu: f64 = self.costs.iter().map(|cost| cost.cpu_seconds).sum();
        vec![
            ("agents", options.agents.to_string()),
            ("events of one agent in an interval", options.events.to_string()),
            ("interval, outage", format!("{:?}, {:?}", options.interval, options.outage)),
            ("catch_up", options.catch_up.clone()),
            ("requests a second, steady", format!("{steady:.0}")),
            ("the most over an interval, after the outage", format!("{peak:.0}, {:.2} of steady", peak / steady)),
            ("the most in one second, after the outage", format!("{second}, {:.2} of steady", second as f64 / steady)),
            ("answers by status, in all", statuses.collect::<Vec<_>>().join(", ")),
            ("time to drain", drained),
            ("gateway's peak memory", format!("{:.1} MiB", memory as f64 / 1024.0)),
            ("gateway's CPU, an event", format!("{:.0} us", cpu * 1e6 / self.confirmed.max(1) as f64)),
            (
                "events added, confirmed, still waiting at the stop",
                format!("{}, {}, {}", self.added, self.confirmed, self.waiting),
            ),
            ("confirmed, but lost or doubled", self.missing.to_string()),
        ]
    }

    pub(crate) fn print(&self, options: &Options) {
        for (what, value) in self.rows(options) {
            println!("{what:52} {value}");
        }
    }

    pub(crate) fn markdown(&self, options: &Options) -> String {
        let rows = self.rows(options).into_iter().map(|(what, value)| format!("| {what} | {value} |\n"));
        format!("| what | value |\n|---|---|\n{}", rows.collect::<String>())
    }
}
