//! The command line: what can be said, and who carries it out.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::Registry;
use engine::config::Inputs;
use sinks::sqlite_store::Condition;

use crate::logging::say;
use crate::{commands, env_names, run, show};

/// Where a configuration file is looked for when none is named, in this order.
const SEARCH: [&str; 3] =
    ["openclaw-trace.toml", "/data/openclaw-trace.toml", "/etc/openclaw-trace/openclaw-trace.toml"];

/// The default configuration, for Augmi's machines.
const EMBEDDED: &str = include_str!("../config/openclaw-trace.toml");

/// Observability sidecar for OpenClaw agents: takes events over loopback HTTP, cleans them, stores
/// them in SQLite and pushes them on.
#[derive(Debug, Parser)]
#[command(
    name = "openclaw-trace",
    version,
    after_help = "Without a command it runs. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\nEvery setting can also be given by environment: TRACE_SINKS__STORE__PATH=/data/x.db; see `openclaw-trace config`."
)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file; else TRACE_CONFIG, ./openclaw-trace.toml, /data, /etc/openclaw-trace, or the embedded default
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, over file and environment: --set sinks.store.path=/tmp/x.db (may be repeated)
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipeline (the default)
    Run,
    /// Check the configuration and say everything that is wrong with it
    Validate,
    /// Show every setting in force and the layer it came from; secrets are masked
    Config {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw the pipeline
    Graph {
        /// How it is written
        #[arg(long, value_enum, default_value_t = Format::Mermaid)]
        format: Format,
    },
    /// Print the JSON schema of the configuration file
    Schema,
    /// Print the configuration reference: every table and key, as Markdown
    Reference,
    /// Print the OpenAPI description of a port
    Openapi {
        /// api, or the type of a source that serves HTTP
        #[arg(default_value = "api")]
        port: String,
    },
    /// List the plugins and their settings
    Plugins {
        /// One plugin, with all its settings
        name: Option<String>,
    },
    /// Ask the running instance whether it is well: exit code 0 if so, 1 if not
    Health {
        /// Ask whether it takes events now, rather than whether it lives
        #[arg(long)]
        ready: bool,
    },
    /// List the sessions, latest first, with their tokens, cost and errors
    Sessions {
        /// The most that are listed
        #[arg(short = 'n', long, default_value_t = 30, value_name = "N")]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// The database; else that of the configuration
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
    },
    /// Show one run as a tree: its model calls, tool calls and commands, with tokens and cost
    Show {
        /// The run's id, or how it begins; else the latest run
        run: Option<String>,
        /// Show texts whole
        #[arg(long)]
        full: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// The database; else that of the configuration
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
    },
    /// Print the last events, and with --follow each new one as it is stored
    Tail {
        /// How many of the last events to begin with
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        lines: usize,
        /// Go on until stopped
        #[arg(short, long)]
        follow: bool,
        /// Only events of this kind (may be repeated); else all but metric and link
        #[arg(long, value_name = "KIND")]
        kind: Vec<String>,
        /// Only events of this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only events of this run
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// Only events that failed
        #[arg(long)]
        failed: bool,
        /// As NDJSON, each line the JSON that POST /v1/events takes
        #[arg(long)]
        json: bool,
        /// The database; else that of the configuration
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
    },
    /// Print stored events as NDJSON, each line the JSON that POST /v1/events takes
    Export {
        /// The database; else that of the configuration
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
        /// Write to a file instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// How a drawing is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For Markdown and its viewers
    Mermaid,
    /// For Graphviz
    Dot,
}

/// Reads the command line and does what it says.
pub(crate) fn main(args: &[OsString], env: Vec<(String, String)>, registry: &Registry) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let inputs = Inputs {
        file: cli.config.config,
        env,
        set: cli.config.set,
        embedded: EMBEDDED,
        search: SEARCH.map(PathBuf::from).to_vec(),
        tables: crate::api::TABLES,
        short_names: env_names::SHORT_NAMES,
        old_names: env_names::OLD_NAMES,
    };
    let done = match cli.command.unwrap_or(Command::Run) {
        Command::Run => return run::run(&inputs, registry),
        Command::Validate => commands::validate(&inputs, registry),
        Command::Config { json } => commands::config(&inputs, registry, json),
        Command::Graph { format } => commands::graph(
            &inputs,
            registry,
            match format {
                Format::Mermaid => engine::graph::Drawing::Mermaid,
                Format::Dot => engine::graph::Drawing::Dot,
            },
        ),
        Command::Schema => commands::schema(registry),
        Command::Reference => Ok(commands::reference(registry)),
        Command::Openapi { port } => commands::openapi(registry, &port),
        Command::Plugins { name } => commands::plugins(registry, name.as_deref()),
        Command::Health { ready } => commands::health(&inputs, registry, ready),
        Command::Sessions { limit, json, db } => {
            commands::database(&inputs, registry, db).and_then(|db| show::sessions(&db, limit, json))
        }
        Command::Show { run, full, json, db } => {
            commands::database(&inputs, registry, db).and_then(|db| show::show(&db, run.as_deref(), full, json))
        }
        Command::Tail { lines, follow, kind, session, run, failed, json, db } => {
            let status = failed.then_some(engine::Status::Error);
            let condition = Condition { kinds: kind, session, run, status, ..Condition::default() };
            commands::database(&inputs, registry, db).and_then(|db| show::tail(&db, lines, follow, &condition, json))
        }
        Command::Export { db, output } => commands::export(&inputs, registry, db, output),
    };
    match done {
        Ok(text) => print(&text),
        Err(failure) => {
            say(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // `openclaw-trace config | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Why a command did not do what it should.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

impl From<engine::config::ConfigErrors> for Failure {
    fn from(errors: engine::config::ConfigErrors) -> Self {
        Self { code: 2, message: errors.to_string() }
    }
}
