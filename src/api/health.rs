//! What the process says of itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use engine::Timestamp;
use engine::runtime::Phase;

use super::endpoints::{Health, Ready, Status};
use super::parameters::Pairs;
use super::{Api, Shown, answered, json_answer, query, with_header};

pub(super) async fn healthz(State(api): State<Arc<Api>>) -> Response<Body> {
    answered(&Health {
        status: "ok",
        phase: phase(api.subject.status.phase()),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: api.started.elapsed().as_secs(),
    })
}

pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Response<Body> {
    let refusing = api.subject.status.refusing();
    let now = api.subject.status.phase();
    if now == Phase::Running && refusing.is_none() {
        return answered(&Ready { status: "ready", why: None });
    }
    let why = refusing.map_or_else(|| phase(now).to_owned(), |refusal| refusal.message);
    json_answer(StatusCode::SERVICE_UNAVAILABLE, &Ready { status: "not ready", why: Some(why) })
}

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response<Body> {
    let response = Response::new(Body::from(api.subject.metrics.render()));
    with_header(response, header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
}

pub(super) async fn status(State(api): State<Arc<Api>>, pairs: Result<Pairs, String>) -> Response<Body> {
    if let Err(response) = query::checked("/api/v1/status", pairs) {
        return response;
    }
    let subject = &api.subject;
    let Shown { components, readers } = subject.shown.borrow().clone();
    let store = match &readers {
        // The process can say all else also where its store cannot be read.
        Some(readers) => readers.ask(sinks::sqlite_store::Reader::overview).await.ok(),
        None => None,
    };
    answered(&Status {
        version: env!("CARGO_PKG_VERSION"),
        phase: phase(subject.status.phase()),
        uptime_seconds: api.started.elapsed().as_secs(),
        refusing: subject.status.refusing().map(|refusal| refusal.message),
        now: Timestamp::now().to_string(),
        components,
        metrics: subject.metrics.figures(),
        store,
    })
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
    }
}
