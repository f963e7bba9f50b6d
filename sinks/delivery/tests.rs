//! The live stream against a scripted receiver, on paused time. How events leave an outbox is tested
//! with the sinks that do so.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Size, Time};
use engine::metrics::Metrics;
use engine::{
    Admission, Batch, BuildContext, Event, Kind, Outcome, Receipt, RefusalKind, Sink, Timestamp, TraceId, Unsent,
};
use reqwest::header::HeaderMap;
use tokio::time::sleep;

use super::live::Live;
use super::meters::Meters;
use super::*;

/// Sends the events' names, one a line.
struct Names;

impl Protocol for Names {
    fn pack(&mut self, page: &[Unsent], _limit: usize, _now: Timestamp) -> io::Result<Packed> {
        if page.is_empty() {
            return Ok(Packed::Empty);
        }
        let ids: Vec<TraceId> = page.iter().map(|unsent| unsent.event.trace_id).collect();
        let names: Vec<_> = page.iter().filter_map(|unsent| unsent.event.name.clone()).collect();
        let request = Request {
            endpoint: Endpoint::parse("https://receiver.example/").unwrap(),
            headers: HeaderMap::new(),
            body: names.join("\n").into_bytes(),
            max_answer: 100,
        };
        Ok(Packed::Parcels(vec![Parcel {
            cursors: page.iter().map(|unsent| unsent.cursor).collect(),
            batch_id: batch_id("", &ids),
            plain_bytes: request.body.len(),
            ids,
            request,
        }]))
    }

    fn judge(&mut self, reply: &Reply, _sent: &[TraceId]) -> Verdict {
        let reason = format!("receiver answered {}", reply.status);
        match reply.status {
            200 => Verdict::Confirmed(Vec::new()),
            422 => Verdict::Refused { reason, too_large: false },
            401 => Verdict::Denied { reason },
            _ => Verdict::Later { reason, retry_after: reply.retry_after },
        }
    }
}

