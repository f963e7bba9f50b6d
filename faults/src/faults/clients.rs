//! Clients that are slow, broken or hostile, beside the well-behaved ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Fault;
use super::bodies;
use crate::http::{Answer, Client, post};
use crate::report::Kind;
use crate::rig::{Rig, Stop};
use crate::world::World;

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 6] =
    [&Clients::Slow, &Clients::Idle, &Clients::Pipelined, &Clients::Cut, &Clients::Bombs, &Clients::Nasty];

/// Longer than a head (5 s) and a body (10 s) may take.
const SLOW: Duration = Duration::from_secs(14);

enum Clients {
    Slow,
    Idle,
    Pipelined,
    Cut,
    Bombs,
    Nasty,
}

#[async_trait(?Send)]
impl Fault for Clients {
    fn name(&self) -> &'static str {
        match self {
            Self::Slow => "cl-slow",
            Self::Idle => "cl-idle",
            Self::Pipelined => "cl-pipelined",
            Self::Cut => "cl-cut",
            Self::Bombs => "cl-bombs",
            Self::Nasty => "cl-nasty",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Slow => "sixty clients that send a byte a second, in head or body",
            Self::Idle => "a thousand connections that say nothing",
            Self::Pipelined => "requests without waiting for answers, and connections half closed after the last",
            Self::Cut => "heads and bodies that break off",
            Self::Bombs => "gzip and zstd bodies that inflate to 200 MB",
            Self::Nasty => "depth, length, bad UTF-8, surrogates, NUL, keys given twice, numbers out of range",
        }
    }

    fn quick(&self) -> bool {
        matches!(self, Self::Idle | Self::Bombs | Self::Nasty)
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        rig.world.strangers.store(true, Ordering::Relaxed);
        let before = rig.acknowledged();
        let address = rig.sidecar()?.ingest;
        let until = match self {
            Self::Slow => SLOW,
            _ => Duration::from_secs_f64(rig.seconds * 0.8),
        };
        let mut hostile = JoinSet::new();
        let many = match self {
            Self::Slow => 60,
            Self::Idle => 1000,
            _ => 6,
        };
        for number in 0..many {
            let seed = rig.random.random();
            let one =
                Hostile { world: Arc::clone(&rig.world), address, random: rand::SeedableRng::seed_from_u64(seed) };
            match self {
                Self::Slow => drop(hostile.spawn(one.slow(until, number % 2 == 0))),
                Self::Idle => drop(hostile.spawn(one.idle(until))),
                Self::Pipelined => drop(hostile.spawn(one.again(until, Which::Pipelined))),
                Self::Cut => drop(hostile.spawn(one.again(until, Which::Cut))),
                Self::Bombs => drop(hostile.spawn(one.again(until, Which::Bomb))),
                Self::Nasty => drop(hostile.spawn(one.again(until, Which::Nasty))),
            }
        }
        while hostile.join_next().await.is_some() {}
        let served = rig.acknowledged() - before;
        rig.world.find(Kind::Broken, u64::from(served == 0), || "well-behaved clients were not served".to_owned());
        rig.sidecar().map(|_| ())
    }
}

/// Six clients that send nasty bodies for so long.
pub(super) async fn nasty(rig: &mut Rig, until: Duration) -> Result<(), Stop> {
    rig.world.strangers.store(true, Ordering::Relaxed);
    let address = rig.sidecar()?.ingest;
    let mut hostile = JoinSet::new();
    for _ in 0..6 {
        let random = rand::SeedableRng::seed_from_u64(rig.random.random());
        let one = Hostile { world: Arc::clone(&rig.world), address, random };
        hostile.spawn(one.again(until, Which::Nasty));
    }
    while hostile.join_next().await.is_some() {}
    Ok(())
}

#[derive(Clone, Copy)]
enum Which {
    Pipelined,
    Cut,
    Bomb,
    Nasty,
}

struct Hostile {
    world: Arc<World>,
    address: SocketAddr,
    random: StdRng,
}

