//! Receivers: one on axum whose answers a test scripts, and one that writes raw bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    /// Length after decompression.
    pub(super) bytes: usize,
}

impl Seen {
    pub(super) fn events(&self) -> Vec<&Value> {
        ["traces", "metrics"].iter().flat_map(|list| self.body[list].as_array().unwrap()).collect()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.events().iter().map(|event| event["trace_id"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.events().iter().any(|event| event["name"] == name)
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn key(&self) -> &str {
        self.header("idempotency-key")
    }
}

/// What the receiver does with a request.
pub(super) enum Action {
    /// Keeps the events and answers so.
    Take(u16, String),
    /// Keeps nothing and answers so.
    Answer(u16, &'static [(&'static str, &'static str)], String),
    /// Keeps the events and answers only after so long.
    TakeLate(Duration),
    /// Never answers.
    Hang,
}

pub(super) fn take() -> Action {
    Action::Take(200, String::new())
}

pub(super) fn status(status: u16) -> Action {
    Action::Answer(status, &[], String::new())
}

type Script = Box<dyn FnMut(usize, &Seen) -> Action + Send>;

/// A receiver that keeps a set of events by `trace_id`, as the Augmi API does.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    kept: Arc<Mutex<HashMap<String, usize>>>,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    /// `script` gets the number of the request, from 0, and the request.
    pub(super) async fn start(script: impl FnMut(usize, &Seen) -> Action + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/v1/push?key=in-the-query", listener.local_addr().unwrap()),
            seen: Arc::default(),
            kept: Arc::default(),
            script: Arc::new(Mutex::new(Box::new(script))),
        };
        let app = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How many different events it has.
    pub(super) fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    fn keep(&self, seen: &Seen) {
        let mut kept = self.kept.lock().unwrap();
        for id in seen.ids() {
            *kept.entry(id).or_default() += 1;
        }
    }
}

async fn answer(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let plain = match headers.get("content-encoding").map(|value| value.to_str().unwrap()) {
        Some("zstd") => zstd::stream::decode_all(&body[..]).unwrap(),
        Some("gzip") => {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut plain).unwrap();
            plain
        }
        _ => body.to_vec(),
    };
    let body = serde_json::from_slice(&plain).unwrap();
    let seen = Seen { at: Instant::now(), headers, body, bytes: plain.len() };
    let action = {
        let mut all = receiver.seen.lock().unwrap();
        all.push(seen.clone());
        (receiver.script.lock().unwrap())(all.len() - 1, &seen)
    };
    let code = |status| StatusCode::from_u16(status).unwrap();
    match action {
        Action::Take(status, text) => {
            receiver.keep(&seen);
            (code(status), text).into_response()
        }
        Action::Answer(status, headers, text) => {
            let mut response = (code(status), text).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
        Action::TakeLate(wait) => {
            receiver.keep(&seen);
            tokio::time::sleep(wait).await;
            StatusCode::OK.into_response()
        }
        Action::Hang => std::future::pending().await,
    }
}

/// A receiver that reads a little and then writes these bytes; `endless` repeats the last part
/// until the client goes away. Answers its address and how many connections it has had.
pub(super) async fn raw(head: &'static str, endless: Option<&'static str>) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            *count.lock().unwrap() += 1;
            tokio::spawn(async move {
                let mut buffer = [0; 16_384];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(head.as_bytes()).await;
                while let Some(part) = endless
                    && stream.write_all(part.as_bytes()).await.is_ok()
                {}
                let _ = stream.shutdown().await;
            });
        }
    });
    (url, connections)
}
