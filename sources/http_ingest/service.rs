//! The way of a request through this source; `mod.rs` tells its steps.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use engine::{Admission, Event, Keep, Outcome, Outlet, Receipt, TraceId};
use listener::{Bearer, Hosts};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio_util::sync::CancellationToken;

use super::agents::{Agents, Caller};
use super::answer::Answer;
use super::body::{self, Text};
use super::otlp::{Changes, Series};
use super::rate::Rate;
use super::{Acknowledge, Counts, HttpIngest};

pub(super) struct Service {
    pub(super) config: HttpIngest,
    door: Door,
    hosts: Hosts,
    /// Bytes of bodies being read, over all requests; only its bytes are used.
    reading: Admission,
    rate: Option<Rate>,
    pub(super) counts: Counts,
    pub(super) outlet: Outlet,
    shutdown: CancellationToken,
    pub(super) started: Instant,
    /// What metrics stood at; read from the store at the first request that needs it. The lock is
    /// held until a request's events are stored, so that the next one is compared with them.
    series: Arc<Mutex<Option<Series>>>,
}

/// Whom the port is open to.
enum Door {
    /// Who has the one token, or anyone where that is empty.
    Token(Bearer),
    /// Agents, each with a token of its own.
    Agents(Arc<Agents>),
}

/// A request that may be taken, and its body.
pub(super) struct Received<F> {
    /// How the body is written.
    pub(super) form: F,
    pub(super) text: Text,
    pub(super) caller: Caller,
}

/// What became of events that were taken.
pub(super) struct Taken {
    pub(super) status: StatusCode,
    pub(super) duplicates: usize,
}

