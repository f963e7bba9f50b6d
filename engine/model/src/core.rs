//! Admission alone and delivery alone, small enough to be tried in every interleaving.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::future::{block_on, spawn};

use super::engine::{Admission, Batch, Event, Kind, Outcome};
use crate::plan::{Search, explore};
use crate::shim::{step, sync::Arc};

/// Two tasks that wait for the only credit, hold it and give it back.
///
/// # Errors
/// What broke.
pub fn two_wait_for_one_credit(search: Search) -> Result<usize, String> {
    explore(search, || {
        let admission = Admission::new(1, 1000);
        let in_flight = Arc::new(AtomicUsize::new(0));
        let tasks = [(); 2].map(|()| {
            let (admission, in_flight) = (admission.clone(), Arc::clone(&in_flight));
            spawn(async move {
                let credits = admission.acquire(1, 10).await;
                let before = in_flight.fetch_add(1, Ordering::SeqCst);
                assert_eq!(before, 0, "P2: more in flight than the budget");
                step();
                in_flight.fetch_sub(1, Ordering::SeqCst);
                drop(credits);
            })
        });
        block_on(async move {
            for task in tasks {
                let _ = task.await;
            }
            assert_eq!(admission.in_flight(), (0, 0), "P2: credits are gone");
        });
    })
}

/// One batch that goes to two sinks; the second may drop it.
///
/// # Errors
/// What broke.
pub fn one_batch_and_two_sinks(search: Search, second_drops_it: bool) -> Result<usize, String> {
    explore(search, move || {
        let admission = Admission::new(1, 1000);
        let credits = admission.try_acquire(1, 10).expect("nothing is in flight");
        let (batch, mut receipt) = Batch::new(vec![Event::new(Kind::LOG)], credits, false);
        let kept = Arc::new(Mutex::new(0));
        let sinks = [(batch.share(), second_drops_it), (batch, false)].map(|(copy, drops)| {
            let kept = Arc::clone(&kept);
            spawn(async move {
                // The batch waits in the sink's queue.
                step();
                if !drops {
                    *kept.lock().expect("no panic before") += 1;
                    // A commit and the word of it are two moments.
                    step();
                    copy.confirm(1);
                }
            })
        });
        block_on(async move {
            let outcome = receipt.outcome().await;
            // Whoever hears of it may send the next one at once.
            assert_eq!(admission.in_flight(), (0, 0), "P2: the credits are not back");
            let kept = *kept.lock().expect("no panic before");
            match outcome {
                Outcome::Stored { duplicates } => assert_eq!((kept, duplicates), (2, 1), "P1"),
                Outcome::Failed(_) => assert!(second_drops_it, "P1: both kept it and it failed"),
            }
            for sink in sinks {
                let _ = sink.await;
            }
            assert_eq!(admission.in_flight(), (0, 0), "P2: credits are gone");
        });
    })
}
