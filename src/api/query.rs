//! Questions to the store.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode, header};
use engine::{Timestamp, TraceId};
use futures_util::stream;
use sinks::sqlite_store::{
    AskError, Bodies, By, Condition, Cursor, ListRequest, Order, PageRequest, ReadError, Reader, Readers, Tree,
};

use super::endpoints::{ENDPOINTS, Runs, Sessions};
use super::parameters::{Pairs, Parameters};
use super::{Api, answered, refused, unanswered, with_header};

type Answer = Result<Response<Body>, Response<Body>>;

/// The parameters of a path, or what is wrong with them.
#[allow(clippy::result_large_err)]
pub(super) fn checked(path: &str, pairs: Result<Pairs, String>) -> Result<Parameters, Response<Body>> {
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == path);
    let endpoint = endpoint.ok_or_else(|| refused(StatusCode::NOT_FOUND, "no such path"))?;
    let parameters = pairs.and_then(|Pairs(pairs)| Parameters::check(endpoint, pairs));
    parameters.map_err(|why| refused(StatusCode::BAD_REQUEST, &why))
}

#[allow(clippy::result_large_err)]
pub(super) fn readers(api: &Api) -> Result<Arc<Readers>, Response<Body>> {
    let why = "the configuration has no sqlite_store, so there is nothing to ask";
    let readers = api.subject.shown.borrow().readers.clone();
    readers.ok_or_else(|| refused(StatusCode::SERVICE_UNAVAILABLE, why))
}

async fn ask<T: Send + 'static>(
    api: &Api,
    question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Response<Body>> {
    readers(api)?.ask(question).await.map_err(|error| unanswered(&error))
}

/// Which events are asked for.
pub(super) fn condition(parameters: &Parameters) -> Condition {
    Condition {
        kinds: parameters.texts("kind"),
        session: parameters.text("session"),
        run: parameters.text("run"),
        agent: parameters.text("agent"),
        model: parameters.text("model"),
        tool: parameters.text("tool"),
        status: status(parameters),
        from: parameters.time("from"),
        to: parameters.time("to"),
        text: parameters.text("q"),
    }
}

pub(super) fn status(parameters: &Parameters) -> Option<engine::Status> {
    parameters.text("status").map(|status| if status == "error" { engine::Status::Error } else { engine::Status::Ok })
}

fn limit(parameters: &Parameters) -> usize {
    parameters.number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50)
}

pub(super) async fn events(State(api): State<Arc<Api>>, pairs: Result<Pairs, String>) -> Answer {
    let parameters = checked("/api/v1/events", pairs)?;
    let request = PageRequest {
        condition: condition(&parameters),
        order: if parameters.text("order").as_deref() == Some("asc") { Order::Ascending } else { Order::Descending },
        bodies: match parameters.text("bodies").as_deref() {
            Some("full") => Bodies::Full,
            Some("none") => Bodies::None,
            _ => Bodies::Preview,
        },
        limit: limit(&parameters),
        cursor: parameters.cursor("cursor"),
    };
    Ok(answered(&ask(&api, move |reader| reader.events(&request)).await?))
}

pub(super) async fn event(State(api): State<Arc<Api>>, Path(id): Path<String>, pairs: Result<Pairs, String>) -> Answer {
    checked("/api/v1/events/{trace_id}", pairs)?;
    let none = || refused(StatusCode::NOT_FOUND, "there is no such event; it may have been deleted by retention");
    let id: TraceId = id.parse().map_err(|_| none())?;
    let found = ask(&api, move |reader| reader.event(id)).await?;
    found.map(|event| answered(&event)).ok_or_else(none)
}

fn list(parameters: &Parameters) -> ListRequest {
    ListRequest {
        agent: parameters.text("agent"),
        from: parameters.time("from"),
        to: parameters.time("to"),
        text: parameters.text("q"),
        limit: limit(parameters),
        cursor: parameters.cursor("cursor"),
        ..ListRequest::default()
    }
}

pub(super) async fn sessions(State(api): State<Arc<Api>>, pairs: Result<Pairs, String>) -> Answer {
    let request = list(&checked("/api/v1/sessions", pairs)?);
    let found = ask(&api, move |reader| reader.sessions(&request)).await?;
    Ok(answered(&Sessions { sessions: found.items, next: found.next.map(|cursor| cursor.to_string()) }))
}

pub(super) async fn runs(State(api): State<Arc<Api>>, pairs: Result<Pairs, String>) -> Answer {
    let parameters = checked("/api/v1/runs", pairs)?;
    let request = ListRequest {
        session: parameters.text("session"),
        failed: status(&parameters).map(|status| status == engine::Status::Error),
        ..list(&parameters)
    };
    let found = ask(&api, move |reader| reader.runs(&request)).await?;
    Ok(answered(&Runs { runs: found.items, next: found.next.map(|cursor| cursor.to_string()) }))
}

