//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The given one, or the one beside this, which cargo builds where it is missing.
///
/// # Errors
/// In words, where there is none.
pub(crate) fn find(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(given) = given {
        return std::path::absolute(given)
            .ok()
            .filter(|path| path.is_file())
            .ok_or_else(|| format!("{}: no such program (--bin)", given.display()));
    }
    let own = std::env::current_exe().map_err(|error| format!("where this program is cannot be told: {error}"))?;
    let beside = own.with_file_name("openclaw-trace");
    if !beside.is_file() {
        eprintln!("building openclaw-trace");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--package", "openclaw-trace", "--bin", "openclaw-trace"]);
        if own.parent().is_some_and(|folder| folder.ends_with("release")) {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        if !built.is_ok_and(|status| status.success()) {
            return Err("openclaw-trace cannot be built; name one with --bin".to_owned());
        }
    }
    beside
        .is_file()
        .then_some(beside)
        .ok_or_else(|| "no openclaw-trace beside this program; --bin names one".to_owned())
}

/// How long ago it was built: an old one is tested in vain.
#[must_use]
pub(crate) fn age(bin: &Path) -> String {
    let built = std::fs::metadata(bin).and_then(|meta| meta.modified()).ok();
    match built.and_then(|built| built.elapsed().ok()) {
        Some(age) => format!("{} min ago", age.as_secs() / 60),
        None => "at an unknown time".to_owned(),
    }
}
