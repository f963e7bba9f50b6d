//! `clickhouse`: keeps events in a ClickHouse, for a whole fleet to be asked by SQL.
//!
//! 1. An event counts as kept once ClickHouse has answered the insert that held it, and not before: on the live stream the
//!    acknowledgement to the pushing sidecar waits for that; where `inputs` names a store, its outbox does, and an outage of
//!    ClickHouse loses nothing.
//! 2. A repeat is not kept twice. The same events are the same bytes under the same `insert_deduplication_token`, which
//!    ClickHouse recognises at once; what comes back in other company stands beside its first copy in the sorting key and is
//!    merged with it (`FINAL` shows it merged before that).
//! 3. One row that ClickHouse refuses does not block those behind it: the batch is halved until it stands alone.
//! 4. Several endpoints: the next one is asked where one fails.
//! 5. Tables are made and brought up to this version on demand; those of a newer version are left alone.
//! 6. Password and contents of events appear in no log line, message or address.
//!
//! `row` writes an event, `layout` the tables' SQL, `dialect` says what a server can do; `node` asks one, `migrate` makes it
//! ready, `answer` reads what it says; `sender` joins them, and all else is `delivery`'s. For people: `docs/clickhouse.md`.

mod answer;
mod dialect;
mod layout;
mod migrate;
mod node;
mod row;
mod sender;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use engine::config::{Secret, Size, Time};
use engine::plugin::AnySink;
use engine::{BuildContext, Problem, Problems, Reads, SinkConfig};
use reqwest::header::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::delivery::{self, Common, Compression, Endpoint, Http, Most, Settings, secret_value};
use layout::Layout;
use node::Node;
use sender::Sender;

/// Keeps events in ClickHouse. `inputs` names sources and transforms (the live stream: a batch is answered once ClickHouse
/// has kept it) or a sink that keeps events (its outbox is read, and an outage of ClickHouse loses nothing).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouse {
    /// HTTP interfaces of the nodes. The first is used; where it fails, the next.
    pub endpoints: Vec<String>,
    /// The user.
    pub user: String,
    /// Its password. Sent as a header, never in the address.
    pub password: Secret,
    /// The database; made where it is missing.
    pub database: String,
    /// The table of events; made where it is missing.
    pub table: String,
    /// Whether to make the database and its tables, and to add columns that a newer version needs. Where false, what is
    /// missing is said.
    pub create_tables: bool,
    /// Name of the cluster, as `system.clusters` has it. Tables are then made on all of its nodes (`ON CLUSTER`; not before
    /// ClickHouse 22.3).
    pub cluster: String,
    /// Replicated tables: the nodes of a shard hold the same. Needs the macros `{shard}` and `{replica}` on each node.
    pub replicated: bool,
    /// A table over all shards of `cluster`, spread by agent; `TABLE_local` holds each shard's rows.
    pub distributed: bool,
    /// Where replicas meet in ZooKeeper or ClickHouse Keeper. `{database}` and `{table}` are filled in here, other macros by
    /// the node.
    pub zookeeper_path: String,
    /// Rows older than this are deleted; in whole hours, 0 keeps them for ever. Only for tables that are made anew (and not
    /// before ClickHouse 22.3).
    pub ttl: Time,
    /// How many replicas must have an insert before it counts; 0: the one that took it.
    pub insert_quorum: u32,
    /// Longest that an event waits for more, to share an insert.
    pub batch_age: Time,
    /// Most events in one insert.
    pub batch_events: usize,
    /// Most text of events, in bytes, that is taken for one insert. Bounds memory.
    pub batch_bytes: Size,
    /// Most bytes of a body before compression. An event that does not fit alone is refused.
    pub max_body: Size,
    /// Compression of the body: `zstd` (`gzip` to servers before 22.3), `gzip` or `none`.
    pub compression: Compression,
    /// Longest time for one request, from connecting to the end of the answer; then the next endpoint is asked.
    pub timeout: Time,
    /// Most tries of one batch before it fails; each goes to the next endpoint.
    pub max_tries: u32,
    /// First wait between tries; it doubles each time, and a random share of this is added.
    pub base_delay: Time,
    /// Longest wait between tries.
    pub max_delay: Time,
    /// After so many failures in a row, ClickHouse is left alone for `breaker_cooldown`.
    pub breaker_failures: u32,
    /// How long it is left alone; then a single request probes. Also the wait after a wrong password.
    pub breaker_cooldown: Time,
    /// A PEM file with certificates of private authorities to trust, beside Mozilla's.
    pub ca_file: Option<PathBuf>,
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:8123".to_owned()],
            user: "default".to_owned(),
            password: Secret::default(),
            database: "openclaw".to_owned(),
            table: "events".to_owned(),
            create_tables: true,
            cluster: String::new(),
            replicated: false,
            distributed: false,
            zookeeper_path: "/clickhouse/tables/{shard}/{database}/{table}".to_owned(),
            ttl: Time::seconds(90 * 86_400),
            insert_quorum: 0,
            batch_age: Time::seconds(1),
            batch_events: 5000,
            batch_bytes: Size::mib(4),
            max_body: Size::mib(16),
            compression: Compression::Zstd,
            timeout: Time::seconds(8),
            max_tries: 3,
            base_delay: Time(Duration::from_millis(200)),
            max_delay: Time::seconds(5),
            breaker_failures: 5,
            breaker_cooldown: Time::seconds(10),
            ca_file: None,
        }
    }
}

