//! Events from NDJSON, out of a file or a pipe: what `export` writes and `POST /v1/events` takes.
//!
//! [`Lines`] cuts what it reads into lines. What holds:
//! 1. Memory is bounded whatever is read: one line of at most `max` bytes and 64 KiB read ahead. A line that
//!    is longer is passed over, and told with its length.
//! 2. The end of what is read is not final: a file that grows is read on. A line without its newline waits
//!    until it has one, or until [`Lines::finish`] says that there will be none.
//! 3. Gzip and zstd are told by their first bytes (`unpack.rs`), whatever the file is called. Places are in
//!    the text, so they are the same before a file is packed and after.
//! 4. An event whose line names no `trace_id` gets one that the same line at the same place of the same text
//!    always gets. So a line that is read again is a duplicate that the store knows.

mod unpack;

use std::io::{self, Read};

use engine::{Event, EventError, TraceId};

use crate::beginning::Beginning;
pub(crate) use unpack::Packing;
use unpack::Unpack;

/// The most that is read at once.
const CHUNK: usize = 64 * 1024;

/// What some editors write before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A place in the text, at which a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start, of the unpacked text.
    pub offset: u64,
    /// The line's number, from 1.
    pub number: u64,
}

impl Place {
    /// Where a text begins.
    pub const START: Self = Self { offset: 0, number: 1 };
}

/// Reads line by line. See the module's description.
#[derive(Debug)]
pub struct Lines<R: Read> {
    input: Unpack<R>,
    max: usize,
    /// What was read and not looked at; from `chunk_at` on.
    chunk: Vec<u8>,
    chunk_at: usize,
    /// The line that is being put together; empty once it is too long.
    line: Vec<u8>,
    /// Its length.
    len: u64,
    /// Where it begins.
    place: Place,
    /// What stands behind the line that is complete: 1 for its newline, 0 at the end.
    complete: Option<u64>,
    /// The beginning of the first line, until it is complete.
    first: Vec<u8>,
    beginning: Option<Beginning>,
}

impl<R: Read> Lines<R> {
    /// Of a text that is read from its start. A line of more than `max` bytes is passed over.
    pub fn new(input: R, max: usize) -> Self {
        Self::at(Unpack::new(input), max, Place::START, None)
    }

    /// Of a text that is not packed, and goes on at `place`.
    pub(crate) fn going_on(input: R, max: usize, place: Place, beginning: Option<Beginning>) -> Self {
        Self::at(Unpack::plain(input), max, place, beginning)
    }

    fn at(input: Unpack<R>, max: usize, place: Place, beginning: Option<Beginning>) -> Self {
        let (chunk, line, first) = (Vec::new(), Vec::new(), Vec::new());
        Self { input, max, chunk, chunk_at: 0, line, len: 0, place, complete: None, first, beginning }
    }

    /// Goes on to the next line. `false`: no more now.
    ///
    /// # Errors
    /// What is read from says; also where it is packed and broken, or ends in the middle.
    pub fn advance(&mut self) -> io::Result<bool> {
        self.consume();
        loop {
            let unread = &self.chunk[self.chunk_at..];
            if unread.is_empty() {
                if self.fill()? == 0 {
                    return Ok(false);
                }
                continue;
            }
            let newline = unread.iter().position(|byte| *byte == b'\n');
            let (from, to) = (self.chunk_at, self.chunk_at + newline.unwrap_or(unread.len()));
            self.chunk_at = to + usize::from(newline.is_some());
            self.push(from, to);
            if newline.is_some() {
                self.complete = Some(1);
                self.know_beginning();
                return Ok(true);
            }
        }
    }

    /// Takes what stands behind the last newline for a line: the text will not go on. `false` when nothing
    /// stands there.
    pub fn finish(&mut self) -> bool {
        self.consume();
        // What was held back to tell how it is packed is text where nothing follows.
        let held = self.input.finish();
        if !held.is_empty() {
            self.chunk = held;
            self.chunk_at = self.chunk.len();
            self.push(0, self.chunk_at);
        }
        if self.len == 0 {
            return false;
        }
        self.complete = Some(0);
        self.know_beginning();
        true
    }

