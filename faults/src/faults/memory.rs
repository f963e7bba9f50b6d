//! A small machine.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rand::Rng as _;

use super::Fault;
use crate::machine;
use crate::rig::{Rig, Stop};

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 1] = [&Small];

const LIMIT: u64 = 64 << 20;

struct Small;

#[async_trait(?Send)]
impl Fault for Small {
    fn name(&self) -> &'static str {
        "memory-64mib"
    }

    fn about(&self) -> &'static str {
        "the load on a machine of 64 MiB: a cgroup, or where none can be made a limit on data segments"
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        if let Some(group) = cgroup() {
            // A shell that joins the group and becomes the program.
            let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
            rig.setup.wrapper = ["sh", "-c", &join, "sh"].map(str::to_owned).to_vec();
            rig.undo.push(vec!["rmdir".to_owned(), group.to_string_lossy().into_owned()]);
            return Ok(());
        }
        let limit = format!("--data={LIMIT}");
        if machine::succeeds("prlimit", &[&limit, "true"]) {
            rig.setup.wrapper = vec!["prlimit".to_owned(), limit];
            return Ok(());
        }
        Err(Stop::Skip("neither a cgroup nor prlimit can be had".to_owned()))
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        rig.pause(0.5, 0.7).await;
        rig.sidecar()?;
        if rig.random.random() {
            rig.kill().await?;
            rig.up().await?;
            rig.pause(0.1, 0.3).await;
        }
        Ok(())
    }
}

/// A group below our own with the limit, of whichever version there is.
fn cgroup() -> Option<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let below = |root: &str, group: &str| {
        let name = format!("faults-{}-{}", std::process::id(), uuid::Uuid::now_v7());
        let group = Path::new(root).join(group.trim_start_matches('/')).join(name);
        std::fs::create_dir(&group).ok().map(|()| group)
    };
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => continue,
        };
        let Some(group) = below(root, path) else { continue };
        if std::fs::write(group.join(file), LIMIT.to_string()).is_ok() {
            return Some(group);
        }
        let _ = std::fs::remove_dir(&group);
    }
    None
}
