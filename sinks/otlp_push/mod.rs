//! `otlp_push`: sends events to any OpenTelemetry backend, as OTLP over HTTP: spans, log records and metrics in
//! protobuf.
//!
//! `inputs` names a store, whose outbox is sent, or sources and transforms, whose live stream is. What it promises is
//! what `delivery` promises; and of OTLP:
//!
//! 1. The statuses that the specification calls retryable (429, 502, 503, 504) are tried again, with `Retry-After`; no
//!    other is tried again at once.
//! 2. A partial success is a success: what the receiver rejected is counted and never sent again.
//! 3. Nothing of an event is lost on the way to another openclaw-trace (`crate::otlp`).
//! 4. Headers are secrets: no log line, error or listing of the configuration shows a value of theirs.
//!
//! A batch becomes one request for each of the signals that it holds. `packer` writes them, `answer` reads what came back.

mod answer;
mod packer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use engine::config::{Secret, Size, Time};
use engine::metrics::IntCounter;
use engine::plugin::AnySink;
use engine::{BuildContext, Problem, Problems, Reads, SinkConfig, Timestamp, TraceId, Unsent};
use reqwest::header::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::delivery::{
    self, CatchUp, Common, Compression, Endpoint, Http, Most, Packed, Protocol, Reply, Settings, Verdict,
};
use crate::otlp::{Deltas, Resource, Signal};
use packer::{Packer, Targets};

/// Sends events to an OpenTelemetry backend: OTLP over HTTP, in protobuf. `inputs` names a store whose outbox is
/// sent, or the sources and transforms whose stream is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpPush {
    /// The backend's base address, to which `/v1/traces`, `/v1/logs` and `/v1/metrics` are added. Empty, as are the
    /// three below: the push is off.
    ///
    /// Redirects are not followed and proxies of the environment are not used. Plain `http://` to
    /// another machine works, with a warning where headers are set.
    pub endpoint: String,
    /// The whole address for spans, in place of the one below `endpoint`.
    pub traces_endpoint: String,
    /// The whole address for log records.
    pub logs_endpoint: String,
    /// The whole address for metrics.
    pub metrics_endpoint: String,
    /// Headers of each request, such as `authorization`: a table of names and values.
    pub headers: BTreeMap<String, Secret>,
    /// What is sent: `traces`, `logs`, `metrics`. Events of the others are left out.
    pub signals: Vec<Signal>,
    /// Attributes of the resource, such as `service.name` (`openclaw`) and `deployment.environment.name`.
    pub resource: BTreeMap<String, String>,
    /// How what was added in an interval is told: `sum`, with delta temporality, or `gauge`, for Prometheus, Mimir
    /// and others that refuse deltas.
    pub deltas: Deltas,
    /// From a store: time between pushes. On the live stream: how long a batch waits for more, at most `1s`.
    pub interval: Time,
    /// Most events in one batch; when so many wait, they are pushed before the interval is over.
    pub batch_events: usize,
    /// Most text of events, in bytes, in one batch. Bounds memory.
    pub batch_bytes: Size,
    /// Most bytes of a body before compression. An event that does not fit alone is quarantined.
    pub max_body: Size,
    /// Compression of the body: `gzip`, `none`, or `zstd` where the backend takes it.
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
    /// How the backlog of an outage is sent: `paced` takes as long as the outage lasted; `at_once` sends all of it.
    pub catch_up: CatchUp,
    /// A PEM file with certificates of private authorities to trust, beside Mozilla's.
    pub ca_file: Option<PathBuf>,
}

impl Default for OtlpPush {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            traces_endpoint: String::new(),
            logs_endpoint: String::new(),
            metrics_endpoint: String::new(),
            headers: BTreeMap::new(),
            signals: Signal::ALL.to_vec(),
            resource: BTreeMap::new(),
            deltas: Deltas::Sum,
            interval: Time::seconds(10),
            batch_events: 500,
            batch_bytes: Size::mib(1),
            max_body: Size(4_000_000),
            compression: Compression::Gzip,
            timeout: Time::seconds(30),
            max_tries: 5,
            base_delay: Time::seconds(2),
            max_delay: Time::seconds(300),
            breaker_failures: 3,
            breaker_cooldown: Time::seconds(5 * 60),
            catch_up: CatchUp::Paced,
            ca_file: None,
        }
    }
}

/// Most headers, and attributes of the resource.
const MOST: usize = 64;

/// The longest that a client of the live stream waits for others before its events are sent.
const LONGEST_WAIT: Time = Time::seconds(1);

