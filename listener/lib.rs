//! A bounded HTTP/1 listener, shared by the ingest port and the API port.
//!
//! What it guarantees, whatever the router behind it does:
//!
//! 1. No connection outlives its deadlines: [`Limits::header`] for a request's head once its first
//!    byte is there, [`Limits::idle`] between requests, [`Limits::write`] for a client that does not
//!    read its answer. (The time for a body is the handler's, who knows how much it wants.)
//! 2. At most [`Limits::connections`] at once; one more is answered 503 and closed, never left hanging.
//! 3. An orderly stop: after `shutdown`, requests still get an answer (handlers say 503) until none
//!    is in flight; then the port is closed and idle connections with it.

mod deadline;
mod guard;
mod serve;

pub use guard::{Bearer, Hosts, bearer};
pub use serve::{BindError, Limits, Listener, Peer};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use std::time::Duration;

/// A JSON answer. `body` is JSON text already.
#[must_use]
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds `Retry-After` in whole seconds, at least 1, as clients that obey it can read it.
#[must_use]
pub fn retry_after(mut response: Response<Body>, wait: Duration) -> Response<Body> {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}
