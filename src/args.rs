//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::config::Time;
use engine::{Kind, Status, Timestamp};
use serde::Deserialize;
use sinks::sqlite_store::{By, Condition, Format, ListRequest};

/// Observability sidecar for OpenClaw agents: takes events over loopback HTTP, cleans them, stores
/// them in SQLite and pushes them on.
#[derive(Debug, Parser)]
#[command(
    name = "openclaw-trace",
    version,
    after_help = "Without a command it runs. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\nEvery setting can also be given by environment: TRACE_SINKS__STORE__PATH=/data/x.db; see `openclaw-trace config`."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; else TRACE_CONFIG, ./openclaw-trace.toml, /data, /etc/openclaw-trace, or the embedded default
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key, over file and environment: --set sinks.store.path=/tmp/x.db (may be repeated)
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
        #[arg(long, value_enum, default_value_t = Drawing::Mermaid)]
        format: Drawing,
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
        /// Only this path of it, with all that it refers to: `openapi http_ingest --path /v1/batches`
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
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
    /// Have the running instance read its configuration anew: what is different is exchanged, and where anything is
    /// wrong nothing is changed; exit code 2: the configuration is wrong
    Reload,
    /// Watch it all on a full screen: spend, machine, runs, models, events as they come
    Top {
        #[command(flatten)]
        db: Database,
    },
    /// List the sessions, latest first, with their tokens, cost and errors
    Sessions {
        #[command(flatten)]
        list: ListArgs,
        #[command(flatten)]
        db: Database,
    },
    /// List the runs (the agent's turns), latest first, with their tokens, cost and errors
    Runs {
        /// Only runs of this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only runs that failed
        #[arg(long)]
        failed: bool,
        #[command(flatten)]
        list: ListArgs,
        #[command(flatten)]
        db: Database,
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
        #[command(flatten)]
        db: Database,
    },
    /// Print the last events, and with --follow each new one as it is stored
    Tail {
        /// How many of the last events to begin with
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        lines: usize,
        /// Go on until stopped
        #[arg(short, long)]
        follow: bool,
        /// Only events of this kind (may be repeated, or several by comma); else all but metric and link; '*': all
        #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
        kind: Vec<String>,
        #[command(flatten)]
        of: Of,
        /// As NDJSON, each line the JSON that POST /v1/events takes
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        db: Database,
    },
    /// Sum up calls, failures, tokens, cost and latency, by model, tool or kind
    Stats {
        /// What the sums are by: model calls by model, tool calls by tool, or all events by kind
        #[arg(long, value_enum, default_value_t = Group::Model)]
        by: Group,
        /// From this time on: a time back from now (15m, 6h, 7d), RFC 3339, or Unix milliseconds
        #[arg(long, value_name = "WHEN", default_value = "24h", value_parser = when, allow_hyphen_values = true)]
        from: i64,
        /// Up to this time; else now
        #[arg(long, value_name = "WHEN", value_parser = when, allow_hyphen_values = true)]
        to: Option<i64>,
        /// As JSON, with the sums over time: what GET /api/v1/stats answers
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        db: Database,
    },
    /// Write stored events in order of arrival: all, or those asked for
    Export {
        /// How they are written
        #[arg(long, value_enum, default_value_t = Written::Ndjson)]
        format: Written,
        /// Only events of this kind (may be repeated, or several by comma); else all
        #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
        kind: Vec<String>,
        #[command(flatten)]
        of: Of,
        /// Only events that ended like this
        #[arg(long, value_enum, value_name = "STATUS", conflicts_with = "failed")]
        status: Option<Ended>,
        /// Only events from this time on: a time back from now (15m, 6h, 7d), RFC 3339, or Unix milliseconds
        #[arg(long, value_name = "WHEN", value_parser = when, allow_hyphen_values = true)]
        from: Option<i64>,
        /// Only events before this time
        #[arg(long, value_name = "WHEN", value_parser = when, allow_hyphen_values = true)]
        to: Option<i64>,
        /// Write to a file, which only you can read, instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        db: Database,
    },
    /// Make a token for an agent, to standard output, and the line by which a gateway knows it (key tokens_file), to standard error
    Token {
        /// Whose events they are that are sent with it
        #[arg(long, value_name = "ID")]
        agent: String,
        /// The agent's organisation
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// Add the line to this file, which is made if there is none and then only you can read
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Send events from NDJSON files (what `export` and the sink `file` write) to a running instance, or into a database
    Replay {
        /// Files, plain or packed with gzip or zstd; -: standard input
        #[arg(value_name = "FILE", default_value = "-")]
        files: Vec<PathBuf>,
        /// The address of the ingest port; else the one of the configuration
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        /// Straight into this database instead, which is made where there is none
        #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "token_file"])]
        db: Option<PathBuf>,
        /// A file with the bearer token of the port; else TRACE_INGEST_TOKEN, which is sent to this machine only
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// At most so many events a second
        #[arg(long, value_name = "N", value_parser = rate)]
        rate: Option<f64>,
        /// Keep the pauses that were between the events, by their timestamps
        #[arg(long, conflicts_with = "rate")]
        original_pace: bool,
        /// Read and check everything, and send nothing
        #[arg(long)]
        dry_run: bool,
        /// How long an instance that is away, or takes nothing, is waited for
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = length)]
        patience: Time,
    },
    /// Take care of the database file: check, vacuum, backup
    #[command(subcommand)]
    Store(Store),
    /// Print the completions of a shell: put `source <(openclaw-trace completions bash)` in ~/.bashrc
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page: `openclaw-trace man > openclaw-trace.1`
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Look whether the file is whole: reads all of it; exit code 1 if it is damaged
    Check {
        #[command(flatten)]
        db: Database,
    },
    /// Write the file anew without what was deleted; openclaw-trace must be stopped, and twice the file's size free
    Vacuum {
        #[command(flatten)]
        db: Database,
    },
    /// Copy the file as it is at this moment, also while openclaw-trace runs
    Backup {
        /// The copy, which only you can read
        file: PathBuf,
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        db: Database,
    },
}

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The database; else that of the configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
}

