//! The product's own reader: over the bytes, straight to events.
#![allow(dead_code, unused_imports, unreachable_pub)]

#[path = "../../../../sources/http_ingest/otlp/mod.rs"]
mod otlp;
#[path = "../../../../sources/told.rs"]
mod told;

fn main() {
    otlp_decoder::measure(|body| {
        let bounds = otlp::Bounds { events: 1000, bytes: 4 << 20 };
        let read = otlp::read(otlp::Signal::Traces, body, &mut otlp::Series::new(0, &[]), bounds, "");
        read.map_or(0, |decoded| decoded.events.len())
    });
}