impl Hostile {
    /// A byte a second, for longer than that may take: it is told so, or cut off.
    async fn slow(self, until: Duration, in_head: bool) {
        let Ok(mut client) = Client::connect(self.address).await else { return };
        let body = br#"{"kind":"log","name":"slow"}"#;
        let request = post("application/json", None, body);
        let at = if in_head { 1 } else { request.len() - body.len() };
        let crawl = async {
            client.write(&request[..at]).await?;
            for byte in &request[at..] {
                if let Ok(answer) = timeout(Duration::from_secs(1), client.answer()).await {
                    return answer;
                }
                client.write(std::slice::from_ref(byte)).await?;
            }
            client.answer().await
        };
        match timeout(until, crawl).await {
            Ok(Ok(answer)) => self.judge(&answer, "a slow request"),
            Ok(Err(_)) => {}
            Err(_) => self.world.find(Kind::Broken, 1, || format!("a slow client is still heard after {until:?}")),
        }
    }

    async fn idle(self, until: Duration) {
        let Ok(mut client) = Client::connect(self.address).await else { return };
        if let Ok(Ok(answer)) = timeout(until, client.answer()).await {
            self.judge(&answer, "an idle connection");
        }
    }

    /// One bad request after the other, each over a connection of its own.
    async fn again(mut self, until: Duration, which: Which) {
        let all = async {
            loop {
                let one = match which {
                    Which::Pipelined => self.pipelined().await,
                    Which::Cut => self.cut().await,
                    Which::Bomb => self.single(bodies::bomb).await,
                    Which::Nasty => self.single(bodies::nasty).await,
                };
                // The server may close on such a client at any time.
                drop(one);
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(until, all).await;
    }

    async fn pipelined(&mut self) -> std::io::Result<()> {
        let mut client = Client::connect(self.address).await?;
        let one = post("application/json", None, br#"{"kind":"log","name":"pipelined"}"#);
        let count = self.random.random_range(2..40);
        client.write(&one.repeat(count)).await?;
        client.end_writing().await?;
        let mut answered = 0;
        while let Ok(Ok(answer)) = timeout(Duration::from_secs(15), client.answer()).await {
            self.judge(&answer, "a pipelined request");
            answered += 1;
            if answer.header("connection") == Some("close") {
                return Ok(());
            }
            if answered == count {
                return Ok(());
            }
        }
        self.world.find(Kind::Broken, 1, || format!("{answered} of {count} pipelined requests were answered"));
        Ok(())
    }

    async fn cut(&mut self) -> std::io::Result<()> {
        let mut client = Client::connect(self.address).await?;
        let whole = post("application/json", None, &br#"[{"kind":"log","name":"cut off"}, "#.repeat(100));
        let at = self.random.random_range(1..whole.len());
        client.write(&whole[..at]).await?;
        if self.random.random() {
            client.end_writing().await?;
            let answer = client.answer().await?;
            self.judge(&answer, "a request that broke off");
            self.world.find(Kind::Broken, u64::from(answer.status < 400), || {
                format!("a request that broke off was answered {}", answer.brief())
            });
        }
        Ok(())
    }

    async fn single(&mut self, make: fn(&mut StdRng) -> bodies::Bad) -> std::io::Result<()> {
        let bad = make(&mut self.random);
        let mut client = Client::connect(self.address).await?;
        let request = post(bad.content_type, bad.encoding, &bad.body);
        let answer = match timeout(Duration::from_secs(15), client.exchange(&request)).await {
            Ok(answer) => answer?,
            Err(_) => {
                self.world.find(Kind::Broken, 1, || format!("{}: no answer within 15 s", bad.what));
                return Ok(());
            }
        };
        self.judge(&answer, bad.what);
        if bad.never_taken && answer.status < 400 {
            self.world.find(Kind::Broken, 1, || format!("{} was taken: {}", bad.what, answer.brief()));
        }
        Ok(())
    }

    /// No 5xx but the 503 that is documented; an error says what is wrong.
    fn judge(&self, answer: &Answer, what: &str) {
        let documented = matches!(answer.status, 200 | 202 | 400..500 | 503);
        self.world.find(Kind::Broken, u64::from(!documented), || format!("{what} was answered {}", answer.brief()));
        let silent = answer.status >= 400 && answer.json()["error"].as_str().is_none_or(str::is_empty);
        // A head that is no HTTP is answered below the layer that writes errors.
        self.world.find(Kind::Broken, u64::from(silent && answer.status != 400), || {
            format!("{what} was answered without an error text: {}", answer.brief())
        });
    }
}