/// Which events, where both `tail` and `export` ask.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// Only events of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only events of this run
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Only events that failed
    #[arg(long)]
    failed: bool,
}

impl Of {
    pub(crate) fn condition(self, kinds: Vec<String>) -> Condition {
        let status = self.failed.then_some(Status::Error);
        Condition { kinds, session: self.session, run: self.run, status, ..Condition::default() }
    }
}

/// How much of a list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The most that are listed
    #[arg(short = 'n', long, default_value_t = 30, value_name = "N")]
    limit: usize,
    /// Only what went on after this time: a time back from now (15m, 6h, 7d), RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "WHEN", value_parser = when, allow_hyphen_values = true)]
    from: Option<i64>,
    /// Only what began before this time
    #[arg(long, value_name = "WHEN", value_parser = when, allow_hyphen_values = true)]
    to: Option<i64>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl ListArgs {
    pub(crate) fn request(&self) -> ListRequest {
        ListRequest { limit: self.limit, from: self.from, to: self.to, ..ListRequest::default() }
    }
}

/// How a drawing is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Drawing {
    /// For Markdown and its viewers
    Mermaid,
    /// For Graphviz
    Dot,
}

impl From<Drawing> for engine::graph::Drawing {
    fn from(drawing: Drawing) -> Self {
        match drawing {
            Drawing::Mermaid => Self::Mermaid,
            Drawing::Dot => Self::Dot,
        }
    }
}

/// What sums are by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Group {
    /// Model calls, by model and provider
    Model,
    /// Tool calls, by tool
    Tool,
    /// All events, by kind
    Kind,
}

impl From<Group> for By {
    fn from(group: Group) -> Self {
        match group {
            Group::Model => Self::Model,
            Group::Tool => Self::Tool,
            Group::Kind => Self::Kind,
        }
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Written {
    /// Each line the JSON that POST /v1/events takes: loses nothing
    Ndjson,
    /// A table for spreadsheets; text that would be a formula gets an apostrophe before it
    Csv,
    /// Requests of OTLP/JSON, one a line, for an OpenTelemetry collector
    Otlp,
}

impl From<Written> for Format {
    fn from(written: Written) -> Self {
        match written {
            Written::Ndjson => Self::Ndjson,
            Written::Csv => Self::Csv,
            Written::Otlp => Self::Otlp,
        }
    }
}

/// How an event ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Ended {
    /// Well
    Ok,
    /// It failed
    Error,
}

impl From<Ended> for Status {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Ok => Self::Ok,
            Ended::Error => Self::Error,
        }
    }
}

fn when(text: &str) -> Result<i64, String> {
    crate::api::time(text, Timestamp::now())
}

/// A number of events a second.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim().parse::<f64>().ok();
    number
        .filter(|rate| (0.001..=1e9).contains(rate))
        .ok_or_else(|| "must be a number of events a second, such as 50".to_owned())
}

/// A length of time, as settings have it.
fn length(text: &str) -> Result<Time, String> {
    let told: Result<Time, _> =
        Deserialize::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text));
    told.map_err(|error| error.to_string())
}

/// A kind that there may be, or all.
fn kind(text: &str) -> Result<String, String> {
    if text != "*" {
        Kind::parse(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn what_can_be_said_is_consistent_and_all_of_it_has_a_help_text() {
        fn all(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says nothing of itself");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {} has no help", arg.get_id());
            }
            command.get_subcommands().for_each(all);
        }
        super::Cli::command().debug_assert();
        all(&super::Cli::command());
    }
}
