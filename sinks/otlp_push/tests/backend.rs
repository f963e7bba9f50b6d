//! A backend whose answers a test scripts.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use engine::Event;
use tokio::net::TcpListener;

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// The body, decompressed.
    pub(super) body: Vec<u8>,
    pub(super) status: u16,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Whether a text stands in the body, as it does in protobuf.
    pub(super) fn has(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }

    pub(super) fn holds(&self, event: &Event) -> bool {
        self.has(&event.trace_id.to_string())
    }
}

/// Status, headers and body of an answer.
pub(super) type Answer = (u16, &'static [(&'static str, &'static str)], Vec<u8>);

pub(super) fn taken() -> Answer {
    (200, &[("content-type", "application/x-protobuf")], Vec::new())
}

pub(super) fn status(status: u16) -> Answer {
    (status, &[], Vec::new())
}

type Script = Box<dyn FnMut(usize, &Seen) -> Answer + Send>;

/// Keeps what it sees.
#[derive(Clone)]
pub(super) struct Backend {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
}

impl Backend {
    /// `script` gets the number of the request, from 0, and the request.
    pub(super) async fn start(script: impl FnMut(usize, &Seen) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            url: format!("http://{}/otlp/", listener.local_addr().unwrap()),
            seen: Arc::default(),
            script: Arc::new(Mutex::new(Box::new(script))),
        };
        let app = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(backend.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        backend
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How often this event was taken.
    pub(super) fn taken(&self, event: &Event) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| matches!(seen.status, 200 | 204) && seen.holds(event)).count()
    }
}

async fn answer(State(backend): State<Backend>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut plain = Vec::new();
    match headers.get("content-encoding").map(|value| value.to_str().unwrap()) {
        Some("gzip") => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap()),
        Some("zstd") => plain = zstd::stream::decode_all(&body[..]).unwrap(),
        Some(other) => panic!("{other} was not agreed"),
        None => plain = body.to_vec(),
    }
    let mut seen = Seen { path: uri.path().to_owned(), headers, body: plain, status: 0 };
    let (status, headers, body) = {
        let mut all = backend.seen.lock().unwrap();
        let answer = (backend.script.lock().unwrap())(all.len(), &seen);
        seen.status = answer.0;
        all.push(seen);
        answer
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}
