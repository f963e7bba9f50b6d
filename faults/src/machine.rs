//! What this machine lets the rig do, and how it is named in a report.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::options::Options;

/// Set in the process that has mounts of its own.
const MARK: &str = "FAULTS_OWN_MOUNTS";

/// Starts this program again in a mount namespace of its own, where that is allowed: what it mounts is then
/// seen by nobody else, and is gone with it.
pub(crate) fn own_mounts() {
    if std::env::var_os(MARK).is_some() || !succeeds("unshare", &["--mount", "true"]) {
        return;
    }
    let Ok(own) = std::env::current_exe() else { return };
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).arg(own).args(std::env::args_os().skip(1)).env(MARK, "1");
    // Returns only where it failed; the faults that need mounts are skipped then.
    let _ = again.exec();
}

/// Whether mounts of ours are nobody else's.
#[must_use]
pub(crate) fn has_own_mounts() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs a command, and tells whether it went well.
#[must_use]
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// The head of a report: date, commit, seed, machine.
#[must_use]
pub(crate) fn heading(options: &Options) -> String {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let commit = git.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = "# Fault runs\n\n".to_owned();
    let _ = writeln!(
        text,
        "{}, commit {}, `faults --runs {} --seed {}`, {cores} cores.",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        commit.filter(|commit| !commit.is_empty()).as_deref().unwrap_or("unknown"),
        options.runs,
        options.seed,
    );
    text
}
