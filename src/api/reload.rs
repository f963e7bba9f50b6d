//! A reload, asked for over HTTP. `src/reload.rs` carries it out.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use engine::config::ConfigErrors;
use listener::Peer;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::endpoints::Failure;
use super::parameters::Pairs;
use super::{Api, answered, json_answer, query, refused};
use crate::reload::Refused;

/// From this machine only, whatever the token: it reads a file of this machine, and what it changes is not undone by
/// whoever can be reached from elsewhere.
pub(super) async fn reload(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    pairs: Result<Pairs, String>,
) -> Result<Response<Body>, Response<Body>> {
    query::checked("/api/v1/reload", pairs)?;
    if !peer.is_local() {
        return Err(refused(StatusCode::FORBIDDEN, "a reload can be asked for from this machine only"));
    }
    let (ask, answer) = oneshot::channel();
    api.subject.reload.try_send(ask).map_err(|error| match error {
        TrySendError::Full(_) => {
            let full = refused(StatusCode::TOO_MANY_REQUESTS, "several reloads wait; ask again when they are done");
            listener::retry_after(full, Duration::from_secs(1))
        }
        TrySendError::Closed(_) => failed(&Refused::Stopping),
    })?;
    match answer.await.unwrap_or(Err(Refused::Stopping)) {
        Ok(done) => Ok(answered(&done)),
        Err(refused) => Err(failed(&refused)),
    }
}

fn failed(refused: &Refused) -> Response<Body> {
    let (status, errors) = match refused {
        Refused::Wrong(ConfigErrors(errors)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Some(errors.iter().map(ToString::to_string).collect()))
        }
        Refused::Failed(_) => (StatusCode::CONFLICT, None),
        Refused::Lost(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
        Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, None),
    };
    json_answer(status, &Failure { error: refused.to_string(), errors })
}
