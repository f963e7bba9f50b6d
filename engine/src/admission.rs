//! Admission: how much may be in flight, counted in events and in bytes.
//!
//! Decided once, at the source. What was admitted holds [`Credits`] until every sink is done with
//! it, so every queue behind this point is bounded by it and none can overflow.
//! A batch larger than the whole budget is admitted alone, when nothing else is in flight: a limit
//! that a legal request can never pass would be a trap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The budget. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    now: Mutex<Now>,
    returned: Notify,
}

#[derive(Debug)]
struct Now {
    max_events: usize,
    max_bytes: usize,
    events: usize,
    bytes: usize,
}

/// The right to have so many events and bytes in flight. Returns to the budget when dropped.
#[derive(Debug)]
pub struct Credits {
    shared: Arc<Shared>,
    events: usize,
    bytes: usize,
}

impl Admission {
    /// A budget of `max_events` events and `max_bytes` bytes.
    #[must_use]
    pub fn new(max_events: usize, max_bytes: usize) -> Self {
        let now = Mutex::new(Now { max_events, max_bytes, events: 0, bytes: 0 });
        Self(Arc::new(Shared { now, returned: Notify::new() }))
    }

    /// Another budget from now on. What is in flight stays so: where it is more than the new budget,
    /// nothing is admitted until it is less.
    pub fn resize(&self, max_events: usize, max_bytes: usize) {
        let mut now = self.0.lock();
        (now.max_events, now.max_bytes) = (max_events, max_bytes);
        drop(now);
        self.0.returned.notify_waiters();
    }

    /// Credits for a batch, or `None` when there is no room now.
    #[must_use]
    pub fn try_acquire(&self, events: usize, bytes: usize) -> Option<Credits> {
        let mut now = self.0.lock();
        let fits = now.events + events <= now.max_events && now.bytes + bytes <= now.max_bytes;
        let alone = (now.events, now.bytes) == (0, 0);
        (fits || alone).then(|| {
            now.events += events;
            now.bytes += bytes;
            Credits { shared: Arc::clone(&self.0), events, bytes }
        })
    }

    /// Waits until there is room. Cancel safe.
    pub async fn acquire(&self, events: usize, bytes: usize) -> Credits {
        loop {
            let returned = self.0.returned.notified();
            tokio::pin!(returned);
            // Registered before the attempt, so that a return between the two is not missed.
            returned.as_mut().enable();
            if let Some(credits) = self.try_acquire(events, bytes) {
                return credits;
            }
            returned.await;
        }
    }

    /// Events and bytes in flight now.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        let now = self.0.lock();
        (now.events, now.bytes)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Credits {
    fn drop(&mut self) {
        let mut now = self.shared.lock();
        now.events -= self.events;
        now.bytes -= self.bytes;
        drop(now);
        self.shared.returned.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_over_the_budget_is_admitted_alone() {
        let admission = Admission::new(10, 100);
        let small = admission.try_acquire(1, 1).unwrap();
        assert!(admission.try_acquire(1, 500).is_none());
        drop(small);
        let large = admission.try_acquire(1, 500).unwrap();
        assert!(admission.try_acquire(1, 1).is_none());
        drop(large);
        assert_eq!(admission.in_flight(), (0, 0));
    }

    #[test]
    fn what_fits_is_admitted_to_the_last_credit_and_byte() {
        let admission = Admission::new(10, 100);
        let first = admission.try_acquire(4, 40).unwrap();
        let second = admission.try_acquire(6, 60).unwrap();
        assert_eq!(admission.in_flight(), (10, 100));
        assert!(admission.try_acquire(0, 1).is_none());
        assert!(admission.try_acquire(1, 0).is_none());
        drop(first);
        assert!(admission.try_acquire(5, 1).is_none(), "more events than there are credits");
        assert!(admission.try_acquire(1, 41).is_none(), "more bytes than there are credits");
        let third = admission.try_acquire(4, 40).unwrap();
        drop((second, third));
        assert_eq!(admission.in_flight(), (0, 0));
    }

    #[tokio::test]
    async fn a_budget_that_grows_wakes_who_waits_and_one_that_shrinks_takes_nothing_back() {
        let admission = Admission::new(2, 100);
        let held = admission.try_acquire(2, 2).unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.acquire(2, 2).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        admission.resize(4, 100);
        let more = waiting.await.unwrap();
        admission.resize(3, 100);
        assert_eq!(admission.in_flight(), (4, 4));
        assert!(admission.try_acquire(1, 1).is_none());
        drop(more);
        let last = admission.try_acquire(1, 1).unwrap();
        drop((held, last));
        assert_eq!(admission.in_flight(), (0, 0));
    }

    proptest! {
        #[test]
        fn credits_return_to_full_and_the_budget_holds(steps in prop::collection::vec((any::<bool>(), 1usize..20, 1usize..300), 1..200)) {
            let admission = Admission::new(64, 1000);
            let mut held: Vec<Credits> = vec![];
            for (acquire, events, bytes) in steps {
                if acquire {
                    held.extend(admission.try_acquire(events, bytes));
                } else if !held.is_empty() {
                    held.swap_remove(events % held.len());
                }
                let (now_events, now_bytes) = admission.in_flight();
                prop_assert!(now_events <= 64 && now_bytes <= 1000);
                prop_assert_eq!(now_events, held.iter().map(|c| c.events).sum::<usize>());
            }
            held.clear();
            prop_assert_eq!(admission.in_flight(), (0, 0));
        }
    }
}
