//! Receivers as they are.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use rand::seq::IteratorRandom as _;
use tokio::time::sleep;

use super::Fault;
use crate::event;
use crate::load;
use crate::receiver::Behaviour;
use crate::report::Kind;
use crate::rig::{Rig, Stop};

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 10] = [
    &Receivers::Slow,
    &Receivers::Dead,
    &Receivers::Lying,
    &Receivers::Redirecting,
    &Receivers::Endless,
    &Receivers::Huge,
    &Receivers::Closing,
    &Receivers::Late,
    &Receivers::TooLarge,
    &Receivers::Poison,
];

enum Receivers {
    Slow,
    Dead,
    Lying,
    Redirecting,
    Endless,
    Huge,
    Closing,
    Late,
    TooLarge,
    Poison,
}

#[async_trait(?Send)]
impl Fault for Receivers {
    fn name(&self) -> &'static str {
        match self {
            Self::Slow => "recv-slow",
            Self::Dead => "recv-dead",
            Self::Lying => "recv-lying",
            Self::Redirecting => "recv-redirect",
            Self::Endless => "recv-endless",
            Self::Huge => "recv-huge",
            Self::Closing => "recv-closing",
            Self::Late => "recv-late",
            Self::TooLarge => "recv-413",
            Self::Poison => "recv-poison",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Slow => "the receiver answers after up to a second",
            Self::Dead => "the receiver's port is closed",
            Self::Lying => "200 with a web page, an array, an error or strangers' ids; 202, 204, 5xx; no HTTP",
            Self::Redirecting => "the receiver sends elsewhere, where nobody may go",
            Self::Endless => "an answer that never ends",
            Self::Huge => "an answer of 64 MiB",
            Self::Closing => "the receiver closes before, inside or after the request, or inside its answer",
            Self::Late => "the receiver keeps the batch and answers when it is too late",
            Self::TooLarge => "413 for more than a few events",
            Self::Poison => "400 for whatever batch holds one certain event",
        }
    }

    fn quick(&self) -> bool {
        matches!(self, Self::Dead | Self::Lying | Self::Late | Self::Poison)
    }

    fn prepare(&self, rig: &mut Rig) -> Result<(), Stop> {
        if matches!(self, Self::Late | Self::Endless) {
            rig.setup.push_timeout = "400ms";
        }
        Ok(())
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        let slow = Duration::from_millis(rig.random.random_range(50..1000));
        match self {
            Self::Slow => for_a_while(rig, &[Behaviour::Slow(slow)]).await,
            Self::Dead => {
                rig.receiver.die().await;
                rig.pause(0.4, 0.8).await;
                rig.receiver.revive().await;
                Ok(())
            }
            Self::Lying => for_a_while(rig, &lies()).await,
            Self::Redirecting => for_a_while(rig, &[Behaviour::Redirect]).await,
            Self::Endless => for_a_while(rig, &[Behaviour::Endless]).await,
            Self::Huge => for_a_while(rig, &[Behaviour::Huge]).await,
            Self::Closing => for_a_while(rig, &[Behaviour::Close, Behaviour::CloseEarly, Behaviour::CutOff]).await,
            Self::Late => for_a_while(rig, &[Behaviour::Late]).await,
            Self::TooLarge => {
                let most = rig.random.random_range(1..60);
                for_a_while(rig, &[Behaviour::TooLarge(most)]).await
            }
            Self::Poison => poison(rig).await,
        }
    }
}

/// Answers that confirm nothing, however they look.
pub(super) fn lies() -> Vec<Behaviour> {
    let mut lies =
        vec![Behaviour::WebPage, Behaviour::Array, Behaviour::ErrorInside, Behaviour::Strangers, Behaviour::Garbage];
    // Not 400, 413, 422: said of an event alone, by a receiver that took others, they mean that event.
    lies.extend([202, 204, 301, 401, 403, 404, 429, 500, 503].map(Behaviour::Refuse));
    lies
}

/// One of the behaviours after the other, and at the end, mostly, a kill in the middle of the last.
async fn for_a_while(rig: &mut Rig, behaviours: &[Behaviour]) -> Result<(), Stop> {
    for _ in 0..3 {
        let one = behaviours.iter().choose(&mut rig.random).expect("there is at least one").clone();
        rig.receiver.behave(one);
        rig.pause(0.15, 0.3).await;
        rig.sidecar()?;
    }
    if rig.random.random_ratio(1, 3) {
        rig.kill().await?;
    }
    Ok(())
}

/// The receiver refuses every batch that holds one event: that one is quarantined, the others arrive.
async fn poison(rig: &mut Rig) -> Result<(), Stop> {
    let event = event::make(&mut rig.random, "poison", &rig.world.nonce);
    rig.receiver.behave(Behaviour::Poison(event.id));
    rig.allow.quarantined.insert(event.id);
    rig.world.ledger().begin(std::slice::from_ref(&event));
    load::once(&rig.world, &event).await;
    let began = std::time::Instant::now();
    loop {
        rig.sidecar()?;
        let count = crate::check::open(&rig.setup.db()).and_then(|db| {
            let ask = "SELECT count(*) FROM events WHERE quarantined_at IS NOT NULL AND trace_id = ?1";
            db.query_row(ask, [event.id.as_bytes()], |row| row.get::<_, i64>(0))
        });
        if count.is_ok_and(|count| count == 1) {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(20) {
            rig.world.find(Kind::Broken, 1, || "the poison event is not quarantined after 20 s".to_owned());
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
