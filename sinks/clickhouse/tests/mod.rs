//! The sink against a scripted ClickHouse, over real sockets: the live stream, since that is what answers at once. The same
//! against real servers: `tests/fleet`.

#![allow(clippy::unwrap_used)]

mod migrations;
mod server;
mod settings;
mod stream;

use std::time::Duration;

use engine::config::{Secret, Time};
use engine::plugin::AnySink;
use engine::{
    Admission, Batch, BuildContext, Event, Json, Kind, Outcome, Receipt, RefusalKind, Sink, SinkConfig, TraceId,
};

use super::ClickHouse;
use server::{Server, exception};

const MODERN: &str = "26.9.2.1";
const OLD: &str = "18.16.1";

/// A configuration with short times.
fn config(servers: &[&Server]) -> ClickHouse {
    let millis = |millis| Time(Duration::from_millis(millis));
    ClickHouse {
        endpoints: servers.iter().map(|server| server.url()).collect(),
        user: "writer".to_owned(),
        password: Secret::new("hunter2"),
        replicated: servers.len() > 1,
        timeout: millis(600),
        base_delay: millis(5),
        max_delay: millis(2000),
        breaker_cooldown: millis(100),
        ..ClickHouse::default()
    }
}

fn sink(config: ClickHouse) -> Box<dyn Sink> {
    match config.build(&BuildContext::new("fleet")) {
        Ok(AnySink::Stream(sink)) => sink,
        Ok(AnySink::Outbox(_)) => panic!("reads an outbox"),
        Err(problems) => panic!("{problems:?}"),
    }
}

fn batch(names: &[&str]) -> (Batch, Receipt) {
    let events = names.iter().map(|name| Event {
        name: Some((*name).to_owned()),
        input: Some(Json::parse(r#"{"text":"a secret of the agent"}"#).unwrap()),
        ..Event::new(Kind::TOOL_CALL)
    });
    Batch::new(events.collect(), Admission::new(100, 100).try_acquire(1, 1).unwrap(), false)
}

/// Writes one batch, and answers how it was refused.
async fn write(sink: &mut dyn Sink, names: &[&str]) -> Option<RefusalKind> {
    let (batch, receipt) = batch(names);
    sink.write(vec![batch]).await;
    refused(receipt).await
}

async fn refused(mut receipt: Receipt) -> Option<RefusalKind> {
    match receipt.outcome().await {
        Outcome::Stored { .. } => None,
        Outcome::Failed(refusal) => Some(refusal.kind),
    }
}
