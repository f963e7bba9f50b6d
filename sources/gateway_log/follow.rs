//! From one file to the next, a batch at a time.
//!
//! [`Follower::gather`] reads what there is, at most a batch, and says up to which position that is.
//! It never waits; the caller decides when to come again. A file is left when a newer one exists and
//! nothing more came between two looks at it: OpenClaw finishes what it has queued in the old file.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, SystemTime};

use engine::Event;

use super::counts::Counts;
use super::directory::{Directory, Entry, Left};
use super::event::{Place, Taken};
use super::position::Position;
use super::record::Record;
use super::tail::{Change, Tail};

/// How much one batch may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The longest line that is read whole.
    pub(super) line: usize,
    /// Events of a batch.
    pub(super) events: usize,
    /// Bytes of a batch; an event that is larger goes alone.
    pub(super) bytes: usize,
}

/// A start that finds nothing looks again so often: files may just be renamed.
const MAX_STARTS: usize = 3;
/// As many bytes are read before the caller may look up, if none of it is taken.
const MAX_SCAN: u64 = 4 * 1024 * 1024;
/// A file that was not written for so long will not be written again once there is a newer one.
const AT_REST: Duration = Duration::from_secs(60);

/// Reads the log. See the module.
#[derive(Debug)]
pub(super) struct Follower {
    directory: Directory,
    taken: Taken,
    limits: Limits,
    counts: Counts,
    tail: Option<Tail>,
    /// What was read before, while no file is open.
    left: Option<Left>,
    /// A newer file exists, and this one was read to its end once already.
    leaving: bool,
    /// The list of files is of now.
    listed: bool,
    /// Errors that were said.
    said: HashSet<String>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) events: Vec<Event>,
    /// Behind the last line that was read; `None` when there is no file.
    pub(super) position: Option<Position>,
    /// There is no more now.
    pub(super) idle: bool,
}

/// Where reading starts.
#[derive(Debug, Clone)]
pub(super) enum Start {
    /// At the oldest file's beginning.
    Oldest,
    /// At the newest file's end.
    End,
    /// Where it stopped.
    At(Position),
}

impl Follower {
    /// Opens nothing yet.
    pub(super) fn new(directory: Directory, taken: Taken, limits: Limits, counts: Counts) -> Self {
        Self {
            directory,
            taken,
            limits,
            counts,
            tail: None,
            left: None,
            leaving: false,
            listed: false,
            said: HashSet::new(),
        }
    }

    /// Goes to where reading starts. The position then, if there is a file.
    pub(super) fn start(&mut self, start: &Start) -> Option<Position> {
        for _ in 0..MAX_STARTS {
            self.refresh();
            let started = match start {
                Start::Oldest => self.open_next(None),
                Start::End => self.open_newest_at_its_end(),
                Start::At(position) => self.resume(position),
            };
            if started {
                break;
            }
        }
        if let (None, Start::At(position)) = (&self.tail, start) {
            tracing::info!(file = position.file, "the log that was read last is gone; going on with what is newer");
            let written_as = position.file.clone();
            self.left = Some(Left { written_as, inode: None, modified: position.modified });
        }
        self.tail.as_ref().map(Tail::position)
    }

    /// Reads on.
    pub(super) fn gather(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        let (mut bytes, mut scanned) = (0, 0);
        self.refresh();
        self.check();
        while gathered.events.len() < self.limits.events && bytes < self.limits.bytes && scanned < MAX_SCAN {
            match self.advance() {
                Advance::Line => {}
                Advance::Opened => continue,
                Advance::Nothing => {
                    gathered.idle = true;
                    break;
                }
            }
            let Some(tail) = &mut self.tail else { break };
            let (offset, line) = tail.line();
            let record = Record::read(line);
            let blank = line.bytes.iter().all(u8::is_ascii_whitespace);
            let event = record.as_ref().filter(|record| self.taken.takes(record)).map(|record| {
                let place = Place { file: tail.written_as(), beginning: tail.beginning(), offset };
                self.taken.event(place, line, record)
            });
            if let Some(event) = event {
                let size = event.size_bytes();
                if !gathered.events.is_empty() && bytes + size > self.limits.bytes {
                    break;
                }
                bytes += size;
                gathered.events.push(event);
                self.counts.taken.inc();
            }
            self.counts.read.inc();
            self.counts.unreadable.inc_by(u64::from(record.is_none() && !blank));
            self.counts.cut.inc_by(u64::from(line.is_cut()));
            scanned += line.len + 1;
            tail.consume();
        }
        gathered.position = self.tail.as_ref().map(Tail::position);
        self.measure();
        gathered
    }

    fn advance(&mut self) -> Advance {
        let Some(tail) = &mut self.tail else {
            let left = self.left.clone();
            return if self.open_next(left.as_ref()) { Advance::Opened } else { Advance::Nothing };
        };
        match tail.advance() {
            Ok(true) => Advance::Line,
            Ok(false) => self.at_end(),
            Err(error) => self.failed("read the gateway's log", &error),
        }
    }

    /// At the file's end: stays, or takes what is left in it, or goes on to the next file.
    fn at_end(&mut self) -> Advance {
        let Some(tail) = &mut self.tail else { return Advance::Nothing };
        let left =
            Left { written_as: tail.written_as().to_owned(), inode: Some(tail.inode()), modified: tail.modified() };
        if !self.listed || self.directory.newer_than(&left).next().is_none() {
            return Advance::Nothing;
        }
        if !self.leaving && !at_rest(tail.modified()) {
            self.leaving = true;
            return Advance::Nothing;
        }
        match tail.finish() {
            Ok(true) => Advance::Line,
            Ok(false) if self.open_next(Some(&left)) => Advance::Opened,
            Ok(false) => Advance::Nothing,
            Err(error) => self.failed("read the end of the gateway's log", &error),
        }
    }

