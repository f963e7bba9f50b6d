//! A new configuration for the process that runs: SIGHUP, or `POST /api/v1/reload`, which `openclaw-trace reload` sends.
//!
//! Both do the same, one after the other where several come:
//!
//! 1. Components read their own files anew (tokens). That asks nothing of the configuration and is done in any case.
//! 2. The file that was read at the start is read again, under the same variables and `--set` arguments: a process's
//!    environment does not change. Where there was none, it is looked for again. A file that is gone is an error.
//! 3. All of it is checked. Where anything is wrong, everything that is wrong is said, and nothing has happened.
//! 4. The graph that runs becomes the new one, as `engine/src/runtime/exchange.rs` tells.
//! 5. What only a start can change (`[api]`, two keys of `[runtime]`) is named, where it is different from what it was
//!    at the start.
//!
//! The query API shows the first store. While that is exchanged for one of another file its readers let go of the
//! old file before the new one is opened, so that the store is the last to close it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use engine::config::{ConfigErrors, Inputs, Settings};
use engine::metrics::{IntCounterVec, IntGauge, Metrics};
use engine::runtime::{Changes, ReloadError, Reloader};
use engine::{Registry, Reload};
use sinks::sqlite_store::Readers;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{ApiSettings, Component, Reloaded, Shown};
use crate::{commands, logging};

/// A request for a reload, and where its answer goes.
pub(crate) type Ask = oneshot::Sender<Result<Reloaded, Refused>>;

/// Requests that wait.
pub(crate) const WAITING: usize = 4;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// All that is wrong with the file.
    #[error("the configuration is wrong and was not taken; the one in force goes on")]
    Wrong(ConfigErrors),
    /// It is right, and could not be carried out.
    #[error("the configuration could not be carried out; the one in force goes on: {0}")]
    Failed(String),
    /// Nor could the old one be put back.
    #[error("the configuration could not be carried out, and the process ends: {0}")]
    Lost(String),
    /// Too late.
    #[error("openclaw-trace is stopping; nothing is read anew")]
    Stopping,
}

/// Carries reloads out.
pub(crate) struct Reloads<'a> {
    inputs: Inputs,
    registry: &'a Registry,
    reloader: Reloader<'a>,
    /// Tells components to read their files.
    files: Reload,
    level: logging::Level,
    shown: watch::Sender<Shown>,
    /// As the process was started.
    started: (ApiSettings, Settings),
    /// Notices that were given.
    noticed: Vec<String>,
    results: IntCounterVec,
    last_success: IntGauge,
    shutdown: CancellationToken,
}

