//! `openclaw-trace run`: configuration → build → run → drain.

use std::process::ExitCode;

use engine::config::{ConfigErrors, Inputs, Settings};
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::runtime::{RunError, Runtime};
use engine::{Registry, Reload, Timestamp};
use sinks::sqlite_store::Readers;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiSettings, Component, Subject};
use crate::{clock, commands, logging};

/// Runs until a signal; the exit code says whether everything was drained.
pub(crate) fn run(inputs: &Inputs, registry: &Registry) -> ExitCode {
    let metrics = Metrics::default();
    let (settings, api, graph) = match build(inputs, registry, &metrics) {
        Ok(built) => built,
        Err(errors) => {
            logging::say(&errors.to_string());
            return ExitCode::from(2);
        }
    };
    logging::start(&settings.runtime);
    for notice in settings.notices() {
        tracing::warn!("{notice}");
    }
    if let Some(doubt) = clock::doubt(Timestamp::now()) {
        tracing::warn!("{doubt}");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = settings.source(),
        api = if api.enabled { api.bind.to_string() } else { "off".to_owned() },
        "openclaw-trace starts"
    );
    // One thread for everything that waits: the store brings its own for what blocks.
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(tokio) => tokio,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let code = tokio.block_on(live(settings, &api, graph, metrics));
    // A thread that hangs in the kernel must not keep the process: its time is over.
    tokio.shutdown_background();
    code
}

fn build(
    inputs: &Inputs,
    registry: &Registry,
    metrics: &Metrics,
) -> Result<(Settings, ApiSettings, Graph), ConfigErrors> {
    let settings = engine::config::load(inputs, registry)?;
    let api = settings.table::<ApiSettings>("api")?;
    let graph = Graph::build(&settings, registry, metrics)?;
    Ok((settings, api, graph))
}

async fn live(settings: Settings, api: &ApiSettings, graph: Graph, metrics: Metrics) -> ExitCode {
    // Listening for signals comes first: one that arrives while a database opens must not be lost.
    let shutdown = CancellationToken::new();
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    match signals {
        [Ok(terminate), Ok(interrupt), Ok(hangup)] => {
            tokio::spawn(watch_signals(terminate, interrupt, shutdown.clone()));
            tokio::spawn(watch_hangup(hangup, graph.reload()));
        }
        [Err(error), _, _] | [_, Err(error), _] | [_, _, Err(error)] => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    }
    let runtime = Runtime::new(graph, settings.runtime.clone(), metrics.clone());
    let api_stop = CancellationToken::new();
    if api.enabled {
        let listener = match api::bind(api).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("api: {error} (key api.bind, or TRACE_API_PORT)");
                return ExitCode::FAILURE;
            }
        };
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "api listening");
            if !address.ip().is_loopback() && api.token.is_empty() {
                tracing::warn!(%address, "api port is reachable from outside this machine without a token; set one (key api.token, or TRACE_API_TOKEN)");
            }
        }
        let stores = commands::stores(&settings);
        if let [(name, _), _, ..] = stores.as_slice() {
            tracing::warn!(store = name, "the configuration has several stores; the query API shows this one");
        }
        let readers = match stores.first().map(|(_, path)| Readers::new(path)).transpose() {
            Ok(readers) => readers,
            Err(error) => {
                tracing::error!(%error, "cannot start the reader's thread");
                return ExitCode::FAILURE;
            }
        };
        if let Some(readers) = readers.clone() {
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                shutdown.cancelled().await;
                readers.close();
            });
        }
        let components = settings.components.iter().filter(|one| one.enabled).map(component).collect();
        let subject = Subject { metrics, status: runtime.status(), components, readers };
        let (api, stop) = (api.clone(), api_stop.clone());
        tokio::spawn(async move { api::serve(listener, &api, subject, stop).await });
    }
    let ended = runtime.run(shutdown).await;
    api_stop.cancel();
    match ended {
        Ok(()) => {
            tracing::info!("stopped; everything was drained");
            ExitCode::SUCCESS
        }
        Err(RunError::Open(error)) => {
            tracing::error!("cannot start: {error}");
            ExitCode::FAILURE
        }
        Err(error @ RunError::Drain(_)) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn component(component: &engine::config::Component) -> Component {
    Component {
        section: component.section.as_str().to_owned(),
        name: component.name.clone(),
        r#type: component.r#type.clone(),
        inputs: component.inputs.clone(),
    }
}

/// SIGHUP asks for files to be read anew. It never ends the process, whoever sends it: a supervisor
/// that reloads all it has, or a terminal that closes.
async fn watch_hangup(mut hangup: Signal, reload: Reload) {
    while hangup.recv().await.is_some() {
        match reload.ask() {
            0 => tracing::info!("SIGHUP: no component reads a file anew"),
            components => tracing::info!(components, "SIGHUP: files are read anew"),
        }
    }
}

/// The first signal drains, the second ends the process at once.
async fn watch_signals(mut terminate: Signal, mut interrupt: Signal, shutdown: CancellationToken) {
    let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
    shutdown.cancel();
    tracing::info!(signal = name, "draining; a second signal stops at once");
    tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
    tracing::error!("a second signal: stopped without draining");
    std::process::exit(1);
}
