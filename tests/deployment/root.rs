//! Roots of a test's own, and namespaces of its own: what an empty image or a locked-down machine is to the program.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::Command;

use super::PROGRAM;
use super::support::{Home, Setup};

/// A user that owns nothing but what it is given.
pub(crate) const NOBODY: u32 = 65532;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Set for the test that was started anew inside.
const INSIDE: &str = "OPENCLAW_TRACE_TEST_INSIDE";

/// Whether a test can go on; else it is said why not, and that it was not made.
pub(crate) fn root_or_skip() -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        eprintln!("skipped: only root can make a root folder of its own");
    }
    root
}

/// Runs the test `name` anew with a network (loopback only) and mounts of its own. Answers whether this is the
/// inside, where the test is to go on.
pub(crate) fn alone(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !root_or_skip() {
        return false;
    }
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).args(words);
        command
    };
    if !unshare(&["true"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no namespaces (unshare) or no `ip` here");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let arguments = [this.to_str().unwrap(), "--exact", name, "--nocapture", "--test-threads=1"];
    let output = unshare(&arguments).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside:\n{said}");
    assert!(said.contains("1 passed"), "no test of this name:\n{said}");
    false
}

/// A root folder with the program in it, and nothing else.
pub(crate) struct Root<'a> {
    home: &'a Home,
}

impl<'a> Root<'a> {
    pub(crate) fn new(home: &'a Home) -> Self {
        let root = Self { home };
        std::fs::create_dir(root.path()).unwrap();
        // The temporary folder is its owner's alone.
        std::fs::set_permissions(home.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
        if std::fs::hard_link(PROGRAM, root.at("openclaw-trace")).is_err() {
            std::fs::copy(PROGRAM, root.at("openclaw-trace")).unwrap();
        }
        root
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.path("root")
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A folder in it that belongs to `user`.
    pub(crate) fn folder(&self, name: &str, user: u32) {
        std::fs::create_dir_all(self.at(name)).unwrap();
        chown(self.at(name), Some(user), Some(user)).unwrap();
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        std::fs::write(self.at(name), text).unwrap();
    }

    /// The program, started in there by `user`.
    pub(crate) fn setup(&self, user: u32) -> Setup {
        self.started_by("exec", user)
    }

    /// The same in mounts of its own, after some shell that changes them; `$ROOT` is the folder.
    pub(crate) fn setup_in_mounts(&self, shell: &str, user: u32) -> Setup {
        let enter = format!("export ROOT PATH; exec unshare --mount sh -c '{shell} && exec \"$@\"' sh");
        self.started_by(&enter, user)
    }

    fn started_by(&self, enter: &str, user: u32) -> Setup {
        let script = format!(
            "{PATH}; ROOT='{}'; {enter} chroot --userspec={user}:{user} \"$ROOT\" /openclaw-trace \"$@\"",
            self.path().display()
        );
        // A log whose lines `Sidecar` reads. The shell is told the program's usual place as `$0`, and does not use it.
        self.home
            .bare()
            .under(&["/bin/sh", "-c", &script])
            .env("TRACE_LOG_LEVEL", "info")
            .env("TRACE_RUNTIME__LOG_FORMAT", "json")
    }
}

/// The lines of a log that a person must see.
pub(crate) fn complaints(log: &str) -> Vec<String> {
    let lines =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines
        .filter(|line| line["level"] == "WARN" || line["level"] == "ERROR")
        .map(|line| {
            let rest = ["error", "path"].map(|key| line[key].as_str().unwrap_or_default().to_owned()).join(" ");
            format!("{} {} {rest}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap())
        })
        .collect()
}
