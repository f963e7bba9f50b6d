//! Paused time and a receiver without a socket: outages of hours, counted request by request.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::memory::Memory;
use super::*;
use crate::delivery::{Meters, Pusher, Reply, Request, Transport};

type Calls = Arc<Mutex<Vec<(Instant, String)>>>;

/// Answers by a script, which is told how long the test has lasted.
struct Scripted<F> {
    start: Instant,
    calls: Calls,
    script: F,
}

#[async_trait]
impl<F: FnMut(Duration) -> Result<Reply, String> + Send + Sync> Transport for Scripted<F> {
    async fn post(&mut self, request: Request) -> Result<Reply, String> {
        self.calls
            .lock()
            .unwrap()
            .push((Instant::now(), request.headers["idempotency-key"].to_str().unwrap().to_owned()));
        (self.script)(self.start.elapsed())
    }
}

/// A push with the default times.
fn start(
    outbox: &Arc<Memory>,
    script: impl FnMut(Duration) -> Result<Reply, String> + Send + Sync + 'static,
) -> (Calls, CancellationToken, JoinHandle<()>) {
    let config =
        AugmiPush { endpoint: "https://api.example.com/".into(), agent_id: "agent-7".into(), ..AugmiPush::default() };
    let (settings, protocol) = config.check(&BuildContext::new("push")).unwrap();
    let meters = Meters::new(&Metrics::default(), "push");
    let calls = Calls::default();
    let transport = Scripted { start: Instant::now(), calls: Arc::clone(&calls), script };
    let pusher = Pusher::new(settings, meters, outbox.clone(), Box::new(protocol), Box::new(transport));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(pusher.run(shutdown.clone()));
    (calls, shutdown, task)
}

fn status(status: u16) -> Result<Reply, String> {
    Ok(Reply { status, ..Reply::default() })
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn an_outage_of_six_hours_loses_nothing_and_costs_few_requests() {
    // More than a batch waits; that must not bring requests forward.
    let outbox = Memory::with(&events(600));
    let (calls, shutdown, task) = start(&outbox, |at| if at < 6 * HOUR { Err("no route".into()) } else { status(200) });
    for _ in 0..6 * 60 {
        sleep(MINUTE).await;
        outbox.add(&events(3));
    }
    let made = calls.lock().unwrap().clone();
    let during = made.len();
    // Three failed cycles of five tries open the breaker; then one probe per cooldown, which ends
    // on a tick of the interval.
    assert!(during <= 3 * 5 + 6 * 4, "{during} requests");
    assert!(during >= 3 * 5 + 6 * 3 - 3, "{during} requests");
    let third_cycle = made[10].0 - made[0].0;
    assert!(third_cycle >= 10 * MINUTE, "{third_cycle:?}");
    assert!(made.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_secs(2)));
    sleep(HOUR / 2).await;
    assert_eq!(outbox.counts(), (0, 600 + 6 * 60 * 3, 0));
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lone_event_goes_with_the_interval_and_a_full_batch_before_it() {
    let outbox = Memory::with(&[]);
    let (calls, _shutdown, _task) = start(&outbox, |_| status(200));
    sleep(HOUR).await;
    assert_eq!(calls.lock().unwrap().len(), 0);
    outbox.add(&events(1));
    sleep(5 * MINUTE + Duration::from_secs(10)).await;
    assert_eq!(outbox.counts(), (0, 1, 0));
    outbox.add(&events(499));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(outbox.counts(), (499, 1, 0));
    outbox.add(&events(1));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(outbox.counts(), (0, 501, 0));
    assert_eq!(calls.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_rest_the_outbox_is_asked_twelve_times_a_minute() {
    let outbox = Memory::with(&[]);
    let (calls, _shutdown, _task) = start(&outbox, |_| status(200));
    sleep(HOUR).await;
    let polls = outbox.polls.load(Ordering::Relaxed);
    assert!((700..=740).contains(&polls), "{polls}");
    assert_eq!(calls.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_within_and_beyond_a_cycle() {
    for seconds in [30, 1200] {
        let outbox = Memory::with(&events(3));
        let asked = Duration::from_secs(seconds);
        let mut first = true;
        let (calls, shutdown, task) = start(&outbox, move |_| {
            let retry_after = std::mem::take(&mut first).then_some(asked);
            Ok(Reply { status: if retry_after.is_some() { 429 } else { 200 }, retry_after, ..Reply::default() })
        });
        sleep(HOUR).await;
        let calls = calls.lock().unwrap().clone();
        assert_eq!(calls.len(), 2);
        let wait = calls[1].0 - calls[0].0;
        assert!(wait >= asked && wait <= asked + 5 * MINUTE, "{wait:?} for {asked:?}");
        assert_eq!(calls[0].1, calls[1].1);
        shutdown.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_wrong_tokens_costs_a_handful_of_requests() {
    let outbox = Memory::with(&events(600));
    let (calls, _shutdown, _task) = start(&outbox, |_| status(403));
    sleep(HOUR).await;
    let requests = calls.lock().unwrap().len();
    assert!((3..=5).contains(&requests), "{requests}");
    assert_eq!(outbox.counts(), (600, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_between_tries_ends_at_shutdown() {
    let outbox = Memory::with(&events(3));
    let (calls, shutdown, task) =
        start(&outbox, |_| Ok(Reply { status: 503, retry_after: Some(4 * MINUTE), ..Reply::default() }));
    while calls.lock().unwrap().is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    shutdown.cancel();
    task.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
}
