//! The program is stopped, killed, and put to sleep.

use async_trait::async_trait;
use rand::Rng as _;
use rustix::process::Signal;

use super::Fault;
use crate::rig::{Rig, Stop};

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 5] =
    [&Signals::Kill, &Signals::Term, &Signals::TermTwice, &Signals::Sleep, &Signals::Mixed];

enum Signals {
    Kill,
    Term,
    TermTwice,
    Sleep,
    Mixed,
}

#[async_trait(?Send)]
impl Fault for Signals {
    fn name(&self) -> &'static str {
        match self {
            Self::Kill => "sigkill",
            Self::Term => "sigterm",
            Self::TermTwice => "sigterm-twice",
            Self::Sleep => "sigstop",
            Self::Mixed => "signals",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Kill => "kill -9 at a random moment, and a restart",
            Self::Term => "an orderly stop under load, acknowledged when stored or when queued; exit code 0",
            Self::TermTwice => "a second SIGTERM shortly after the first",
            Self::Sleep => "SIGSTOP for a while, then SIGCONT",
            Self::Mixed => "three to six of these, one after the other",
        }
    }

    fn quick(&self) -> bool {
        !matches!(self, Self::TermTwice)
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        // Only an orderly stop keeps what was only queued.
        if matches!(self, Self::Term) && rig.random.random() {
            rig.setup.acknowledge = "queued";
        }
        Ok(())
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        let times = match self {
            Self::Mixed => rig.random.random_range(3..=6),
            _ => rig.random.random_range(1..=2),
        };
        for _ in 0..times {
            let share = 0.8 / f64::from(times);
            rig.pause(share / 4.0, share).await;
            match (self, rig.random.random_range(0..4)) {
                (Self::Kill, _) | (Self::Mixed, 0) => {
                    rig.kill().await?;
                    rig.up().await?;
                }
                (Self::Term, _) | (Self::Mixed, 1) => {
                    rig.term().await?;
                    rig.up().await?;
                }
                (Self::TermTwice, _) | (Self::Mixed, 2) => {
                    term_twice(rig).await?;
                    rig.up().await?;
                }
                (Self::Sleep | Self::Mixed, _) => sleep(rig).await?,
            }
        }
        Ok(())
    }
}

/// The second stops it at once; its exit code says nothing.
pub(super) async fn term_twice(rig: &mut Rig) -> Result<(), Stop> {
    rig.signal(Signal::TERM)?;
    let micros = rig.random.random_range(0..30_000);
    tokio::time::sleep(std::time::Duration::from_micros(micros)).await;
    // Where the first one was enough, there is nobody to hear this.
    rig.signal_whoever(Signal::TERM);
    rig.gone().await;
    Ok(())
}

pub(super) async fn sleep(rig: &mut Rig) -> Result<(), Stop> {
    rig.signal(Signal::STOP)?;
    rig.pause(0.1, 0.6).await;
    rig.receiver.excuse_last();
    rig.signal(Signal::CONT)
}
