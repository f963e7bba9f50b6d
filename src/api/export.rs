//! Events as a download.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use engine::Event;
use futures_util::stream;
use sinks::sqlite_store::{Cursor, EventWriter, Format, Order, PageRequest, Readers};
use tokio::sync::OwnedSemaphorePermit;

use super::parameters::Pairs;
use super::{Api, query, refused, with_header};

/// Events read at once: no transaction is held while the client takes them.
const PAGE: usize = 200;

/// The media type of a format, and the name that a browser gives to the file.
fn file(format: Format) -> (&'static str, &'static str) {
    match format {
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"openclaw-trace.ndjson\""),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"openclaw-trace.csv\""),
        Format::Otlp => ("application/x-ndjson", "attachment; filename=\"openclaw-trace.otlp.jsonl\""),
    }
}

/// One page; a table's columns are named at the head of the first.
fn written(format: Format, events: &[Event], first: bool) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = if first { EventWriter::new(format, &mut out)? } else { EventWriter::further(format, &mut out) };
    writer.write(events)?;
    writer.flush()?;
    drop(writer);
    Ok(out)
}

/// One download.
struct Download {
    readers: Arc<Readers>,
    format: Format,
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
    let format = match parameters.text("format").as_deref() {
        Some("otlp") => Format::Otlp,
        Some("csv") => Format::Csv,
        _ => Format::Ndjson,
    };
    let download = Download { readers, format, request, done: false, _permit: permit };
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
    let (media, file) = file(format);
    let response = with_header(Response::new(Body::from_stream(body)), header::CONTENT_TYPE, media);
    Ok(with_header(response, header::CONTENT_DISPOSITION, file))
}

async fn next(download: &mut Download) -> Result<Bytes, String> {
    let request = download.request.clone();
    let asked = download.readers.ask(move |reader| reader.whole_events(&request)).await;
    let (events, next): (_, Option<Cursor>) = asked.map_err(|error| error.to_string())?;
    let first = download.request.cursor.is_none();
    download.done = next.is_none();
    download.request.cursor = next;
    written(download.format, &events, first).map(Bytes::from).map_err(|error| error.to_string())
}
