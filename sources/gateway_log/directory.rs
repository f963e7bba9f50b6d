//! The log's folder: which files of the family there are, in the order in which they were written.
//!
//! A folder is not listed in one moment. While archives are renamed, one listing can miss a file that
//! is there all the time, and a name may stand for another file when it is opened. So a list counts
//! only when a second one says the same, and whoever opens a file compares its inode.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use engine::Timestamp;

use super::name::{Part, Pattern};

/// A folder that changed so short a time before it was listed may have changed again within one tick
/// of the file system's clock.
const TICK: Duration = Duration::from_secs(2);

/// A list is compared with the next one so often.
const MAX_LISTS: usize = 3;
/// The most files that are remembered, the newest ones; OpenClaw leaves six for a day, and deletes them
/// after one.
const MAX_FILES: usize = 1000;
/// A file with a later date, seen from now, was named by a clock that was wrong. The gateway's date is
/// the local one, so tomorrow's may be right.
const AHEAD: i64 = 2 * 24 * 60 * 60 * 1_000_000_000;

/// The folder, and what was in it when it was looked at last.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    pattern: Pattern,
    now: fn() -> Timestamp,
    entries: Vec<Entry>,
    /// When the folder had changed last, if the list is of a time safely after that.
    listed: Option<SystemTime>,
}

/// One file of the family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) part: Part,
    pub(super) name: String,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
}

/// What is known of a file that was read.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// The name under which it was written.
    pub(super) written_as: String,
    /// Its inode, where it is still sure that no other file has it now.
    pub(super) inode: Option<u64>,
    /// When it was written last.
    pub(super) modified: i64,
}

impl Entry {
    fn identity(&self) -> (&Part, u64) {
        (&self.part, self.inode)
    }
}

impl Directory {
    /// Looks at nothing yet. `now` tells which dates lie ahead.
    pub(super) fn new(path: PathBuf, pattern: Pattern, now: fn() -> Timestamp) -> Self {
        Self { path, pattern, now, entries: Vec::new(), listed: None }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub(super) fn path_of(&self, entry: &Entry) -> PathBuf {
        self.path.join(&entry.name)
    }

    /// The name under which a file was written.
    pub(super) fn written_as(&self, entry: &Entry) -> String {
        self.pattern.written_as(&entry.part.date)
    }

    /// Lists the folder if it has changed. A folder that does not exist yet is an empty one. `false`
    /// while it keeps changing: what was listed before says nothing for sure then.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn refresh(&mut self) -> io::Result<bool> {
        let changed = match std::fs::metadata(&self.path).and_then(|stat| stat.modified()) {
            Ok(changed) => changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.entries.clear();
                self.listed = None;
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        if self.listed == Some(changed) {
            return Ok(true);
        }
        // A clock that was set back says nothing: list again at the next look.
        let settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > TICK);
        self.listed = settled.then_some(changed);
        let mut entries = self.list()?;
        for _ in 0..MAX_LISTS {
            let again = self.list()?;
            let same = entries.iter().map(Entry::identity).eq(again.iter().map(Entry::identity));
            entries = again;
            if same {
                self.entries = entries;
                return Ok(true);
            }
        }
        self.listed = None;
        Ok(false)
    }

    /// The files, the oldest first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The files that are newer than one that was read, the oldest first.
    pub(super) fn newer_than<'a>(&'a self, left: &'a Left) -> impl Iterator<Item = &'a Entry> {
        let date = self.pattern.part(&left.written_as).map(|part| part.date).unwrap_or_default();
        // Read while the clock was wrong: by name nothing would ever be newer. What was read of the
        // others before is read again, under the same ids.
        let ahead = date > self.last_date();
        let now = left.inode.and_then(|inode| self.entries.iter().find(|entry| entry.inode == inode));
        self.entries.iter().filter(move |entry| match now {
            _ if ahead => true,
            Some(now) => entry.part > now.part,
            // It is gone. Of the same day, what is written now is newer; an archive is if it was
            // written after it.
            None if entry.part.date == date => entry.part.archive.0 == 0 || entry.modified > left.modified,
            None => entry.part.date > date,
        })
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let last_date = self.last_date();
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some(part) = self.pattern.part(&name).filter(|part| part.date <= last_date) else { continue };
            // Not followed if it is a link. A file that went meanwhile is not there.
            let Ok(stat) = entry.metadata() else { continue };
            if stat.is_file() {
                let modified = stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec());
                entries.push(Entry { part, name, inode: stat.ino(), size: stat.len(), modified });
            }
            if entries.len() >= 2 * MAX_FILES {
                keep_newest(&mut entries);
            }
        }
        keep_newest(&mut entries);
        Ok(entries)
    }

    /// The last date that a file can have.
    fn last_date(&self) -> String {
        let limit = Timestamp::from_nanos((self.now)().as_nanos().saturating_add(AHEAD));
        limit.to_string().chars().take("2026-11-24".len()).collect()
    }
}

fn keep_newest(entries: &mut Vec<Entry>) {
    entries.sort_by(|a, b| a.part.cmp(&b.part));
    let excess = entries.len().saturating_sub(MAX_FILES);
    entries.drain(..excess);
}
