//! How many of the first events of a page fit one body.

use std::io::{self, Write};

use engine::{Cursor, Event, TraceId, Unsent};

/// See [`fit`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// So many of the first events, so many bytes.
    Events { count: usize, bytes: usize },
    /// The first one can never be sent.
    Unsendable { cursor: Cursor, trace_id: TraceId, reason: String },
}

/// Takes as many of the first events as fit `limit` bytes beside an envelope of `envelope` bytes; a
/// single event may exceed `limit`, up to `max_body`. `measure` says what an event adds to the body,
/// or why it cannot be written.
pub(crate) fn fit(
    page: &[Unsent],
    envelope: usize,
    limit: usize,
    max_body: usize,
    measure: impl Fn(&Event) -> Result<usize, String>,
) -> Fit {
    let limit = limit.min(max_body);
    let mut bytes = envelope;
    let mut count = 0;
    for unsent in page {
        let measured = measure(&unsent.event);
        let after = measured.as_ref().map_or(usize::MAX, |event| bytes.saturating_add(*event));
        if after > limit && count > 0 {
            break;
        }
        let reason = match measured {
            Err(reason) => reason,
            Ok(event) if after > max_body => {
                format!("{event} bytes to send, more than a body of {max_body} bytes (max_body) can hold")
            }
            Ok(_) => {
                bytes = after;
                count += 1;
                continue;
            }
        };
        return Fit::Unsendable { cursor: unsent.cursor, trace_id: unsent.event.trace_id, reason };
    }
    Fit::Events { count, bytes }
}

/// Length of the event's JSON.
///
/// # Errors
/// Why it cannot be written.
pub(crate) fn json_bytes(event: &Event) -> Result<usize, String> {
    let written = written_bytes(|out| serde_json::to_writer(out, event).map_err(io::Error::from));
    written.map_err(|error| format!("cannot be written as JSON: {error}"))
}

/// How much `write` writes.
///
/// # Errors
/// What it says.
pub(crate) fn written_bytes(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<usize> {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    write(&mut count)?;
    Ok(count.0)
}
