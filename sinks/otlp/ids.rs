//! OpenTelemetry's ids: 16 bytes for a trace, 8 for a span. Ids that are none become such by a hash, always the same,
//! so that spans of a run stay in one trace and below each other.

use engine::Event;
use engine::identity::digest;

/// The trace of an event: its run; alone, it is a trace of its own.
pub(super) fn trace(event: &Event) -> [u8; 16] {
    match &event.run_id {
        Some(run) => run_trace(run),
        None => digest(&[b"otlp", event.trace_id.to_string().as_bytes()]),
    }
}

/// The trace of a run.
pub(super) fn run_trace(run: &str) -> [u8; 16] {
    bytes(run).unwrap_or_else(|| digest(&[b"otlp", run.as_bytes()]))
}

/// The span of an event.
pub(super) fn span(event: &Event) -> [u8; 8] {
    match &event.span_id {
        Some(id) => span_of(id),
        None => first(digest(&[b"otlp", event.trace_id.to_string().as_bytes()])),
    }
}

/// A span by the id that an event gives to it.
pub(super) fn span_of(id: &str) -> [u8; 8] {
    bytes(id).unwrap_or_else(|| first(digest(&[b"otlp", id.as_bytes()])))
}

/// In lower case, as OTLP's readers give it back.
pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id itself, where it is one: hexadecimal, of that length, not all zeros.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut id = [0; N];
    for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    id.iter().any(|byte| *byte != 0).then_some(id)
}

fn first(hash: [u8; 16]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&hash[..8]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_id_stays_it_and_anything_else_becomes_one() {
        assert_eq!(hex(&span_of("00F067AA0BA902B7")), "00f067aa0ba902b7");
        assert_eq!(hex(&run_trace("4bf92f3577b34da6a3ce929d0e0e4736")), "4bf92f3577b34da6a3ce929d0e0e4736");
        for none in ["", "0000000000000000", "00f067aa0ba902bx", "é0f067aa0ba902", "a turn"] {
            assert_ne!(span_of(none), [0; 8], "{none}");
            assert_eq!(span_of(none), span_of(none));
        }
        assert_ne!(span_of("a"), span_of("b"));
    }
}
