//! The receiver of pushes, which can be as bad as receivers are.
//!
//! It remembers which events it confirmed, that is: whose 200 was written out whole. An event that
//! comes again after that was sent twice without need, and is counted. It is excused where the
//! confirmation cannot have been kept: the process was killed or stopped in between, or its
//! database could not be written; then a fault says so by [`Receiver::excuse_last`] or
//! [`Receiver::lenient`].

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use uuid::Uuid;

use crate::event;
use crate::report::Kind;
use crate::world::World;

/// What it does with a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Behaviour {
    /// Keeps it, and confirms it.
    Accept,
    /// The same, after a while.
    Slow(Duration),
    /// Keeps it, and answers only when the sender has gone.
    Late,
    /// Keeps nothing, and answers this status.
    Refuse(u16),
    /// Keeps nothing; 200 with a web page.
    WebPage,
    /// Keeps nothing; 200 with an array.
    Array,
    /// Keeps nothing; 200 with an error in the body.
    ErrorInside,
    /// Keeps nothing; 200 with rejected events that were never sent.
    Strangers,
    /// Keeps nothing; no HTTP at all.
    Garbage,
    /// Keeps nothing, and sends elsewhere.
    Redirect,
    /// Keeps nothing; a 200 whose body never ends.
    Endless,
    /// Keeps nothing; a 200 with a body of 64 MiB.
    Huge,
    /// Keeps nothing, and closes after the request.
    Close,
    /// Keeps nothing, and closes in the middle of the request.
    CloseEarly,
    /// Keeps nothing; a 200 that is cut off.
    CutOff,
    /// 413 for more events than this; else keeps and confirms.
    TooLarge(usize),
    /// 400 for a batch that holds this event; else keeps and confirms.
    Poison(Uuid),
}

#[derive(Debug, Default)]
struct Shared {
    behaviour: Option<Behaviour>,
    /// How often each event was kept, and whether its confirmation is sure.
    events: HashMap<Uuid, (u64, bool)>,
    last: Vec<Uuid>,
    /// How often it was told that a confirmation may not have been kept; one that is under way
    /// meanwhile is none either.
    excuses: u64,
    repeated: u64,
    excused: u64,
}

