//! `faulty`: the product, unchanged, on a disk that fails when it is told to.
//!
//! Before the program starts, a VFS is made SQLite's default that passes every call on to the
//! platform's own, `unix`, and makes those calls fail that a control file names (`control.rs`). The
//! tests beside it rewrite that file while clients send, and look at what became of the events.

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
