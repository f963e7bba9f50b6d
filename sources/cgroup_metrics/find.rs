//! What bounds this process: a cgroup of version 2, else cgroups of version 1, else the machine.
//!
//! `/proc/self/cgroup` names this process's cgroup in each hierarchy, `/proc/self/mountinfo` where
//! the hierarchies are mounted and which part of each. Three things make them disagree:
//!
//! - a container sees only its own cgroup, mounted as the root: the mount's root is stripped from
//!   the path, and a path that is not there means the mount itself;
//! - on a hybrid machine the version 2 tree (`unified`) has no controllers and bounds nothing;
//! - the root cgroup of a machine bounds nothing either. It is known by what the kernel does not put
//!   there (version 2: `memory.current`, `cpu.max`) or only there (version 1: `release_agent`).

use std::path::{Component, Path, PathBuf};

use super::files::Files;

/// Where hierarchies are mounted on every distribution of the last decade; `cgroup_root` stands for it.
const USUAL_ROOT: &str = "/sys/fs/cgroup";

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A cgroup of version 2.
    Cgroup2,
    /// A cgroup of version 1.
    Cgroup1,
    /// The whole machine, as far as this process sees it.
    Machine,
}

impl Scope {
    /// Its value in events.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup2 => "cgroup2",
            Self::Cgroup1 => "cgroup1",
            Self::Machine => "machine",
        }
    }
}

/// A cgroup's folder and those above it, up to the mount. Usage is read from the first; limits hold
/// along the whole of it. Empty: no cgroup counts this, ask the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain(Vec<PathBuf>);

impl Chain {
    /// From the folder of `path` below `mount` upwards; the mount alone if there is no such folder.
    fn new(mount: &Path, path: &Path) -> Self {
        let parts: Option<Vec<_>> = path
            .components()
            .filter(|part| *part != Component::RootDir)
            .map(|part| matches!(part, Component::Normal(_)).then_some(part))
            .collect();
        let own = mount.join(parts.unwrap_or_default().into_iter().collect::<PathBuf>());
        if !own.is_dir() {
            return Self(if mount.is_dir() { vec![mount.to_owned()] } else { Vec::new() });
        }
        Self(own.ancestors().take_while(|folder| folder.starts_with(mount)).map(Path::to_owned).collect())
    }

    /// The cgroup itself.
    pub(super) fn own(&self) -> Option<&Path> {
        self.0.first().map(PathBuf::as_path)
    }

    /// The part from the nearest folder that has `file`: where a controller is not enabled for the
    /// cgroup itself, the one above it counts and bounds.
    fn nearest(&self, file: &str) -> Self {
        let at = self.0.iter().position(|folder| folder.join(file).exists()).unwrap_or(self.0.len());
        Self(self.0[at..].to_vec())
    }

    /// The smallest of what `read` finds along the chain.
    pub(super) fn least<T: PartialOrd>(&self, mut read: impl FnMut(&Path) -> Option<T>) -> Option<T> {
        self.0.iter().filter_map(|folder| read(folder)).reduce(|a, b| if b < a { b } else { a })
    }
}

/// What bounds this process, resource by resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// What most figures count.
    pub(super) scope: Scope,
    pub(super) memory: Chain,
    pub(super) cpu: Chain,
    /// Version 1 keeps usage apart from quota; the same as `cpu` in version 2.
    pub(super) cpuacct: Chain,
    pub(super) cpuset: Chain,
    pub(super) io: Chain,
    pub(super) pids: Chain,
    /// Version 2 only.
    pub(super) pressure: Chain,
}

impl Bounds {
    /// Nothing but the machine.
    pub(super) fn machine() -> Self {
        Self {
            scope: Scope::Machine,
            memory: Chain::default(),
            cpu: Chain::default(),
            cpuacct: Chain::default(),
            cpuset: Chain::default(),
            io: Chain::default(),
            pids: Chain::default(),
            pressure: Chain::default(),
        }
    }

    /// What a resource with this chain counts.
    pub(super) fn scope_of(&self, chain: &Chain) -> Scope {
        if chain.own().is_some() { self.scope } else { Scope::Machine }
    }
}

/// Looks at `proc_root/self` and `cgroup_root`.
pub(super) fn find(files: &mut Files, cgroup_root: &Path) -> Bounds {
    // What may not be entered looks like what is not there; the machine's figures would stand in unsaid.
    if let Err(error) = std::fs::metadata(cgroup_root.join(".")) {
        files.say_once(cgroup_root, &error);
    }
    let groups = files.read_proc("self/cgroup").map(|text| groups(&text)).unwrap_or_default();
    let mounts = files.read_proc("self/mountinfo").map(|text| mounts(&text, cgroup_root)).unwrap_or_default();
    version_2(&groups, &mounts, cgroup_root)
        .or_else(|| version_1(&groups, &mounts, cgroup_root))
        .unwrap_or_else(Bounds::machine)
}

