//! Several things go wrong, one after the other, while the receiver lies.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use rand::seq::IteratorRandom as _;

use super::{Fault, clients, files, receivers, signals};
use crate::rig::{Rig, Stop};

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 1] = [&Chaos];

struct Chaos;

#[async_trait(?Send)]
impl Fault for Chaos {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn about(&self) -> &'static str {
        "kills, stops, sleeps, locks and hostile clients in a random order, under a lying receiver"
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        rig.setup.busy_timeout = "300ms";
        Ok(())
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        // A confirmation may meet the lock.
        rig.receiver.lenient(true);
        for _ in 0..rig.random.random_range(4..=7) {
            let lie = receivers::lies().into_iter().choose(&mut rig.random).expect("there are lies");
            if rig.random.random() {
                rig.receiver.behave(lie);
            } else {
                rig.receiver.behave(crate::receiver::Behaviour::Accept);
            }
            rig.pause(0.02, 0.15).await;
            match rig.random.random_range(0..6) {
                0 => {
                    rig.kill().await?;
                    rig.up().await?;
                }
                1 => {
                    rig.term().await?;
                    rig.up().await?;
                }
                2 => {
                    signals::term_twice(rig).await?;
                    rig.up().await?;
                }
                3 => signals::sleep(rig).await?,
                4 => files::locked(rig, 0.7).await?,
                _ => clients::nasty(rig, Duration::from_millis(400)).await?,
            }
        }
        Ok(())
    }
}
