//! `augmi_push`: sends what a store keeps to the Augmi API, in batches.
//!
//! It never sees the live stream: `inputs` names one sink that offers an outbox, and everything is
//! read from there. What it promises:
//!
//! 1. An event counts as pushed only after the receiver confirmed that very event.
//! 2. No event is lost: what fails stays in the outbox, and every cycle begins with the oldest
//!    that is unsent. Nothing that failed is held in memory.
//! 3. A repeat is recognisable: events keep their `trace_id`, a batch its `Idempotency-Key`.
//! 4. One event that the receiver refuses does not block those behind it; it is quarantined.
//! 5. A receiver in trouble is spared: backoff with jitter, `Retry-After`, a circuit breaker.
//! 6. Memory: one page of `batch_bytes` and its compressed body, and only while it is sent.
//! 7. Neither the token nor the contents of an event appear in any log line or message.
//!
//! `schedule` decides when a cycle begins, `cycle` sends what waits; `wire` writes a body,
//! `client` carries it, `answer` reads what came back; `backoff`, `breaker` and `retry_after` hold
//! back; `state` survives a restart. The contract for receivers is in `docs/augmi-push.md`.

mod answer;
mod backoff;
mod breaker;
mod client;
mod cycle;
mod meters;
mod retry_after;
mod schedule;
mod state;
mod stop;
#[cfg(test)]
mod tests;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Secret, Size, Time};
use engine::plugin::AnySink;
use engine::{BuildContext, Outbox, OutboxSink, Problem, Problems, SinkConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use backoff::Backoff;
use breaker::Breaker;
use client::{Endpoint, Http, Transport};
use cycle::Pusher;
use meters::Meters;
use state::State;
use wire::Packer;

pub use wire::Compression;

/// Sends the events of a store to the Augmi API, in batches. `inputs` names that store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugmiPush {
    /// Where to push: an `https://` address. Empty: the push is off.
    ///
    /// Redirects are not followed and proxies of the environment are not used. Plain `http://` to
    /// another machine works, with a warning where a token is set.
    pub endpoint: String,
    /// Sent as `Authorization: Bearer TOKEN`. Empty: no such header.
    pub token: Secret,
    /// The agent's id, sent with each batch. Also spreads the pushes of a fleet over the interval.
    pub agent_id: String,
    /// Time between pushes.
    pub interval: Time,
    /// Most events in one batch; when so many wait, they are pushed before the interval is over.
    pub batch_events: usize,
    /// Most text of events, in bytes, that is read from the store for one batch. Bounds memory.
    pub batch_bytes: Size,
    /// Most bytes of a body before compression. An event that does not fit alone is quarantined.
    pub max_body: Size,
    /// Compression of the body: `zstd`, `gzip` or `none`.
    pub compression: Compression,
    /// Longest time for one request, from connecting to the end of the answer.
    pub timeout: Time,
    /// Most tries of one batch in one cycle.
    pub max_tries: u32,
    /// First wait between tries; it doubles each time, and a random share of this is added.
    pub base_delay: Time,
    /// Longest wait between tries. Where the receiver asks for more (`Retry-After`), the cycle ends.
    pub max_delay: Time,
    /// After so many failed cycles in a row, cycles are skipped for `breaker_cooldown`.
    pub breaker_failures: u32,
    /// How long cycles are skipped; then a single request probes. Also the wait after 401 or 403.
    pub breaker_cooldown: Time,
    /// A PEM file with certificates of private authorities to trust, beside Mozilla's.
    pub ca_file: Option<PathBuf>,
}

impl Default for AugmiPush {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            token: Secret::default(),
            agent_id: String::new(),
            interval: Time::seconds(300),
            batch_events: 500,
            batch_bytes: Size::mib(1),
            max_body: Size(5_000_000),
            compression: Compression::Zstd,
            timeout: Time::seconds(30),
            max_tries: 5,
            base_delay: Time::seconds(2),
            max_delay: Time::seconds(300),
            breaker_failures: 3,
            breaker_cooldown: Time::seconds(15 * 60),
            ca_file: None,
        }
    }
}

/// The settings after they were checked.
#[derive(Debug)]
struct Settings {
    /// `None`: off.
    endpoint: Option<Endpoint>,
    token: Secret,
    agent_id: String,
    interval: Duration,
    batch_events: usize,
    batch_bytes: usize,
    max_body: usize,
    compression: Compression,
    timeout: Duration,
    max_tries: u32,
    backoff: Backoff,
    breaker_failures: u32,
    breaker_cooldown: Duration,
    ca_file: Option<PathBuf>,
    /// How long an orderly stop of the process may take.
    drain: Duration,
}

impl Settings {
    fn endpoint_text(&self) -> String {
        self.endpoint.as_ref().map(Endpoint::to_string).unwrap_or_default()
    }
}

