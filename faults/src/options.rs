//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Runs openclaw-trace under load, breaks what is around it, and counts what was lost.
///
/// Each run has a folder, a program, a receiver and a load of its own, and a seed that is printed
/// where it fails: `--seed S --runs 1 --only FAULT` plays that run again (the same choices; what the
/// machine's scheduler does with them is its own). Exit code 0 when every count is 0, 1 when one is
/// not, 2 for a command line that cannot be read.
#[derive(Debug, Clone, Parser)]
#[command(name = "faults", version)]
pub(crate) struct Options {
    /// How many runs; the faults take turns.
    #[arg(long, default_value_t = 40, value_name = "N")]
    pub(crate) runs: u64,

    /// The base seed. The first run has this very seed, the others have seeds made of it.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub(crate) seed: u64,

    /// Only these faults: a name, or the beginning of names (`recv`). May be given more than once.
    #[arg(long, value_name = "FAULT")]
    pub(crate) only: Vec<String>,

    /// Lists the faults, and does nothing else.
    #[arg(long)]
    pub(crate) list: bool,

    /// A short set for CI: about 20 runs in under two minutes on two cores.
    #[arg(long)]
    pub(crate) quick: bool,

    /// How long the load and the fault last in each run; draining and checking come after it.
    #[arg(long, default_value_t = 2.5, value_name = "SECONDS")]
    pub(crate) seconds_per_run: f64,

    /// How long another process holds the database's lock in `lock-held`.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    pub(crate) lock_seconds: f64,

    /// The program. Left out: the one built beside this, which cargo builds where it is missing.
    #[arg(long, value_name = "PATH")]
    pub(crate) bin: Option<PathBuf>,

    /// Keeps the folders of runs that failed, and says where they are.
    #[arg(long)]
    pub(crate) keep: bool,

    /// Runs at the same time.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) jobs: usize,

    /// Writes the table to this file too, with date, commit, seed and machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}
