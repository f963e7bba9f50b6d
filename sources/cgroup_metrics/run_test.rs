//! The source in a running graph, and its settings.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Inputs, Settings};
use engine::graph::Graph;
use engine::metrics::Metrics;
use engine::plugin::AnySink;
use engine::runtime::Runtime;
use engine::{Batch, BuildContext, Problems, Registry, Sink, SinkConfig, SourceConfig as _};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::CgroupMetrics;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[derive(Deserialize, JsonSchema)]
struct Keep {}

impl SinkConfig for Keep {
    const TYPE: &'static str = "keep";
    fn build(self, _: &BuildContext) -> Result<AnySink, Problems> {
        Ok(AnySink::Stream(Box::new(self)))
    }
}

#[async_trait]
impl Sink for Keep {
    async fn write(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            SEEN.lock().unwrap().extend(batch.iter().filter_map(|event| event.name.clone()));
            batch.confirm(0);
        }
    }
}

fn settings(text: &'static str) -> Settings {
    let registry = Registry::default().with_source::<CgroupMetrics>().with_sink::<Keep>();
    engine::config::load(&Inputs { embedded: text, ..Inputs::default() }, &registry).unwrap()
}

#[tokio::test(start_paused = true)]
async fn samples_flow_through_a_graph_until_the_signal() {
    let settings = settings(
        "[sources.resources]\ntype = 'cgroup_metrics'\ninterval = '1s'\n[sinks.keep]\ntype = 'keep'\ninputs = ['resources']\n",
    );
    let registry = Registry::default().with_source::<CgroupMetrics>().with_sink::<Keep>();
    let metrics = Metrics::default();
    let graph = Graph::build(&settings, &registry, &metrics).unwrap();
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(Runtime::new(graph, settings.runtime.clone(), metrics.clone()).run(shutdown.clone()));
    // Paused time goes on only while nothing works: ten ticks, the first of which gives no metric.
    tokio::time::sleep(Duration::from_millis(9500)).await;
    shutdown.cancel();
    run.await.unwrap().unwrap();
    let samples = SEEN.lock().unwrap().iter().filter(|name| *name == "container.resources").count();
    assert!((5..=9).contains(&samples), "{samples}");
    assert!(metrics.render().contains("openclaw_trace_resource_samples_dropped_total{component=\"resources\"} 0"));
}

#[test]
fn every_wrong_setting_is_named() {
    let config = CgroupMetrics {
        interval: serde_json::from_str("\"250ms\"").unwrap(),
        proc_root: "proc".into(),
        disk_warn_percent: 101,
        watch: vec![" ".into()],
        agent_id: Some("x".repeat(300)),
        ..CgroupMetrics::default()
    };
    let keys: Vec<_> = config.problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["interval", "proc_root", "disk_warn_percent", "watch", "agent_id"]);
    assert!(CgroupMetrics::default().problems().is_empty());
    assert_eq!(CgroupMetrics::TYPE, "cgroup_metrics");
    assert!(serde_json::from_str::<CgroupMetrics>(r#"{"intervall": "5s"}"#).is_err());
}
