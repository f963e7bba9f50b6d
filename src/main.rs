//! The `openclaw-trace` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    openclaw_trace::main_with(openclaw_trace::builtin())
}