/// Answers what the script says, then 200; always 422 to a body with "guilty".
#[derive(Clone, Default)]
struct Script {
    statuses: Arc<Mutex<VecDeque<u16>>>,
    bodies: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Transport for Script {
    async fn post(&mut self, request: Request) -> Result<Reply, String> {
        let body = String::from_utf8(request.body).unwrap();
        let status = self.statuses.lock().unwrap().pop_front();
        let status = status.unwrap_or(if body.contains("guilty") { 422 } else { 200 });
        self.bodies.lock().unwrap().push(body);
        match status {
            0 => Err("no route".to_owned()),
            1 => std::future::pending().await,
            _ => Ok(Reply { status, ..Reply::default() }),
        }
    }
}

fn live(statuses: impl IntoIterator<Item = u16>) -> (Live, Script) {
    let common = Common {
        interval: ("batch_age", Time::seconds(1)),
        batch_events: 100,
        batch_bytes: Size::mib(1),
        max_body: Size::mib(1),
        timeout: Time::seconds(10),
        max_tries: 2,
        base_delay: Time::seconds(1),
        max_delay: Time::seconds(8),
        breaker_failures: 3,
        breaker_cooldown: Time::seconds(60),
    };
    let script = Script::default();
    script.statuses.lock().unwrap().extend(statuses);
    let settings = common.settings(&BuildContext::new("out"));
    let meters = Meters::new(&Metrics::default(), "out");
    (Live::new(meters, settings, Box::new(script.clone()), Box::new(Names)), script)
}

fn batch(names: &[&str], acknowledged: bool) -> (Batch, Receipt) {
    let events = names.iter().map(|name| Event { name: Some((*name).to_owned()), ..Event::new(Kind::LOG) });
    Batch::new(events.collect(), Admission::new(100, 100).try_acquire(1, 1).unwrap(), acknowledged)
}

fn kind(outcome: &Outcome) -> Option<RefusalKind> {
    match outcome {
        Outcome::Stored { .. } => None,
        Outcome::Failed(refusal) => Some(refusal.kind),
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_confirmed_once_the_receiver_has_confirmed_it() {
    let (mut live, script) = live([503]);
    let (one, mut first) = batch(&["a"], false);
    let (two, mut second) = batch(&["b"], false);
    live.write(vec![one, two]).await;
    assert_eq!([kind(&first.outcome().await), kind(&second.outcome().await)], [None, None]);
    assert_eq!(*script.bodies.lock().unwrap(), ["a\nb", "a\nb"], "one request, and one more after the 503");
    assert!(live.gate().unwrap().borrow().is_none());
}

#[tokio::test(start_paused = true)]
async fn while_the_receiver_fails_batches_fail_and_the_gate_is_closed_for_a_time() {
    let (mut live, script) = live([503, 0]);
    let gate = live.gate().unwrap();
    let (one, mut receipt) = batch(&["a"], false);
    live.write(vec![one]).await;
    assert_eq!(kind(&receipt.outcome().await), Some(RefusalKind::Failed));
    let refusal = gate.borrow().clone().unwrap();
    assert!(refusal.message.contains("sinks.out") && refusal.retry_after >= Duration::from_secs(1), "{refusal:?}");
    sleep(refusal.retry_after + Duration::from_millis(10)).await;
    assert!(gate.borrow().is_none(), "it opens by itself, so that the next write can try");
    let (again, mut receipt) = batch(&["a"], false);
    live.write(vec![again]).await;
    assert_eq!(kind(&receipt.outcome().await), None);
    assert_eq!(script.bodies.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_on_and_on_is_left_alone_by_the_breaker() {
    let (mut live, script) = live([500; 100]);
    let gate = live.gate().unwrap();
    for _ in 0..3 {
        let (one, mut receipt) = batch(&["a"], false);
        live.write(vec![one]).await;
        assert_eq!(kind(&receipt.outcome().await), Some(RefusalKind::Failed));
    }
    let open = gate.borrow().clone().unwrap();
    assert!(open.retry_after > Duration::from_secs(50), "{open:?}");
    let before = script.bodies.lock().unwrap().len();
    sleep(Duration::from_secs(61)).await;
    let (probe, _receipt) = batch(&["a"], false);
    live.write(vec![probe]).await;
    assert_eq!(script.bodies.lock().unwrap().len() - before, 1, "a probe is one request");
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_a_guilty_event_is_refused_and_no_other() {
    let (mut live, _script) = live([]);
    let (one, mut first) = batch(&["a", "b"], false);
    let (two, mut second) = batch(&["c", "guilty", "d"], false);
    let (three, mut third) = batch(&["e"], false);
    live.write(vec![one, two, three]).await;
    assert_eq!(kind(&first.outcome().await), None);
    assert_eq!(kind(&second.outcome().await), Some(RefusalKind::Refused));
    assert_eq!(kind(&third.outcome().await), None);
    assert!(live.gate().unwrap().borrow().is_none(), "the receiver works");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_does_not_hold_a_write_for_ever() {
    let (mut live, _script) = live([1]);
    let (one, mut receipt) = batch(&["a"], false);
    live.write(vec![one]).await;
    assert_eq!(kind(&receipt.outcome().await), Some(RefusalKind::Failed));
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_tried_on_and_what_was_not_is_answered() {
    let (mut live, script) = live([503, 503, 503, 401, 503]);
    let (queued, mut first) = batch(&["queued"], true);
    let (waiting, mut second) = batch(&["waiting"], false);
    live.write(vec![queued, waiting]).await;
    assert_eq!(kind(&first.outcome().await), None);
    assert_eq!(kind(&second.outcome().await), Some(RefusalKind::Failed));
    assert!(script.bodies.lock().unwrap().len() >= 6);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_twice_in_one_write_is_sent_once() {
    let (mut live, script) = live([]);
    let event = Event { name: Some("a".to_owned()), ..Event::new(Kind::LOG) };
    let copy = || Batch::new(vec![event.clone()], Admission::new(1, 1).try_acquire(1, 1).unwrap(), false);
    let ((one, mut first), (two, mut second)) = (copy(), copy());
    live.write(vec![one, two]).await;
    assert_eq!([kind(&first.outcome().await), kind(&second.outcome().await)], [None, None]);
    assert_eq!(*script.bodies.lock().unwrap(), ["a"]);
}
