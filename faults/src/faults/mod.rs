//! The list of faults. Each is one small type in a file of its family.

mod bodies;
mod chaos;
mod clients;
mod disk;
mod files;
mod memory;
mod power;
mod receivers;
mod restart;
mod signals;

use async_trait::async_trait;

use crate::rig::{Rig, Stop};

/// One way to break things.
#[async_trait(?Send)]
pub(crate) trait Fault: Sync {
    /// Its name on the command line and in the table.
    fn name(&self) -> &'static str;

    /// What it does, in a line.
    fn about(&self) -> &'static str;

    /// Whether it is in the short set.
    fn quick(&self) -> bool {
        true
    }

    /// What must be set before the program starts.
    ///
    /// # Errors
    /// [`Stop::Skip`] where this machine cannot do it.
    fn prepare(&self, _rig: &mut Rig) -> Result<(), Stop> {
        Ok(())
    }

    /// Breaks things while the load runs. It may leave the program stopped; it is started after it.
    ///
    /// # Errors
    /// Where the run cannot go on.
    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop>;
}

/// All of them.
#[must_use]
pub(crate) fn all() -> Vec<&'static dyn Fault> {
    let mut all: Vec<&'static dyn Fault> = Vec::new();
    all.extend(signals::ALL);
    all.extend(disk::ALL);
    all.extend(files::ALL);
    all.extend(restart::ALL);
    all.extend(power::ALL);
    all.extend(receivers::ALL);
    all.extend(clients::ALL);
    all.extend(memory::ALL);
    all.extend(chaos::ALL);
    all
}
