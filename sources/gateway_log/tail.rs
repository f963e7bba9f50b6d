//! One log file, read line by line to its present end and on.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::lines::{Line, LineBuffer};
use super::position::{Beginning, Position};

/// The most that is read at once.
const CHUNK: usize = 64 * 1024;

/// An open file and the place in it.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// The name under which it was written.
    written_as: String,
    inode: u64,
    modified: i64,
    size: u64,
    beginning: Option<Beginning>,
    /// Where the line begins that is being put together.
    offset: u64,
    /// What was read and not looked at; from `chunk_at` on.
    chunk: Vec<u8>,
    chunk_at: usize,
    buffer: LineBuffer,
    /// What the file holds behind the line that is complete: 1 for its newline, 0 at a file's end.
    complete: Option<u64>,
}

/// What became of a file since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It has more.
    Grown,
    /// It is another log under the same inode.
    BegunAnew,
}

impl Tail {
    /// Opens a file at its start.
    ///
    /// # Errors
    /// The system's; also for anything that is no regular file, so that a pipe or a link which somebody
    /// put into a folder that all may write to neither hangs nor leads elsewhere.
    pub(super) fn open(path: &Path, written_as: String, max_line: usize) -> io::Result<Self> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let stat = file.metadata()?;
        if !stat.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        let mut tail = Self {
            file,
            written_as,
            inode: stat.ino(),
            modified: nanos(&stat),
            size: stat.len(),
            beginning: None,
            offset: 0,
            chunk: Vec::new(),
            chunk_at: 0,
            buffer: LineBuffer::new(max_line),
            complete: None,
        };
        tail.beginning = tail.look_at_beginning(false)?;
        Ok(tail)
    }

    /// Whether this is the file of a position.
    pub(super) fn is_file_of(&self, position: &Position) -> io::Result<bool> {
        Ok(match &position.beginning {
            Some(beginning) => self.look_at_beginning(true)?.as_ref() == Some(beginning),
            None => self.inode == position.inode,
        })
    }

    /// Goes on from an offset at which a line begins; [`Tail::check`] finds out if it lies beyond the end.
    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.forget();
    }

    /// Goes to the beginning of the last line that is not complete.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn seek_to_end(&mut self) -> io::Result<()> {
        let mut end = self.size;
        let mut chunk = vec![0; CHUNK];
        while end > 0 {
            let start = end.saturating_sub(CHUNK as u64);
            // At most CHUNK.
            #[allow(clippy::cast_possible_truncation)]
            let piece = &mut chunk[..(end - start) as usize];
            self.file.read_exact_at(piece, start)?;
            if let Some(at) = piece.iter().rposition(|b| *b == b'\n') {
                end = start + at as u64 + 1;
                break;
            }
            end = start;
        }
        self.seek(end);
        Ok(())
    }

    /// Looks what became of the file. When it was cut or written anew in place, begins again.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn check(&mut self) -> io::Result<Change> {
        let stat = self.file.metadata()?;
        let read_to = self.offset + self.buffer.line().len + self.complete.unwrap_or(0);
        self.modified = nanos(&stat);
        self.size = stat.len();
        if self.size == read_to {
            return Ok(Change::None);
        }
        let same = self.beginning.is_none() || self.look_at_beginning(false)? == self.beginning;
        if self.size > read_to && same {
            return Ok(Change::Grown);
        }
        self.offset = 0;
        self.forget();
        self.beginning = self.look_at_beginning(false)?;
        Ok(Change::BegunAnew)
    }

    /// Reads on until a line is complete. `false` at what [`Tail::check`] saw to be the file's end.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        if self.complete.is_some() {
            return Ok(true);
        }
        loop {
            let unread = &self.chunk[self.chunk_at..];
            if unread.is_empty() {
                if self.fill()? == 0 {
                    return Ok(false);
                }
                continue;
            }
            let newline = unread.iter().position(|b| *b == b'\n');
            let piece = &unread[..newline.unwrap_or(unread.len())];
            self.buffer.push(piece);
            self.chunk_at += piece.len() + usize::from(newline.is_some());
            if newline.is_some() {
                self.complete = Some(1);
                return self.line_is_complete(false).map(|()| true);
            }
        }
    }

    /// Takes what stands after the last newline for a line, as the file will not go on. `false` when
    /// nothing stands there.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        if self.buffer.line().len == 0 {
            return Ok(false);
        }
        self.complete = Some(0);
        self.line_is_complete(true).map(|()| true)
    }

    /// The line that is complete, and where it begins.
    pub(super) fn line(&self) -> (u64, Line<'_>) {
        (self.offset, self.buffer.line())
    }

    /// Moves behind the line that is complete.
    pub(super) fn consume(&mut self) {
        if let Some(behind) = self.complete.take() {
            self.offset += self.buffer.line().len + behind;
            self.buffer.clear();
        }
    }

    /// The place behind the last line that was consumed.
    pub(super) fn position(&self) -> Position {
        Position {
            file: self.written_as.clone(),
            inode: self.inode,
            beginning: self.beginning.clone(),
            offset: self.offset,
            modified: self.modified,
        }
    }

    /// The content's identity; known from the first complete line on.
    pub(super) fn beginning(&self) -> Option<&Beginning> {
        self.beginning.as_ref()
    }

    /// The name under which the file was written.
    pub(super) fn written_as(&self) -> &str {
        &self.written_as
    }

    /// Its inode.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// When it was written last, as far as was seen; nanoseconds since 1970.
    pub(super) fn modified(&self) -> i64 {
        self.modified
    }

    /// Bytes not dealt with, as far as was seen.
    pub(super) fn behind(&self) -> u64 {
        self.size.saturating_sub(self.offset)
    }

    fn line_is_complete(&mut self, finished: bool) -> io::Result<()> {
        if self.beginning.is_none() {
            self.beginning = self.look_at_beginning(finished)?;
        }
        Ok(())
    }

    fn look_at_beginning(&self, finished: bool) -> io::Result<Option<Beginning>> {
        let mut bytes = [0; Beginning::BYTES];
        let mut len = 0;
        while len < bytes.len() {
            match self.file.read_at(&mut bytes[len..], len as u64) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Beginning::of(&bytes[..len], finished))
    }

    fn fill(&mut self) -> io::Result<usize> {
        let at = self.offset + self.buffer.line().len;
        self.chunk_at = 0;
        if at >= self.size {
            // Most of the time there is nothing to read: the memory is given back meanwhile.
            self.chunk = Vec::new();
            return Ok(0);
        }
        self.chunk.resize(CHUNK, 0);
        let read = self.file.read_at(&mut self.chunk, at);
        self.chunk.truncate(*read.as_ref().unwrap_or(&0));
        read
    }

    fn forget(&mut self) {
        self.chunk = Vec::new();
        self.chunk_at = 0;
        self.buffer.clear();
        self.complete = None;
    }
}

fn nanos(stat: &std::fs::Metadata) -> i64 {
    stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec())
}
