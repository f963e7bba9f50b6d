//! A receiver of pushes whose behaviour a test scripts.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What the receiver does with a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// Keeps it, 200.
    Accept,
    /// Keeps nothing, answers this status.
    Refuse(u16),
    /// Keeps all but the event with this marker, which it names in its answer as rejected.
    Reject(String),
    /// 400 for every batch that holds the event with this marker; keeps the others.
    Choke(String),
    /// Keeps it, but does not answer.
    Lose,
    /// Never answers, and keeps nothing.
    Hang,
}

/// One request that arrived.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub headers: HashMap<String, String>,
    pub body: Value,
    /// The events of the body, `traces` and `metrics`.
    pub events: Vec<Value>,
    pub kept: bool,
}

struct Shared {
    behaviour: Behaviour,
    pushed: Vec<Pushed>,
}

/// The receiver. Its port closes when it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour).await
    }

    /// At a given address: a receiver that was down and comes back.
    pub async fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port can be had");
        let address = listener.local_addr().expect("the port is known");
        let shared = Arc::new(Mutex::new(Shared { behaviour, pushed: Vec::new() }));
        let router =
            Router::new().fallback(any(take)).layer(DefaultBodyLimit::max(16 << 20)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("the receiver serves") });
        Self { address, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/traces", self.address)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.lock().unwrap().behaviour = behaviour;
    }

    /// Closes the port and returns once nobody can connect.
    pub async fn stop(self) {
        let address = self.address;
        drop(self);
        super::eventually("the receiver is down", async || tokio::net::TcpStream::connect(address).await.is_err())
            .await;
    }

    /// Every request that arrived so far.
    pub fn pushed(&self) -> Vec<Pushed> {
        self.shared.lock().unwrap().pushed.clone()
    }

    /// How often each event was kept, by its identity.
    pub fn kept(&self) -> HashMap<Uuid, usize> {
        let mut kept = HashMap::new();
        for pushed in self.pushed().into_iter().filter(|pushed| pushed.kept) {
            for event in pushed.events {
                *kept.entry(super::id_of(&event)).or_default() += 1;
            }
        }
        kept
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(shared): State<Arc<Mutex<Shared>>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap_or("")).unwrap_or("identity");
    let mut text = Vec::new();
    let read = match encoding {
        "zstd" => zstd::Decoder::new(&body[..]).and_then(|mut decoder| decoder.read_to_end(&mut text)),
        "gzip" => flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text),
        "identity" => (&body[..]).read_to_end(&mut text),
        other => panic!("Content-Encoding {other} was not agreed"),
    };
    read.expect("the body can be inflated");
    assert!(text.len() <= 5_000_000 || body.len() <= 5_000_000, "a push of {} bytes", text.len());
    let body: Value = serde_json::from_slice(&text).expect("a push is JSON");
    let part = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    let events: Vec<Value> = part("traces").into_iter().chain(part("metrics")).collect();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let guilty = |marker: &str| events.iter().find(|event| event["attributes"]["marker"] == marker).cloned();

    let behaviour = shared.lock().unwrap().behaviour.clone();
    let mut pushed = Pushed { headers, body, events: events.clone(), kept: false };
    let (status, answer) = match &behaviour {
        Behaviour::Accept | Behaviour::Lose => {
            pushed.kept = true;
            (200, json!({"accepted": events.len()}))
        }
        // The status alone must tell: nothing in the body says that it went wrong.
        Behaviour::Refuse(status) => (*status, json!({})),
        Behaviour::Reject(marker) => {
            pushed.kept = true;
            match guilty(marker) {
                None => (200, json!({"accepted": events.len()})),
                Some(event) => {
                    pushed.events.retain(|kept| kept["trace_id"] != event["trace_id"]);
                    let rejected = json!([{"trace_id": event["trace_id"], "error": "not to my taste"}]);
                    (200, json!({"accepted": events.len() - 1, "rejected": rejected}))
                }
            }
        }
        Behaviour::Choke(marker) => match guilty(marker) {
            Some(_) => (400, json!({"error": "cannot read this"})),
            None => {
                pushed.kept = true;
                (201, json!({"accepted": events.len()}))
            }
        },
        Behaviour::Hang => (200, json!({})),
    };
    shared.lock().unwrap().pushed.push(pushed);
    if matches!(behaviour, Behaviour::Lose | Behaviour::Hang) {
        // Longer than any test; the task goes with the connection or with the test.
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
    response
}
