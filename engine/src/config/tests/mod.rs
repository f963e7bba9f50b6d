//! The configuration as a whole, with plugins of its own.

// The plugins' keys are there to be read from TOML; hardly any is used.
#![allow(dead_code)]

mod broken;
mod environment;
mod layers;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Inputs, Secret, Section, Settings, ShortName, Size, Table, Target, Time, load};
use crate::plugin::{
    AnySink, BuildContext, Outlet, Problems, Sink, SinkConfig, Source, SourceConfig, Transform, TransformConfig,
};
use crate::{Problem, Registry};

/// A source with every sort of key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Ingest {
    bind: String,
    token: Secret,
    max_events: u32,
    ratio: f64,
    body_timeout: Time,
    allowed_hosts: Vec<String>,
    acknowledge: Acknowledge,
    limits: Limits,
    login: Option<Login>,
    headers: std::collections::BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Acknowledge {
    Stored,
    Queued,
}

#[derive(Debug, Default, PartialEq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    per_second: u64,
    strict: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "how", rename_all = "lowercase", deny_unknown_fields)]
enum Login {
    Basic { user: String, password: Secret },
    Key { file: String },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Clean {
    #[serde(default)]
    max_text_bytes: usize,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    pattern: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Store {
    path: String,
    #[serde(default = "thirty")]
    retention_days: u32,
    #[serde(default)]
    max_bytes: Option<Size>,
    #[serde(default)]
    key_file: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Api {
    enabled: bool,
    bind: String,
    token: Secret,
}

fn thirty() -> u32 {
    30
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:9090".to_owned(),
            token: Secret::default(),
            max_events: 1000,
            ratio: 0.5,
            body_timeout: Time::seconds(10),
            allowed_hosts: Vec::new(),
            acknowledge: Acknowledge::Stored,
            limits: Limits::default(),
            login: None,
            headers: std::collections::BTreeMap::new(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self { enabled: true, bind: "127.0.0.1:9091".to_owned(), token: Secret::default() }
    }
}

/// Built by every plugin here; nothing is ever run.
struct Built;

#[async_trait::async_trait]
impl Source for Built {
    async fn run(self: Box<Self>, _: Outlet, _: tokio_util::sync::CancellationToken) {}
}

impl Transform for Built {
    fn apply(&self, _: &mut crate::Batch) {}
}

#[async_trait::async_trait]
impl Sink for Built {
    async fn write(&mut self, _: Vec<crate::Batch>) {}
}

impl SourceConfig for Ingest {
    const TYPE: &'static str = "http_ingest";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        if self.bind == "nowhere" {
            return Err(vec![Problem::new("bind", "is no address")]);
        }
        Ok(Box::new(Built))
    }
}

impl TransformConfig for Clean {
    const TYPE: &'static str = "truncate";
    fn build(self, _: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        Ok(Box::new(Built))
    }
}

impl SinkConfig for Store {
    const TYPE: &'static str = "sqlite_store";
    const OFFERS_OUTBOX: bool = true;
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(Built)))
    }
}

const EMBEDDED: &str = r#"[runtime]
log_level = "info"

[sources.ingest]
type = "http_ingest"
bind = "127.0.0.1:9090"

[transforms.cut-text]
type = "truncate"
inputs = ["ingest"]

[sinks.store]
type = "sqlite_store"
inputs = ["cut-text"]
path = "/data/x.db"
"#;

const fn short(name: &'static str, target: Target, port: bool) -> ShortName {
    ShortName { name, target, port }
}

static SHORT: &[ShortName] = &[
    short("TRACE_PORT", Target::Component(Section::Sources, "http_ingest", "bind"), true),
    short("TRACE_INGEST_TOKEN", Target::Component(Section::Sources, "http_ingest", "token"), false),
    short("TRACE_API_PORT", Target::Table("api", "bind"), true),
    short("TRACE_LOG_LEVEL", Target::Table("runtime", "log_level"), false),
    short("TRACE_DB_PATH", Target::Component(Section::Sinks, "sqlite_store", "path"), false),
    short("TRACE_RETENTION_DAYS", Target::Component(Section::Sinks, "sqlite_store", "retention_days"), false),
    short("TRACE_PUSH_TOKEN", Target::Component(Section::Sinks, "augmi_push", "token"), false),
];

static TABLES: &[Table] = &[Table::of::<Api>("api")];

static OLD: &[(&str, &str)] = &[("OCT_PORT", "TRACE_PORT"), ("OCT_DB_PATH", "TRACE_DB_PATH"), ("OCT_LOG_PATH", "")];

fn registry() -> Registry {
    Registry::default().with_source::<Ingest>().with_transform::<Clean>().with_sink::<Store>()
}

/// The embedded text and these variables and options.
fn inputs(embedded: &'static str, env: &[(&str, &str)], set: &[&str]) -> Inputs {
    Inputs {
        embedded,
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        set: set.iter().map(|set| (*set).to_owned()).collect(),
        tables: TABLES,
        short_names: SHORT,
        old_names: OLD,
        ..Inputs::default()
    }
}

fn settings(env: &[(&str, &str)], set: &[&str]) -> Settings {
    load(&inputs(EMBEDDED, env, set), &registry())
        .map_err(|errors| errors.to_string())
        .unwrap_or_else(|e| panic!("{e}"))
}

/// `origin | key | message` of each error.
fn errors(embedded: &'static str, env: &[(&str, &str)], set: &[&str]) -> Vec<String> {
    match load(&inputs(embedded, env, set), &registry()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(|e| format!("{} | {} | {}", e.origin, e.key, e.message)).collect(),
    }
}

fn value(settings: &Settings, key: &str) -> (String, String) {
    let all = settings.effective(&registry(), TABLES);
    let found = all.iter().find(|effective| effective.key == key);
    found.map_or_else(Default::default, |effective| (effective.value.to_string(), effective.origin.clone()))
}
