//! Copies the engine and dedupe for the model, once as they are and once for each mistake of
//! `mistakes.rs`, with the paths of `std::sync` and tokio led to `src/shim`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

include!("mistakes.rs");

const ENGINE: &str = "../src";
const DEDUPE: &str = "../../transforms/dedupe.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ENGINE}");
    println!("cargo::rerun-if-changed={DEDUPE}");
    println!("cargo::rerun-if-changed=mistakes.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    write_variant(&out, &Mistake { name: "real", file: "", changes: &[] })?;
    for mistake in MISTAKES {
        write_variant(&out, mistake)?;
    }
    Ok(())
}

fn write_variant(out: &Path, mistake: &Mistake) -> Result<(), Box<dyn Error>> {
    let name = mistake.name;
    let folder = out.join(name);
    // What an earlier build left must not be mixed with this one.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut files = Vec::new();
    rust_files(Path::new(ENGINE), &mut files)?;
    let mut left = mistake.changes.len();
    for file in files {
        let inside = file.strip_prefix(ENGINE)?.to_owned();
        let mut text = fs::read_to_string(&file)?;
        if Path::new(mistake.file) == inside {
            left -= change(&mut text, mistake)?;
        }
        let text = text.replace("crate::", &format!("crate::{name}::engine::"));
        save(&folder.join("engine").join(inside), &lead(&text))?;
    }
    let mut dedupe = fs::read_to_string(DEDUPE)?;
    if mistake.file == "dedupe.rs" {
        left -= change(&mut dedupe, mistake)?;
    }
    let dedupe = dedupe
        .replace("crate::", &format!("crate::{name}::"))
        .replace("use engine::", &format!("use crate::{name}::engine::"));
    save(&folder.join("dedupe.rs"), &lead(&dedupe))?;
    if left > 0 {
        return Err(format!("{name}: there is no file {}", mistake.file).into());
    }

    let mut modules = String::new();
    for (module, file) in [("engine", "engine/lib.rs"), ("dedupe", "dedupe.rs")] {
        writeln!(modules, "#[path = {:?}]\npub mod {module};", folder.join(file))?;
    }
    save(&out.join(format!("{name}.rs")), &modules)
}

/// Makes the mistake; a text that is no longer there is an error, or the test would prove nothing.
fn change(text: &mut String, mistake: &Mistake) -> Result<usize, Box<dyn Error>> {
    for (from, to) in mistake.changes {
        if text.matches(from).count() != 1 {
            return Err(format!("{}: {} does not hold this once:\n{from}", mistake.name, mistake.file).into());
        }
        *text = text.replace(from, to);
    }
    Ok(mistake.changes.len())
}

/// Leads the paths of what waits or locks to the shim. The unit tests stay behind: `cargo clippy
/// --all-targets` would compile them here too.
fn lead(text: &str) -> String {
    text.replace("#[cfg(test)]", "#[cfg(any())]")
        .replace("std::sync::", "crate::shim::sync::")
        .replace("tokio::", "crate::shim::tokio::")
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text)?)
}