    /// Opens the oldest file that is newer than the one that was read; keeps what is open if there is
    /// none. A file that may not be opened is passed over, or it would hide all that come after it.
    fn open_next(&mut self, left: Option<&Left>) -> bool {
        if !self.listed {
            return false;
        }
        for nth in 0.. {
            let entry = match left {
                Some(left) => self.directory.newer_than(left).nth(nth).cloned(),
                None => self.directory.entries().get(nth).cloned(),
            };
            let Some(entry) = entry else { break };
            match self.open(&entry) {
                Opened::Tail(tail) => {
                    self.tail = Some(*tail);
                    self.left = None;
                    self.leaving = false;
                    return true;
                }
                Opened::Moved => {
                    self.listed = false;
                    return false;
                }
                Opened::No => {}
            }
        }
        false
    }

    fn open_newest_at_its_end(&mut self) -> bool {
        let Some(entry) = self.directory.entries().last().cloned() else { return false };
        let Opened::Tail(mut tail) = self.open(&entry) else { return false };
        if let Err(error) = tail.seek_to_end() {
            self.failed("find the end of the gateway's log", &error);
            return false;
        }
        self.tail = Some(*tail);
        true
    }

    /// Goes on in the file of a position, whatever its name is now.
    fn resume(&mut self, position: &Position) -> bool {
        let same_day = |entry: &&Entry| self.directory.written_as(entry) == position.file;
        let mut entries: Vec<Entry> = self.directory.entries().iter().filter(same_day).cloned().collect();
        entries.sort_by_key(|entry| entry.inode != position.inode);
        for entry in &entries {
            let Opened::Tail(mut tail) = self.open(entry) else { continue };
            match tail.is_file_of(position) {
                Ok(true) => {
                    tail.seek(position.offset);
                    self.tail = Some(*tail);
                    return true;
                }
                Ok(false) => {}
                Err(error) => {
                    self.failed("read the gateway's log", &error);
                }
            }
        }
        false
    }

    fn open(&mut self, entry: &Entry) -> Opened {
        let (path, written_as) = (self.directory.path_of(entry), self.directory.written_as(entry));
        match Tail::open(&path, written_as, self.limits.line) {
            Ok(tail) if tail.inode() == entry.inode => {
                tracing::debug!(file = entry.name, "reading the gateway's log");
                Opened::Tail(Box::new(tail))
            }
            Ok(_) => Opened::Moved,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Opened::Moved,
            Err(error) => {
                self.failed(&format!("open the gateway's log {}", entry.name), &error);
                Opened::No
            }
        }
    }

    /// Looks what became of the open file.
    fn check(&mut self) {
        let Some(tail) = &mut self.tail else { return };
        match tail.check() {
            Ok(Change::None) => {}
            Ok(Change::Grown) => self.leaving = false,
            Ok(Change::BegunAnew) => {
                self.leaving = false;
                tracing::info!(file = tail.written_as(), "the log file was begun anew; reading it from its start");
            }
            Err(error) => {
                self.failed("look at the gateway's log", &error);
            }
        }
    }

    fn measure(&self) {
        let newer = |tail: &Tail| {
            let left =
                Left { written_as: tail.written_as().to_owned(), inode: Some(tail.inode()), modified: tail.modified() };
            self.directory.newer_than(&left).map(|entry| entry.size).sum::<u64>()
        };
        let behind = self.tail.as_ref().map_or(0, |tail| tail.behind() + newer(tail));
        self.counts.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
    }

    fn refresh(&mut self) {
        match self.directory.refresh() {
            Ok(listed) => self.listed = listed,
            Err(error) => {
                self.listed = false;
                self.failed("list the gateway's logs", &error);
            }
        }
    }

    /// Says an error once; the next look tries again.
    fn failed(&mut self, what: &str, error: &io::Error) -> Advance {
        let message = format!("cannot {what} in {}: {error}", self.directory.path().display());
        if self.said.len() < 32 && self.said.insert(message.clone()) {
            tracing::warn!("{message}; it is tried again at every poll");
        }
        Advance::Nothing
    }
}

/// What came of opening a file of the list.
enum Opened {
    /// It is open.
    Tail(Box<Tail>),
    /// Another file has its name now, or none.
    Moved,
    /// It cannot be opened.
    No,
}

enum Advance {
    /// A line is complete.
    Line,
    /// Another file is open.
    Opened,
    /// No more now.
    Nothing,
}

fn at_rest(modified: i64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i128::from(modified) + i128::try_from(AT_REST.as_nanos()).unwrap_or(i128::MAX)
        < i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{Logs, line};
    use super::*;

    #[test]
    fn a_name_that_stands_for_another_file_by_now_is_not_read_for_the_one_that_was_listed() {
        let logs = Logs::new();
        let (active, archive) = ("openclaw-2026-11-25.log", "openclaw-2026-11-25.1.log");
        logs.append(active, line("WARN", "test", "a"));
        let mut reader = logs.reader(Start::End);
        let entry = reader.follower.directory.entries()[0].clone();
        assert!(matches!(reader.follower.open(&entry), Opened::Tail(_)));
        std::fs::rename(logs.path(active), logs.path(archive)).unwrap();
        assert!(matches!(reader.follower.open(&entry), Opened::Moved));
        logs.append(active, line("WARN", "test", "b"));
        assert!(matches!(reader.follower.open(&entry), Opened::Moved));
        // Nothing is opened by a list that is known to be old, until there is a new one.
        reader.follower.tail = None;
        assert!(!reader.follower.open_next(None));
        assert!(!reader.follower.listed && reader.follower.tail.is_none());
        reader.follower.refresh();
        assert!(reader.follower.open_next(None));
    }
}
