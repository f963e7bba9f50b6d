//! The well-behaved clients: each sends over one connection, and sends again what was not answered
//! with a 2xx, as it was, until it is.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::event::{self, Made};
use crate::http::{Answer, Client, post};
use crate::report::Kind;
use crate::world::World;

/// How long one exchange may take: longer than any timeout of the program.
const EXCHANGE: Duration = Duration::from_secs(25);

/// The clients of a run.
#[derive(Debug)]
pub(crate) struct Load {
    clients: JoinSet<()>,
}

impl Load {
    /// Starts so many clients, each with a seed of its own.
    pub(crate) fn start(world: &Arc<World>, random: &mut StdRng, clients: usize) -> Self {
        let mut set = JoinSet::new();
        for number in 0..clients {
            let client = One {
                world: Arc::clone(world),
                random: StdRng::seed_from_u64(random.random()),
                number,
                connection: None,
            };
            set.spawn(client.run());
        }
        Self { clients: set }
    }

    /// Sends nothing new, and waits until everything that was sent is acknowledged; tells how many
    /// clients have not come to an end in that time.
    pub(crate) async fn end(&mut self, world: &World, within: Duration) -> usize {
        world.ending.store(true, Ordering::Relaxed);
        let all = async { while self.clients.join_next().await.is_some() {} };
        let _ = timeout(within, all).await;
        let left = self.clients.len();
        self.clients.abort_all();
        left
    }
}

struct One {
    world: Arc<World>,
    random: StdRng,
    number: usize,
    connection: Option<Client>,
}

/// A request and what it brings.
struct Request {
    bytes: Vec<u8>,
    ids: Vec<Uuid>,
}

impl One {
    async fn run(mut self) {
        let mut old: Option<Request> = None;
        for number in 0_u64.. {
            if self.world.ending.load(Ordering::Relaxed) {
                return;
            }
            let request = self.request(number);
            self.deliver(&request).await;
            // On purpose: an agent that did not trust its answer.
            if self.random.random_ratio(1, 20) {
                self.deliver(&request).await;
            }
            // And one that asks again much later.
            if let Some(request) = &old
                && self.random.random_ratio(1, 20)
            {
                self.deliver(request).await;
            }
            if old.is_none() || self.random.random_ratio(1, 10) {
                old = Some(request);
            }
            let pause = self.random.random_range(1..60);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn request(&mut self, number: u64) -> Request {
        let count = if self.random.random_ratio(1, 3) { 1 } else { self.random.random_range(2..25) };
        let client = self.number;
        let events: Vec<Made> = (0..count)
            .map(|at| event::make(&mut self.random, &format!("c{client}n{number}a{at}"), &self.world.nonce))
            .collect();
        self.world.ledger().begin(&events);
        let (content_type, body) = if count == 1 {
            ("application/json", events[0].json.to_string().into_bytes())
        } else if self.random.random() {
            let all: Vec<&Value> = events.iter().map(|event| &event.json).collect();
            ("application/json", serde_json::to_vec(&all).expect("JSON can be written"))
        } else {
            let lines = events.iter().flat_map(|event| format!("{}\n", event.json).into_bytes()).collect();
            ("application/x-ndjson", lines)
        };
        let bytes = match self.random.random_range(0..6) {
            0 => post(content_type, Some("gzip"), &gzip(&body)),
            1 => post(content_type, Some("zstd"), &zstd::encode_all(&body[..], 1).expect("memory can be compressed")),
            _ => post(content_type, None, &body),
        };
        Request { bytes, ids: events.iter().map(|event| event.id).collect() }
    }

    /// Sends until it is acknowledged.
    async fn deliver(&mut self, request: &Request) {
        loop {
            let began = Instant::now();
            self.world.exchanges.fetch_add(1, Ordering::SeqCst);
            let answer = self.exchange(&request.bytes).await;
            let done = answer.is_some_and(|answer| self.judge(&answer, request, began));
            self.world.exchanges.fetch_sub(1, Ordering::SeqCst);
            if done {
                return;
            }
            let pause = self.random.random_range(20..120);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn exchange(&mut self, bytes: &[u8]) -> Option<Answer> {
        let address = *self.world.ingest.borrow();
        let mut client = match self.connection.take() {
            Some(client) => client,
            None => Client::connect(address?).await.ok()?,
        };
        match timeout(EXCHANGE, client.exchange(bytes)).await {
            Ok(Ok(answer)) => {
                if answer.header("connection") != Some("close") {
                    self.connection = Some(client);
                }
                Some(answer)
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.world.find(Kind::Broken, 1, || format!("an answer that is no HTTP: {error}"));
                None
            }
            Ok(Err(_)) => None,
            Err(_) => {
                self.world.find(Kind::Broken, 1, || format!("no answer within {EXCHANGE:?}"));
                None
            }
        }
    }

    /// Whether the request is done with.
    fn judge(&self, answer: &Answer, request: &Request, began: Instant) -> bool {
        match answer.status {
            200 | 202 => {
                self.world.ledger().acknowledge(&request.ids, began);
                let body = answer.json();
                let ids: Option<Vec<Uuid>> = body["trace_ids"]
                    .as_array()
                    .map(|ids| ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect());
                if body["accepted"] != request.ids.len() || ids.as_ref() != Some(&request.ids) {
                    self.world
                        .find(Kind::Broken, 1, || format!("an acknowledgement that is wrong: {}", answer.brief()));
                }
                true
            }
            429 | 503 => {
                let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
                if wait.is_none_or(|wait| wait == 0) {
                    self.world.find(Kind::Broken, 1, || format!("no usable Retry-After: {}", answer.brief()));
                }
                false
            }
            // A stopped process finds its own timeouts gone by.
            408 => false,
            _ => {
                self.world.find(Kind::Broken, 1, || format!("a good request was answered {}", answer.brief()));
                false
            }
        }
    }
}

/// Sends one event until it is acknowledged. The ledger knows it already.
pub(crate) async fn once(world: &Arc<World>, event: &Made) {
    let bytes = post("application/json", None, event.json.to_string().as_bytes());
    let random = StdRng::seed_from_u64(0);
    let mut client = One { world: Arc::clone(world), random, number: 0, connection: None };
    client.deliver(&Request { bytes, ids: vec![event.id] }).await;
}

/// Compressed with gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all writes");
    encoder.finish().expect("memory takes all writes")
}