/// The receiver, on a port that it keeps through its absences.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    world: Arc<World>,
    shared: Arc<Mutex<Shared>>,
    lenient: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one that accepts.
    ///
    /// # Panics
    /// Where no port can be had.
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port can be had");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut receiver =
            Self { address, world: Arc::clone(world), shared: Arc::default(), lenient: Arc::default(), serving: None };
        receiver.serve(listener);
        receiver
    }

    /// Its address for the configuration.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        format!("http://{}/traces", self.address)
    }

    /// What it does from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.shared().behaviour = Some(behaviour);
    }

    /// Takes no connections, and breaks off those it has.
    pub(crate) async fn die(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
        self.excuse_last();
    }

    /// Listens again, after [`Receiver::die`].
    pub(crate) async fn revive(&mut self) {
        while self.serving.is_none() {
            match TcpListener::bind(self.address).await {
                Ok(listener) => self.serve(listener),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The last confirmation may not have been kept: the program was killed or stopped after it.
    pub(crate) fn excuse_last(&self) {
        let mut shared = self.shared();
        shared.excuses += 1;
        let last = std::mem::take(&mut shared.last);
        for id in last {
            if let Some((_, sure)) = shared.events.get_mut(&id) {
                *sure = false;
            }
        }
    }

    /// While this is on, no confirmation is taken to be kept: the database cannot be written.
    pub(crate) fn lenient(&self, on: bool) {
        if on {
            self.excuse_last();
        }
        self.lenient.store(on, Ordering::Relaxed);
    }

    /// Nothing that was confirmed until now counts: the database that knew it is gone.
    pub(crate) fn excuse_all(&self) {
        self.shared().events.values_mut().for_each(|(_, sure)| *sure = false);
    }

    /// Whether it has kept this event.
    #[must_use]
    pub(crate) fn has(&self, id: &Uuid) -> bool {
        self.shared().events.contains_key(id)
    }

    /// Events that were sent again though confirmed, and how many more for which that is excused.
    #[must_use]
    pub(crate) fn repeats(&self) -> (u64, u64) {
        let shared = self.shared();
        (shared.repeated, shared.excused)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&mut self, listener: TcpListener) {
        let (world, shared, lenient) = (Arc::clone(&self.world), Arc::clone(&self.shared), Arc::clone(&self.lenient));
        self.serving = Some(tokio::spawn(async move {
            // Dropped with this task, and its connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let one = Connection {
                    stream,
                    read: Vec::new(),
                    world: Arc::clone(&world),
                    shared: Arc::clone(&shared),
                    lenient: Arc::clone(&lenient),
                };
                // An error is the sender's leaving, or ours.
                connections.spawn(async move { drop(one.run().await) });
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    world: Arc<World>,
    shared: Arc<Mutex<Shared>>,
    lenient: Arc<AtomicBool>,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let Some((head, length)) = self.head().await? else { return Ok(()) };
            let behaviour = self.shared().behaviour.clone().unwrap_or(Behaviour::Accept);
            if behaviour == Behaviour::CloseEarly {
                return Ok(());
            }
            while self.read.len() < length {
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Ok(());
                }
            }
            let body: Vec<u8> = self.read.drain(..length).collect();
            let Some(events) = self.events(&head, &body) else {
                self.reply(400, r#"{"error": "this is no JSON that I can read"}"#).await?;
                continue;
            };
            if !self.answer(behaviour, &events).await? {
                return Ok(());
            }
        }
    }

    /// The next request's head and the length of its body.
    async fn head(&mut self) -> io::Result<Option<(String, usize)>> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        self.read.drain(..end);
        if !head.starts_with("post /traces ") {
            self.world.find(Kind::Broken, 1, || format!("the push followed a redirect: {}", first_line(&head)));
        }
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        if length.is_none() {
            self.world.find(Kind::Broken, 1, || "a push without Content-Length".to_owned());
        }
        Ok(length.map(|length| (head, length)))
    }

    /// The events of a body, each looked at; `None` for a body that cannot be read.
    fn events(&self, head: &str, body: &[u8]) -> Option<Vec<Uuid>> {
        let mut text = Vec::new();
        let read = match header(head, "content-encoding") {
            Some("zstd") => zstd::Decoder::new(body).and_then(|mut decoder| decoder.read_to_end(&mut text)),
            Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut text),
            _ => {
                text.extend_from_slice(body);
                Ok(text.len())
            }
        };
        let Some(batch) = read.ok().and_then(|_| serde_json::from_slice::<Value>(&text).ok()) else {
            // Hostile clients may have sent what is JSON by its grammar and still not read by everybody:
            // 1e999, a lone surrogate. A strict receiver refuses it, and the push must find its way.
            let expected = self.world.strangers.load(Ordering::Relaxed);
            self.world.find(Kind::Broken, u64::from(!expected), || "a push whose body cannot be read".to_owned());
            return None;
        };
        if memchr::memmem::find(&text, self.world.nonce.as_bytes()).is_some() {
            self.world.find(Kind::Unredacted, 1, || "a secret was pushed".to_owned());
        }
        let part = |name: &str| batch[name].as_array().cloned().unwrap_or_default();
        let mut ids = Vec::new();
        for event in part("traces").into_iter().chain(part("metrics")) {
            let Some(id) = event["trace_id"].as_str().and_then(|id| id.parse().ok()) else {
                self.world.find(Kind::Altered, 1, || format!("an event without identity was pushed: {event}"));
                continue;
            };
            ids.push(id);
            match self.world.ledger().sent.get(&id) {
                Some(sent) if sent.may_differ => {}
                Some(sent) => {
                    if let Some(difference) = event::difference(&sent.json, sent.of, &event) {
                        self.world.find(Kind::Altered, 1, || format!("pushed event {id}: {difference}"));
                    }
                }
                None if self.world.strangers.load(Ordering::Relaxed) => {}
                None => self.world.find(Kind::Altered, 1, || format!("an event that nobody sent was pushed: {event}")),
            }
        }
        Some(ids)
    }

    /// Answers; whether the connection goes on.
    async fn answer(&mut self, behaviour: Behaviour, events: &[Uuid]) -> io::Result<bool> {
        match behaviour {
            Behaviour::Accept => self.confirm(events, Duration::ZERO).await?,
            Behaviour::Slow(wait) => self.confirm(events, wait).await?,
            Behaviour::Late => {
                self.keep(events, false);
                sleep(Duration::from_secs(60)).await;
                return Ok(false);
            }
            Behaviour::Refuse(status) => self.reply(status, "").await?,
            Behaviour::WebPage => self.reply(200, "<html><body>Welcome to nginx!</body></html>").await?,
            Behaviour::Array => self.reply(200, "[1, 2, 3]").await?,
            Behaviour::ErrorInside => self.reply(200, r#"{"error": "the database is down"}"#).await?,
            Behaviour::Strangers => {
                let rejected = json!({"rejected": [{"trace_id": Uuid::now_v7().to_string(), "error": "no"}]});
                self.reply(200, &rejected.to_string()).await?;
            }
            Behaviour::Garbage => {
                self.stream.write_all(b"\x00\x01\x02SSH-2.0-nobody\r\n\r\n").await?;
                return Ok(false);
            }
            Behaviour::Redirect => {
                let head = "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
                self.stream.write_all(head.as_bytes()).await?;
            }
            Behaviour::Endless => {
                self.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                loop {
                    self.stream.write_all(b"400\r\n").await?;
                    self.stream.write_all(&[b' '; 1024]).await?;
                    self.stream.write_all(b"\r\n").await?;
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Behaviour::Huge => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20);
                self.stream.write_all(head.as_bytes()).await?;
                let piece = vec![b' '; 64 << 10];
                for _ in 0..1024 {
                    self.stream.write_all(&piece).await?;
                }
            }
            Behaviour::Close | Behaviour::CloseEarly => return Ok(false),
            Behaviour::CutOff => {
                self.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"accepted\": 1").await?;
                return Ok(false);
            }
            Behaviour::TooLarge(most) if events.len() > most => self.reply(413, "").await?,
            Behaviour::Poison(id) if events.contains(&id) => self.reply(400, r#"{"error": "indigestible"}"#).await?,
            Behaviour::TooLarge(_) | Behaviour::Poison(_) => self.confirm(events, Duration::ZERO).await?,
        }
        Ok(true)
    }

    async fn confirm(&mut self, events: &[Uuid], wait: Duration) -> io::Result<()> {
        // Kept before it is said, as a receiver should. Whether it was said is known only after.
        self.keep(events, false);
        let excuses = self.shared().excuses;
        sleep(wait).await;
        self.reply(200, &json!({"accepted": events.len()}).to_string()).await?;
        if !self.lenient.load(Ordering::Relaxed) && self.shared().excuses == excuses {
            self.keep(events, true);
        }
        Ok(())
    }

    fn keep(&self, events: &[Uuid], confirmed: bool) {
        let mut shared = self.shared();
        if confirmed {
            shared.last = events.to_vec();
        }
        for id in events {
            let (kept, sure) = shared.events.entry(*id).or_default();
            if confirmed {
                *sure = true;
                continue;
            }
            *kept += 1;
            let (repeat, excused) = (*kept > 1, !*sure);
            match (repeat, excused) {
                (false, _) => {}
                (true, true) => shared.excused += 1,
                (true, false) => shared.repeated += 1,
            }
        }
    }

    async fn reply(&mut self, status: u16, body: &str) -> io::Result<()> {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(answer.as_bytes()).await
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_line(head: &str) -> &str {
    head.lines().next().unwrap_or_default()
}

/// A header of a head in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}
