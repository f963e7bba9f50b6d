//! `http_ingest`: events over HTTP, `POST /v1/events`.
//!
//! The way of a request, each step of which can end it:
//! who asks (token, `Host`, `Origin`) → is there a sink that takes anything → the body, within a
//! budget of bytes shared by all requests (`body.rs`) → its events, each on its own (`parse.rs`) →
//! rate limit → admission → receipt. Nothing of a request is kept before admission, and all of it or
//! nothing after: a refused request can be sent again.
//!
//! The port is write-only: nothing that was stored can be read here.

mod answer;
mod body;
mod parse;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{any, post};
use engine::config::{Secret, Size, Time};
use engine::metrics::{IntCounter, IntCounterVec};
use engine::{Admission, BuildContext, OpenError, Outcome, Outlet, Problem, Problems, Source, SourceConfig};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use listener::{Bearer, Hosts, Limits, Listener};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use answer::Answer;
use parse::Format;

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
    /// Answer after events are stored (200) or as soon as they are queued (202).
    pub acknowledge: Acknowledge,
    /// Largest body on the wire.
    pub max_body: Size,
    /// Largest body once decompressed; also what all bodies being read may take together.
    pub max_inflated: Size,
    /// Most events in one request.
    pub max_events: usize,
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
            acknowledge: Acknowledge::Stored,
            max_body: Size::mib(1),
            max_inflated: Size::mib(4),
            max_events: 1000,
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

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        let sizes = [
            ("max_body", self.max_body.0),
            ("max_inflated", self.max_inflated.0),
            ("max_events", self.max_events as u64),
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
        let problems: Problems =
            zero_sizes.chain(zero_times).map(|key| Problem::new(key, "must be more than 0")).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Box::new(Ingest { counts: Counts::new(cx), name: cx.name.clone(), config: self, listener: None }))
    }
}

/// What this source counts of itself.
#[derive(Clone)]
struct Counts {
    requests: IntCounterVec,
    rejected: IntCounter,
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
        }
    }
}

struct Ingest {
    name: String,
    config: HttpIngest,
    counts: Counts,
    listener: Option<Listener>,
}

#[async_trait]
impl Source for Ingest {
    async fn open(&mut self) -> Result<(), OpenError> {
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
        if !address.ip().is_loopback() && self.config.token.is_empty() {
            tracing::warn!(component = self.name, %address, "ingest port is reachable from outside this machine without a token; set one (key token, or TRACE_INGEST_TOKEN)");
        }
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        let Some(listener) = self.listener else { return };
        let service = Service::new(self.config, self.counts, outlet, shutdown.clone());
        let router = Router::new()
            .route("/v1/events", post(events).fallback(not_post))
            .fallback(any(not_found))
            .with_state(Arc::new(service));
        listener.serve(router, shutdown).await;
    }
}

struct Service {
    config: HttpIngest,
    bearer: Bearer,
    hosts: Hosts,
    /// Bytes of bodies being read, over all requests; only its bytes are used.
    reading: Admission,
    rate: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
    counts: Counts,
    outlet: Outlet,
    shutdown: CancellationToken,
}

impl Service {
    fn new(config: HttpIngest, counts: Counts, outlet: Outlet, shutdown: CancellationToken) -> Self {
        let rate = NonZeroU32::new(config.rate_limit).map(|per_second| {
            let burst = NonZeroU32::new(config.rate_burst).unwrap_or(per_second);
            (RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)), burst)
        });
        let reading = usize::try_from(config.max_inflated.0).unwrap_or(usize::MAX);
        Self {
            bearer: Bearer::new(config.token.reveal()),
            hosts: Hosts::new(&config.allowed_hosts),
            reading: Admission::new(usize::MAX, reading),
            rate,
            counts,
            outlet,
            shutdown,
            config,
        }
    }

    fn check_client(&self, headers: &HeaderMap) -> Result<(), Answer> {
        self.hosts.check(headers).map_err(|why| Answer::error(StatusCode::FORBIDDEN, why))?;
        self.bearer.check(headers).map_err(|(status, why)| Answer::error(status, why))
    }

    async fn take(&self, request: Request) -> Result<Answer, Answer> {
        let (head, body) = request.into_parts();
        let early = self.check_client(&head.headers).and_then(|()| {
            if self.shutdown.is_cancelled() {
                return Err(Answer::draining());
            }
            self.outlet.check_gates().map_err(Answer::from)?;
            Format::of(&head.headers)
        });
        let format = match early {
            Ok(format) => format,
            Err(answer) => {
                body::discard(body, &self.config).await;
                return Err(answer);
            }
        };
        let text = body::read(&head.headers, body, &self.config, &self.reading).await?;
        let parsed = parse::events(&text, format, self.config.max_events)?;
        drop(text);
        self.counts.rejected.inc_by(parsed.rejected.len() as u64);
        if parsed.events.is_empty() {
            return Ok(Answer::taken(StatusCode::OK, 0, &[], &parsed.rejected));
        }
        self.check_rate(parsed.events.len())?;
        let ids: Vec<_> = parsed.events.iter().map(|event| event.trace_id).collect();
        let queued = self.config.acknowledge == Acknowledge::Queued;
        let mut receipt = self.outlet.try_send(parsed.events, queued)?;
        if queued {
            return Ok(Answer::taken(StatusCode::ACCEPTED, 0, &ids, &parsed.rejected));
        }
        match tokio::time::timeout(self.config.answer_timeout.0, receipt.outcome()).await {
            Ok(Outcome::Stored { duplicates }) => Ok(Answer::taken(StatusCode::OK, duplicates, &ids, &parsed.rejected)),
            Ok(Outcome::Failed(refusal)) => Err(refusal.into()),
            Err(_elapsed) => Err(Answer::unconfirmed(&ids)),
        }
    }

    fn check_rate(&self, events: usize) -> Result<(), Answer> {
        let Some((limiter, burst)) = &self.rate else { return Ok(()) };
        // A request larger than the burst takes the whole burst: it could never pass otherwise.
        let wanted = u32::try_from(events).ok().and_then(NonZeroU32::new).map_or(*burst, |n| n.min(*burst));
        match limiter.check_n(wanted) {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => Err(Answer::over_rate(not_until.wait_time_from(DefaultClock::default().now()))),
        }
    }
}

async fn events(State(service): State<Arc<Service>>, request: Request) -> Response<Body> {
    let answer = service.take(request).await.unwrap_or_else(|refused| refused);
    service.counts.requests.with_label_values(&[answer.status().as_str()]).inc();
    answer.into_response()
}

async fn not_post() -> Response<Body> {
    let mut response = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "events come by POST").into_response();
    response.headers_mut().insert(axum::http::header::ALLOW, axum::http::HeaderValue::from_static("POST"));
    response
}

async fn not_found() -> Response<Body> {
    let message = "no such path; events go to POST /v1/events, and what is stored is read on the API port";
    Answer::error(StatusCode::NOT_FOUND, message).into_response()
}
