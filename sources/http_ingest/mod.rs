//! `http_ingest`: events over HTTP.
//!
//! | request | what it takes | answered |
//! |---|---|---|
//! | `POST /v1/events` | events (`parse.rs`) | 200, or 202 when only queued |
//! | `POST /v1/traces`, `/v1/metrics`, `/v1/logs` | OTLP, protobuf or JSON (`otlp/`) | 200, as OTLP asks |
//! | `POST /v1/traces` | the flat model call of Augmi's agents (`flat.rs`) | 202 |
//! | `POST /v1/errors` | their flat error | 202 |
//! | `POST /v1/batches` | what another instance pushes (`batch.rs`) | 200, always once stored |
//! | `GET /health` | | 200, or 503 |
//!
//! The way of a request, each step of which can end it:
//! who asks (token, `Host`, `Origin`; where each agent has a token of its own, whose it is: `agents.rs`) → is there a sink that takes anything → the body, within a
//! budget of bytes shared by all requests (`body.rs`) → its events, each on its own (`parse.rs`) →
//! rate limit → admission → receipt. Nothing of a request is kept before admission, and all of it or
//! nothing after: a refused request can be sent again.
//!
//! The port is write-only: nothing that was stored can be read here.

mod agents;
mod answer;
mod batch;
mod body;
mod flat;
mod handlers;
mod otlp;
mod parse;
mod rate;
mod service;
pub mod tokens;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use engine::config::{Secret, Size, Time};
use engine::metrics::{IntCounter, IntCounterVec, Metrics};
use engine::{Asked, BuildContext, Holds, OpenError, Outlet, Problem, Problems, Source, SourceConfig};
use listener::{Limits, Listener};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use agents::{Agents, Limit};
use service::Service;

/// When a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// After every sink has kept the events: 200.
    Stored,
    /// Once they are queued: 202. An orderly stop loses nothing; a crash may.
    Queued,
}

/// Takes events over HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpIngest {
    /// Address and port to listen on. Loopback unless the agent runs elsewhere.
    pub bind: SocketAddr,
    /// Bearer token that clients must send; empty: none is asked for.
    pub token: Secret,
    /// A file with one token for each agent, instead of `token`: lines of SHA-256, agent and organisation, made by
    /// `openclaw-trace token`.
    ///
    /// Every event then bears the agent and the organisation (`openclaw_trace.org.id`) of its token. Read anew at
    /// SIGHUP.
    pub tokens_file: Option<PathBuf>,
    /// Events per second that are taken from one agent of `tokens_file`; 0: no limit. As many as the largest
    /// request may hold can come at once.
    pub agent_rate_limit: u32,
    /// Answer after events are stored (200) or as soon as they are queued (202). Batches of a push
    /// (`/v1/batches`) are answered after they are stored in either case.
    pub acknowledge: Acknowledge,
    /// Largest body on the wire.
    pub max_body: Size,
    /// Largest body once decompressed; also what all bodies being read may take together.
    pub max_inflated: Size,
    /// Most events in one request.
    pub max_events: usize,
    /// Most series of OTLP metrics whose last value is remembered; the one not heard of for longest makes room.
    pub max_series: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// Events per second that are taken, over all clients; 0: no limit.
    pub rate_limit: u32,
    /// Events that may come at once under the rate limit; 0: as many as one second's.
    pub rate_burst: u32,
    /// Names, besides localhost and IP addresses, that clients may use to reach this port.
    pub allowed_hosts: Vec<String>,
    /// Time for a request's head.
    pub header_timeout: Time,
    /// Time for a request's body.
    pub body_timeout: Time,
    /// Time for the sinks to confirm, before the client is told to send again.
    pub answer_timeout: Time,
    /// Time that a connection may be idle between requests.
    pub idle_timeout: Time,
}

impl Default for HttpIngest {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 9090)),
            token: Secret::default(),
            tokens_file: None,
            agent_rate_limit: 0,
            acknowledge: Acknowledge::Stored,
            max_body: Size::mib(1),
            max_inflated: Size::mib(4),
            max_events: 1000,
            max_series: 2048,
            max_connections: 256,
            rate_limit: 0,
            rate_burst: 0,
            allowed_hosts: Vec::new(),
            header_timeout: Time::seconds(5),
            body_timeout: Time::seconds(10),
            answer_timeout: Time::seconds(10),
            idle_timeout: Time::seconds(60),
        }
    }
}

