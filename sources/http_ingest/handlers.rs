//! The paths of the ingest port.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::{any, get, post};

use super::agents::Caller;
use super::answer::Answer;
use super::batch::{self, Batch};
use super::flat::Form;
use super::otlp::{self, Bounds, Encoding, Refused, Series, Signal};
use super::parse::{self, Format};
use super::service::{Received, Service};

pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/events", post(events).fallback(not_post))
        .route("/v1/traces", post(traces).fallback(not_post))
        .route("/v1/metrics", post(metrics).fallback(not_post))
        .route("/v1/logs", post(logs).fallback(not_post))
        .route("/v1/errors", post(errors).fallback(not_post))
        .route("/v1/batches", post(batches).fallback(not_post))
        .route("/health", get(health).fallback(not_get))
        .fallback(any(not_found))
        .with_state(service)
}

type Shared = State<Arc<Service>>;

async fn events(State(service): Shared, request: Request) -> Response<Body> {
    let answer = plain(&service, request).await.unwrap_or_else(|refused| refused);
    count(&service, answer.status());
    answer.into_response()
}

async fn plain(service: &Service, request: Request) -> Result<Answer, Answer> {
    let Received { form, text, caller } = service.receive(request, Format::of).await?;
    let parsed = parse::events(&text, form, service.config.max_events, parse::event)?;
    drop(text);
    deliver(service, parsed, &caller, None).await
}

/// Delivers what was read; `status` is the answer's where it is not the usual one.
async fn deliver(
    service: &Service,
    parsed: parse::Parsed,
    caller: &Caller,
    status: Option<StatusCode>,
) -> Result<Answer, Answer> {
    service.counts.rejected.inc_by(parsed.rejected.len() as u64);
    if parsed.events.is_empty() {
        return Ok(Answer::taken(StatusCode::OK, 0, &[], &parsed.rejected));
    }
    let ids: Vec<_> = parsed.events.iter().map(|event| event.trace_id).collect();
    let taken = service.deliver(parsed.events, caller).await?;
    Ok(Answer::taken(status.unwrap_or(taken.status), taken.duplicates, &ids, &parsed.rejected))
}

async fn batches(State(service): Shared, request: Request) -> Response<Body> {
    let answer = batch(&service, request).await.unwrap_or_else(|refused| refused);
    count(&service, answer.status());
    answer.into_response()
}

async fn batch(service: &Service, request: Request) -> Result<Answer, Answer> {
    let Received { form: (), text, caller } = service.receive(request, batch::form).await?;
    let Batch { agent_id, batch_id, mut events, rejected } = batch::read(&text, service.config.max_events)?;
    drop(text);
    caller.check_claim(&agent_id)?;
    service.counts.rejected.inc_by(rejected.len() as u64);
    if events.is_empty() {
        return Ok(Answer::kept(0, 0, &rejected));
    }
    // Where no token says whose they are, the batch does, of those that do not say it themselves.
    for event in events.iter_mut().filter(|event| event.agent_id.is_none() && !agent_id.is_empty()) {
        event.agent_id = Some(agent_id.clone());
    }
    let accepted = events.len();
    let taken = service.deliver_batch(events, &caller).await?;
    tracing::debug!(agent_id, batch_id, accepted, duplicates = taken.duplicates, "a batch is kept");
    Ok(Answer::kept(accepted, taken.duplicates, &rejected))
}

async fn errors(State(service): Shared, request: Request) -> Response<Body> {
    let answer = match service.receive(request, Format::of).await {
        Ok(received) => flat(&service, &received, received.form, Form::Error).await,
        Err(refused) => Err(refused),
    };
    let answer = answer.unwrap_or_else(|refused| refused);
    count(&service, answer.status());
    answer.into_response()
}

async fn flat<F>(service: &Service, received: &Received<F>, format: Format, form: Form) -> Result<Answer, Answer> {
    let read: parse::Read = match form {
        Form::Trace => |text| Form::Trace.read(text),
        Form::Error => |text| Form::Error.read(text),
    };
    let parsed = parse::events(&received.text, format, service.config.max_events, read)?;
    deliver(service, parsed, &received.caller, Some(StatusCode::ACCEPTED)).await
}

/// How a request to an OTLP path is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Protobuf,
    Text(Format),
}

impl Written {
    fn of(headers: &HeaderMap) -> Result<Self, Answer> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        match kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            _ => Format::of(headers).map(Self::Text).map_err(|_| {
                let message = "Content-Type must be application/x-protobuf or application/json";
                Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
            }),
        }
    }

    fn encoding(headers: &HeaderMap) -> Encoding {
        match Self::of(headers) {
            Ok(Self::Protobuf) => Encoding::Protobuf,
            _ => Encoding::Json,
        }
    }
}

async fn traces(State(service): Shared, request: Request) -> Response<Body> {
    signal(&service, Signal::Traces, request).await
}

