//! Delivery: what all sinks that send events over HTTP have in common.
//!
//! Such a sink brings a [`Protocol`]: how a page of events becomes requests, and what an answer means.
//! This room does the rest, from an outbox ([`outbox_sink`]) or from the live stream ([`stream_sink`]):
//!
//! 1. An event counts as delivered only after the receiver confirmed that very event.
//! 2. No event is lost: what fails stays where it is. From an outbox, every cycle begins with the
//!    oldest that is unsent; on the live stream, the batch fails and its sender keeps it.
//! 3. One event that the receiver refuses does not block those behind it: a refused batch is halved until
//!    it stands alone. From an outbox it is then quarantined; on the live stream its batch alone is refused.
//! 4. A receiver in trouble is spared: backoff with jitter, `Retry-After`, a circuit breaker.
//! 5. Memory: one page of `batch_bytes` and its requests, and only while they are sent.
//! 6. Neither a token nor the contents of an event appear in any log line or message.
//!
//! `protocol` is what a sink implements; `settings` what it is told; `cycle` sends what waits, `client`
//! carries it; `schedule` decides when a cycle begins and `state` survives a restart (outbox), `live`
//! answers batches (stream); `backoff`, `breaker`, `retry_after` and `pace` hold back; `fit` cuts a page to a
//! body's size, `compression` writes one.

mod backoff;
mod breaker;
mod client;
mod compression;
mod cycle;
mod fit;
mod held;
mod live;
mod meters;
mod pace;
mod progress;
mod protocol;
mod retry_after;
mod schedule;
mod settings;
mod state;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use engine::plugin::AnySink;
use engine::{BuildContext, Outbox, OutboxSink};
use tokio_util::sync::CancellationToken;

pub use compression::Compression;
pub use settings::CatchUp;

pub(crate) use client::{Endpoint, Http, Transport, bearer, secret_value};
pub(crate) use fit::{Fit, fit, json_bytes, written_bytes};
pub(crate) use protocol::{Packed, Parcel, Protocol, Rejected, Reply, Request, Verdict, batch_id, excerpt, id_of};
pub(crate) use settings::{Common, Most, Settings};

use live::Live;

pub(crate) use cycle::Pusher;
pub(crate) use meters::Meters;

/// A sink that sends what an outbox holds.
pub(crate) fn outbox_sink(cx: &BuildContext, settings: Settings, http: Http, protocol: Box<dyn Protocol>) -> AnySink {
    AnySink::Outbox(Box::new(FromOutbox { meters: Meters::new(&cx.metrics, &cx.name), settings, http, protocol }))
}

/// A sink that sends the live stream.
pub(crate) fn stream_sink(cx: &BuildContext, settings: Settings, http: Http, protocol: Box<dyn Protocol>) -> AnySink {
    AnySink::Stream(Box::new(Live::new(Meters::new(&cx.metrics, &cx.name), settings, Box::new(http), protocol)))
}

/// Built and not yet running.
struct FromOutbox {
    settings: Settings,
    meters: Meters,
    http: Http,
    protocol: Box<dyn Protocol>,
}

#[async_trait]
impl OutboxSink for FromOutbox {
    async fn run(self: Box<Self>, outbox: Arc<dyn Outbox>, shutdown: CancellationToken) {
        let Self { settings, meters, http, protocol } = *self;
        Pusher::new(settings, meters, outbox, protocol, Box::new(http)).run(shutdown).await;
    }
}
