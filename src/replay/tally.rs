//! What became of the events, for the person who waits.

use sinks::Taken;

use crate::logging::say;
use crate::progress::Bar;
use crate::text::{counted, line};

/// So many lines are said one by one.
const SAID: u64 = 100;

/// Counts, and says what is rejected.
pub(crate) struct Tally {
    bar: Option<(Bar, u64)>,
    read: u64,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
}

impl Tally {
    pub(crate) fn new(bar: Option<(Bar, u64)>) -> Self {
        Self { bar, read: 0, accepted: 0, duplicates: 0, rejected: 0 }
    }

    /// One event more was read; so many bytes in all.
    pub(crate) fn read(&mut self, bytes: u64) {
        self.read += 1;
        if let (Some((bar, all)), 0) = (&self.bar, self.read % 64) {
            bar.at(bytes, *all);
        }
    }

    /// The target has these.
    pub(crate) fn taken(&mut self, taken: &Taken) {
        self.accepted += taken.accepted as u64;
        self.duplicates += taken.duplicates as u64;
    }

    /// Nobody takes this line.
    pub(crate) fn rejected(&mut self, mark: &str, why: &str) {
        self.rejected += 1;
        let text = match self.rejected {
            // What a port answers is not ours.
            ..=SAID => format!("{mark}: {}", line(why, 300)),
            rejected if rejected == SAID + 1 => "more lines are rejected, and only counted".to_owned(),
            _ => return,
        };
        match &self.bar {
            Some((bar, _)) => bar.over(|| say(&text)),
            None => say(&text),
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn end(&self) {
        if let Some((bar, _)) = &self.bar {
            bar.end();
        }
    }

    /// Whether nothing was rejected.
    pub(crate) fn is_whole(&self) -> bool {
        self.rejected == 0
    }

    /// All of it in a line.
    pub(crate) fn summary(&self, files: usize, dry_run: bool) -> String {
        let rejected = counted(self.rejected, "line");
        if dry_run {
            let events = counted(self.read, "event");
            return format!("{events} in {}, {rejected} rejected; nothing was sent", counted(files as u64, "file"));
        }
        let stored = self.accepted - self.duplicates;
        format!(
            "{} sent: {} stored, {} there before; {rejected} rejected",
            counted(self.accepted, "event"),
            crate::text::count(stored),
            crate::text::count(self.duplicates),
        )
    }
}