impl Service {
    pub(super) fn new(
        config: HttpIngest,
        agents: Option<Arc<Agents>>,
        counts: Counts,
        outlet: Outlet,
        shutdown: CancellationToken,
    ) -> Self {
        let rate = NonZeroU32::new(config.rate_limit)
            .map(|per_second| Rate::new(per_second, NonZeroU32::new(config.rate_burst).unwrap_or(per_second)));
        let reading = usize::try_from(config.max_inflated.0).unwrap_or(usize::MAX);
        Self {
            door: agents.map_or_else(|| Door::Token(Bearer::new(config.token.reveal())), Door::Agents),
            hosts: Hosts::new(&config.allowed_hosts),
            reading: Admission::new(usize::MAX, reading),
            rate,
            counts,
            outlet,
            shutdown,
            started: Instant::now(),
            series: Arc::default(),
            config,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Answer> {
        self.hosts.check(headers).map_err(|why| Answer::error(StatusCode::FORBIDDEN, why))
    }

    fn admit(&self, headers: &HeaderMap) -> Result<Caller, Answer> {
        self.check_host(headers)?;
        match &self.door {
            Door::Agents(agents) => agents.admit(headers),
            Door::Token(bearer) => {
                bearer.check(headers).map_err(|(status, why)| Answer::error(status, why))?;
                Ok(Caller::ANYONE)
            }
        }
    }

    /// Reads a request's body, once it is clear that it may be taken. `form` reads from the head how
    /// it is written.
    pub(super) async fn receive<F>(
        &self,
        request: Request,
        form: impl FnOnce(&HeaderMap) -> Result<F, Answer>,
    ) -> Result<Received<F>, Answer> {
        let (head, body) = request.into_parts();
        let early = self.admit(&head.headers).and_then(|caller| {
            if self.is_draining() {
                return Err(Answer::draining());
            }
            self.outlet.check_gates().map_err(Answer::from)?;
            Ok((caller, form(&head.headers)?))
        });
        match early {
            Ok((caller, form)) => {
                let text = body::read(&head.headers, body, &self.config, &self.reading).await?;
                Ok(Received { form, text, caller })
            }
            Err(answer) => {
                body::discard(body, &self.config).await;
                Err(answer)
            }
        }
    }

    fn queued(&self) -> bool {
        self.config.acknowledge == Acknowledge::Queued
    }

    /// Puts events into the pipeline and waits until they are as safe as the client is told.
    pub(super) async fn deliver(&self, mut events: Vec<Event>, caller: &Caller) -> Result<Taken, Answer> {
        self.check_rate(events.len(), caller)?;
        caller.claim(&mut events);
        let ids = ids(&events);
        let receipt = self.outlet.try_send(events, self.queued())?;
        if self.queued() {
            return Ok(Taken { status: StatusCode::ACCEPTED, duplicates: 0 });
        }
        self.outcome(receipt).await.unwrap_or_else(|| Err(Answer::unconfirmed(&ids)))
    }

    /// Like [`Service::deliver`], and waits until the events are stored, whatever `acknowledge` says: the sender of
    /// a batch forgets what is confirmed.
    pub(super) async fn deliver_batch(&self, mut events: Vec<Event>, caller: &Caller) -> Result<Taken, Answer> {
        self.check_rate(events.len(), caller)?;
        caller.claim(&mut events);
        let receipt = self.outlet.try_send(events, false)?;
        self.outcome(receipt).await.unwrap_or_else(|| Err(Answer::batch_unconfirmed()))
    }

    /// What became of events; `None` where that is not known in time.
    async fn outcome(&self, mut receipt: Receipt) -> Option<Result<Taken, Answer>> {
        tokio::time::timeout(self.config.answer_timeout.0, receipt.outcome()).await.ok().map(taken)
    }

    /// The series of metrics, for this request alone.
    pub(super) async fn series(&self) -> Result<OwnedMutexGuard<Option<Series>>, Answer> {
        let waiting = Arc::clone(&self.series).lock_owned();
        let mut series = tokio::time::timeout(self.config.answer_timeout.0, waiting)
            .await
            .map_err(|_| Answer::busy("the metrics before these are not stored yet; send again later"))?;
        if series.is_none() {
            let kept = self.outlet.kept().await.map_err(|error| {
                tracing::warn!(%error, "what metrics stood at cannot be read; their clients are told to send again");
                Answer::busy("what the metrics stood at cannot be read now; send again later")
            })?;
            *series = Some(Series::new(self.config.max_series, &kept));
        }
        Ok(series)
    }

    /// Like [`Service::deliver`], and moves the series on once the events are stored: also when the
    /// client does not wait for it, which is why a task of its own waits.
    pub(super) async fn deliver_metrics(
        &self,
        mut events: Vec<Event>,
        mut series: OwnedMutexGuard<Option<Series>>,
        changes: Changes,
        caller: &Caller,
    ) -> Result<Taken, Answer> {
        self.check_rate(events.len(), caller)?;
        caller.claim(&mut events);
        let ids = ids(&events);
        let keep: Vec<Keep> = changes.keep();
        let receipt = self.outlet.try_send_keeping(events, keep, self.queued())?;
        if self.queued() {
            commit(&mut series, changes);
            return Ok(Taken { status: StatusCode::ACCEPTED, duplicates: 0 });
        }
        let (told, outcome) = oneshot::channel();
        tokio::spawn(settle(receipt, series, changes, told));
        match tokio::time::timeout(self.config.answer_timeout.0, outcome).await {
            Ok(Ok(outcome)) => taken(outcome),
            Ok(Err(_)) | Err(_) => Err(Answer::unconfirmed(&ids)),
        }
    }

    /// The caller's own limit first: what it may not send must not use up what the others may.
    fn check_rate(&self, events: usize, caller: &Caller) -> Result<(), Answer> {
        caller.check_rate(events)?;
        self.rate.as_ref().map_or(Ok(()), |rate| rate.check(events))
    }
}

async fn settle(
    mut receipt: Receipt,
    mut series: OwnedMutexGuard<Option<Series>>,
    changes: Changes,
    told: oneshot::Sender<Outcome>,
) {
    let outcome = receipt.outcome().await;
    if matches!(outcome, Outcome::Stored { .. }) {
        commit(&mut series, changes);
    }
    drop(series);
    // The client may be gone.
    let _ = told.send(outcome);
}

fn commit(series: &mut Option<Series>, changes: Changes) {
    if let Some(series) = series {
        series.commit(changes);
    }
}

fn ids(events: &[Event]) -> Vec<TraceId> {
    events.iter().map(|event| event.trace_id).collect()
}

fn taken(outcome: Outcome) -> Result<Taken, Answer> {
    match outcome {
        Outcome::Stored { duplicates } => Ok(Taken { status: StatusCode::OK, duplicates }),
        Outcome::Failed(refusal) => Err(refusal.into()),
    }
}
