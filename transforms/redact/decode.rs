//! The text behind escapes: JSON in a string in JSON, `\u0073k-…`, `%73k-…`.
//!
//! A secret in such a text has its neighbours, or parts of itself, written as escapes. So a text that
//! holds any is decoded and scanned again, and what is found is replaced where it stands in the
//! original. Decoding works on a piece at a time: the map back to the original costs eight bytes an
//! escape, and a text may be nothing but escapes.

/// A piece of a text with its escapes undone.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// `(decoded, original)`: from this index in `bytes` on, positions run in parallel until the next
    /// entry. Kept where an escape ends and where one begins.
    steps: Vec<(u32, u32)>,
}

/// How much of the original is decoded at once, and how much of it again with the next piece, so that
/// a secret on the border is whole in one of them.
pub(super) const PIECE: usize = 64 << 10;
pub(super) const OVERLAP: usize = 8 << 10;

/// Undoes one level of escapes; `None` when there are none.
pub(super) fn decode(text: &[u8]) -> Option<Decoded> {
    let mut decoded = Decoded { bytes: Vec::new(), steps: Vec::new() };
    let mut at = 0;
    let mut copied = 0;
    while at < text.len() {
        let Some(escape) = (if matches!(text[at], b'\\' | b'%') { escape(&text[at..]) } else { None }) else {
            at += 1;
            continue;
        };
        decoded.bytes.extend_from_slice(&text[copied..at]);
        decoded.step(at);
        let mut utf8 = [0; 4];
        match escape.means {
            Means::Byte(b) => decoded.bytes.push(b),
            Means::Char(c) => decoded.bytes.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
        }
        at += escape.length;
        copied = at;
        decoded.step(at);
    }
    if copied == 0 {
        return None;
    }
    decoded.bytes.extend_from_slice(&text[copied..]);
    Some(decoded)
}

impl Decoded {
    #[allow(clippy::cast_possible_truncation)] // A piece is 64 KiB.
    fn step(&mut self, original: usize) {
        self.steps.push((self.bytes.len() as u32, original as u32));
    }

    /// The range of the original that `start..end` of the decoded bytes came from.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        (self.position(start), self.position_of_end(end))
    }

    fn position(&self, decoded: usize) -> usize {
        // The last step at or before: where two share a place (an escape follows an escape), the later.
        let step = self.steps.partition_point(|(at, _)| *at as usize <= decoded);
        self.at(step.checked_sub(1), decoded)
    }

    fn position_of_end(&self, decoded: usize) -> usize {
        // The end of the last byte: the first step that says this very place is where its escape ended.
        let first = self.steps.partition_point(|(at, _)| (*at as usize) < decoded);
        match self.steps.get(first) {
            Some((at, original)) if *at as usize == decoded => *original as usize,
            _ => self.at(first.checked_sub(1), decoded),
        }
    }

    fn at(&self, step: Option<usize>, decoded: usize) -> usize {
        let (from, original) = step.map_or((0, 0), |step| self.steps[step]);
        original as usize + (decoded - from as usize)
    }
}

struct Escape {
    means: Means,
    length: usize,
}

enum Means {
    Byte(u8),
    Char(char),
}

/// The escape that starts here, if one does.
fn escape(text: &[u8]) -> Option<Escape> {
    let byte = |b| Some(Escape { means: Means::Byte(b), length: 2 });
    match (text[0], text.get(1)?) {
        (b'%', _) => hex(text.get(1..3)?)
            .and_then(|code| u8::try_from(code).ok())
            .map(|b| Escape { means: Means::Byte(b), length: 3 }),
        (_, b'n') => byte(b'\n'),
        (_, b't') => byte(b'\t'),
        (_, b'r') => byte(b'\r'),
        (_, b @ (b'"' | b'\'' | b'\\' | b'/' | b'`')) => byte(*b),
        (_, b'x') => hex(text.get(2..4)?)
            .and_then(|code| u8::try_from(code).ok())
            .map(|b| Escape { means: Means::Byte(b), length: 4 }),
        (_, b'u') => {
            let c = char::from_u32(hex(text.get(2..6)?)?)?;
            Some(Escape { means: Means::Char(c), length: 6 })
        }
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, b| Some(code * 16 + char::from(*b).to_digit(16)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_found_behind_escapes_is_known_in_the_original() {
        let text = br"say \u0073\/k\n-%31\\.";
        let decoded = decode(text).unwrap();
        assert_eq!(decoded.bytes, b"say s/k\n-1\\.");
        assert_eq!(decoded.original(4, 7), (4, 13));
        assert_eq!(&text[4..13], br"\u0073\/k");
        assert_eq!(decoded.original(5, 6), (10, 12));
        assert_eq!(decoded.original(9, 10), (16, 19));
        assert_eq!(decoded.original(10, 12), (19, 22));
    }

    proptest! {
        #[test]
        fn decoding_any_text_maps_back_within_it(text in "([a%\\\\n\"u0-9é]|\\PC){0,60}") {
            if let Some(decoded) = decode(text.as_bytes()) {
                for start in 0..decoded.bytes.len() {
                    let (from, to) = decoded.original(start, start + 1);
                    prop_assert!(from < to && to <= text.len(), "{start} {from} {to}");
                }
            }
        }
    }
}
