//! Events as a download.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use futures_util::stream;
use sinks::sqlite_store::{Cursor, Order, PageRequest, Readers};
use tokio::sync::OwnedSemaphorePermit;

use super::parameters::Pairs;
use super::{Api, query, refused, with_header};

/// Events read at once: no transaction is held while the client takes them.
const PAGE: usize = 200;

/// One download.
struct Download {
    readers: Arc<Readers>,
    request: PageRequest,
    done: bool,
    _permit: OwnedSemaphorePermit,
}

pub(super) async fn export(
    State(api): State<Arc<Api>>,
    pairs: Result<Pairs, String>,
) -> Result<Response<Body>, Response<Body>> {
    let parameters = query::checked("/api/v1/export", pairs)?;
    let readers = query::readers(&api)?;
    let permit = Arc::clone(&api.exports).try_acquire_owned().map_err(|_| {
        let full = refused(StatusCode::TOO_MANY_REQUESTS, "two exports are under way; wait for one");
        listener::retry_after(full, Duration::from_secs(5))
    })?;
    let request = PageRequest {
        condition: query::condition(&parameters),
        order: Order::Ascending,
        limit: PAGE,
        ..PageRequest::default()
    };
    let download = Download { readers, request, done: false, _permit: permit };
    let body = stream::unfold(download, |mut download| async move {
        if download.done {
            return None;
        }
        match next(&mut download).await {
            Ok(bytes) => Some((Ok(bytes), download)),
            // The client sees a download that was cut off, not one that ended well.
            Err(error) => {
                download.done = true;
                Some((Err(std::io::Error::other(error)), download))
            }
        }
    });
    let response = with_header(Response::new(Body::from_stream(body)), header::CONTENT_TYPE, "application/x-ndjson");
    Ok(with_header(response, header::CONTENT_DISPOSITION, "attachment; filename=\"openclaw-trace.ndjson\""))
}

async fn next(download: &mut Download) -> Result<Bytes, String> {
    let request = download.request.clone();
    let asked = download.readers.ask(move |reader| reader.whole_events(&request)).await;
    let (events, next): (_, Option<Cursor>) = asked.map_err(|error| error.to_string())?;
    download.done = next.is_none();
    download.request.cursor = next;
    let mut out = String::new();
    for event in events {
        out.push_str(&event.to_json());
        out.push('\n');
    }
    Ok(Bytes::from(out))
}
