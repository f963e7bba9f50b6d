//! `cgroup_metrics`: what the agent's machine has left, every few seconds.
//!
//! Each sample is one wide event of kind `metric`, named `container.resources`; its attributes and
//! their units are listed in `docs/resource-sampler.md`. What happens to the agent (an OOM kill, its
//! process gone or restarted, a disk filling up) is an event of kind `error`.
//!
//! What holds:
//! 1. The figures are those of what bounds this process, not of the host: a cgroup of version 2,
//!    else of version 1, else the machine (`find.rs`); `scope` says which.
//! 2. A rate is a difference between two samples. The first sample gives none, a counter that went
//!    back gives none.
//! 3. A file that cannot be read costs its attributes only, and is said once.
//! 4. Sampling never waits for the pipeline, and the pipeline never for sampling: samples are taken
//!    on a blocking thread (`/proc/PID/cmdline` of a thrashing process can hang), and offered with
//!    `try_send`. A sample that is refused is dropped and counted: the next says more.
//! 5. An error event that is refused, or not stored, is kept and offered again with the next
//!    sample, under the same `trace_id`; at most `MAX_KEPT` of them.
//!
//! At rest a sample reads some twenty small files.

mod attributes;
mod cpu;
mod delivery;
mod disk;
mod files;
mod find;
mod memory;
mod net;
mod parse;
mod processes;
mod psi;
#[cfg(test)]
mod run_test;
mod sample;
mod tasks;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::config::Time;
use engine::event::MAX_ID_BYTES;
use engine::{BuildContext, Holds, Outlet, Problem, Problems, Source, SourceConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use delivery::{Counts, Delivery};
use disk::Space;
use sample::{Sample, Sampler};

/// More would cost more than they tell.
const MAX_WATCHED: usize = 16;

/// Samples the resources of the agent's machine or container.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CgroupMetrics {
    /// Time between two samples; at least one second.
    pub interval: Time,
    /// Where the kernel's process files are. Set it where the host's `/proc` is mounted elsewhere.
    pub proc_root: PathBuf,
    /// Where the cgroup hierarchies are.
    pub cgroup_root: PathBuf,
    /// Paths whose file systems are watched. Those that do not exist are skipped; when none does,
    /// `/` is watched. The first that exists gives `container.filesystem.*`.
    pub disk_paths: Vec<PathBuf>,
    /// How full a disk may be, in percent, before that is an error event; 0: never. It is told
    /// again only after the disk was 5 points below.
    pub disk_warn_percent: u8,
    /// Names, or parts of commands, of the processes to follow. The oldest process that matches is
    /// the main one; when it ends, that is an error event.
    pub watch: Vec<String>,
    /// The `agent_id` of the events; none if it is empty.
    pub agent_id: Option<String>,
}

impl Default for CgroupMetrics {
    fn default() -> Self {
        Self {
            interval: Time::seconds(15),
            proc_root: "/proc".into(),
            cgroup_root: "/sys/fs/cgroup".into(),
            disk_paths: vec!["/data".into()],
            disk_warn_percent: 80,
            watch: vec!["openclaw".into()],
            agent_id: None,
        }
    }
}

impl CgroupMetrics {
    fn problems(&self) -> Problems {
        let mut problems = Problems::new();
        if self.interval.0 < Duration::from_secs(1) {
            problems.push(Problem::new("interval", "must be at least 1s: each sample costs CPU"));
        }
        let roots = [("proc_root", &self.proc_root), ("cgroup_root", &self.cgroup_root)];
        for (key, path) in roots.into_iter().chain(self.disk_paths.iter().map(|path| ("disk_paths", path))) {
            if !path.is_absolute() {
                problems.push(Problem::new(key, format!("must be an absolute path, not {path:?}")));
            }
        }
        if self.disk_paths.len() > MAX_WATCHED {
            problems.push(Problem::new("disk_paths", format!("at most {MAX_WATCHED} paths can be watched")));
        }
        if self.disk_warn_percent > 100 {
            problems.push(Problem::new("disk_warn_percent", "must be 0 (never) to 100"));
        }
        if self.watch.len() > MAX_WATCHED {
            problems.push(Problem::new("watch", format!("at most {MAX_WATCHED} names can be watched")));
        }
        if self.watch.iter().any(|name| name.trim().is_empty()) {
            problems.push(Problem::new("watch", "an empty name would match every process; remove it"));
        }
        if self.agent_id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
            problems.push(Problem::new("agent_id", format!("must be at most {MAX_ID_BYTES} bytes")));
        }
        problems
    }
}

impl SourceConfig for CgroupMetrics {
    const TYPE: &'static str = "cgroup_metrics";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Box::new(Metering { name: cx.name.clone(), counts: Counts::new(cx), config: self }))
    }
}

struct Metering {
    name: String,
    config: CgroupMetrics,
    counts: Counts,
}

impl Metering {
    fn sampler(&self) -> Sampler {
        Sampler::new(&self.config, Box::new(Space::of))
    }
}

#[async_trait]
impl Source for Metering {
    fn holds(&self) -> Holds {
        Holds::NOTHING
    }

    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.config.interval.0);
        // After a pause (a suspended machine) one sample is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sampler = self.sampler();
        let mut delivery = Delivery::new(self.counts.clone());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let mut sampling = tokio::task::spawn_blocking(move || {
                let sample = sampler.observe(Instant::now());
                (sampler, sample)
            });
            let sampled = tokio::select! {
                () = shutdown.cancelled() => break,
                sampled = &mut sampling => sampled,
            };
            let sample = match sampled {
                Ok((again, sample)) => {
                    sampler = again;
                    sample
                }
                Err(error) => {
                    tracing::warn!(component = self.name, %error, "a resource sample failed; starting anew");
                    sampler = self.sampler();
                    Sample::default()
                }
            };
            tracing::debug!(component = self.name, errors = sample.errors.len(), "resources sampled");
            delivery.settle().await;
            delivery.offer(sample, &mut |events, last| outlet.try_send(events, last));
        }
        delivery.settle().await;
        delivery.finish(&mut |events, last| outlet.try_send(events, last));
    }
}
