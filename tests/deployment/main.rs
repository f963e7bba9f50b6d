//! What ships beside the program, tried as it ships: scripts, units, images, an empty root, and databases of
//! earlier versions.
//!
//! What needs root (a root folder of its own, another user) is skipped with a word where there is none.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, unreachable_pub)]
#[path = "../support/tls.rs"]
mod tls;

mod empty_root;
mod image;
mod install;
mod root;
mod shipped;
mod start;
mod troubles;
mod upgrade;

use std::path::{Path, PathBuf};

/// A file of the repository.
fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The built program; linked statically like the one that ships.
const PROGRAM: &str = env!("CARGO_BIN_EXE_openclaw-trace");
