//! The file that is being written.
//!
//! Everything up to `safe` is whole lines of batches that were confirmed, or were found at the start. What is
//! written behind it becomes safe with [`Current::settle`], or is cut off again with [`Current::cut_back`]: a
//! write that fails in the middle leaves no half of a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use engine::Event;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

/// As much is written at once.
const CHUNK: usize = 64 * 1024;

/// What every line of ours begins with. A file that begins otherwise is somebody else's.
const BEGINNING: &[u8] = b"{\"trace_id\":\"";

/// The longest last line that is looked at whether it is an event.
const MAX_LAST: u64 = 4 * 1024 * 1024;

/// Device and inode: what a name leads to.
type Identity = (u64, u64);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Current {
    file: File,
    identity: Identity,
    safe: u64,
    /// Bytes of the lines behind that, also of those that are not written yet.
    behind: u64,
    /// Lines that are not written yet.
    text: Vec<u8>,
    /// What was written behind `safe` could not be cut off.
    spoiled: bool,
    /// When its first event came.
    began: Option<SystemTime>,
}

/// What was done to a file whose last line was not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repaired {
    /// Nothing: it was.
    Not,
    /// The line is an event; its newline was added.
    Ended,
    /// So many bytes were cut off.
    Cut(u64),
}

/// What a name leads to, beside the file that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// That file, as it was left.
    Same,
    /// That file, which somebody else has changed.
    Changed,
    /// Another file or none; the one that is open has a name elsewhere.
    Renamed,
    /// Another file or none; the one that is open is deleted.
    Deleted,
}

impl Current {
    /// Opens the file, or begins it, for its owner alone.
    ///
    /// # Errors
    /// The system's; also where it is no regular file, is not one of ours, or is being written by another process.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Repaired)> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(path)
            .map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::LOOP) => io::Error::other("is a symbolic link; name the file itself"),
                _ => error,
            })?;
        let stat = file.metadata()?;
        if !stat.is_file() {
            return Err(io::Error::other("is not a regular file; the sink console writes to pipes and terminals"));
        }
        // A file system without locks can be written all the same.
        if let Err(Errno::WOULDBLOCK) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            return Err(io::Error::other("is being written by another process or sink"));
        }
        let mut beginning = Vec::new();
        (&file).take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
        if beginning != BEGINNING[..beginning.len()] {
            return Err(io::Error::other("holds something else than events of this sink; move it away"));
        }
        let (safe, repaired) = repair(&file, stat.len())?;
        let began =
            (safe > 0).then(|| stat.created().or_else(|_| stat.modified()).unwrap_or_else(|_| SystemTime::now()));
        let identity = (stat.dev(), stat.ino());
        Ok((Self { file, identity, safe, behind: 0, text: Vec::new(), spoiled: false, began }, repaired))
    }

    /// Bytes of its lines, those that are not safe yet among them.
    pub(super) fn len(&self) -> u64 {
        self.safe + self.behind
    }

    /// When its first event came; nothing while it is empty.
    pub(super) fn began(&self) -> Option<SystemTime> {
        self.began
    }

    /// What the name leads to now.
    pub(super) fn look(&self, path: &Path) -> Found {
        match std::fs::metadata(path) {
            Ok(stat) if (stat.dev(), stat.ino()) == self.identity => {
                if stat.len() == self.safe || self.spoiled {
                    Found::Same
                } else {
                    Found::Changed
                }
            }
            _ if self.file.metadata().is_ok_and(|stat| stat.nlink() > 0) => Found::Renamed,
            _ => Found::Deleted,
        }
    }

    /// Writes an event's line, with its newline, behind what is there. It is not safe yet.
    ///
    /// # Errors
    /// The system's; then [`Current::cut_back`] is due.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.text.extend_from_slice(line);
        self.behind += line.len() as u64;
        if self.text.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Makes safe what was written: when this returns it outlives the process, and with `sync` a power loss.
    ///
    /// # Errors
    /// The system's; then [`Current::cut_back`] is due.
    pub(super) fn settle(&mut self, sync: bool) -> io::Result<()> {
        self.flush()?;
        if sync {
            self.file.sync_data()?;
        }
        self.safe += std::mem::take(&mut self.behind);
        if self.safe > 0 {
            self.began.get_or_insert_with(SystemTime::now);
        }
        self.text.shrink_to(2 * CHUNK);
        Ok(())
    }

    /// Takes back what was not made safe.
    ///
    /// # Errors
    /// The system's; it is tried again before the next batch.
    pub(super) fn cut_back(&mut self) -> io::Result<()> {
        self.text.clear();
        self.behind = 0;
        self.spoiled = true;
        self.file.set_len(self.safe)?;
        self.spoiled = false;
        Ok(())
    }

    /// Takes back what could not be taken back before.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.spoiled { self.cut_back() } else { Ok(()) }
    }

    /// Writes all of it to the disk.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