/// A run's events that are read at once: no reader, and no transaction, is held while the client takes them.
const SPANS: usize = 500;

/// A run's events in one answer.
const MOST_SPANS: usize = 20_000;

/// What of a run's answer is still to be written.
enum Rest {
    Head,
    Spans(Option<Cursor>, usize),
    End,
}

pub(super) async fn run(State(api): State<Arc<Api>>, Path(id): Path<String>, pairs: Result<Pairs, String>) -> Answer {
    checked("/api/v1/runs/{run_id}", pairs)?;
    let found = ask(&api, move |reader| reader.tree(&id)).await?;
    let none = "there is no such run; it may have been deleted by retention";
    let tree = Arc::new(found.ok_or_else(|| refused(StatusCode::NOT_FOUND, none))?);
    let readers = readers(&api)?;
    let body = stream::try_unfold(Rest::Head, move |rest| {
        let (readers, tree) = (Arc::clone(&readers), Arc::clone(&tree));
        async move {
            match rest {
                Rest::Head => {
                    let head = serde_json::to_string(&tree.run).map_err(std::io::Error::other)?;
                    Ok(Some((Bytes::from(format!("{{\"run\":{head},\"events\":[")), Rest::Spans(None, 0))))
                }
                Rest::Spans(cursor, before) => spans(&readers, tree, cursor, before).await.map(Some),
                Rest::End => Ok::<_, std::io::Error>(None),
            }
        }
    });
    Ok(with_header(Response::new(Body::from_stream(body)), header::CONTENT_TYPE, "application/json"))
}

async fn spans(
    readers: &Arc<Readers>,
    tree: Arc<Tree>,
    cursor: Option<Cursor>,
    before: usize,
) -> Result<(Bytes, Rest), std::io::Error> {
    let asked = readers.ask(move |reader| {
        let (spans, next) = reader.spans(&tree, cursor, SPANS)?;
        // A full page is not cut where nothing comes behind it.
        let more = next.is_some() && !reader.spans(&tree, next, 1)?.0.is_empty();
        Ok((spans, next.filter(|_| more)))
    });
    let (spans, next) = asked.await.map_err(|error: AskError| std::io::Error::other(error.to_string()))?;
    let mut out = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        if before + at > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut out, span)?;
    }
    let count = before + spans.len();
    let rest = match next {
        Some(cursor) if count < MOST_SPANS => Rest::Spans(Some(cursor), count),
        next => {
            out.extend_from_slice(format!("],\"cut\":{}}}", next.is_some()).as_bytes());
            Rest::End
        }
    };
    Ok((Bytes::from(out), rest))
}

/// The time that is asked for, else this long back from now; nothing sensible lies outside of what is kept.
#[allow(clippy::result_large_err)]
fn range(parameters: &Parameters, back_seconds: i64) -> Result<(i64, i64), Response<Body>> {
    let now = Timestamp::now().as_nanos();
    let to = parameters.time("to").unwrap_or(now);
    let from = parameters.time("from").unwrap_or(to.saturating_sub(back_seconds * 1_000_000_000));
    if from >= to {
        return Err(refused(StatusCode::BAD_REQUEST, "from is not before to"));
    }
    let oldest = now.saturating_sub(MOST_DAYS * 86_400 * 1_000_000_000);
    let latest = now.saturating_add(2 * 86_400 * 1_000_000_000);
    Ok((from.clamp(oldest, latest - 1), to.clamp(oldest + 1, latest)))
}

/// Sums are kept for 400 days at the most.
const MOST_DAYS: i64 = 401;

pub(super) async fn stats(State(api): State<Arc<Api>>, pairs: Result<Pairs, String>) -> Answer {
    let parameters = checked("/api/v1/stats", pairs)?;
    let (from, to) = range(&parameters, 86_400)?;
    let by = match parameters.text("by").as_deref() {
        Some("tool") => By::Tool,
        Some("kind") => By::Kind,
        _ => By::Model,
    };
    let step = parameters.number("step");
    Ok(answered(&ask(&api, move |reader| reader.stats(by, from, to, step)).await?))
}

pub(super) async fn resources(State(api): State<Arc<Api>>, pairs: Result<Pairs, String>) -> Answer {
    let parameters = checked("/api/v1/resources", pairs)?;
    let (from, to) = range(&parameters, 3600)?;
    let points = parameters.number("points").and_then(|points| usize::try_from(points).ok()).unwrap_or(300);
    Ok(answered(&ask(&api, move |reader| reader.resources(from, to, points)).await?))
}
