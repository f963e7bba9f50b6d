//! `dedupe`: an event that is safe already is dropped.
//!
//! 1. A key enters the memory only when the batch that carried it is known to be stored. An event
//!    that was refused, or whose commit failed, leaves nothing here, so sending it again works.
//! 2. Two copies that are in flight at the same time in two batches both pass; the store's unique
//!    `trace_id` settles that. Dedupe spares the work, the store gives the guarantee.
//! 3. The second of two equal events in one batch is dropped: both share one receipt, so the first
//!    cannot be lost without the client hearing of it.
//! 4. Where the store has lost its file and begun a new one, everything is forgotten: nothing of it is safe.
//! 5. The memory is bounded by `max_entries` and `window`; the oldest key goes first. A key's time
//!    runs from when it was stored, not from its last repeat.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::config::Time;
use engine::metrics::{IntCounter, IntGauge};
use engine::{Batch, BuildContext, Event, Losses, Outcome, Problem, Problems, Status, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Drops events that were stored already.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// Two events are the same when they are equal in all of these: `trace_id`, `kind`,
    /// `timestamp`, `duration_ms`, `status`, `error`, `session_id`, `run_id`, `agent_id`, `span_id`,
    /// `parent_span_id`, `name`, `input`, `output`, `attributes`.
    pub fields: Vec<String>,
    /// How many events are remembered; about 60 bytes each.
    pub max_entries: u32,
    /// How long an event is remembered after it was stored.
    pub window: Time,
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { fields: vec!["trace_id".into()], max_entries: 10_000, window: Time::seconds(600) }
    }
}

impl TransformConfig for Dedupe {
    const TYPE: &'static str = "dedupe";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        let start = Instant::now();
        self.build_with_clock(cx, Box::new(move || start.elapsed())).map(|built| Box::new(built) as Box<dyn Transform>)
    }
}

/// Time since some fixed moment.
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

