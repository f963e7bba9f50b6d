//! Delivery of the live stream: a batch is confirmed once the receiver has confirmed its events, so
//! that a client's acknowledgement speaks of the receiver.
//!
//! Nothing is kept here. What the receiver does not take in time fails, and its sender, which keeps it,
//! sends it again; while the receiver is left alone, sources refuse events at the door. A batch with an
//! event that the receiver will never take is refused as such (422 over HTTP): the sender finds the guilty
//! one by halving, as it would with the receiver itself. Batches whose senders were told "queued" are
//! tried on until they are delivered or the process ends; a refused event of theirs is dropped, loudly.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::{Batch, Holds, OpenError, Outbox, Refusal, RefusalKind, Sink, WriteSize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::cycle::{End, Failure, Pusher};
use super::held::{Fate, Held};
use super::meters::Meters;
use super::stop::Stop;
use super::{Protocol, Settings, Transport};

/// See the module's description.
pub(super) struct Live {
    pusher: Pusher,
    size: WriteSize,
    gate: watch::Sender<Option<Refusal>>,
    /// Opens the gate again.
    opening: Option<JoinHandle<()>>,
    failures: u32,
}

impl Live {
    pub(super) fn new(
        meters: Meters,
        settings: Settings,
        transport: Box<dyn Transport>,
        protocol: Box<dyn Protocol>,
    ) -> Self {
        let size = WriteSize { events: settings.batch_events, bytes: settings.batch_bytes, age: settings.interval };
        let nothing: Arc<dyn Outbox> = Arc::new(Held::new([]));
        let pusher = Pusher::new(settings, meters, nothing, protocol, transport);
        Self { pusher, size, gate: watch::channel(None).0, opening: None, failures: 0 }
    }

    /// Sends what is left of `held` once, with retries, and draws the conclusions.
    async fn attempt(&mut self, held: &Arc<Held>) -> End {
        let settings = Arc::clone(&self.pusher.settings);
        let tries = if self.pusher.breaker.is_open() { 1 } else { settings.max_tries };
        self.pusher.outbox = held.clone();
        self.pusher.unfinished = None;
        let limit = Stop::At(Instant::now() + 2 * settings.timeout);
        let end = match self.pusher.cycle(&limit, tries, settings.max_tries).await {
            End::Stopped => End::Failed(Failure::receiver("receiver did not take the events in time")),
            end => end,
        };
        match &end {
            End::Done => self.open_gate(),
            _ => self.close_gate(&end),
        }
        end
    }

    fn open_gate(&mut self) {
        self.failures = 0;
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        self.gate.send_if_modified(|gate| gate.take().is_some());
    }

    /// Sources refuse events while there is no hope for them.
    fn close_gate(&mut self, end: &End) {
        self.failures = self.failures.saturating_add(1);
        let asked =
            if let End::Failed(failure) = end { failure.retry_after.unwrap_or_default() } else { Duration::ZERO };
        let settings = &self.pusher.settings;
        let pause = settings.backoff.delay(self.failures, fastrand::f64()).max(asked.min(super::retry_after::MAX));
        // What the breaker says is known once the pusher has noted the failure.
        self.hold(pause);
    }

    fn hold(&mut self, pause: Duration) {
        self.gate.send_replace(Some(self.refusal(pause)));
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        let gate = self.gate.clone();
        self.opening = Some(tokio::spawn(async move {
            sleep(pause).await;
            gate.send_replace(None);
        }));
    }

    fn refusal(&self, pause: Duration) -> Refusal {
        let message = format!(
            "sinks.{}: the receiver does not take events now; send them again later",
            self.pusher.settings.name
        );
        Refusal::new(RefusalKind::Failed, message, pause)
    }
}

#[async_trait]
impl Sink for Live {
    fn holds(&self) -> Holds {
        Holds::NOTHING
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let settings = &self.pusher.settings;
        info!(component = settings.name, endpoint = settings.receiver, "push of the live stream is on");
        for warning in &settings.warnings {
            warn!(component = settings.name, endpoint = settings.receiver, "{warning}");
        }
        Ok(())
    }

    async fn write(&mut self, batches: Vec<Batch>) {
        let held = Arc::new(Held::new(&batches));
        let mut left = batches;
        loop {
            let end = self.attempt(&held).await;
            self.pusher.note(end);
            if let Some(pause) = self.pusher.breaker.open_for(Instant::now()).filter(|pause| !pause.is_zero()) {
                self.hold(pause);
            }
            left = self.answer(left, &held);
            if left.is_empty() {
                return;
            }
            let pause = self.pusher.settings.backoff.delay(self.failures, fastrand::f64());
            sleep(pause).await;
        }
    }

    fn write_size(&self) -> WriteSize {
        self.size
    }

    fn gate(&self) -> Option<watch::Receiver<Option<Refusal>>> {
        Some(self.gate.subscribe())
    }

    async fn close(&mut self) -> Result<(), OpenError> {
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        Ok(())
    }
}

impl Live {
    /// Answers every batch that can be; what is left was acknowledged and must be tried on.
    fn answer(&self, batches: Vec<Batch>, held: &Held) -> Vec<Batch> {
        let mut left = Vec::new();
        for batch in batches {
            match held.fate(&batch) {
                Fate::Delivered => batch.confirm(0),
                Fate::Refused if batch.is_acknowledged() => {
                    warn!(
                        component = self.pusher.settings.name,
                        events = batch.len(),
                        "events whose sender was told \"queued\" were refused by the receiver, some or all; those are lost"
                    );
                    batch.confirm(0);
                }
                Fate::Refused => {
                    let message = "the receiver behind will never take one of these events; send them in smaller \
                                   batches to find it, and leave it out";
                    batch.fail(Refusal::new(RefusalKind::Refused, message, Duration::ZERO));
                }
                Fate::Unsent if batch.is_acknowledged() => left.push(batch),
                Fate::Unsent => {
                    let pause = self.pusher.settings.backoff.delay(self.failures, fastrand::f64());
                    batch.fail(self.refusal(pause));
                }
            }
        }
        left
    }
}
