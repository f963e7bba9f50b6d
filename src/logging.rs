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
    let lines = fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).with_ansi(ansi);
    // Fails only where a log is already set up (a program of somebody else's): theirs stays.
    let _ = match settings.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
}
