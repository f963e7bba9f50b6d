//! The API port, for people and probes: health and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{any, get};
use engine::config::{Secret, Table};
use engine::metrics::Metrics;
use engine::runtime::{Phase, Status};
use listener::{Bearer, BindError, Hosts, Limits, Listener};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// The API listener: health, readiness and metrics.
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

/// The table `[api]`, for the configuration.
pub(crate) const TABLES: &[Table] = &[Table::of::<ApiSettings>("api")];

/// Few people and probes ask; each connection costs memory.
const LIMITS: Limits = Limits {
    header: Duration::from_secs(5),
    idle: Duration::from_secs(60),
    write: Duration::from_secs(10),
    connections: 64,
};

/// What this port serves, for clients and their generators.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

struct Api {
    hosts: Hosts,
    bearer: Bearer,
    metrics: Metrics,
    status: Status,
    started: Instant,
}

/// Binds the port.
///
/// # Errors
/// When it cannot be had.
pub(crate) async fn bind(settings: &ApiSettings) -> Result<Listener, BindError> {
    Listener::bind(settings.bind, LIMITS).await
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    listener: Listener,
    settings: &ApiSettings,
    metrics: Metrics,
    status: Status,
    shutdown: CancellationToken,
) {
    let api = Arc::new(Api {
        hosts: Hosts::new(&settings.allowed_hosts),
        bearer: Bearer::new(settings.token.reveal()),
        metrics,
        status,
        started: Instant::now(),
    });
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route_layer(from_fn_with_state(Arc::clone(&api), token))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/openapi.json", get(openapi))
        .fallback(any(not_found))
        .layer(from_fn_with_state(Arc::clone(&api), hosts))
        .with_state(api);
    listener.serve(router, shutdown).await;
}

async fn hosts(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    match api.hosts.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => listener::json(StatusCode::FORBIDDEN, json!({ "error": why }).to_string()),
    }
}

async fn token(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    match api.bearer.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => listener::json(status, json!({ "error": why }).to_string()),
    }
}

async fn healthz(State(api): State<Arc<Api>>) -> Response<Body> {
    let body = json!({
        "status": "ok",
        "phase": phase(api.status.phase()),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
    });
    listener::json(StatusCode::OK, body.to_string())
}

async fn readyz(State(api): State<Arc<Api>>) -> Response<Body> {
    let refusing = api.status.refusing();
    let now = api.status.phase();
    if now == Phase::Running && refusing.is_none() {
        return listener::json(StatusCode::OK, json!({ "status": "ready" }).to_string());
    }
    let why = refusing.map_or_else(|| phase(now).to_owned(), |refusal| refusal.message);
    listener::json(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "why": why }).to_string())
}

async fn metrics_text(State(api): State<Arc<Api>>) -> Response<Body> {
    let mut response = Response::new(Body::from(api.metrics.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

async fn openapi() -> Response<Body> {
    listener::json(StatusCode::OK, OPENAPI)
}

async fn not_found() -> Response<Body> {
    let message =
        "no such path; there are /healthz, /readyz, /metrics and /openapi.json, and events go to the ingest port";
    listener::json(StatusCode::NOT_FOUND, json!({ "error": message }).to_string())
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
    }
}