fn version_2(groups: &[Group], mounts: &[Mount], cgroup_root: &Path) -> Option<Bounds> {
    let group = groups.iter().find(|group| group.controllers.is_empty())?;
    let chain = match mounts.iter().find(|mount| mount.version == 2) {
        Some(mount) => mount.chain(&group.path),
        None if cgroup_root.join("cgroup.controllers").exists() => Chain::new(cgroup_root, &group.path),
        None => Chain::new(&cgroup_root.join("unified"), &group.path),
    };
    let memory = chain.nearest("memory.current");
    let cpu = chain.nearest("cpu.max");
    if memory == Chain::default() && cpu == Chain::default() {
        return None;
    }
    Some(Bounds {
        scope: Scope::Cgroup2,
        memory,
        // Usage is counted for every cgroup, whether or not the controller bounds it.
        cpuacct: chain.nearest("cpu.stat"),
        cpu,
        cpuset: chain.nearest("cpuset.cpus.effective"),
        io: chain.nearest("io.stat"),
        pids: chain.nearest("pids.current"),
        pressure: chain.nearest("cpu.pressure"),
    })
}

fn version_1(groups: &[Group], mounts: &[Mount], cgroup_root: &Path) -> Option<Bounds> {
    let chain = |controller: &str, file: &str| {
        let Some(group) = groups.iter().find(|group| group.controllers.iter().any(|c| c == controller)) else {
            return Chain::default();
        };
        let mount = mounts.iter().find(|mount| mount.version == 1 && mount.options.iter().any(|o| o == controller));
        let chain = match mount {
            Some(mount) => mount.chain(&group.path),
            None => {
                let together = cgroup_root.join(group.controllers.join(","));
                let mount = if together.is_dir() { together } else { cgroup_root.join(controller) };
                Chain::new(&mount, &group.path)
            }
        };
        let bounds = chain.own().is_some_and(|own| own.join(file).exists() && !own.join("release_agent").exists());
        if bounds { chain } else { Chain::default() }
    };
    let memory = chain("memory", "memory.usage_in_bytes");
    let cpu = chain("cpu", "cpu.cfs_quota_us");
    if memory == Chain::default() && cpu == Chain::default() {
        return None;
    }
    Some(Bounds {
        scope: Scope::Cgroup1,
        memory,
        cpu,
        cpuacct: chain("cpuacct", "cpuacct.usage"),
        cpuset: chain("cpuset", "cpuset.cpus"),
        io: chain("blkio", "blkio.throttle.io_service_bytes"),
        pids: chain("pids", "pids.current"),
        pressure: Chain::default(),
    })
}

/// A line of `/proc/self/cgroup`.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    /// None for version 2.
    controllers: Vec<String>,
    path: PathBuf,
}

fn groups(text: &str) -> Vec<Group> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let controllers: Vec<_> = controllers.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
            // Only hierarchy 0 may name no controller.
            (id == "0" || !controllers.is_empty()).then(|| Group { controllers, path: path.into() })
        })
        .collect()
}

/// A line of `/proc/self/mountinfo` that mounts a hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: u8,
    /// The cgroup that is mounted as the root.
    root: PathBuf,
    folder: PathBuf,
    options: Vec<String>,
}

impl Mount {
    fn chain(&self, path: &Path) -> Chain {
        // A path outside the mounted part cannot be seen from here; the mounted part bounds us.
        Chain::new(&self.folder, path.strip_prefix(&self.root).unwrap_or(Path::new("")))
    }
}

fn mounts(text: &str, cgroup_root: &Path) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut right = right.split(' ');
            let version = match right.next()? {
                "cgroup" => 1,
                "cgroup2" => 2,
                _ => return None,
            };
            let options = right.nth(1).unwrap_or("").split(',').map(str::to_owned).collect();
            let mut left = left.split(' ').skip(3);
            let (root, folder) = (unescape(left.next()?), unescape(left.next()?));
            let folder = match Path::new(&folder).strip_prefix(USUAL_ROOT) {
                Ok(rest) if rest.as_os_str().is_empty() => cgroup_root.to_owned(),
                Ok(rest) => cgroup_root.join(rest),
                Err(_) if cgroup_root == Path::new(USUAL_ROOT) => folder.into(),
                Err(_) => return None,
            };
            Some(Mount { version, root: root.into(), folder, options })
        })
        .collect()
}

/// mountinfo writes space, tab, newline and backslash as `\040` and so on.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_names_groups_and_mounts_without_a_panic(text in any::<String>(), near in "([0-9:/., a-z-]|cgroup2|\\.\\./| - ){0,60}") {
            for text in [text, near] {
                let root = Path::new("/nowhere");
                for group in groups(&text) {
                    let _ = Chain::new(root, &group.path);
                }
                for mount in mounts(&text, root) {
                    let _ = mount.chain(Path::new("/a/b"));
                }
            }
        }
    }

    #[test]
    fn a_path_out_of_sight_is_the_mount_itself() {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(root.path().join("a/b")).expect("folders");
        let chain = |path: &str| Chain::new(root.path(), Path::new(path)).0;
        assert_eq!(chain("/a/b"), [root.path().join("a/b"), root.path().join("a"), root.path().to_owned()]);
        for unseen in ["/", "", "/gone", "/../../a", "/.."] {
            assert_eq!(chain(unseen), [root.path().to_owned()], "{unseen}");
        }
    }

    #[test]
    fn the_mounted_part_is_stripped_from_the_path() {
        let text = "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let mount = mounts(text, Path::new("/recorded")).pop().expect("one mount");
        assert_eq!(mount.folder, Path::new("/recorded/cpu,cpuacct"));
        assert_eq!(Path::new("/docker/abc/child").strip_prefix(&mount.root), Ok(Path::new("child")));
    }
}
