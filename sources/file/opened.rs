//! One open file, and what becomes of it while it is read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::position::Position;
use crate::beginning::Beginning;
use crate::ndjson::{self, Lines, Packing, Place};

/// Device and inode: what a name leads to.
pub(super) type Identity = (u64, u64);

/// What the name leads to now; nothing where there is no file.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|stat| of(&stat))
}

fn of(stat: &Metadata) -> Identity {
    (stat.dev(), stat.ino())
}

/// Opens a file for reading.
///
/// # Errors
/// The system's; also for what is no regular file: a pipe would hang.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file; a pipe is read with path = \"-\""));
    }
    Ok(file)
}

/// Reads a file from a place on, whoever else reads it.
#[derive(Debug)]
pub(super) struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// What became of a file since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It has more.
    Grown,
    /// It was cut, or written anew.
    BegunAnew,
}

/// An open file and the place in it.
#[derive(Debug)]
pub(super) struct Opened {
    file: Arc<File>,
    identity: Identity,
    packing: Option<Packing>,
    size: u64,
    max_line: usize,
    pub(super) lines: Lines<From>,
    /// It cannot be read on from here: what is packed is broken.
    pub(super) broken: bool,
}

impl Opened {
    /// Takes a file, from its start.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(file: File, max_line: usize) -> io::Result<Self> {
        let stat = file.metadata()?;
        let file = Arc::new(file);
        let mut opened = Self {
            lines: Lines::new(From { file: Arc::clone(&file), at: 0 }, max_line),
            file,
            identity: of(&stat),
            packing: None,
            size: stat.len(),
            max_line,
            broken: false,
        };
        opened.packing = opened.look_how_packed()?;
        Ok(opened)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether this is the file of a position.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn is_file_of(&self, position: &Position) -> io::Result<bool> {
        Ok(self.identity.1 == position.inode
            && (position.beginning.is_none() || self.look_at_beginning(true)? == position.beginning))
    }

    /// Goes to a position of this file.
    ///
    /// # Errors
    /// The system's; where the file is packed, also that it is broken.
    pub(super) fn resume(&mut self, position: &Position) -> io::Result<()> {
        if self.packing == Some(Packing::Plain) {
            let from = From { file: Arc::clone(&self.file), at: position.offset };
            self.lines = Lines::going_on(from, self.max_line, position.place(), position.beginning.clone());
            return Ok(());
        }
        // There is no way into the middle of what is packed.
        while self.lines.behind().offset < position.offset && self.lines.advance()? {}
        Ok(())
    }

    /// Looks what became of the file. Where it was begun anew, reading begins anew.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn check(&mut self) -> io::Result<Change> {
        let stat = self.file.metadata()?;
        let before = std::mem::replace(&mut self.size, stat.len());
        let known = self.lines.beginning().cloned();
        let change = if self.packing.is_some_and(|packing| packing != Packing::Plain) {
            // It is read as a whole: what is written to it later makes it another.
            if self.size == before { Change::None } else { Change::BegunAnew }
        } else if self.size == self.lines.read_to() {
            Change::None
        } else if self.size < self.lines.behind().offset || known.is_some() && self.look_at_beginning(false)? != known {
            Change::BegunAnew
        } else {
            if self.size < self.lines.read_to() {
                // Who wrote half a line took it back.
                self.resume(&self.position())?;
            }
            Change::Grown
        };
        if change == Change::BegunAnew {
            self.lines = Lines::new(From { file: Arc::clone(&self.file), at: 0 }, self.max_line);
            self.broken = false;
        }
        if change != Change::None && self.lines.behind() == Place::START {
            self.packing = self.look_how_packed()?;
        }
        Ok(change)
    }

    /// Behind the last line that was dealt with.
    pub(super) fn position(&self) -> Position {
        let Place { offset, number } = self.lines.behind();
        Position { inode: self.identity.1, beginning: self.lines.beginning().cloned(), offset, line: number }
    }

    /// Bytes that are not read yet, as far as was seen; 0 for what is packed, whose size says nothing.
    pub(super) fn behind(&self) -> u64 {
        if self.packing == Some(Packing::Plain) { self.size.saturating_sub(self.lines.behind().offset) } else { 0 }
    }

    fn look_at_beginning(&self, finished: bool) -> io::Result<Option<Beginning>> {
        ndjson::beginning(From { file: Arc::clone(&self.file), at: 0 }, finished)
    }

    fn look_how_packed(&self) -> io::Result<Option<Packing>> {
        let mut first = Vec::new();
        From { file: Arc::clone(&self.file), at: 0 }.take(4).read_to_end(&mut first)?;
        Ok(if first.is_empty() { None } else { Packing::of(&first) })
    }
}
