//! The answers of the ingest port, all JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use engine::{Refusal, RefusalKind, TraceId};
use serde::Serialize;

use super::batch;
use super::otlp::Encoding;
use super::parse::Rejected;

/// An answer, and when to come back.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: String,
    /// What a refusal says, for clients that want it in another form.
    message: String,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Taken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    accepted: usize,
    duplicates: usize,
    rejected: &'a [Rejected],
    trace_ids: &'a [TraceId],
}

#[derive(Serialize)]
struct Kept<'a> {
    accepted: usize,
    duplicates: usize,
    #[serde(skip_serializing_if = "<[batch::Rejected]>::is_empty")]
    rejected: &'a [batch::Rejected],
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "<[TraceId]>::is_empty")]
    trace_ids: &'a [TraceId],
}

impl Answer {
    /// Events were taken, all or some; 400 where every one was rejected.
    pub(super) fn taken(status: StatusCode, duplicates: usize, ids: &[TraceId], rejected: &[Rejected]) -> Self {
        let nothing = ids.is_empty() && !rejected.is_empty();
        let taken = Taken {
            error: nothing.then_some("no event could be read"),
            accepted: ids.len(),
            duplicates,
            rejected,
            trace_ids: ids,
        };
        let status = if nothing { StatusCode::BAD_REQUEST } else { status };
        Self { status, body: json(&taken), message: String::new(), retry_after: None }
    }

    /// A batch was kept, but for events that never will be.
    pub(super) fn kept(accepted: usize, duplicates: usize, rejected: &[batch::Rejected]) -> Self {
        let body = json(&Kept { accepted, duplicates, rejected });
        Self { status: StatusCode::OK, body, message: String::new(), retry_after: None }
    }

    /// A refusal that no retry will change.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let body = json(&Error { error: message, trace_ids: &[] });
        Self { status, body, message: message.to_owned(), retry_after: None }
    }

    /// A refusal that a later retry may change.
    pub(super) fn later(status: StatusCode, message: &str, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::error(status, message) }
    }

    pub(super) fn draining() -> Self {
        Self::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting down; send again when it is back",
            Duration::from_secs(5),
        )
    }

    /// Not now, for a reason of our own.
    pub(super) fn busy(message: &str) -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, message, Duration::from_secs(1))
    }

    pub(super) fn over_rate(wait: Duration) -> Self {
        Self::later(StatusCode::TOO_MANY_REQUESTS, "over the rate limit of this port; send again later", wait)
    }

    /// The sinks did not answer in time. The events may still be kept: the ids let the client send
    /// them again without doubling any.
    pub(super) fn unconfirmed(ids: &[TraceId]) -> Self {
        let message = "not confirmed in time; send again with these trace_ids, which keeps each event single";
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            body: json(&Error { error: message, trace_ids: ids }),
            message: message.to_owned(),
            retry_after: Some(Duration::from_secs(5)),
        }
    }

    /// The same for a batch, which its sender has whole.
    pub(super) fn batch_unconfirmed() -> Self {
        let message = "not confirmed in time; send the same batch again, which keeps each event single";
        Self::later(StatusCode::SERVICE_UNAVAILABLE, message, Duration::from_secs(5))
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// As OTLP has refusals.
    pub(super) fn into_otlp(self, encoding: Encoding) -> Response<Body> {
        let response = encoding.refused(self.status, &self.message);
        match self.retry_after {
            Some(wait) => listener::retry_after(response, wait),
            None => response,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let response = listener::json(self.status, self.body);
        match self.retry_after {
            Some(wait) => listener::retry_after(response, wait),
            None => response,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Full => StatusCode::TOO_MANY_REQUESTS,
            RefusalKind::Refused => return Self::error(StatusCode::UNPROCESSABLE_ENTITY, &refusal.message),
            RefusalKind::NoSpace | RefusalKind::Failed => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::later(status, &refusal.message, refusal.retry_after)
    }
}

fn json<T: Serialize>(value: &T) -> String {
    // Strings, numbers and lists only: writing cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}
