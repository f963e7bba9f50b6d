//! Every reader of bytes that come from outside, as a function that takes any bytes and panics where
//! the reader does not keep what it promises.
//!
//! `tests/corpus.rs` runs each of them over `corpus/`, in the ordinary tests. `libfuzzer/` runs them under
//! libFuzzer; the README beside it says how. Readers that are private to their crate are compiled
//! here from the same file (`#[path]`), so that no crate has a door only for this.

// Copies of private files bring their unused parts along.
#[allow(dead_code, missing_docs, unreachable_pub)]
mod gateway_log;
#[allow(dead_code, missing_docs, unreachable_pub)]
mod ingest;
#[allow(dead_code, missing_docs, unreachable_pub)]
mod kernel;
#[allow(dead_code, missing_docs, unreachable_pub)]
mod retry_after;

#[allow(dead_code, missing_docs, unreachable_pub)]
#[path = "../../sources/beginning.rs"]
mod beginning;
#[path = "../../sources/told.rs"]
mod told;

mod clean;
mod config;
mod event;
mod ndjson;

pub use clean::clean;
pub use config::config;
pub use event::event;
pub use gateway_log::gateway_log;
pub use ingest::{batch, body, flat, otlp, tokens};
pub use kernel::kernel;
pub use ndjson::ndjson;
pub use retry_after::retry_after;

/// A target: its name, which is its folder's in `corpus/`, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 12] = [
    ("batch", batch),
    ("body", body),
    ("clean", clean),
    ("config", config),
    ("event", event),
    ("flat", flat),
    ("gateway_log", gateway_log),
    ("kernel", kernel),
    ("ndjson", ndjson),
    ("otlp", otlp),
    ("retry_after", retry_after),
    ("tokens", tokens),
];

/// The first byte, which chooses among variants, and the rest.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, &[]), |(first, rest)| (*first, rest))
}

/// What was read is written such that it reads the same again: what is stored can be exported and sent.
fn assert_round_trip(read: &engine::Event) {
    let json = read.to_json();
    match engine::Event::from_json(&json) {
        Ok(again) => assert_eq!(again, *read, "reads differently again: {json}"),
        Err(error) => panic!("cannot be read again: {error}: {json}"),
    }
}