async fn metrics(State(service): Shared, request: Request) -> Response<Body> {
    signal(&service, Signal::Metrics, request).await
}

async fn logs(State(service): Shared, request: Request) -> Response<Body> {
    signal(&service, Signal::Logs, request).await
}

async fn signal(service: &Service, signal: Signal, request: Request) -> Response<Body> {
    let encoding = Written::encoding(request.headers());
    let response = match service.receive(request, Written::of).await {
        Ok(received) => match received.form {
            Written::Text(format) if signal == Signal::Traces && !is_otlp(signal, format, &received.text) => {
                let answer = flat(service, &received, format, Form::Trace).await.unwrap_or_else(|refused| refused);
                answer.into_response()
            }
            _ => match take_otlp(service, signal, received).await {
                Ok((rejected, problem)) => encoding.taken(signal, rejected, problem.as_deref()),
                Err(refused) => refused.into_otlp(encoding),
            },
        },
        Err(refused) => refused.into_otlp(encoding),
    };
    count(service, response.status());
    response
}

fn is_otlp(signal: Signal, format: Format, text: &[u8]) -> bool {
    format == Format::Json && signal.is_in(text)
}

/// Takes an OTLP request; answers how many of its parts were rejected, and why the first was.
async fn take_otlp(
    service: &Service,
    signal: Signal,
    received: Received<Written>,
) -> Result<(u64, Option<String>), Answer> {
    let Received { form: written, text, caller } = received;
    if written == Written::Text(Format::Ndjson) {
        let message = "Content-Type must be application/x-protobuf or application/json";
        return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let bounds = Bounds {
        events: if signal == Signal::Metrics { service.config.max_series } else { service.config.max_events },
        bytes: usize::try_from(service.config.max_inflated.0).unwrap_or(usize::MAX),
    };
    let read = |series: &mut Series| match written {
        Written::Protobuf => otlp::read(signal, &text, series, bounds, caller.realm()),
        Written::Text(_) => otlp::read_json(signal, &text, series, bounds, caller.realm()),
    };
    let refuse = |refused| match refused {
        Refused::Unreadable(message) => Answer::error(StatusCode::BAD_REQUEST, &message),
        Refused::TooLarge(message) => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message),
    };
    if signal == Signal::Metrics {
        let mut series = service.series().await?;
        let Some(known) = series.as_mut() else { return Err(Answer::busy("metrics cannot be compared now")) };
        let decoded = read(known).map_err(refuse)?;
        drop(text);
        service.counts.rejected.inc_by(decoded.rejected);
        if !decoded.events.is_empty() {
            service.deliver_metrics(decoded.events, series, decoded.changes, &caller).await?;
        }
        return Ok((decoded.rejected, decoded.problem));
    }
    let decoded = read(&mut Series::new(0, &[])).map_err(refuse)?;
    drop(text);
    service.counts.rejected.inc_by(decoded.rejected);
    if !decoded.events.is_empty() {
        service.deliver(decoded.events, &caller).await?;
    }
    Ok((decoded.rejected, decoded.problem))
}

fn count(service: &Service, status: StatusCode) {
    service.counts.requests.with_label_values(&[status.as_str()]).inc();
}

/// What Augmi's agents ask before they send: whether events are taken, and how the push goes. Nothing
/// that was stored is told.
async fn health(State(service): Shared, headers: HeaderMap) -> Response<Body> {
    if let Err(refused) = service.check_host(&headers) {
        return refused.into_response();
    }
    let refusing = service.outlet.is_refusing();
    let (status, db) = match (service.is_draining(), refusing) {
        (true, _) => ("draining", "ok"),
        (false, true) => ("refusing", "error"),
        (false, false) => ("ok", "ok"),
    };
    let last_push = service.counts.all.largest("push_last_success_timestamp_seconds").filter(|at| *at > 0.0);
    let body = serde_json::json!({
        "status": status,
        "db": db,
        "queue_depth": service.outlet.in_flight().0,
        "uptime": service.started.elapsed().as_secs(),
        "last_push": last_push.and_then(engine::Timestamp::from_seconds).map(|at| at.to_string()),
    });
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    listener::json(code, body.to_string())
}

async fn not_post() -> Response<Body> {
    not_allowed("events come by POST", &Method::POST)
}

async fn not_get() -> Response<Body> {
    not_allowed("health is read by GET", &Method::GET)
}

fn not_allowed(message: &str, allowed: &Method) -> Response<Body> {
    let mut response = Answer::error(StatusCode::METHOD_NOT_ALLOWED, message).into_response();
    if let Ok(value) = HeaderValue::from_str(allowed.as_str()) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

async fn not_found() -> Response<Body> {
    let message = "no such path; events go to POST /v1/events, OTLP to /v1/traces, /v1/metrics and /v1/logs, \
                   batches of a push to /v1/batches; what is stored is read on the API port";
    Answer::error(StatusCode::NOT_FOUND, message).into_response()
}
