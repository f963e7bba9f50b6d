//! What stands in for `std::sync` and tokio while the model runs.
//!
//! Locks are shuttle's. Channels and notifications are tokio's own, behind a scheduling point
//! before each operation: shuttle runs every task on one thread, so an operation is one step, and
//! what may happen between any two steps is what is explored. Tasks are shuttle's. Time does not
//! pass: a deadline comes when the plan of an execution says so ([`tokio::time::elapse`]), which may
//! be at any moment.

pub mod sync;
pub mod tokio;

/// A place where another task may go on.
pub fn step() {
    // A panic is on its way through a destructor: the execution is over.
    if !std::thread::panicking() {
        // Shuttle's way to switch without waking oneself: who waits for a wake that was lost stays
        // asleep, and is found as a deadlock.
        shuttle::thread::sleep(std::time::Duration::ZERO);
    }
}
