//! The push against receivers that fail in every way we know, in real time over real sockets
//! (`receivers`) and over hours of paused time (`hours`, and a thousand at once in `fleet`); `tls` checks certificates, `logs` what is
//! said.

#![allow(clippy::unwrap_used)]

mod fleet;
mod hours;
mod logs;
mod receiver;
mod receivers;
mod settings;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use engine::config::values::{Secret, Time};
use engine::metrics::Metrics;
use engine::{BuildContext, Event, Json, Kind, SinkConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::AugmiPush;
use crate::testing::memory;
use engine::plugin::AnySink;
use memory::Memory;

/// A configuration with short times.
fn config(endpoint: &str) -> AugmiPush {
    let millis = |millis| Time(Duration::from_millis(millis));
    AugmiPush {
        endpoint: endpoint.to_owned(),
        token: Secret::new("hunter2"),
        agent_id: "agent-7".to_owned(),
        interval: millis(40),
        timeout: millis(400),
        base_delay: millis(5),
        max_delay: millis(2000),
        breaker_cooldown: millis(150),
        ..AugmiPush::default()
    }
}

/// A running push.
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    metrics: Metrics,
}

impl Running {
    fn start(config: AugmiPush, outbox: &Arc<Memory>) -> Self {
        Self::start_with_drain(config, outbox, Duration::from_secs(4))
    }

    fn start_with_drain(config: AugmiPush, outbox: &Arc<Memory>, drain_timeout: Duration) -> Self {
        let metrics = Metrics::default();
        let cx = BuildContext { metrics: metrics.clone(), drain_timeout, ..BuildContext::new("push") };
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
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn event(name: &str) -> Event {
    let mut event = Event::new(if name.starts_with("metric") { Kind::METRIC } else { Kind::LLM_CALL });
    event.name = Some(name.to_owned());
    event.input = Some(Json::parse(r#"{"text":"a secret of the agent"}"#).unwrap());
    event
}

fn events(count: usize) -> Vec<Event> {
    (0..count).map(|n| event(&format!("event-{n}"))).collect()
}
