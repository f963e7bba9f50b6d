//! `sample`: a share of the runs is kept, each of them whole.
//!
//! 1. What decides is a hash of the run id: all of a run is kept or none, in every part of the graph and after
//!    every restart, and two samples of the same share keep the same runs.
//! 2. An event that failed is kept always, and what comes of its run after it too: a failure is what one looks
//!    for. What came before it and was not kept is gone; nothing is held back to wait for an end.
//! 3. What is in no run (resource samples, logs of the gateway) passes, unless `without_run` says otherwise.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use engine::metrics::IntCounter;
use engine::{Batch, BuildContext, Event, Kind, Problem, Problems, Status, Transform, TransformConfig, identity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps a share of the runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The share of runs that is kept, 0 to 1.
    pub rate: f64,
    /// What becomes of events that are in no run.
    #[serde(default)]
    pub without_run: WithoutRun,
}

/// What becomes of an event that is in no run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutRun {
    /// It passes.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
}

impl TransformConfig for Sample {
    const TYPE: &'static str = "sample";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        if !(0.0..=1.0).contains(&self.rate) {
            return Err(vec![Problem::new("rate", "must be 0 to 1: 0.1 keeps every tenth run")]);
        }
        Ok(Box::new(Sampler {
            config: self,
            failed: Mutex::default(),
            dropped: cx.metrics.counter(&cx.name, "sample_dropped_total", "Events of runs that are not in the sample."),
        }))
    }
}

/// Most failed runs that are remembered; about 24 bytes each.
const MAX_FAILED: usize = 1000;

struct Sampler {
    config: Sample,
    /// Hashes of runs that failed, oldest first.
    failed: Mutex<VecDeque<u64>>,
    dropped: IntCounter,
}

impl Transform for Sampler {
    fn apply(&self, batch: &mut Batch) {
        let before = batch.len();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        batch.retain(|event| self.is_kept(event, &mut failed));
        self.dropped.inc_by((before - batch.len()) as u64);
    }
}

impl Sampler {
    fn is_kept(&self, event: &Event, failed: &mut VecDeque<u64>) -> bool {
        let Some(run) = &event.run_id else {
            return event.status == Some(Status::Error) || self.config.without_run == WithoutRun::Keep;
        };
        let hash = hash(run);
        // The top 53 bits, which a double holds exactly.
        #[allow(clippy::cast_precision_loss)]
        let place = (hash >> 11) as f64 / (1u64 << 53) as f64;
        if place < self.config.rate || failed.contains(&hash) {
            return true;
        }
        let is_failure = event.status == Some(Status::Error) || event.kind == Kind::ERROR;
        if is_failure {
            if failed.len() == MAX_FAILED {
                failed.pop_front();
            }
            failed.push_back(hash);
        }
        is_failure
    }
}

fn hash(run: &str) -> u64 {
    let digest = identity::digest(&[b"sample", run.as_bytes()]);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{batch, context, event};

    fn sampler(rate: f64) -> Box<dyn Transform> {
        Sample { rate, without_run: WithoutRun::Keep }.build(&context()).unwrap()
    }

    fn pass(transform: &dyn Transform, events: Vec<Event>) -> Vec<Event> {
        let (mut batch, _receipt) = batch(events);
        transform.apply(&mut batch);
        batch.iter().cloned().collect()
    }

    fn of_run(run: usize) -> Event {
        Event { run_id: Some(format!("run-{run}")), ..event() }
    }

    #[test]
    fn runs_are_kept_whole_and_about_as_many_as_asked_for() {
        let (first, second) = (sampler(0.2), sampler(0.2));
        let mut kept = 0;
        for run in 0..1000 {
            let out = pass(&*first, vec![of_run(run), of_run(run)]);
            assert!(out.is_empty() || out.len() == 2);
            assert_eq!(out.len(), pass(&*second, vec![of_run(run), of_run(run)]).len(), "the same after a restart");
            kept += out.len() / 2;
        }
        assert!((150..250).contains(&kept), "{kept}");
        assert_eq!(pass(&*sampler(0.0), vec![of_run(1)]).len(), 0);
        assert_eq!(pass(&*sampler(1.0), vec![of_run(1)]).len(), 1);
    }

    #[test]
    fn a_failure_is_kept_and_what_follows_it() {
        let transform = sampler(0.0);
        assert!(pass(&*transform, vec![of_run(1)]).is_empty());
        let failed = Event { status: Some(Status::Error), ..of_run(1) };
        assert_eq!(pass(&*transform, vec![failed, of_run(1), of_run(2)]).len(), 2);
        assert_eq!(pass(&*transform, vec![of_run(1)]).len(), 1);
    }

    #[test]
    fn what_is_in_no_run_passes_unless_told_otherwise() {
        assert_eq!(pass(&*sampler(0.0), vec![event()]).len(), 1);
        let strict = Sample { rate: 1.0, without_run: WithoutRun::Drop }.build(&context()).unwrap();
        assert!(pass(&*strict, vec![event()]).is_empty());
        let failed = Event { status: Some(Status::Error), ..event() };
        assert_eq!(pass(&*strict, vec![failed]).len(), 1);
    }

    #[test]
    fn a_rate_outside_0_to_1_is_refused() {
        for rate in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Sample { rate, without_run: WithoutRun::Keep }.build(&context()).err().unwrap()[0].key, "rate");
        }
    }
}
