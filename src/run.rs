//! `openclaw-trace run`: configuration → build → run → drain.

use std::process::ExitCode;

use engine::config::{ConfigErrors, Inputs, Settings};
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::runtime::{RunError, Runtime};
use engine::{Registry, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiSettings, Subject};
use crate::reload::{self, Reloads};
use crate::{clock, logging};

/// Runs until a signal; the exit code says whether everything was drained.
pub(crate) fn run(inputs: &Inputs, registry: &Registry) -> ExitCode {
    // One thread for everything that waits: the store brings its own for what blocks.
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(tokio) => tokio,
        Err(error) => {
            logging::say(&format!("cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    // Listening for signals comes first: one that arrives while the configuration is read or a database opens must not
    // be lost, and SIGHUP must not end the process.
    let signals = {
        let _context = tokio.enter();
        Signals::listen()
    };
    let signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            logging::say(&format!("cannot listen for signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let metrics = Metrics::default();
    let (settings, api, graph) = match build(inputs, registry, &metrics) {
        Ok(built) => built,
        Err(errors) => {
            logging::say(&errors.to_string());
            return ExitCode::from(2);
        }
    };
    let level = logging::start(&settings.runtime);
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
    let shutdown = CancellationToken::new();
    let files = graph.reload();
    let mut runtime = Runtime::new(graph, settings.runtime.clone(), metrics.clone());
    let reloader = runtime.reloader(settings, registry);
    let reloads = Reloads::new(inputs, registry, (api.clone(), reloader), files, (level, &metrics), shutdown.clone());
    let code = tokio.block_on(live(runtime, reloads, api, metrics, signals, shutdown));
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

async fn live(
    runtime: Runtime,
    reloads: Reloads<'_>,
    api: ApiSettings,
    metrics: Metrics,
    signals: Signals,
    shutdown: CancellationToken,
) -> ExitCode {
    let Signals { terminate, interrupt, hangup } = signals;
    tokio::spawn(watch_signals(terminate, interrupt, shutdown.clone()));
    let api_stop = CancellationToken::new();
    let (ask, asks) = mpsc::channel(reload::WAITING);
    if api.enabled {
        let listener = match api::bind(&api).await {
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
        let (shown, stopping) = (reloads.shown(), shutdown.clone());
        tokio::spawn(async move {
            stopping.cancelled().await;
            let readers = shown.borrow().readers.clone();
            if let Some(readers) = readers {
                readers.close();
            }
        });
        let subject = Subject { metrics, status: runtime.status(), shown: reloads.shown(), reload: ask };
        let stop = api_stop.clone();
        tokio::spawn(async move { api::serve(listener, &api, subject, stop).await });
    }
    let ended = tokio::select! {
        ended = runtime.run(shutdown) => ended,
        never = reloads.serve(hangup, asks) => match never {},
    };
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

/// The signals that are heard.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
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