/// Longest time that is taken for a setting. Beyond it, sums of times could overflow.
const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

impl AugmiPush {
    fn check(self, drain: Duration) -> Result<Settings, Problems> {
        let mut problems = Problems::new();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(key, message));

        let endpoint = match self.endpoint.trim() {
            "" => None,
            text => Endpoint::parse(text).map_err(|message| problem("endpoint", message)).ok(),
        };
        if !self.token.is_empty() && client::bearer(&self.token).is_none() {
            problem("token", "holds a character that no HTTP header can carry, such as a line break".to_owned());
        }
        for (key, Time(value)) in [
            ("interval", self.interval),
            ("timeout", self.timeout),
            ("base_delay", self.base_delay),
            ("max_delay", self.max_delay),
            ("breaker_cooldown", self.breaker_cooldown),
        ] {
            if value.is_zero() || value > MAX_TIME {
                problem(key, "must be more than 0 and at most 366d".to_owned());
            }
        }
        if self.base_delay > self.max_delay {
            problem("base_delay", format!("must not be longer than max_delay ({})", self.max_delay));
        }
        for (key, value, most) in [
            ("batch_events", self.batch_events as u64, 10_000),
            ("max_tries", self.max_tries.into(), 100),
            ("breaker_failures", self.breaker_failures.into(), 1_000_000),
        ] {
            if value == 0 || value > most {
                problem(key, format!("must be from 1 to {most}"));
            }
        }
        for (key, Size(value), least, most) in [
            ("max_body", self.max_body, 4096, 64_000_000),
            // Both are bounds on memory.
            ("batch_bytes", self.batch_bytes, 1024, 8 << 20),
        ] {
            if !(least..=most).contains(&value) {
                problem(key, format!("must be from {} to {}", Size(least), Size(most)));
            }
        }
        if self.agent_id.len() > engine::event::MAX_ID_BYTES {
            problem("agent_id", format!("must be at most {} bytes long", engine::event::MAX_ID_BYTES));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let bytes = |Size(value): Size| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Settings {
            endpoint,
            token: self.token,
            agent_id: self.agent_id,
            interval: self.interval.0,
            batch_events: self.batch_events,
            batch_bytes: bytes(self.batch_bytes),
            max_body: bytes(self.max_body),
            compression: self.compression,
            timeout: self.timeout.0,
            max_tries: self.max_tries,
            backoff: Backoff { base: self.base_delay.0, max: self.max_delay.0 },
            breaker_failures: self.breaker_failures,
            breaker_cooldown: self.breaker_cooldown.0,
            ca_file: self.ca_file,
            drain,
        })
    }
}

impl SinkConfig for AugmiPush {
    const TYPE: &'static str = "augmi_push";
    const READS_OUTBOX: bool = true;

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let settings = self.check(cx.drain_timeout)?;
        let meters = Meters::new(&cx.metrics, &cx.name);
        Ok(AnySink::Outbox(Box::new(Push { settings, meters })))
    }
}

/// The push, built and not yet running.
struct Push {
    settings: Settings,
    meters: Meters,
}

#[async_trait]
impl OutboxSink for Push {
    async fn run(self: Box<Self>, outbox: Arc<dyn Outbox>, shutdown: CancellationToken) {
        let Self { settings, meters } = *self;
        let Some(endpoint) = settings.endpoint.clone() else {
            info!("push is off: endpoint is empty; set TRACE_PUSH_ENDPOINT to turn it on");
            shutdown.cancelled().await;
            return;
        };
        info!(%endpoint, agent_id = settings.agent_id, interval = ?settings.interval, "push is on");
        if endpoint.is_exposed() && !settings.token.is_empty() {
            warn!(%endpoint, "token and events travel unencrypted: use https");
        }
        if settings.agent_id.is_empty() {
            warn!("agent_id is empty: the receiver cannot tell whose events these are; set TRACE_AGENT_ID");
        }
        let http = Http {
            endpoint,
            token: settings.token.clone(),
            ca_file: settings.ca_file.clone(),
            timeout: settings.timeout,
            client: None,
        };
        pusher(settings, meters, outbox, Box::new(http)).run(shutdown).await;
    }
}

fn pusher(settings: Settings, meters: Meters, outbox: Arc<dyn Outbox>, transport: Box<dyn Transport>) -> Pusher {
    Pusher {
        packer: Packer::new(&settings.agent_id, settings.compression, settings.max_body),
        breaker: Breaker::new(settings.breaker_failures, settings.breaker_cooldown),
        soft_limit: settings.max_body,
        settings: Arc::new(settings),
        outbox,
        transport,
        meters,
        random: fastrand::Rng::new(),
        not_before: None,
        denied: false,
        cursor: 0,
        unfinished: None,
        last_success: None,
        saved: State::default(),
    }
}
