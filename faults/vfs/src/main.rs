//! `faulty`: the product, unchanged, on a disk that fails when it is told to.
//!
//! Before the program starts, a VFS is made SQLite's default that passes every call on to the
//! platform's own, `unix`, and makes those calls fail that a control file names (`control.rs`). The
//! tests beside it rewrite that file while clients send, and look at what became of the events:
//!
//! - `each_fault`: one kind of fault at a time, under load, over kills and stops;
//! - `mixed_faults`: all of them at once, from seeds;
//! - `one_fault`: one fault at each call in turn, from the making of the file to its closing;
//! - `told`: what clients are told, and when;
//! - `damage`: pages that read as rubbish;
//! - `power`: what was not synced is gone.
//!
//! `cargo test -p faulty -- --nocapture` prints a line for each run. `FAULTY_SEEDS=200` makes it a long
//! one, `FAULTY_FIRST=17 FAULTY_SEEDS=1` repeats a seed, `FAULTY_STEP=1` takes every call of `one_fault`.
//! A seed fixes what is wanted to fail and when; what the threads make of it differs from run to run.

mod control;
mod shim;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(code) = shim::register() {
        eprintln!("the failing VFS could not be registered: SQLite answers {code}");
        return ExitCode::FAILURE;
    }
    openclaw_trace::main_with(openclaw_trace::builtin())
}
