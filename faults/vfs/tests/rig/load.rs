//! Clients that send without end, send what was refused again under the same identities, and keep a
//! ledger of it all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Ledger;
use crate::support::{Answer, Client, Request, array, eventually, id_of, marked, ndjson, post};

const CLIENTS: u64 = 6;

struct Shared {
    /// Where the program listens; it changes with every start.
    address: Mutex<SocketAddr>,
    stop: AtomicBool,
    ledger: Mutex<Ledger>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients, running.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(address: SocketAddr, seed: u64) -> Self {
        let shared = Shared { address: Mutex::new(address), stop: AtomicBool::new(false), ledger: Mutex::default() };
        let shared = Arc::new(shared);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let shared = Arc::clone(&shared);
            clients.spawn(
                async move { send(&shared, seed, client, StdRng::seed_from_u64(seed * CLIENTS + client)).await },
            );
        }
        Self { shared, clients }
    }

    /// The program was started again, and is to be found here.
    pub fn go_on(&self, address: SocketAddr) {
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.ledger().acknowledged.len()
    }

    /// Waits until so many more are acknowledged: the program takes events.
    pub async fn more(&self, events: usize) {
        let wanted = self.acknowledged() + events;
        eventually("events are acknowledged", async || self.acknowledged() >= wanted).await;
    }

    /// No new events; what was refused is sent again until it is taken.
    pub async fn finish(mut self) -> Ledger {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client saw nothing that is not documented");
        }
        let address = self.shared.address();
        let mut ledger = std::mem::take(&mut *self.shared.ledger());
        for events in std::mem::take(&mut ledger.pending) {
            let request = Request::events(array(&events));
            eventually("what was refused is taken", async || {
                let answer = post(address, &request).await;
                note(&mut ledger, &events, &answer)
            })
            .await;
        }
        ledger
    }
}

/// Writes an answer down; whether the events were taken.
fn note(ledger: &mut Ledger, events: &[Value], answer: &Answer) -> bool {
    *ledger.statuses.entry(answer.status).or_default() += 1;
    match answer.status {
        200 => {
            assert_eq!(answer.json()["accepted"], events.len(), "{}", answer.text());
            ledger.acknowledged.extend(events.iter().filter(|event| event["name"] != "old").map(id_of));
            true
        }
        429 | 503 => {
            assert!(answer.retry_after() >= 1);
            assert!(!answer.error().is_empty());
            false
        }
        other => panic!("{other}: {}", answer.text()),
    }
}

async fn send(shared: &Shared, seed: u64, client: u64, mut random: StdRng) {
    let mut connection = None;
    for number in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let count = if random.random_ratio(1, 3) { 1 } else { random.random_range(2..=12) };
        let events: Vec<Value> =
            (0..count).map(|at| event(&format!("s{seed}c{client}n{number}a{at}"), &mut random)).collect();
        shared.ledger().sent.extend(events.iter().filter(|event| event["name"] != "old").map(id_of));
        let request = match random.random_bool(0.5) {
            true => Request::events(array(&events)),
            false => Request::lines(ndjson(&events)),
        };
        loop {
            let answer = match &mut connection {
                Some(open) => Client::send(open, &request).await,
                None => match Client::connect(shared.address()).await {
                    Ok(open) => Client::send(connection.insert(open), &request).await,
                    Err(error) => Err(error),
                },
            };
            match answer {
                Ok(answer) if note(&mut shared.ledger(), &events, &answer) => break,
                Ok(_) => {}
                Err(_) => {
                    shared.ledger().broken += 1;
                    connection = None;
                }
            }
            if shared.stop.load(Ordering::Relaxed) {
                shared.ledger().pending.push(events);
                return;
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(2..30))).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
    }
}

/// An event of a few hundred bytes to some pages; one of four is older than the retention.
fn event(marker: &str, random: &mut StdRng) -> Value {
    let mut event = marked(marker);
    if random.random_ratio(1, 8) {
        event["output"] = json!("word ".repeat(random.random_range(100..4_000)));
    }
    if random.random_ratio(1, 4) {
        event["name"] = json!("old");
        event["timestamp"] = json!("2020-01-01T00:00:00Z");
    }
    event
}
