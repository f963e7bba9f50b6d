//! Admission: how much may be in flight, counted in events and in bytes.
//!
//! Decided once, at the source. What was admitted holds [`Credits`] until every sink is done with
//! it, so every queue behind this point is bounded by it and none can overflow.
//! A batch larger than the whole budget is admitted alone, when nothing else is in flight: a limit
//! that a legal request can never pass would be a trap.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The budget. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_events: usize,
    max_bytes: usize,
    in_flight: Mutex<(usize, usize)>,
    returned: Notify,
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
        let shared = Shared { max_events, max_bytes, in_flight: Mutex::default(), returned: Notify::new() };
        Self(Arc::new(shared))
    }

    /// Credits for a batch, or `None` when there is no room now.
    #[must_use]
    pub fn try_acquire(&self, events: usize, bytes: usize) -> Option<Credits> {
        let mut now = self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = now.0 + events <= self.0.max_events && now.1 + bytes <= self.0.max_bytes;
        let alone = *now == (0, 0);
        (fits || alone).then(|| {
            now.0 += events;
            now.1 += bytes;
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
        *self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most events that may be in flight (but for a larger batch alone).
    #[must_use]
    pub fn max_events(&self) -> usize {
        self.0.max_events
    }
}

impl Drop for Credits {
    fn drop(&mut self) {
        let mut now = self.shared.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 -= self.events;
        now.1 -= self.bytes;
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
        assert_eq!(admission.max_events(), 10);
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
