//! From one file of a name to the next, a batch at a time.
//!
//! [`Follower::gather`] reads what there is, at most a batch, and says up to which position that is. It never
//! waits; the caller decides when to come again. A file is left when its name leads to another one and nothing
//! more came between two looks at it: who renames a file may still have it open.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use engine::Event;

use super::counts::Counts;
use super::opened::{self, Change, Opened};
use super::position::Position;
use super::rejected::Rejected;

/// How much one batch may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The longest line that is taken.
    pub(super) line: usize,
    /// Events of a batch.
    pub(super) events: usize,
    /// Bytes of a batch; the last event may go beyond it.
    pub(super) bytes: usize,
}

/// So many bytes are read before the caller may look up, if none of it is taken.
const MAX_SCAN: u64 = 4 * 1024 * 1024;
/// So many files of a folder are looked at for one that was renamed.
const MAX_LOOKED_AT: usize = 4096;

/// What was read.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) events: Vec<Event>,
    /// Behind the last line that was read; `None` where there is nothing to come back to.
    pub(super) position: Option<Position>,
    pub(super) next: Next,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Comes again at once.
    More,
    /// Comes again later.
    Wait,
    /// Everything was read.
    Done,
    /// It cannot be read any further, and why.
    Failed(String),
}

/// What there is at a file's end.
enum End {
    /// What stands behind the last newline.
    Line,
    /// The next file.
    Opened,
    /// Nothing more now, or at all.
    Stay(Next),
}

/// Reads the files of a name. See the module.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    follow: bool,
    limits: Limits,
    counts: Counts,
    rejected: Rejected,
    /// Where to go on, until it is known whether that is possible.
    kept: Option<Position>,
    opened: Option<Opened>,
    /// The name leads to another file, and this one was read to its end once already.
    leaving: bool,
    /// Errors that were said.
    said: HashSet<String>,
}

impl Follower {
    /// Opens nothing yet.
    pub(super) fn new(
        path: PathBuf,
        follow: bool,
        limits: Limits,
        counts: Counts,
        rejected: Rejected,
        kept: Option<Position>,
    ) -> Self {
        Self { path, follow, limits, counts, rejected, kept, opened: None, leaving: false, said: HashSet::new() }
    }

    /// Reads on.
    pub(super) fn gather(&mut self) -> Gathered {
        let mut events = Vec::new();
        let next = match self.read(&mut events) {
            Ok(next) => next,
            Err(error) => self.failed(&error),
        };
        self.counts.behind.set(self.opened.as_ref().map_or(0, |opened| opened.behind().cast_signed()));
        if matches!(next, Next::Done | Next::Failed(_)) {
            let (file, rejected) = (self.path.display(), self.rejected.end());
            let lines = self.opened.as_ref().map_or(0, |opened| opened.lines.behind().number - 1);
            tracing::info!(%file, lines, rejected, "the file was read");
        }
        Gathered { events, position: self.opened.as_ref().map(Opened::position), next }
    }

    fn read(&mut self, events: &mut Vec<Event>) -> io::Result<Next> {
        if self.opened.is_none() && !self.open()? {
            return Ok(Next::Wait);
        }
        self.check()?;
        let (mut bytes, mut scanned) = (0, 0);
        while events.len() < self.limits.events && bytes < self.limits.bytes && scanned < MAX_SCAN {
            let Some(opened) = &mut self.opened else { return Ok(Next::Wait) };
            let before = opened.lines.behind().offset;
            if opened.broken || !opened.lines.advance()? {
                match self.at_end()? {
                    End::Line => {}
                    End::Opened => continue,
                    End::Stay(next) => return Ok(next),
                }
            }
            let Some(opened) = &mut self.opened else { return Ok(Next::Wait) };
            let place = opened.lines.place();
            // In a volume that was restored the inode is another, and so are the identities of events that name none:
            // rather twice than never.
            match opened.lines.event(Some(&opened.identity().1.to_le_bytes())) {
                Ok(Some(event)) => {
                    bytes += event.size_bytes();
                    events.push(event);
                }
                Ok(None) => {}
                Err(why) => self.rejected.line(place.number, &why),
            }
            self.counts.read.inc();
            scanned += opened.lines.behind().offset.saturating_sub(before);
        }
        Ok(Next::More)
    }

    /// At the file's end: takes what is left in it, or goes on to the next file, or stays.
    fn at_end(&mut self) -> io::Result<End> {
        let Some(opened) = &mut self.opened else { return Ok(End::Stay(Next::Wait)) };
        if self.follow {
            let other = opened::identity(&self.path).is_some_and(|now| now != opened.identity());
            if !other || !std::mem::replace(&mut self.leaving, true) {
                return Ok(End::Stay(Next::Wait));
            }
        }
        if !opened.broken && opened.lines.finish() {
            return Ok(End::Line);
        }
        if !self.follow {
            return Ok(End::Stay(Next::Done));
        }
        self.opened = None;
        Ok(if self.open()? { End::Opened } else { End::Stay(Next::Wait) })
    }

    /// Opens the file: the one that was read last, where it can be found. `false`: there is none yet.
    fn open(&mut self) -> io::Result<bool> {
        self.leaving = false;
        let file = match opened::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.follow => {
                self.say(&format!("there is no {}; it is waited for", self.path.display()));
                return Ok(false);
            }
            file => file?,
        };
        let mut opened = Opened::new(file, self.limits.line)?;
        if let Some(position) = self.kept.clone() {
            if opened.is_file_of(&position)? {
                opened.resume(&position)?;
            } else if let Some(mut renamed) = self.find(&position) {
                // What is left in it comes first.
                renamed.resume(&position)?;
                opened = renamed;
            } else {
                let file = self.path.display();
                tracing::info!(%file, "another file than the one that was read last; reading it from its start");
            }
        }
        self.kept = None;
        self.opened = Some(opened);
        Ok(true)
    }

    /// The file of a position under another name in the same folder: it was rotated.
    fn find(&mut self, position: &Position) -> Option<Opened> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for entry in std::fs::read_dir(folder).ok()?.take(MAX_LOOKED_AT).flatten() {
            use std::os::unix::fs::DirEntryExt as _;
            if entry.ino() != position.inode {
                continue;
            }
            let opened = opened::open(&entry.path()).and_then(|file| Opened::new(file, self.limits.line)).ok()?;
            return opened.is_file_of(position).ok()?.then_some(opened);
        }
        None
    }

    /// Looks what became of the open file.
    fn check(&mut self) -> io::Result<()> {
        let Some(opened) = &mut self.opened else { return Ok(()) };
        match opened.check()? {
            Change::None => {}
            Change::Grown => self.leaving = false,
            Change::BegunAnew => {
                self.leaving = false;
                tracing::info!(file = %self.path.display(), "the file was begun anew; reading it from its start");
            }
        }
        Ok(())
    }

    /// What an error means for the next look.
    fn failed(&mut self, error: &io::Error) -> Next {
        let message = format!("cannot read {}: {error}", self.path.display());
        // The system's errors may pass; what is packed does not get whole by itself.
        if error.raw_os_error().is_none()
            && let Some(opened) = &mut self.opened
        {
            opened.broken = true;
        }
        if !self.follow {
            return Next::Failed(message);
        }
        self.say(&message);
        Next::Wait
    }

    /// Says something once; the next look tries again.
    fn say(&mut self, message: &str) {
        if self.said.len() < 32 && self.said.insert(message.to_owned()) {
            tracing::warn!("{message} (said once)");
        }
    }
}
