//! Disk: the room left on the agent's volume, and what is read and written.

use std::io;
use std::path::{Path, PathBuf};

use super::attributes::{Attributes, Counter, ratio};
use super::files::Files;
use super::find::{Bounds, Scope};
use super::parse::{self, Io};
use super::sample::Incident;

/// A disk that was over the threshold must fall this many points below it before it is told of
/// again: one that hovers at the threshold is told of once.
const HYSTERESIS: f64 = 5.0;

/// Room of one file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// Bytes in all.
    pub(super) capacity: u64,
    /// Bytes in use.
    pub(super) used: u64,
    /// Bytes that a process without privileges may still write.
    pub(super) available: u64,
    /// Files that may still be made.
    pub(super) files_available: u64,
}

impl Space {
    /// Of the file system that holds `path`.
    ///
    /// # Errors
    /// When there is no such path, or it cannot be asked.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Self {
            capacity: bytes(stat.f_blocks),
            used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
            available: bytes(stat.f_bavail),
            files_available: stat.f_favail,
        })
    }

    /// Share in use, as `df` counts it: of what is not reserved for root.
    fn used_share(self) -> Option<f64> {
        ratio(self.used, self.used.saturating_add(self.available))
    }
}

/// How a path's [`Space`] is asked for; tests bring their own.
pub(super) type Ask = Box<dyn FnMut(&Path) -> io::Result<Space> + Send>;

/// Paths that are watched, and which of them were over the threshold.
pub(super) struct Disks {
    paths: Vec<(PathBuf, bool)>,
    /// Stands in where none of the paths exists.
    fallback: (PathBuf, bool),
    warn_percent: f64,
    ask: Ask,
}

impl Disks {
    /// Watches `paths`; `warn_percent` of 0 never warns.
    pub(super) fn new(paths: &[PathBuf], warn_percent: u8, ask: Ask) -> Self {
        Self {
            paths: paths.iter().map(|path| (path.clone(), false)).collect(),
            fallback: ("/".into(), false),
            warn_percent: f64::from(warn_percent),
            ask,
        }
    }

    /// Adds what is known to `out`; answers an incident for each path that went over the threshold.
    pub(super) fn observe(&mut self, files: &mut Files, out: &mut Attributes) -> Vec<Incident> {
        let mut incidents = Vec::new();
        let ask = &mut self.ask;
        let mut look = |(path, over): &mut (PathBuf, bool), first: bool| match ask(path) {
            Ok(space) => {
                describe(path, space, first, out);
                incidents.extend(crossed(path, space, over, self.warn_percent));
                true
            }
            Err(error) => {
                files.say_once(path, &error);
                false
            }
        };
        let mut found = false;
        for path in &mut self.paths {
            found |= look(path, !found);
        }
        if !found {
            look(&mut self.fallback, true);
        }
        incidents
    }
}

fn describe(path: &Path, space: Space, first: bool, out: &mut Attributes) {
    // OpenTelemetry tells file systems apart by a dimension; a flat object has names only.
    let (prefix, own) = if first {
        out.set("system.filesystem.mountpoint", path.display().to_string());
        ("container.filesystem".to_owned(), "openclaw_trace.filesystem".to_owned())
    } else {
        let name = format!("openclaw_trace.filesystem.{}", path.display());
        (name.clone(), name)
    };
    out.set(format!("{prefix}.capacity"), space.capacity);
    out.set(format!("{prefix}.usage"), space.used);
    out.set(format!("{prefix}.available"), space.available);
    out.fraction(format!("{own}.utilization"), space.used_share());
    out.set(format!("{own}.files_available"), space.files_available);
}

fn crossed(path: &Path, space: Space, over: &mut bool, warn_percent: f64) -> Option<Incident> {
    let percent = space.used_share()? * 100.0;
    if percent < warn_percent - HYSTERESIS {
        *over = false;
    }
    if warn_percent == 0.0 || percent < warn_percent || std::mem::replace(over, true) {
        return None;
    }
    let path = path.display().to_string();
    let message = format!(
        "{path} is {percent:.0} % full, over {warn_percent:.0} % ({} MiB left); remove files or extend the volume",
        space.available >> 20
    );
    let mut attributes = Attributes::default();
    attributes.set("system.filesystem.mountpoint", path);
    attributes.set("container.filesystem.capacity", space.capacity);
    attributes.set("container.filesystem.usage", space.used);
    attributes.set("container.filesystem.available", space.available);
    Some(Incident { name: "disk_over_threshold", message, attributes })
}

/// Counters of the last sample.
#[derive(Debug, Default)]
pub(super) struct DiskIo {
    read: Counter,
    write: Counter,
    reads: Counter,
    writes: Counter,
}

impl DiskIo {
    /// Adds what is known to `out`.
    pub(super) fn observe(&mut self, files: &mut Files, bounds: &Bounds, out: &mut Attributes) {
        let scope = bounds.scope_of(&bounds.io);
        let io = match scope {
            Scope::Cgroup2 => {
                let path = bounds.io.own().map(|own| own.join("io.stat"));
                path.and_then(|path| files.read(&path)).map(|text| parse::io_stat(&text))
            }
            Scope::Cgroup1 => cgroup1(files, bounds),
            Scope::Machine => files.read_proc("diskstats").map(|text| parse::diskstats(&text)),
        };
        out.count("container.disk.io.read", self.read.grew(io.map(|io| io.read)));
        out.count("container.disk.io.write", self.write.grew(io.map(|io| io.write)));
        out.count("openclaw_trace.disk.operations.read", self.reads.grew(io.map(|io| io.reads)));
        out.count("openclaw_trace.disk.operations.write", self.writes.grew(io.map(|io| io.writes)));
        if scope != bounds.scope {
            out.set("openclaw_trace.scope.disk_io", scope.as_str());
        }
    }
}

fn cgroup1(files: &mut Files, bounds: &Bounds) -> Option<Io> {
    let own = bounds.io.own()?;
    let mut both = |file: &str| {
        // Cgroups below count too, where the kernel adds them up.
        let all = files.read_if_there(&own.join(format!("{file}_recursive"))).map(|text| parse::blkio(&text));
        all.or_else(|| files.read(&own.join(file)).map(|text| parse::blkio(&text)))
    };
    let (read, write) = both("blkio.throttle.io_service_bytes")?;
    let (reads, writes) = both("blkio.throttle.io_serviced").unwrap_or_default();
    Some(Io { read, write, reads, writes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(percent: u64) -> Space {
        Space { capacity: 100 << 20, used: percent << 20, available: (100 - percent) << 20, files_available: 7 }
    }

    #[test]
    fn a_disk_at_the_threshold_is_told_of_once_for_each_crossing() {
        let mut over = false;
        let told = [79, 80, 85, 78, 81, 76, 80, 74, 80, 99]
            .map(|percent| crossed(Path::new("/data"), space(percent), &mut over, 80.0).is_some());
        assert_eq!(told, [false, true, false, false, false, false, false, false, true, false]);
    }

    #[test]
    fn a_threshold_of_0_never_warns() {
        assert!(crossed(Path::new("/data"), space(100), &mut false, 0.0).is_none());
    }
}
