//! Events as they are stored, as server-sent events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use futures_util::stream;
use sinks::sqlite_store::{AskError, Condition, EventRow, Readers};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::parameters::Pairs;
use super::{Api, query, refused, unanswered, with_header};

/// How often what is new is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// A sign of life where nothing is new.
const BEAT: Duration = Duration::from_secs(15);

/// How far back a client may go on.
const BACK: i64 = 1000;

/// Events in one look.
const MOST: usize = 200;

/// One client that follows.
struct Follower {
    readers: Arc<Readers>,
    condition: Condition,
    after: i64,
    last_said: Instant,
    begun: bool,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    pairs: Result<Pairs, String>,
) -> Result<Response<Body>, Response<Body>> {
    let parameters = query::checked("/api/v1/stream", pairs)?;
    let readers = query::readers(&api)?;
    let permit = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| {
        let full = refused(StatusCode::TOO_MANY_REQUESTS, "16 streams are open; close one");
        listener::retry_after(full, Duration::from_secs(5))
    })?;
    let last = readers.ask(sinks::sqlite_store::Reader::last_id).await.map_err(|error| unanswered(&error))?;
    let told = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = told.or(parameters.number("after")).unwrap_or(last);
    let follower = Follower {
        readers,
        condition: Condition {
            kinds: parameters.texts("kind"),
            session: parameters.text("session"),
            run: parameters.text("run"),
            agent: parameters.text("agent"),
            status: query::status(&parameters),
            ..Condition::default()
        },
        after: after.clamp(last.saturating_sub(BACK), last),
        last_said: Instant::now(),
        begun: false,
        stop: api.stop.clone(),
        _permit: permit,
    };
    let body = Body::from_stream(stream::unfold(follower, follow));
    let response = with_header(Response::new(body), header::CONTENT_TYPE, "text/event-stream");
    // Proxies that gather an answer would hold it for ever.
    Ok(with_header(response, header::HeaderName::from_static("x-accel-buffering"), "no"))
}

/// What is to be said next; `None` ends the stream.
async fn follow(mut follower: Follower) -> Option<(Result<Bytes, std::io::Error>, Follower)> {
    if !std::mem::replace(&mut follower.begun, true) {
        // So that the client knows at once that it is connected, and when to come again.
        return Some((Ok(Bytes::from_static(b"retry: 2000\n: connected\n\n")), follower));
    }
    loop {
        let after = follower.after;
        let asked = follower.readers.ask(move |reader| {
            // A file that was begun anew counts from the beginning.
            let after = if reader.last_id()? < after { 0 } else { after };
            Ok((after, reader.arrivals(after, MOST)?))
        });
        let (after, events) = match asked.await {
            Ok(found) => found,
            Err(AskError::Closed) => return None,
            // Between two files, or too many ask: nothing is lost, it is looked for again.
            Err(AskError::Busy | AskError::Store(_)) => (after, Vec::new()),
        };
        let all = events.len() < MOST;
        let out = write(&events, &follower.condition);
        follower.after = events.last().map_or(after, |event| event.id);
        if !out.is_empty() {
            follower.last_said = Instant::now();
            return Some((Ok(Bytes::from(out)), follower));
        }
        if follower.last_said.elapsed() >= BEAT {
            follower.last_said = Instant::now();
            return Some((Ok(Bytes::from_static(b": here\n\n")), follower));
        }
        if all {
            tokio::select! {
                () = follower.stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

fn write(events: &[EventRow], condition: &Condition) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events.iter().filter(|event| condition.takes(event)) {
        // JSON text has no line ends, so a text cannot begin a field of its own.
        if let Ok(data) = serde_json::to_string(event) {
            out.extend_from_slice(format!("event: event\nid: {}\ndata: {data}\n\n", event.id).as_bytes());
        }
    }
    out
}
