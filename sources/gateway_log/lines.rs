//! One line put together from the pieces in which it was read, in bounded memory.
//!
//! What is kept depends on the line's bytes alone, never on where the pieces were cut.

/// How much of the end of a line is kept when the line is too long. OpenClaw writes level, time and
/// message last, and clips the message to 4096 characters, so the end tells what a reader needs.
const KEPT_END: usize = 32 * 1024;

/// A line, or as much of it as has come.
#[derive(Debug)]
pub(super) struct LineBuffer {
    max: usize,
    bytes: Vec<u8>,
    len: u64,
}

/// A line without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// All of it; of a line that is too long, its end.
    pub(super) bytes: &'a [u8],
    /// Its length in the file.
    pub(super) len: u64,
}

impl Line<'_> {
    /// Whether the line was too long, and only its end is here.
    pub(super) fn is_cut(&self) -> bool {
        self.bytes.len() as u64 != self.len
    }
}

impl LineBuffer {
    /// For lines of at most `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { max, bytes: Vec::new(), len: 0 }
    }

    /// The next piece of the line; no newline in it.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.len += piece.len() as u64;
        if self.len <= self.max as u64 {
            self.bytes.extend_from_slice(piece);
            return;
        }
        let keep = KEPT_END.min(self.max);
        let piece = &piece[piece.len().saturating_sub(keep)..];
        let excess = (self.bytes.len() + piece.len()).saturating_sub(keep);
        self.bytes.drain(..excess);
        self.bytes.extend_from_slice(piece);
    }

    /// What has come.
    pub(super) fn line(&self) -> Line<'_> {
        Line { bytes: &self.bytes, len: self.len }
    }

    /// Begins the next line.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        // A long line is rare; its memory is given back.
        self.bytes.shrink_to(KEPT_END);
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(line in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
            let (mut whole, mut pieced) = (LineBuffer::new(100), LineBuffer::new(100));
            whole.push(&line);
            line.chunks(piece).for_each(|piece| pieced.push(piece));
            prop_assert_eq!(whole.line(), pieced.line());
            prop_assert_eq!(whole.line().is_cut(), line.len() > 100);
            prop_assert!(line.ends_with(whole.line().bytes));
        }
    }

    #[test]
    fn a_line_of_any_length_takes_bounded_memory() {
        let mut buffer = LineBuffer::new(256 * 1024);
        for _ in 0..1000 {
            buffer.push(&[b'x'; 64 * 1024]);
        }
        assert_eq!(buffer.line().len, 1000 * 64 * 1024);
        assert!(buffer.bytes.capacity() <= 512 * 1024);
        buffer.clear();
        assert!(buffer.bytes.capacity() <= KEPT_END);
    }
}