    /// Whether a whole line can be had without reading on, which may block.
    pub fn has_line(&self) -> bool {
        self.chunk[self.chunk_at..].contains(&b'\n')
    }

    /// Where the line begins that [`Lines::advance`] or [`Lines::finish`] came to; else where the next one does.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the next line begins.
    pub(crate) fn behind(&self) -> Place {
        match self.complete {
            Some(end) => Place { offset: self.place.offset + self.len + end, number: self.place.number + 1 },
            None => self.place,
        }
    }

    /// Bytes of the text that were read, the line that is not complete among them.
    pub(crate) fn read_to(&self) -> u64 {
        self.place.offset + self.len + self.complete.unwrap_or(0)
    }

    /// What tells this text from others, once its first line is complete.
    pub(crate) fn beginning(&self) -> Option<&Beginning> {
        self.beginning.as_ref()
    }

    /// The event of the line that was come to; `None` where it is blank. `salt` makes an identity differ from that
    /// of the same line elsewhere; without one, an event that names no identity gets a new one.
    ///
    /// # Errors
    /// What is wrong with the line, for people; no value of it is repeated.
    pub fn event(&self, salt: Option<&[u8]>) -> Result<Option<Event>, String> {
        if self.len > self.max as u64 {
            return Err(format!("the line is {} bytes long; the most is {}", self.len, self.max));
        }
        let mut line = self.line.as_slice();
        if self.place == Place::START {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("not UTF-8 at byte {} of the line", error.valid_up_to()))?;
        let identity = || match salt {
            None => TraceId::new(),
            Some(salt) => TraceId::derived(&[
                b"ndjson",
                salt,
                self.beginning.as_ref().map_or("", Beginning::as_str).as_bytes(),
                &self.place.offset.to_le_bytes(),
                line,
            ]),
        };
        // A line has one line; that it is the first of itself would be taken for its place in the file.
        let in_line = |error: EventError| error.to_string().replace(" at line 1 column ", " at column ");
        Event::from_json_or(text, identity).map(Some).map_err(in_line)
    }

    fn consume(&mut self) {
        if self.complete.is_some() {
            self.place = self.behind();
            self.complete = None;
            self.line.clear();
            // A long line is rare; its memory is given back.
            self.line.shrink_to(CHUNK);
            self.len = 0;
        }
    }

    /// Adds a piece of the chunk to the line.
    fn push(&mut self, from: usize, to: usize) {
        let piece = &self.chunk[from..to];
        if self.beginning.is_none() && self.first.len() < Beginning::BYTES {
            let room = piece.len().min(Beginning::BYTES - self.first.len());
            self.first.extend_from_slice(&piece[..room]);
        }
        self.len += piece.len() as u64;
        if self.len <= self.max as u64 {
            self.line.extend_from_slice(piece);
        } else {
            self.line = Vec::new();
        }
    }

    fn know_beginning(&mut self) {
        if self.beginning.is_none() {
            self.beginning = Beginning::of(&self.first, true);
            self.first = Vec::new();
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.chunk_at = 0;
        self.chunk.resize(CHUNK, 0);
        let read = loop {
            match self.input.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(read) if read > 0 => self.chunk.truncate(read),
            // Nothing to read, often for long: the memory is given back meanwhile.
            _ => self.chunk = Vec::new(),
        }
        read
    }
}

/// The identity of a text's content, from its first bytes; `None` while they may still grow, unless `finished` says
/// that they will not.
///
/// # Errors
/// What is read from says.
pub(crate) fn beginning<R: Read>(input: R, finished: bool) -> io::Result<Option<Beginning>> {
    let mut bytes = Vec::new();
    Unpack::new(input).take(Beginning::BYTES as u64).read_to_end(&mut bytes)?;
    Ok(Beginning::of(&bytes, finished))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
