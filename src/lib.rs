//! openclaw-trace: the observability sidecar for OpenClaw agents.
//!
//! The program is a list of plugins and a command line over the [`engine`]. A program of your own
//! with one plugin more is `main_with(builtin().with_transform::<MyTransform>())`; see
//! `examples/own_plugin.rs`.

mod api;
mod args;
mod ask;
mod cli;
mod clock;
mod commands;
mod env_names;
mod export;
mod lists;
mod logging;
mod manual;
mod openapi;
mod progress;
mod reload;
mod replay;
mod run;
mod show;
mod stats;
mod store;
mod table;
mod text;
mod token;
mod top;

pub use engine;

use std::ffi::OsString;
use std::process::ExitCode;

use engine::Registry;

/// The plugins that come with the program.
#[must_use]
pub fn builtin() -> Registry {
    Registry::default()
        .with_source::<sources::HttpIngest>()
        .with_source::<sources::CgroupMetrics>()
        .with_source::<sources::GatewayLog>()
        .with_source::<sources::FileSource>()
        .with_transform::<transforms::Assemble>()
        .with_transform::<transforms::Cost>()
        .with_transform::<transforms::Dedupe>()
        .with_transform::<transforms::Enrich>()
        .with_transform::<transforms::Filter>()
        .with_transform::<transforms::Redact>()
        .with_transform::<transforms::Sample>()
        .with_transform::<transforms::Truncate>()
        .with_sink::<sinks::SqliteStore>()
        .with_sink::<sinks::AugmiPush>()
        .with_sink::<sinks::ClickHouse>()
        .with_sink::<sinks::FileSink>()
        .with_sink::<sinks::Console>()
        .with_sink::<sinks::OtlpPush>()
}

/// The whole program, with these plugins: reads the command line and the environment.
///
/// Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.
#[must_use]
pub fn main_with(registry: Registry) -> ExitCode {
    allocator::set_up();
    let args: Vec<OsString> = std::env::args_os().collect();
    // A variable that is no UTF-8 cannot name or set anything of ours.
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    cli::main(&args, env, &registry)
}
