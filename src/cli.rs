//! The command line: who carries out what was said.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use engine::config::Inputs;
use engine::{Registry, Timestamp};
use sinks::sqlite_store::ListRequest;

use crate::args::{Cli, Command, Database, Store};
use crate::logging::say;
use crate::{ask, commands, env_names, export, lists, manual, openapi, replay, run, show, stats, store, token, top};

/// Where a configuration file is looked for when none is named, in this order.
const SEARCH: [&str; 3] =
    ["openclaw-trace.toml", "/data/openclaw-trace.toml", "/etc/openclaw-trace/openclaw-trace.toml"];

/// The default configuration, for Augmi's machines.
const EMBEDDED: &str = include_str!("../config/openclaw-trace.toml");

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
        again: None,
        tables: crate::api::TABLES,
        short_names: env_names::SHORT_NAMES,
        old_names: env_names::OLD_NAMES,
    };
    let done = match cli.command.unwrap_or(Command::Run) {
        Command::Run => return run::run(&inputs, registry),
        command => carry_out(command, &inputs, registry),
    };
    match done {
        Ok(text) => print(&text),
        Err(failure) => {
            say(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn carry_out(command: Command, inputs: &Inputs, registry: &Registry) -> Result<String, Failure> {
    let database = |named: Database| commands::database(inputs, registry, named.db);
    match command {
        // Handled above: its exit code is its own.
        Command::Run => Ok(String::new()),
        Command::Validate => commands::validate(inputs, registry),
        Command::Config { json } => commands::config(inputs, registry, json),
        Command::Graph { format } => commands::graph(inputs, registry, format.into()),
        Command::Schema => commands::schema(registry),
        Command::Reference => Ok(commands::reference(registry)),
        Command::Openapi { port, path } => openapi::print(registry, &port, path.as_deref()),
        Command::Plugins { name } => commands::plugins(registry, name.as_deref()),
        Command::Health { ready } => ask::health(inputs, registry, ready),
        Command::Reload => ask::reload(inputs, registry),
        Command::Top { db } => top::top(&database(db)?),
        Command::Sessions { list, db } => lists::sessions(&database(db)?, list.request(), list.json),
        Command::Runs { session, failed, list, db } => {
            let request = ListRequest { session, failed: failed.then_some(true), ..list.request() };
            lists::runs(&database(db)?, request, list.json)
        }
        Command::Show { run, full, json, db } => show::show(&database(db)?, run.as_deref(), full, json),
        Command::Tail { lines, follow, kind, of, json, db } => {
            show::tail(&database(db)?, lines, follow, &of.condition(kind), json)
        }
        Command::Stats { by, from, to, json, db } => {
            let to = to.unwrap_or_else(|| Timestamp::now().as_nanos());
            stats::stats(&database(db)?, by.into(), from, to, json)
        }
        Command::Export { format, kind, of, status, from, to, output, db } => {
            let kinds = if kind.is_empty() { vec!["*".to_owned()] } else { kind };
            let mut condition = of.condition(kinds);
            condition.status = status.map(Into::into).or(condition.status);
            (condition.from, condition.to) = (from, to);
            export::export(&database(db)?, &condition, format.into(), output.as_deref())
        }
        Command::Token { agent, org, file } => token::make(&agent, org.as_deref(), file.as_deref()),
        Command::Replay { files, to, db, token_file, rate, original_pace, dry_run, patience } => {
            let request = replay::Request { files, to, db, token_file, rate, original_pace, dry_run, patience };
            replay::replay(request, inputs, registry)
        }
        Command::Store(Store::Check { db }) => store::check(&database(db)?),
        Command::Store(Store::Vacuum { db }) => store::vacuum(&database(db)?),
        Command::Store(Store::Backup { file, force, db }) => store::backup(&database(db)?, &file, force),
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man => manual::page(),
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
