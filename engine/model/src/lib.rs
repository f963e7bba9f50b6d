//! The concurrent core under a scheduler that tries what a machine does rarely.
//!
//! **What is real.** `build.rs` copies the engine's sources and `transforms/dedupe.rs` and leads their
//! `std::sync` and tokio to [`shim`]; not a line else is changed, and nothing in the product knows of
//! the model. So admission, delivery and receipt, the sinks' queues and the writes of all that
//! waits, routing, dedupe and the whole of `Runtime::run` with its drain and its reloads are the product's own code.
//!
//! **What is a model.** The clients, the sink and time. The sink does as `sinks/sqlite_store/writer.rs`
//! does: one commit for all it is given, each alone where that failed, batches that were
//! acknowledged are held until they are kept, a last try when it closes. tokio's channels are its
//! own, each operation one step. Time does not pass; deadlines come when a plan says so.
//!
//! **Why shuttle.** loom tries every interleaving, and is beaten by the number of steps of a whole
//! run; stateright wants the protocol written again as a state machine, and would then check that.
//! Shuttle runs the code itself, at random and by priorities (PCT), and prints the schedule that failed.
//! The core alone ([`core`](real::core)) is small enough to be tried in every interleaving.
//!
//! **Whether it would notice.** Each mistake of `mistakes.rs` is made in a copy of its own, and
//! `tests/model.rs` demands that it is found.

#![allow(clippy::duplicate_mod)]

pub mod plan;
pub mod shim;

/// The code as it is.
#[path = "."]
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
pub mod real {
    include!(concat!(env!("OUT_DIR"), "/real.rs"));
    pub mod core;
    pub mod world;

    fn did_you_mean<'a>(_: &str, _: impl Iterator<Item = &'a str>) -> String {
        String::new()
    }
}

macro_rules! mistakes {
    ($($name:ident)*) => {$(
        /// The code with a mistake, see `mistakes.rs`.
        #[path = "."]
        #[allow(missing_docs, unreachable_pub, dead_code, unused, clippy::all)]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            pub mod core;
            pub mod world;

            fn did_you_mean<'a>(_: &str, _: impl Iterator<Item = &'a str>) -> String {
                String::new()
            }
        }
    )*};
}

mistakes! {
    credits_return_early
    first_sink_resolves
    dropped_counts_as_stored
    wake_is_lost
    dedupe_remembers_too_early
    dedupe_remembers_what_failed
    drain_leaves_the_queue
    queue_is_too_short
    drain_does_not_count
    reload_does_not_hold
}
