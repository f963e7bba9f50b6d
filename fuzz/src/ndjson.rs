//! Lines of a file or a pipe, plain or packed.

use std::io::Read;

use engine::TraceId;
use sources::ndjson::{Lines, Place};

/// A line: where it stands, and the event's identity or what is wrong.
type Told = (Place, Result<Option<TraceId>, String>);

/// Gives so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let size = self.0.len().min(self.1).min(out.len());
        out[..size].copy_from_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        Ok(size)
    }
}

/// Any bytes as a file, in pieces of two sizes: places, identities and errors are the same, and where the file is not
/// packed the lines are those of the file.
pub fn ndjson(data: &[u8]) {
    let (choice, data) = crate::choice(data);
    let max = 16 << (choice % 16);
    let (whole, failed) = read(data, usize::MAX, max);
    let (pieced, failed_in_pieces) = read(data, 1 + usize::from(choice >> 4), max);
    if failed.is_none() && failed_in_pieces.is_none() {
        assert_eq!(whole, pieced);
    }
    assert_eq!(failed.is_some(), failed_in_pieces.is_some());
    if !data.starts_with(b"\x1f\x8b") && !data.starts_with(b"\x28\xb5\x2f\xfd") {
        assert_eq!(failed, None, "a text that is not packed cannot be broken");
        let places: Vec<_> = whole.iter().map(|(place, _)| *place).collect();
        let mut at = Place::START;
        let mut expected = Vec::new();
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            expected.push(at);
            at = Place { offset: at.offset + line.len() as u64, number: at.number + 1 };
        }
        assert_eq!(places, expected);
    }
}

fn read(data: &[u8], piece: usize, max: usize) -> (Vec<Told>, Option<String>) {
    let mut lines = Lines::new(Pieces(data, piece), max);
    let mut told = Vec::new();
    loop {
        match lines.advance() {
            Ok(true) => {}
            Ok(false) if lines.finish() => {}
            Ok(false) => return (told, None),
            Err(error) => return (told, Some(error.to_string())),
        }
        let event = lines.event(Some(b"fuzz"));
        if let Ok(Some(event)) = &event {
            crate::assert_round_trip(event);
        }
        told.push((lines.place(), event.map(|event| event.map(|event| event.trace_id))));
        // A packed body of nothing but line ends may hold any number of them.
        if told.len() > 100_000 {
            return (told, None);
        }
    }
}