impl Dedupe {
    fn build_with_clock(self, cx: &BuildContext, clock: Clock) -> Result<Deduper, Problems> {
        let mut problems = Problems::new();
        let mut fields = Vec::with_capacity(self.fields.len());
        for (at, name) in self.fields.iter().enumerate() {
            match FIELDS.iter().find(|(known, _)| known == name) {
                Some((_, feed)) => fields.push(*feed),
                None => {
                    let hint = crate::did_you_mean(name, FIELDS.iter().map(|(known, _)| *known));
                    let known = FIELDS.map(|(known, _)| known).join(", ");
                    let message = format!("an event has no field {name:?}{hint} (its fields: {known})");
                    problems.push(Problem::new(format!("fields[{at}]"), message));
                }
            }
        }
        if self.fields.is_empty() {
            problems.push(Problem::new("fields", "names no field; all events would be the same, so name at least one"));
        }
        if self.max_entries == 0 {
            problems.push(Problem::new("max_entries", "must be more than 0; to keep repeats, remove this transform"));
        }
        if self.window.0.is_zero() {
            problems.push(Problem::new("window", "must be more than 0; to keep repeats, remove this transform"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let entries = cx.metrics.gauge(&cx.name, "dedupe_entries", "events that are remembered as stored");
        let seen = Seen {
            keys: HashSet::new(),
            order: VecDeque::new(),
            max_entries: self.max_entries as usize,
            window: self.window.0,
            entries,
            losses: cx.losses.clone(),
            lost: 0,
        };
        let by_trace_id = self.fields == ["trace_id"];
        Ok(Deduper {
            fields: if by_trace_id { Vec::new() } else { fields },
            shared: Arc::new(Shared { seen: Mutex::new(seen), clock }),
            dropped: cx.metrics.counter(
                &cx.name,
                "dedupe_dropped_total",
                "events dropped because they were stored already",
            ),
        })
    }
}

/// 128 bits that stand for an event. A chance collision among 10,000 of them is one in 10^30.
type Key = [u8; 16];

struct Deduper {
    /// What makes the key; empty means `trace_id` alone, which is a key as it stands.
    fields: Vec<Feed>,
    shared: Arc<Shared>,
    dropped: IntCounter,
}

struct Shared {
    seen: Mutex<Seen>,
    clock: Clock,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transform for Deduper {
    fn apply(&self, batch: &mut Batch) {
        let before = batch.len();
        let mut new: HashSet<Key> = HashSet::with_capacity(before);
        let lost;
        {
            let mut seen = self.shared.lock();
            seen.forget_old((self.shared.clock)());
            lost = seen.lost;
            batch.drop_duplicates(|event| {
                let key = self.key(event);
                seen.keys.contains(&key) || !new.insert(key)
            });
        }
        self.dropped.inc_by((before - batch.len()) as u64);
        if new.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        batch.on_outcome(move |outcome| {
            if matches!(outcome, Outcome::Stored { .. }) {
                let now = (shared.clock)();
                let mut seen = shared.lock();
                // Stored, and lost with its file since: not safe.
                if seen.losses.count() == lost {
                    seen.remember(new, now);
                }
            }
        });
    }
}

impl Deduper {
    fn key(&self, event: &Event) -> Key {
        if self.fields.is_empty() {
            return *event.trace_id.as_bytes();
        }
        // Not a fast hash: whoever can choose what an agent says could else make two events collide.
        let mut hash = Sha256::new();
        for feed in &self.fields {
            feed(event, &mut hash);
        }
        let mut key = Key::default();
        key.copy_from_slice(&hash.finalize()[..16]);
        key
    }
}

/// The keys of what is stored, in the order they came.
struct Seen {
    keys: HashSet<Key>,
    order: VecDeque<(Key, Duration)>,
    max_entries: usize,
    window: Duration,
    entries: IntGauge,
    losses: Losses,
    /// The losses that were seen.
    lost: u64,
}

impl Seen {
    fn forget_old(&mut self, now: Duration) {
        let lost = self.losses.count();
        if std::mem::replace(&mut self.lost, lost) != lost {
            // The store began anew: what it held is not safe any more, and must be taken when it comes again.
            self.keys.clear();
            self.order.clear();
        }
        while self.order.front().is_some_and(|(_, at)| now.saturating_sub(*at) >= self.window) {
            self.forget_first();
        }
        self.report();
    }

    fn remember(&mut self, keys: HashSet<Key>, now: Duration) {
        for key in keys {
            if !self.keys.insert(key) {
                continue;
            }
            self.order.push_back((key, now));
            if self.order.len() > self.max_entries {
                self.forget_first();
            }
        }
        self.report();
    }

    fn forget_first(&mut self) {
        if let Some((key, _)) = self.order.pop_front() {
            self.keys.remove(&key);
        }
    }

    fn report(&self) {
        self.entries.set(i64::try_from(self.order.len()).unwrap_or(i64::MAX));
    }
}

/// Feeds one field into the hash of an event's key.
type Feed = fn(&Event, &mut Sha256);

const FIELDS: [(&str, Feed); 15] = [
    ("trace_id", |event, hash| hash.update(event.trace_id.as_bytes())),
    ("kind", |event, hash| feed(hash, Some(event.kind.as_str()))),
    ("timestamp", |event, hash| hash.update(event.timestamp.as_nanos().to_le_bytes())),
    ("duration_ms", |event, hash| {
        let millis = event.duration_ms.map(|millis| millis.to_string());
        feed(hash, millis.as_deref());
    }),
    ("status", |event, hash| {
        let status = event.status.map(|status| if status == Status::Ok { "ok" } else { "error" });
        feed(hash, status);
    }),
    ("error", |event, hash| feed(hash, event.error.as_deref())),
    ("session_id", |event, hash| feed(hash, event.session_id.as_deref())),
    ("run_id", |event, hash| feed(hash, event.run_id.as_deref())),
    ("agent_id", |event, hash| feed(hash, event.agent_id.as_deref())),
    ("span_id", |event, hash| feed(hash, event.span_id.as_deref())),
    ("parent_span_id", |event, hash| feed(hash, event.parent_span_id.as_deref())),
    ("name", |event, hash| feed(hash, event.name.as_deref())),
    ("input", |event, hash| feed(hash, event.input.as_ref().map(|json| json.as_str()))),
    ("output", |event, hash| feed(hash, event.output.as_ref().map(|json| json.as_str()))),
    ("attributes", |event, hash| feed(hash, event.attributes.as_ref().map(|json| json.as_str()))),
];

/// With its length, so that ("ab", "c") and ("a", "bc") differ; an absent field differs from an
/// empty one.
fn feed(hash: &mut Sha256, text: Option<&str>) {
    match text {
        None => hash.update([0]),
        Some(text) => {
            hash.update([1]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{batch, context, event, metric};
    use engine::Refusal;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Bench {
        dedupe: Deduper,
        seconds: Arc<AtomicU64>,
        cx: BuildContext,
    }

    impl Bench {
        fn new(config: &str) -> Self {
            let seconds = Arc::new(AtomicU64::new(0));
            let clock = Arc::clone(&seconds);
            let cx = context();
            let dedupe = serde_json::from_str::<Dedupe>(config)
                .unwrap()
                .build_with_clock(&cx, Box::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))))
                .unwrap();
            Self { dedupe, seconds, cx }
        }

        /// Sends and stores; says how many were left, and how many the receipt calls duplicates.
        async fn store(&self, events: &[Event]) -> (usize, usize) {
            let (mut batch, mut receipt) = batch(events.to_vec());
            self.dedupe.apply(&mut batch);
            let left = batch.len();
            batch.confirm(0);
            let Outcome::Stored { duplicates } = receipt.outcome().await else { panic!("not stored") };
            (left, duplicates)
        }
    }

    #[tokio::test]
    async fn a_repeat_of_what_is_stored_is_dropped_and_counted() {
        let bench = Bench::new("{}");
        let events = [event(), event()];
        assert_eq!(bench.store(&events).await, (2, 0));
        assert_eq!(bench.store(&events).await, (0, 2));
        assert_eq!(metric(&bench.cx, "openclaw_trace_dedupe_dropped_total"), 2);
        assert_eq!(metric(&bench.cx, "openclaw_trace_dedupe_entries"), 2);
    }

    #[tokio::test]
    async fn an_event_whose_commit_failed_can_be_sent_again() {
        let bench = Bench::new("{}");
        let events = [event()];
        let (mut failed, _receipt) = batch(events.to_vec());
        bench.dedupe.apply(&mut failed);
        failed.fail(Refusal::new(engine::RefusalKind::Failed, "disk", Duration::from_secs(1)));
        assert_eq!(bench.store(&events).await, (1, 0));
    }

    #[tokio::test]
    async fn an_event_that_one_of_two_sinks_dropped_can_be_sent_again() {
        let bench = Bench::new("{}");
        let events = [event()];
        let (mut first, _receipt) = batch(events.to_vec());
        bench.dedupe.apply(&mut first);
        let second = first.share();
        first.confirm(0);
        drop(second);
        assert_eq!(bench.store(&events).await, (1, 0));
    }

    #[tokio::test]
    async fn a_copy_passes_while_the_first_is_still_in_flight() {
        let bench = Bench::new("{}");
        let events = [event()];
        let (mut waiting, _receipt) = batch(events.to_vec());
        bench.dedupe.apply(&mut waiting);
        assert_eq!(bench.store(&events).await, (1, 0));
        waiting.confirm(0);
        assert_eq!(bench.store(&events).await, (0, 1));
    }

    #[tokio::test]
    async fn the_second_of_two_equal_events_in_one_batch_is_dropped() {
        let bench = Bench::new("{}");
        let twin = event();
        assert_eq!(bench.store(&[twin.clone(), twin]).await, (1, 1));
    }

    #[tokio::test]
    async fn a_key_is_forgotten_after_the_window() {
        let bench = Bench::new(r#"{"window": "10m"}"#);
        let events = [event()];
        bench.store(&events).await;
        bench.seconds.store(599, Ordering::Relaxed);
        assert_eq!(bench.store(&events).await.0, 0);
        bench.seconds.store(600, Ordering::Relaxed);
        assert_eq!(bench.store(&events).await.0, 1);
    }

    #[tokio::test]
    async fn the_oldest_key_makes_room() {
        let bench = Bench::new(r#"{"max_entries": 2}"#);
        let events = [event(), event(), event()];
        for one in &events {
            bench.store(std::slice::from_ref(one)).await;
        }
        assert_eq!(metric(&bench.cx, "openclaw_trace_dedupe_entries"), 2);
        assert_eq!(bench.store(&events[1..]).await.0, 0);
        assert_eq!(bench.store(&events[..1]).await.0, 1);
    }

    #[tokio::test]
    async fn chosen_fields_decide_what_is_the_same() {
        let bench = Bench::new(r#"{"fields": ["kind", "session_id", "input"]}"#);
        let mut a = event();
        a.session_id = Some("s".into());
        let mut b = event();
        b.session_id = Some("s".into());
        let mut c = b.clone();
        c.session_id = None;
        let mut d = b.clone();
        d.session_id = Some(String::new());
        assert_eq!(bench.store(&[a, b, c, d]).await, (3, 1));
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_nearest_name() {
        let config: Dedupe =
            serde_json::from_str(r#"{"fields": ["kind", "sesion_id"], "max_entries": 0, "window": 0}"#).unwrap();
        let problems = config.build(&context()).err().unwrap();
        assert_eq!(problems[0].key, "fields[1]");
        assert!(
            problems[0].message.starts_with("an event has no field \"sesion_id\", did you mean \"session_id\"?"),
            "{}",
            problems[0].message
        );
        assert_eq!(problems.len(), 3);
    }
}