/// Ends or cuts off a last line that is not whole, and answers how long the file is then.
fn repair(file: &File, len: u64) -> io::Result<(u64, Repaired)> {
    let mut start = len;
    let mut chunk = vec![0; CHUNK];
    // To the beginning of the last line.
    while start > 0 {
        let from = start.saturating_sub(CHUNK as u64);
        // At most CHUNK.
        #[allow(clippy::cast_possible_truncation)]
        let piece = &mut chunk[..(start - from) as usize];
        file.read_exact_at(piece, from)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            start = from + at as u64 + 1;
            break;
        }
        start = from;
    }
    let last = len - start;
    if last == 0 {
        return Ok((len, Repaired::Not));
    }
    if last <= MAX_LAST {
        #[allow(clippy::cast_possible_truncation)]
        let mut line = vec![0; last as usize];
        file.read_exact_at(&mut line, start)?;
        if std::str::from_utf8(&line).is_ok_and(|line| Event::from_json(line).is_ok()) {
            (&*file).write_all(b"\n")?;
            return Ok((len + 1, Repaired::Ended));
        }
    }
    file.set_len(start)?;
    Ok((start, Repaired::Cut(last)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use engine::Kind;

    use super::*;

    fn line() -> String {
        Event::new(Kind::LOG).to_json() + "\n"
    }

    fn opened(text: impl AsRef<[u8]>) -> (io::Result<Repaired>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, text).unwrap();
        let opened = Current::open(&path).map(|(current, repaired)| {
            assert_eq!(current.len(), std::fs::metadata(&path).unwrap().len());
            assert_eq!(current.began().is_some(), current.len() > 0);
            repaired
        });
        (opened, std::fs::read(&path).unwrap())
    }

    #[test]
    fn a_last_line_that_is_torn_at_any_byte_is_cut_off_and_one_that_is_whole_is_ended() {
        let (first, second) = (line(), line());
        for cut in 1..second.len() {
            let (repaired, text) = opened(format!("{first}{}", &second[..cut]));
            if cut == second.len() - 1 {
                assert_eq!(
                    (repaired.unwrap(), text),
                    (Repaired::Ended, [first.clone(), second.clone()].concat().into())
                );
            } else {
                assert_eq!((repaired.unwrap(), text), (Repaired::Cut(cut as u64), first.clone().into()), "{cut}");
            }
            let (repaired, text) = opened(&second[..cut]);
            let whole = cut == second.len() - 1;
            assert_eq!(text, if whole { second.clone().into_bytes() } else { Vec::new() }, "{cut}");
            assert_ne!(repaired.unwrap(), Repaired::Not);
        }
        // Longer than what is looked at in one go, and what a power loss may leave.
        let (repaired, text) = opened([first.as_bytes(), &[0; 3 * CHUNK]].concat());
        assert_eq!((repaired.unwrap(), text), (Repaired::Cut(3 * CHUNK as u64), first.clone().into()));
        assert_eq!(opened(&first).0.unwrap(), Repaired::Not);
        assert_eq!(opened("").0.unwrap(), Repaired::Not);
    }

    #[test]
    fn a_file_of_somebody_else_is_not_touched() {
        for text in ["{\"name\":\"package.json\"}", "SQLite format 3\0", "{\n}", "\n", "notes"] {
            let (opened, after) = opened(text);
            assert!(opened.unwrap_err().to_string().contains("something else"), "{text}");
            assert_eq!(after, text.as_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(Current::open(folder.path()).is_err());
    }

    #[test]
    fn two_do_not_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        let (held, _) = Current::open(&path).unwrap();
        assert!(Current::open(&path).unwrap_err().to_string().contains("another process"));
        drop(held);
        Current::open(&path).unwrap();
    }
}