impl OtlpPush {
    fn check(self, cx: &BuildContext) -> Result<(Settings, Packer), Problems> {
        let mut problems = Problems::new();
        let targets = self.targets(&mut problems);
        let headers = self.headers(&mut problems);
        for (key, _) in self.resource.iter().filter(|(key, _)| key.is_empty()) {
            problems.push(Problem::new(format!("resource.{key}"), "must have a name"));
        }
        if self.resource.len() > MOST {
            problems.push(Problem::new("resource", format!("must have at most {MOST} attributes")));
        }
        if self.signals.is_empty() {
            let message = "must name at least one of traces, logs and metrics; enabled = false turns the sink off";
            problems.push(Problem::new("signals", message));
        }
        let interval = if cx.reads_outbox { self.interval } else { self.interval.min(LONGEST_WAIT) };
        let common = Common {
            interval: ("interval", interval),
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
        settings.off = "push is off: endpoint is empty";
        settings.help = "check that endpoint takes OTLP in protobuf (docs/otlp-push.md)";
        if targets.all().any(Endpoint::is_exposed) && !headers.is_empty() {
            settings.warnings.push("headers and events travel unencrypted: use https".to_owned());
        }
        settings.receiver = targets.receiver();
        settings.spread = self.resource.get("service.instance.id").cloned().unwrap_or_default();
        let resource = Resource::with(self.resource);
        let packer = Packer::new(targets, &headers, resource, self.deltas, self.compression, settings.max_body);
        Ok((settings, packer))
    }

    /// Where each signal goes.
    fn targets(&self, problems: &mut Problems) -> Targets {
        let mut read = |key: &str, text: &str| match text.trim() {
            "" => None,
            text => Endpoint::parse(text).map_err(|message| problems.push(Problem::new(key, message))).ok(),
        };
        let base = read("endpoint", &self.endpoint);
        let own = [
            (Signal::Traces, read("traces_endpoint", &self.traces_endpoint)),
            (Signal::Logs, read("logs_endpoint", &self.logs_endpoint)),
            (Signal::Metrics, read("metrics_endpoint", &self.metrics_endpoint)),
        ];
        let wanted = own.into_iter().filter(|(signal, _)| self.signals.contains(signal));
        Targets::new(wanted.filter_map(|(signal, own)| {
            let below = || base.as_ref().map(|base| base.below(signal.path()));
            Some((signal, own.or_else(below)?))
        }))
    }

    fn headers(&self, problems: &mut Problems) -> HeaderMap {
        /// What the sink and HTTP itself say.
        const TAKEN: [&str; 7] = [
            "accept-encoding",
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
            "host",
            "transfer-encoding",
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let mut problem = |message: &str| problems.push(Problem::new(format!("headers.{name}"), message));
            let Ok(read) = HeaderName::try_from(name.as_str()) else {
                problem("is no name that a header can have");
                continue;
            };
            if TAKEN.contains(&read.as_str()) {
                problem("is said by the sink itself; leave it out");
            }
            match delivery::secret_value(value.reveal()) {
                Some(value) => drop(headers.insert(read, value)),
                None => problem("holds a character that no HTTP header can carry, such as a line break"),
            }
        }
        if self.headers.len() > MOST {
            problems.push(Problem::new("headers", format!("must have at most {MOST} headers")));
        }
        headers
    }
}

impl SinkConfig for OtlpPush {
    const TYPE: &'static str = "otlp_push";
    const READS: Reads = Reads::Either;

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let ca_file = self.ca_file.clone();
        let (settings, packer) = self.check(cx)?;
        let http = Http::new(ca_file, settings.timeout);
        let protocol = Box::new(Otlp {
            name: cx.name.clone(),
            packer,
            rejected: cx.metrics.counter(
                &cx.name,
                "otlp_push_rejected_total",
                "Spans, log records and data points that the receiver rejected of requests that it took.",
            ),
            rejects: false,
        });
        Ok(if cx.reads_outbox {
            delivery::outbox_sink(cx, settings, http, protocol)
        } else {
            delivery::stream_sink(cx, settings, http, protocol)
        })
    }
}

/// OTLP over HTTP.
struct Otlp {
    name: String,
    packer: Packer,
    rejected: IntCounter,
    /// That the last request was taken in part; said once, until one is taken whole.
    rejects: bool,
}

impl Otlp {
    /// What the receiver says of it is not logged: it may quote an event.
    fn note(&mut self, signal: Option<Signal>, rejected: u64) {
        self.rejected.inc_by(rejected);
        let said = std::mem::replace(&mut self.rejects, rejected > 0);
        let signal = signal.map(Signal::path).unwrap_or_default();
        if rejected > 0 && !said {
            warn!(
                component = self.name,
                signal,
                rejected,
                "receiver took a request but rejected some of it; by OTLP's rules that is not sent again"
            );
        } else if rejected > 0 {
            debug!(component = self.name, signal, rejected, "receiver rejected some again");
        }
    }
}

impl Protocol for Otlp {
    fn pack(&mut self, page: &[Unsent], limit: usize, _now: Timestamp) -> io::Result<Packed> {
        self.packer.pack(page, limit)
    }

    fn judge(&mut self, reply: &Reply, sent: &[TraceId]) -> Verdict {
        let signal = self.packer.signal_of(sent);
        let answer = answer::read(reply, signal);
        if let Verdict::Confirmed(_) = answer.verdict {
            self.note(signal, answer.rejected);
        }
        answer.verdict
    }

    fn door(&self, sent: &[TraceId]) -> usize {
        self.packer.signal_of(sent).map_or(0, |signal| signal as usize)
    }
}
