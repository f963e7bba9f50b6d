//! A thousand agents push to one receiver that is gone for an hour: the real push on paused time, every
//! request counted by the minute. `benches/fleet` does it over sockets, against a real gateway.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::sync::Mutex;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::memory::Memory;
use super::*;
use crate::delivery::{Compression, Meters, Pusher, Reply, Request, Transport};

const AGENTS: usize = 1000;
const MINUTE: Duration = Duration::from_secs(60);
/// The outage.
const START: Duration = Duration::from_secs(40 * 60);
const END: Duration = Duration::from_secs(100 * 60);
const TEST: Duration = Duration::from_secs(200 * 60);

/// Answers 200, but nobody answers in the outage.
struct Shared {
    start: Instant,
    /// Requests by minute.
    made: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl Transport for Shared {
    async fn post(&mut self, _request: Request) -> Result<Reply, String> {
        let at = self.start.elapsed();
        self.made.lock().unwrap()[(at.as_secs() / 60) as usize] += 1;
        if at >= START && at < END { Err("no route".to_owned()) } else { Ok(Reply { status: 200, ..Reply::default() }) }
    }
}

/// What one run of the fleet showed.
#[derive(Debug)]
struct Seen {
    /// Requests in five minutes, before the outage.
    steady: usize,
    /// The most requests in any five minutes after it.
    peak: usize,
    /// Minutes from the receiver's return until no backlog was left.
    drained: Option<u64>,
}

/// One agent: an event whenever `every` has passed, each kept until it is pushed.
async fn agent(number: usize, every: Duration, outbox: Arc<Memory>) {
    sleep(every.mul_f64(number as f64 / AGENTS as f64)).await;
    loop {
        outbox.add(&events(1));
        outbox.forget_confirmed();
        sleep(every).await;
    }
}

/// A fleet whose agents have `per_interval` events in five minutes each, and send 10 in a batch.
async fn run(per_interval: u32) -> Seen {
    let made = Arc::new(Mutex::new(vec![0; 300]));
    let start = Instant::now();
    let (mut outboxes, mut pushers) = (Vec::new(), Vec::new());
    for number in 0..AGENTS {
        let config = AugmiPush {
            endpoint: "https://api.example.com/".into(),
            agent_id: format!("agent-{number}"),
            // A fiftieth of the default, and so are the events: what counts is requests.
            batch_events: 10,
            compression: Compression::None,
            ..AugmiPush::default()
        };
        let (settings, protocol) = config.check(&BuildContext::new("push")).unwrap();
        let meters = Meters::new(&Metrics::default(), "push");
        let outbox = Memory::with(&[]);
        let transport = Shared { start, made: Arc::clone(&made) };
        let pusher = Pusher::new(settings, meters, outbox.clone(), Box::new(protocol), Box::new(transport));
        pushers.push(tokio::spawn(pusher.run(CancellationToken::new())));
        tokio::spawn(agent(number, 5 * MINUTE / per_interval, outbox.clone()));
        outboxes.push(outbox);
    }
    let usual = 2 * per_interval as usize + 10;
    let mut drained = None;
    while start.elapsed() < TEST {
        sleep(MINUTE).await;
        let back = start.elapsed().checked_sub(END).map(|since| since.as_secs() / 60);
        if drained.is_none() && outboxes.iter().all(|outbox| outbox.counts().0 <= usual) {
            drained = back;
        }
    }
    for outbox in outboxes {
        let (unsent, confirmed, quarantined) = outbox.counts();
        let (added, dropped) = outbox.added();
        assert_eq!((dropped + unsent + confirmed, quarantined), (added, 0), "one is lost");
    }
    // One that failed (an event settled twice, for instance) has ended.
    assert!(pushers.iter().all(|pusher| !pusher.is_finished()));
    let made = made.lock().unwrap();
    let of_five = |minutes: std::ops::Range<usize>| made[minutes].windows(5).map(|five| five.iter().sum::<usize>());
    Seen { steady: of_five(20..40).max().unwrap(), peak: of_five(100..200).max().unwrap(), drained }
}

fn check(seen: &Seen) {
    println!("{seen:?}");
    assert!(seen.peak <= 2 * seen.steady, "{seen:?}");
    assert!(seen.drained.is_some_and(|minutes| minutes <= 85), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_agents_come_back_after_an_hour_at_no_more_than_twice_their_usual_rate() {
    check(&run(8).await);
}

#[tokio::test(start_paused = true)]
async fn so_do_a_thousand_busy_ones_that_push_more_often_than_their_interval() {
    check(&run(25).await);
}