const HOUR: u64 = 3600;

impl ClickHouse {
    /// The settings of the room, and what it sends with.
    fn check(self, cx: &BuildContext) -> Result<(Settings, Sender), Problems> {
        let mut problems = Problems::new();
        let endpoints = self.check_endpoints(&mut problems);
        let headers = self.check_credentials(&mut problems);
        let layout = self.check_layout(&mut problems);
        let common = Common {
            interval: ("batch_age", self.batch_age),
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
        common.check(Most { batch_events: 100_000, batch_bytes: 32 << 20 }, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut settings = common.settings(cx);
        settings.key = Self::TYPE;
        settings.help = "compare the table with docs/clickhouse.md";
        if endpoints.iter().any(Endpoint::is_exposed) {
            settings.warnings.push("password and events travel unencrypted: use https".to_owned());
        }
        let names: Vec<String> = endpoints.iter().map(Endpoint::to_string).collect();
        settings.receiver = Some(names.join(", "));
        let wait = settings.timeout.as_millis().saturating_sub(1000).max(500);
        let sender = Sender {
            name: cx.name.clone(),
            nodes: endpoints.into_iter().map(|endpoint| Node::new(endpoint, headers.clone())).collect(),
            current: 0,
            layout,
            create: self.create_tables,
            compression: self.compression,
            max_body: settings.max_body,
            quorum: (self.insert_quorum, wait),
        };
        Ok((settings, sender))
    }

    fn check_endpoints(&self, problems: &mut Problems) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for (place, text) in self.endpoints.iter().enumerate() {
            match Endpoint::parse(text) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(message) => problems.push(Problem::new(format!("endpoints.{place}"), message)),
            }
        }
        if self.endpoints.is_empty() {
            problems.push(Problem::new("endpoints", "is empty; name at least one, as http://127.0.0.1:8123"));
        }
        if self.endpoints.len() > 1 && self.create_tables && !self.replicated && !self.distributed {
            let message = "names several nodes, and their tables would each hold a part: set replicated or distributed \
                           (or create_tables = false, where somebody else sees to it)";
            problems.push(Problem::new("endpoints", message));
        }
        endpoints
    }

    fn check_credentials(&self, problems: &mut Problems) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match HeaderValue::from_str(&self.user) {
            Ok(user) => drop(headers.insert(node::USER, user)),
            Err(_) => problems.push(Problem::new("user", "holds a character that no HTTP header can carry")),
        }
        match secret_value(self.password.reveal()) {
            Some(password) => drop(headers.insert(node::KEY, password)),
            None => problems.push(Problem::new("password", "holds a character that no HTTP header can carry")),
        }
        headers
    }

    fn check_layout(&self, problems: &mut Problems) -> Layout {
        let mut problem = |key: &str, message: &str| problems.push(Problem::new(key, message));
        for (key, name) in [("database", &self.database), ("table", &self.table), ("cluster", &self.cluster)] {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name || name.len() > 100 || (name.is_empty() && key != "cluster") {
                problem(key, "must be 1 to 100 letters, digits and underscores");
            }
        }
        if self.distributed && self.cluster.is_empty() {
            problem("cluster", "is empty; a distributed table needs the cluster whose shards it is over");
        }
        let path_fits = |c: char| c.is_ascii_alphanumeric() || "/_-.{}".contains(c);
        if !self.zookeeper_path.starts_with('/') || !self.zookeeper_path.chars().all(path_fits) {
            problem("zookeeper_path", "must begin with / and hold letters, digits and any of / _ - . { }");
        } else if self.replicated && !self.zookeeper_path.contains("{table}") {
            problem("zookeeper_path", "must hold {table}: each table has a place of its own");
        }
        let seconds = self.ttl.0.as_secs();
        if !seconds.is_multiple_of(HOUR) || self.ttl.0.subsec_nanos() > 0 || seconds > 100 * 366 * 86_400 {
            problem("ttl", "must be whole hours, at most 36600d, or 0 to keep for ever");
        }
        if self.insert_quorum > 0 && !self.replicated && self.create_tables {
            problem("insert_quorum", "needs replicated = true: only replicas can be counted");
        }
        Layout {
            database: self.database.clone(),
            table: self.table.clone(),
            cluster: self.cluster.clone(),
            replicated: self.replicated,
            distributed: self.distributed,
            zookeeper_path: self.zookeeper_path.clone(),
            ttl_hours: seconds / HOUR,
        }
    }
}

impl SinkConfig for ClickHouse {
    const TYPE: &'static str = "clickhouse";
    const READS: Reads = Reads::Either;

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let ca_file = self.ca_file.clone();
        let (settings, sender) = self.check(cx)?;
        let http = Http::new(ca_file, settings.timeout);
        let sender = Box::new(sender);
        Ok(if cx.reads_outbox {
            delivery::outbox_sink(cx, settings, http, sender)
        } else {
            delivery::stream_sink(cx, settings, http, sender)
        })
    }
}
