//! Log lines: to standard error, as text for people or JSON for collectors.

use engine::config::{LogFormat, LogLevel, RuntimeSettings};
use tracing_subscriber::fmt;

/// Starts logging as the settings say. Called once.
pub(crate) fn start(settings: &RuntimeSettings) {
    let level = match settings.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A line that cannot be written (the reader of the pipe is gone, the disk is full) is lost. The
    // library would say so on standard error, and panic where that fails too: the task that logged,
    // the store's thread among them, would be gone with the line.
    let lines = fmt()
        .log_internal_errors(false)
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(ansi);
    // Fails only where a log is already set up (a program of somebody else's): theirs stays.
    let _ = match settings.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
}

/// Writes a line for a person to standard error, when there is no log yet or none at all. Where
/// nobody reads it, the exit code still tells.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
