use std::cell::RefCell;
use std::path::PathBuf;

use async_trait::async_trait;
use engine::config::{Inputs, Section, ShortName, Target, load};
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::plugin::AnySink;
use engine::{Batch, BuildContext, Problems, Registry, Sink, SinkConfig};
use schemars::JsonSchema;
use serde::Deserialize;

/// A TOML file, and behind a line `---` variables and `--set` arguments, one a line: the whole is a graph or
/// errors that each say something.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, rest) = text.split_once("\n---\n").unwrap_or((text, ""));
    let path = FILE.with_borrow(PathBuf::clone);
    if std::fs::write(&path, file).is_err() {
        return;
    }
    let mut inputs = Inputs { file: Some(path), short_names: SHORT_NAMES, old_names: OLD_NAMES, ..Inputs::default() };
    for line in rest.lines() {
        match line.strip_prefix("--set ") {
            Some(set) => inputs.set.push(set.to_owned()),
            None => inputs.env.extend(line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))),
        }
    }
    let registry = registry();
    match load(&inputs, &registry) {
        Ok(settings) => {
            let _ = settings.effective(&registry, &[]);
            if let Err(errors) = Graph::build(&settings, &registry, &Metrics::default()) {
                panic!("loaded without an error, and not built: {errors}");
            }
        }
        Err(errors) => assert!(!errors.to_string().trim().is_empty()),
    }
}

thread_local! {
    // A file of its own for each thread and process, on memory where there is such a place.
    static FILE: RefCell<PathBuf> = RefCell::new({
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
        folder.join(format!("openclaw-trace-fuzz-{}-{:?}.toml", std::process::id(), std::thread::current().id()))
    });
}

const SHORT_NAMES: &[ShortName] = &[
    ShortName { name: "TRACE_PORT", target: Target::Component(Section::Sources, "http_ingest", "bind"), port: true },
    ShortName { name: "TRACE_LOG_LEVEL", target: Target::Table("runtime", "log_level"), port: false },
    ShortName {
        name: "TRACE_METRICS_INTERVAL",
        target: Target::Component(Section::Sources, "cgroup_metrics", "interval"),
        port: false,
    },
];

const OLD_NAMES: &[(&str, &str)] = &[("OCT_PORT", "TRACE_PORT"), ("OCT_LOG_PATH", "")];

/// The built-in sources and transforms, and a sink that does nothing, since SQLite and TLS would
/// add minutes to each build and no other settings.
fn registry() -> Registry {
    Registry::default()
        .with_source::<sources::HttpIngest>()
        .with_source::<sources::CgroupMetrics>()
        .with_source::<sources::GatewayLog>()
        .with_transform::<transforms::Assemble>()
        .with_transform::<transforms::Dedupe>()
        .with_transform::<transforms::Redact>()
        .with_transform::<transforms::Truncate>()
        .with_sink::<Nowhere>()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nowhere {}

impl SinkConfig for Nowhere {
    const TYPE: &'static str = "nowhere";
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(self)))
    }
}

#[async_trait]
impl Sink for Nowhere {
    async fn write(&mut self, batches: Vec<Batch>) {
        batches.into_iter().for_each(|batch| batch.confirm(0));
    }
}