impl<'a> Reloads<'a> {
    pub(crate) fn new(
        inputs: &Inputs,
        registry: &'a Registry,
        (api, reloader): (ApiSettings, Reloader<'a>),
        files: Reload,
        (level, metrics): (logging::Level, &Metrics),
        shutdown: CancellationToken,
    ) -> Self {
        let settings = reloader.settings().clone();
        let results = metrics.counter_by("runtime", "config_reloads_total", "Reloads of the configuration.", "result");
        let last_success = metrics.gauge(
            "runtime",
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was taken, Unix time.",
        );
        last_success.set(engine::Timestamp::now().as_nanos() / 1_000_000_000);
        for result in ["success", "failure"] {
            results.with_label_values(&[result]);
        }
        Self {
            inputs: Inputs { again: settings.file().map(PathBuf::from), ..inputs.clone() },
            registry,
            files,
            level,
            shown: watch::Sender::new(Shown::new(&settings)),
            noticed: settings.notices().to_vec(),
            started: (api, settings),
            reloader,
            results,
            last_success,
            shutdown,
        }
    }

    /// The graph that the API shows.
    pub(crate) fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// Waits for requests, for ever. SIGHUP never ends the process, whoever sends it: a supervisor that reloads all
    /// it has, or a terminal that closes.
    pub(crate) async fn serve(mut self, mut hangup: Signal, mut asks: mpsc::Receiver<Ask>) -> Infallible {
        loop {
            let ask = tokio::select! {
                Some(()) = hangup.recv() => None,
                Some(ask) = asks.recv() => Some(ask),
                else => std::future::pending().await,
            };
            let by = if ask.is_some() { "api" } else { "SIGHUP" };
            let done = self.reload().await;
            self.say(by, &done);
            if let Some(ask) = ask {
                // Who asked may be gone.
                let _ = ask.send(done);
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, Refused> {
        if self.shutdown.is_cancelled() {
            return Err(Refused::Stopping);
        }
        self.files.ask();
        let settings = engine::config::load(&self.inputs, self.registry).map_err(Refused::Wrong)?;
        let api = settings.table::<ApiSettings>("api").map_err(Refused::Wrong)?;
        let moved = store(&settings) != store(self.reloader.settings());
        if moved {
            self.show_store(&settings);
        }
        match self.reloader.apply(settings).await {
            Ok(changes) => Ok(self.taken(&api, changes)),
            Err(error) => {
                if moved {
                    self.show_store(&self.reloader.settings().clone());
                }
                Err(match error {
                    ReloadError::Config(errors) => Refused::Wrong(errors),
                    ReloadError::Stopping => Refused::Stopping,
                    ReloadError::Lost(why) => Refused::Lost(why),
                    ReloadError::Open(_) | ReloadError::Busy(_) => Refused::Failed(error.to_string()),
                })
            }
        }
    }

    /// After the graph that runs is the new one.
    fn taken(&mut self, api: &ApiSettings, changes: Changes) -> Reloaded {
        let settings = self.reloader.settings();
        self.inputs.again = settings.file().map(PathBuf::from);
        self.level.set(settings.runtime.log_level);
        self.last_success.set(engine::Timestamp::now().as_nanos() / 1_000_000_000);
        self.shown.send_modify(|shown| shown.components = components(settings));
        let (started_api, started) = &self.started;
        let mut needs_restart = api.different(started_api);
        let (now, then) = (&settings.runtime, &started.runtime);
        needs_restart.extend((now.drain_timeout != then.drain_timeout).then(|| "runtime.drain_timeout".to_owned()));
        needs_restart.extend((now.log_format != then.log_format).then(|| "runtime.log_format".to_owned()));
        let notices: Vec<String> =
            settings.notices().iter().filter(|notice| !self.noticed.contains(notice)).cloned().collect();
        self.noticed.extend(notices.clone());
        let Changes { added, removed, changed, restarted, rejoined, kept, warnings } = changes;
        Reloaded {
            configuration: settings.source().to_owned(),
            added,
            removed,
            changed,
            restarted,
            rejoined,
            kept,
            needs_restart,
            warnings: notices.into_iter().chain(warnings).collect(),
        }
    }

    /// Has the API show the store of these settings, and lets go of the one before.
    fn show_store(&self, settings: &Settings) {
        let mut readers = readers(settings);
        self.shown.send_modify(|shown| std::mem::swap(&mut shown.readers, &mut readers));
        if let Some(before) = readers {
            before.close();
        }
    }

    fn say(&self, by: &str, done: &Result<Reloaded, Refused>) {
        let result = if done.is_ok() { "success" } else { "failure" };
        self.results.with_label_values(&[result]).inc();
        match done {
            Ok(done) => {
                for warning in &done.warnings {
                    tracing::warn!(by, "reload: {warning}");
                }
                if !done.needs_restart.is_empty() {
                    tracing::warn!(by, "reload: takes effect at the next start: {}", done.needs_restart.join(", "));
                }
                tracing::info!(
                    by,
                    configuration = done.configuration,
                    added = ?done.added,
                    removed = ?done.removed,
                    changed = ?done.changed,
                    restarted = ?done.restarted,
                    rejoined = ?done.rejoined,
                    kept = done.kept.len(),
                    "configuration reloaded"
                );
            }
            Err(refused) => {
                tracing::error!(by, "reload: {refused}");
                if let Refused::Wrong(ConfigErrors(errors)) = refused {
                    errors.iter().for_each(|error| tracing::error!(by, "reload: {error}"));
                }
            }
        }
    }
}

impl Shown {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { components: components(settings), readers: readers(settings) }
    }
}

fn components(settings: &Settings) -> Vec<Component> {
    let enabled = settings.components.iter().filter(|component| component.enabled);
    enabled
        .map(|component| Component {
            section: component.section.as_str().to_owned(),
            name: component.name.clone(),
            r#type: component.r#type.clone(),
            inputs: component.inputs.clone(),
        })
        .collect()
}

/// The database of the store that the API shows.
fn store(settings: &Settings) -> Option<PathBuf> {
    commands::stores(settings).into_iter().next().map(|(_, path)| path)
}

fn readers(settings: &Settings) -> Option<Arc<Readers>> {
    let stores = commands::stores(settings);
    if let [(name, _), _, ..] = stores.as_slice() {
        tracing::warn!(store = name, "the configuration has several stores; the query API shows this one");
    }
    let readers = Readers::new(&stores.first()?.1);
    readers.map_err(|error| tracing::error!(%error, "the query API shows no store: its thread cannot be started")).ok()
}