impl SourceConfig for HttpIngest {
    const TYPE: &'static str = "http_ingest";
    const OPENAPI: Option<&'static str> = Some(include_str!("openapi.json"));

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        let sizes = [
            ("max_body", self.max_body.0),
            ("max_inflated", self.max_inflated.0),
            ("max_events", self.max_events as u64),
            ("max_series", self.max_series as u64),
            ("max_connections", self.max_connections as u64),
        ];
        let times = [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("answer_timeout", self.answer_timeout),
            ("idle_timeout", self.idle_timeout),
        ];
        let zero_sizes = sizes.into_iter().filter(|(_, value)| *value == 0).map(|(key, _)| key);
        let zero_times = times.into_iter().filter(|(_, time)| time.0.is_zero()).map(|(key, _)| key);
        let mut problems: Problems =
            zero_sizes.chain(zero_times).map(|key| Problem::new(key, "must be more than 0")).collect();
        if self.max_inflated.0 < self.max_body.0 {
            // All bodies share it: one between the two could never be read.
            problems.push(Problem::new("max_inflated", "must be at least max_body"));
        }
        if self.tokens_file.is_some() && !self.token.is_empty() {
            let message = "is set beside token (TRACE_INGEST_TOKEN): either one token for all, or one for each agent";
            problems.push(Problem::new("tokens_file", message));
        }
        if self.tokens_file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            // Not as if it were not there: the port would be open to anyone.
            problems.push(Problem::new("tokens_file", "is empty; name the file, or leave the key out"));
        }
        if self.tokens_file.is_none() && self.agent_rate_limit > 0 {
            let message = "needs tokens_file, which tells agents apart; rate_limit is for all clients together";
            problems.push(Problem::new("agent_rate_limit", message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Box::new(Ingest {
            counts: Counts::new(cx),
            name: cx.name.clone(),
            reload: self.tokens_file.is_some().then(|| cx.reload.listen()),
            config: self,
            agents: None,
            listener: None,
        }))
    }
}

impl HttpIngest {
    /// What one agent may send. As many as the largest request at once: a smaller burst would let such a request
    /// pass for less than it is, again and again.
    fn agent_limit(&self) -> Option<Limit> {
        let per_second = NonZeroU32::new(self.agent_rate_limit)?;
        let largest = u32::try_from(self.max_events.max(self.max_series)).unwrap_or(u32::MAX);
        Some(Limit { per_second, burst: per_second.max(NonZeroU32::new(largest)?) })
    }
}

/// What this source counts of itself.
#[derive(Clone)]
struct Counts {
    requests: IntCounterVec,
    rejected: IntCounter,
    /// All metrics of the process: `GET /health` tells a few of them.
    all: Metrics,
}

impl Counts {
    fn new(cx: &BuildContext) -> Self {
        Self {
            requests: cx.metrics.counter_by(
                &cx.name,
                "ingest_requests_total",
                "Requests by status of the answer.",
                "status",
            ),
            rejected: cx.metrics.counter(&cx.name, "ingest_rejected_total", "Events that could not be read."),
            all: cx.metrics.clone(),
        }
    }
}

struct Ingest {
    name: String,
    config: HttpIngest,
    counts: Counts,
    /// Where there is a `tokens_file`: tells that it is to be read anew.
    reload: Option<Asked>,
    agents: Option<Arc<Agents>>,
    listener: Option<Listener>,
}

#[async_trait]
impl Source for Ingest {
    fn holds(&self) -> Holds {
        Holds::port(self.config.bind.port())
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        if let Some(path) = &self.config.tokens_file {
            let agents = Agents::open(&self.name, path, self.config.agent_limit())
                .map_err(|error| OpenError(format!("sources.{}: {error} (key tokens_file)", self.name)))?;
            tracing::info!(component = self.name, file = %path.display(), tokens = agents.tokens(), "tokens_file is read");
            self.agents = Some(Arc::new(agents));
        }
        let limits = Limits {
            header: self.config.header_timeout.0,
            idle: self.config.idle_timeout.0,
            write: self.config.answer_timeout.0,
            connections: self.config.max_connections,
        };
        let listener = Listener::bind(self.config.bind, limits)
            .await
            .map_err(|error| OpenError(format!("sources.{}: {error} (key bind, or TRACE_PORT)", self.name)))?;
        let address = listener.local_addr().map_err(|error| OpenError(format!("sources.{}: {error}", self.name)))?;
        tracing::info!(component = self.name, %address, "ingest listening");
        if !address.ip().is_loopback() && self.config.token.is_empty() && self.agents.is_none() {
            tracing::warn!(component = self.name, %address, "ingest port is reachable from outside this machine without a token; set one (key token, or TRACE_INGEST_TOKEN), or tokens_file");
        }
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        let Self { config, counts, reload, agents, listener, .. } = *self;
        let Some(listener) = listener else { return };
        let service = Service::new(config, agents.clone(), counts, outlet, shutdown.clone());
        let router = handlers::router(Arc::new(service));
        let following = async {
            match (agents, reload) {
                (Some(agents), Some(reload)) => agents.follow(reload).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = listener.serve(router, shutdown) => {}
            () = following => {}
        }
    }
}
