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
//! `wire` writes a body and `answer` reads what came back; all else is `delivery`'s. The contract for
//! receivers is in `docs/augmi-push.md`.

mod answer;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::path::PathBuf;

use engine::config::{Secret, Size, Time};
use engine::plugin::AnySink;
use engine::{BuildContext, Problem, Problems, Reads, SinkConfig, Timestamp, TraceId, Unsent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::delivery::{
    self, CatchUp, Common, Compression, Endpoint, Http, Most, Packed, Protocol, Reply, Settings, Verdict,
};
use wire::Packer;

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
    /// How the backlog of an outage is sent: `paced` takes as long as the outage lasted, so that a whole fleet
    /// that comes back asks for at most twice what it asks for always; `at_once` sends all of it.
    pub catch_up: CatchUp,
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
            catch_up: CatchUp::Paced,
            ca_file: None,
        }
    }
}

impl AugmiPush {
    /// The settings of the room, and what it pushes with (nothing where it is off).
    fn check(self, cx: &BuildContext) -> Result<(Settings, AugmiApi), Problems> {
        let mut problems = Problems::new();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(key, message));

        let endpoint = match self.endpoint.trim() {
            "" => None,
            text => Endpoint::parse(text).map_err(|message| problem("endpoint", message)).ok(),
        };
        if !self.token.is_empty() && delivery::bearer(&self.token).is_none() {
            problem("token", "holds a character that no HTTP header can carry, such as a line break".to_owned());
        }
        if self.agent_id.len() > engine::event::MAX_ID_BYTES {
            problem("agent_id", format!("must be at most {} bytes long", engine::event::MAX_ID_BYTES));
        }
        let common = Common {
            interval: ("interval", self.interval),
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes,
            max_body: self.max_body,
            timeout: self.timeout,
            max_tries: self.max_tries,
            base_delay: self.base_delay,
            max_delay: self.max_delay,
            breaker_failures: self.breaker_failures,
            breaker_cooldown: self.breaker_cooldown,
        };
        common.check(Most { batch_events: 10_000, batch_bytes: 8 << 20 }, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut settings = common.settings(cx);
        settings.key = Self::TYPE;
        settings.paced = self.catch_up == CatchUp::Paced;
        settings.off = "push is off: endpoint is empty; set TRACE_PUSH_ENDPOINT to turn it on";
        settings.help = "check that endpoint takes this format (docs/augmi-push.md)";
        if endpoint.as_ref().is_some_and(Endpoint::is_exposed) && !self.token.is_empty() {
            settings.warnings.push("token and events travel unencrypted: use https".to_owned());
        }
        if self.agent_id.is_empty() {
            let warning = "agent_id is empty: the receiver cannot tell whose events these are; set TRACE_AGENT_ID";
            settings.warnings.push(warning.to_owned());
        }
        settings.receiver = endpoint.as_ref().map(Endpoint::to_string);
        settings.spread.clone_from(&self.agent_id);
        let packer = endpoint
            .map(|endpoint| Packer::new(endpoint, &self.token, &self.agent_id, self.compression, settings.max_body));
        Ok((settings, AugmiApi(packer)))
    }
}

impl SinkConfig for AugmiPush {
    const TYPE: &'static str = "augmi_push";
    const READS: Reads = Reads::Outbox;

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let ca_file = self.ca_file.clone();
        let (settings, protocol) = self.check(cx)?;
        let http = Http::new(ca_file, settings.timeout);
        Ok(delivery::outbox_sink(cx, settings, http, Box::new(protocol)))
    }
}

/// The Augmi API, as docs/augmi-push.md has it. Without a packer it is off.
struct AugmiApi(Option<Packer>);

impl Protocol for AugmiApi {
    fn pack(&mut self, page: &[Unsent], limit: usize, now: Timestamp) -> io::Result<Packed> {
        self.0.as_ref().map_or(Ok(Packed::Empty), |packer| packer.pack(page, limit, now))
    }

    fn judge(&mut self, reply: &Reply, sent: &[TraceId]) -> Verdict {
        answer::judge(reply, sent)
    }
}
