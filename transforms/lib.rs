//! The built-in transforms: what cleans an event between its source and the sinks.
//!
//! | `type` | what it does |
//! |---|---|
//! | [`assemble`] | joins the pieces of a turn into one run |
//! | [`cost`] | adds to a model call what it cost |
//! | [`dedupe`] | drops an event that is safe already |
//! | [`enrich`] | adds what the client does not know: machine, deployment, agent |
//! | [`filter`] | drops events that nobody wants |
//! | [`redact`] | replaces secrets and personal data by a marker |
//! | [`sample`] | keeps a share of the runs, each whole |
//! | [`truncate`] | cuts long texts, and keeps their length and hash |
//!
//! **Order.** The graph decides it, through `inputs`: dedupe, then redact, then truncate. Redaction
//! must see the whole text: a secret that truncation has cut in half no longer looks like one, and
//! the half is enough to harm. Dedupe comes first because it is the cheapest.
//!
//! A transform runs inside the call of the source, on one batch at a time: no I/O, no waiting, and no
//! memory that grows with what a client sends.

pub mod assemble;
pub mod cost;
pub mod dedupe;
pub mod enrich;
pub mod filter;
pub mod redact;
pub mod sample;
pub mod truncate;

pub use assemble::Assemble;
pub use cost::Cost;
pub use dedupe::Dedupe;
pub use enrich::Enrich;
pub use filter::Filter;
pub use redact::Redact;
pub use sample::Sample;
pub use truncate::Truncate;

mod fields;

/// `, did you mean "x"?` where one of the known names is close to the unknown one, else nothing.
fn did_you_mean<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    engine::config::nearest(unknown, known).map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod testing;
