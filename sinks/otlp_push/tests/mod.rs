//! The sink against backends that answer as the OTLP specification lets them, and as it does not, over real sockets.
//! What all pushes do (backoff, breaker, resuming) is tested with `augmi_push`.

#![allow(clippy::unwrap_used)]

mod backend;
mod backends;
mod logs;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use engine::config::{Secret, Time};
use engine::metrics::Metrics;
use engine::{BuildContext, Event, SinkConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::OtlpPush;
use crate::testing::memory;
use engine::plugin::AnySink;
use memory::Memory;

/// A configuration with short times.
fn config(endpoint: &str) -> OtlpPush {
    let millis = |millis| Time(Duration::from_millis(millis));
    OtlpPush {
        endpoint: endpoint.to_owned(),
        headers: [("Authorization".to_owned(), Secret::new("Basic hunter2"))].into(),
        interval: millis(40),
        timeout: millis(400),
        base_delay: millis(5),
        max_delay: millis(2000),
        breaker_failures: 100,
        breaker_cooldown: millis(50),
        ..OtlpPush::default()
    }
}

/// A running push from an outbox.
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    metrics: Metrics,
}

impl Running {
    fn start(config: OtlpPush, outbox: &Arc<Memory>) -> Self {
        let metrics = Metrics::default();
        let cx = BuildContext { metrics: metrics.clone(), reads_outbox: true, ..BuildContext::new("otlp") };
        let Ok(AnySink::Outbox(sink)) = config.build(&cx) else { panic!("not built") };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(sink.run(outbox.clone(), shutdown.clone()));
        Self { shutdown, task, metrics }
    }

    async fn stop(self) -> String {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("did not stop in time").unwrap();
        self.metrics.render()
    }
}

/// Waits until it is so.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn event(kind: &str, name: &str) -> Event {
    let text =
        format!(r#"{{"kind":"{kind}","name":"{name}","input":"a secret of the agent","attributes":{{"value":1}}}}"#);
    Event::from_json(&text).unwrap()
}

/// So many calls, log records and samples, in turn.
fn mixed(count: usize) -> Vec<Event> {
    (0..count).map(|at| event(["llm_call", "log", "metric"][at % 3], &format!("event-{at}"))).collect()
}
