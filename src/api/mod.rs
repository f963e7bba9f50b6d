//! The API port, for people and probes: dashboard, query API, health and metrics.
//!
//! `endpoints.rs` is the table of what there is, from which the OpenAPI description is made; the handlers stand in
//! `health.rs`, `query.rs`, `stream.rs`, `export.rs` and `reload.rs`; `dashboard.rs` has the page.

mod dashboard;
mod endpoints;
mod export;
mod health;
mod openapi;
mod parameters;
mod query;
mod reload;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{any, get, post};
use engine::config::{Secret, Table};
use engine::metrics::Metrics;
use engine::runtime::Status;
use listener::{Bearer, BindError, Hosts, Limits, Listener};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sinks::sqlite_store::{AskError, Readers};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::reload::Ask;

pub(crate) use endpoints::{Component, Reloaded, openapi};
pub(crate) use parameters::time;

/// The API listener: dashboard, query API, health and metrics. A change takes effect at the next start.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSettings {
    /// Whether to listen at all.
    pub(crate) enabled: bool,
    /// Address and port to listen on.
    pub(crate) bind: SocketAddr,
    /// Bearer token that clients must send, but for /healthz and /readyz; empty: none is asked for.
    pub(crate) token: Secret,
    /// Names, besides localhost and IP addresses, by which clients may call this port.
    pub(crate) allowed_hosts: Vec<String>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            bind: SocketAddr::from(([127, 0, 0, 1], 9091)),
            token: Secret::default(),
            allowed_hosts: Vec::new(),
        }
    }
}

impl ApiSettings {
    /// The keys that have other values there.
    pub(crate) fn different(&self, there: &Self) -> Vec<String> {
        let Self { enabled, bind, token, allowed_hosts } = self;
        [
            ("enabled", *enabled != there.enabled),
            ("bind", *bind != there.bind),
            ("token", *token != there.token),
            ("allowed_hosts", *allowed_hosts != there.allowed_hosts),
        ]
        .into_iter()
        .filter(|(_, different)| *different)
        .map(|(key, _)| format!("api.{key}"))
        .collect()
    }
}

/// The table `[api]`, for the configuration.
pub(crate) const TABLES: &[Table] = &[Table::of::<ApiSettings>("api")];

/// Few people and probes ask; each connection costs memory.
const LIMITS: Limits = Limits {
    header: Duration::from_secs(5),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(10),
    connections: 64,
};

/// Streams of events at once, and exports.
const STREAMS: usize = 16;
const EXPORTS: usize = 2;

/// What the port speaks of.
pub(crate) struct Subject {
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
    pub(crate) shown: watch::Receiver<Shown>,
    /// Where a reload is asked for.
    pub(crate) reload: mpsc::Sender<Ask>,
}

/// What is shown of the graph; a reload may change it.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) components: Vec<Component>,
    /// The store; `None` where the graph has none.
    pub(crate) readers: Option<Arc<Readers>>,
}

struct Api {
    hosts: Hosts,
    bearer: Bearer,
    subject: Subject,
    started: Instant,
    streams: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// Ends what would go on for ever.
    stop: CancellationToken,
}

/// Binds the port.
///
/// # Errors
/// When it cannot be had.
pub(crate) async fn bind(settings: &ApiSettings) -> Result<Listener, BindError> {
    Listener::bind(settings.bind, LIMITS).await
}

/// Serves until `shutdown`.
pub(crate) async fn serve(listener: Listener, settings: &ApiSettings, subject: Subject, shutdown: CancellationToken) {
    let api = Arc::new(Api {
        hosts: Hosts::new(&settings.allowed_hosts),
        bearer: Bearer::new(settings.token.reveal()),
        subject,
        started: Instant::now(),
        streams: Arc::new(Semaphore::new(STREAMS)),
        exports: Arc::new(Semaphore::new(EXPORTS)),
        stop: shutdown.clone(),
    });
    let router = Router::new()
        .route("/metrics", get(health::metrics))
        .route("/api/v1/status", get(health::status))
        .route("/api/v1/events", get(query::events))
        .route("/api/v1/events/{trace_id}", get(query::event))
        .route("/api/v1/sessions", get(query::sessions))
        .route("/api/v1/runs", get(query::runs))
        .route("/api/v1/runs/{run_id}", get(query::run))
        .route("/api/v1/stats", get(query::stats))
        .route("/api/v1/resources", get(query::resources))
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/export", get(export::export))
        .route("/api/v1/reload", post(reload::reload))
        .route_layer(from_fn_with_state(Arc::clone(&api), token))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(description))
        .fallback(any(other))
        .layer(from_fn_with_state(Arc::clone(&api), hosts))
        .with_state(api);
    listener.serve(router, shutdown).await;
}

async fn hosts(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    match api.hosts.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => refused(StatusCode::FORBIDDEN, why),
    }
}

async fn token(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    match api.bearer.check(request.headers()) {
        // What an agent said is nobody's to keep but the asker's.
        Ok(()) => with_header(next.run(request).await, header::CACHE_CONTROL, "no-store"),
        Err((status, why)) => refused(status, why),
    }
}

async fn description() -> Response<Body> {
    listener::json(StatusCode::OK, openapi())
}

/// The dashboard's files, and what there is not.
async fn other(request: Request) -> Response<Body> {
    if let Some(file) = dashboard::file(request.method(), request.uri().path(), request.headers()) {
        return file;
    }
    let message = "no such path; there are / (the dashboard), /api/v1 (docs/query-api.md), /healthz, /readyz, /metrics \
                   and /openapi.json, and events go to the ingest port";
    refused(StatusCode::NOT_FOUND, message)
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    listener::json(status, json!({ "error": why }).to_string())
}

/// Why a question has no answer.
fn unanswered(error: &AskError) -> Response<Body> {
    let why = error.to_string();
    match error {
        AskError::Busy => listener::retry_after(refused(StatusCode::TOO_MANY_REQUESTS, &why), Duration::from_secs(1)),
        AskError::Closed | AskError::Store(_) => refused(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

fn answered(answer: &impl Serialize) -> Response<Body> {
    json_answer(StatusCode::OK, answer)
}

fn json_answer(status: StatusCode, answer: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(answer) {
        Ok(body) => listener::json(status, body),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("the answer cannot be written: {error}")),
    }
}

fn with_header(mut response: Response<Body>, name: header::HeaderName, value: &'static str) -> Response<Body> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
