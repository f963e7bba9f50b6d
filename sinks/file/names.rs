//! The names of the files: the one that is written, and those that were rotated.
//!
//! `events.ndjson` becomes `events-20261125T120000.123Z.ndjson` when it is rotated, by the time of that, and
//! `events-20261125T120000.123Z.ndjson.zst` once it is compressed. So names sort as the events came, and none
//! is ever given twice: where the clock went back, the next name is a millisecond after the last.

use std::io;
use std::path::{Path, PathBuf};

use engine::Timestamp;

use crate::volume::folder;

/// What a file that is compressed ends with, and while it is not whole yet.
const PACKED: &str = ".zst";
const PARTIAL: &str = ".zst.partial";

/// When a file was rotated, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(i64);

impl Stamp {
    /// Now, but after `last`.
    pub(super) fn after(last: Option<Self>, now: Timestamp) -> Self {
        let now = now.as_nanos() / 1_000_000;
        Self(last.map_or(now, |last| now.max(last.0 + 1)))
    }

    /// `20261125T120000.123Z`
    fn text(self) -> String {
        let text = Timestamp::from_nanos(self.0.saturating_mul(1_000_000)).to_string();
        let seconds: String = text.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        format!("{seconds}.{:03}Z", self.0.rem_euclid(1000))
    }

    /// Reads what [`Stamp::text`] writes, and nothing else.
    fn parse(text: &str) -> Option<Self> {
        if text.len() != 20 || !text.is_ascii() {
            return None;
        }
        let (date, time) = text.split_once('T')?;
        let [year, month, day] = [date.get(..4)?, date.get(4..6)?, date.get(6..)?];
        let [hour, minute, second] = [time.get(..2)?, time.get(2..4)?, time.get(4..)?];
        let at: Timestamp = format!("{year}-{month}-{day}T{hour}:{minute}:{second}").parse().ok()?;
        Some(Self(at.as_nanos().div_euclid(1_000_000))).filter(|stamp| stamp.text() == text)
    }
}

/// A file that was rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotated {
    pub(super) stamp: Stamp,
    pub(super) form: Form,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// How far a rotated file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// As it was written.
    Plain,
    /// Compressed.
    Packed,
    /// What was compressed of it when that was cut short.
    Partial,
}

/// All names of one sink.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The file that is written.
    pub(super) path: PathBuf,
    stem: String,
    extension: String,
}

impl Names {
    /// `None` where the path does not end with a name in UTF-8.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let dot = name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
        let (stem, extension) = name.split_at(dot);
        Some(Self { path: path.to_owned(), stem: stem.to_owned(), extension: extension.to_owned() })
    }

    /// What the file is called once it is rotated.
    pub(super) fn rotated(&self, stamp: Stamp) -> PathBuf {
        self.beside(stamp, "")
    }

    /// What it is called once it is compressed.
    pub(super) fn packed(&self, stamp: Stamp) -> PathBuf {
        self.beside(stamp, PACKED)
    }

    /// What it is called while it is being compressed.
    pub(super) fn partial(&self, stamp: Stamp) -> PathBuf {
        self.beside(stamp, PARTIAL)
    }

    fn beside(&self, stamp: Stamp, end: &str) -> PathBuf {
        self.path.with_file_name(format!("{}-{}{}{end}", self.stem, stamp.text(), self.extension))
    }

    /// The rotated files that there are, the oldest first. What only resembles one of them is somebody else's.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn list(&self) -> io::Result<Vec<Rotated>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder(&self.path))? {
            let entry = entry?;
            let Some((stamp, form)) = entry.file_name().to_str().and_then(|name| self.parse(name)) else { continue };
            // One that is deleted meanwhile is none.
            let Ok(stat) = entry.metadata() else { continue };
            if stat.is_file() {
                files.push(Rotated { stamp, form, path: entry.path(), bytes: stat.len() });
            }
        }
        files.sort_by_key(|file| (file.stamp, file.form));
        Ok(files)
    }

    fn parse(&self, name: &str) -> Option<(Stamp, Form)> {
        let rest = name.strip_prefix(self.stem.as_str())?.strip_prefix('-')?;
        let (stamp, rest) = rest.split_at_checked(20)?;
        let form = match rest.strip_prefix(self.extension.as_str())? {
            "" => Form::Plain,
            PACKED => Form::Packed,
            PARTIAL => Form::Partial,
            _ => return None,
        };
        Some((Stamp::parse(stamp)?, form))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(millis: i64) -> Stamp {
        Stamp(millis)
    }

    #[test]
    fn names_are_told_from_those_of_others() {
        let names = Names::of(Path::new("/x/events.ndjson")).unwrap();
        let at = Stamp::after(None, "2026-11-25T12:00:00.1234Z".parse().unwrap());
        assert_eq!(names.rotated(at), Path::new("/x/events-20261125T120000.123Z.ndjson"));
        assert_eq!(names.packed(at), Path::new("/x/events-20261125T120000.123Z.ndjson.zst"));
        let parse = |name: &str| names.parse(name);
        assert_eq!(parse("events-20261125T120000.123Z.ndjson"), Some((at, Form::Plain)));
        assert_eq!(parse("events-20261125T120000.123Z.ndjson.zst"), Some((at, Form::Packed)));
        assert_eq!(parse("events-20261125T120000.123Z.ndjson.zst.partial"), Some((at, Form::Partial)));
        for other in [
            "events.ndjson",
            "events-20261125T120000.123Z.ndjson.gz",
            "events-20261125T120000.123Z.log",
            "events-2026-11-25T12:00:00.ndjson",
            "events-20261325T120000.123Z.ndjson",
            "events-20261125T126000.123Z.ndjson",
            "events-20261125T120000.1234.ndjson",
            "events-20261125T1200é0.12Z.ndjson",
            "events-old.ndjson",
            "my-events-20261125T120000.123Z.ndjson",
            "events-",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        let bare = Names::of(Path::new(".hidden")).unwrap();
        assert_eq!(bare.rotated(at), Path::new(".hidden-20261125T120000.123Z"));
        assert!(Names::of(Path::new("/")).is_none());
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_earlier_name() {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let first = Stamp::after(None, now);
        assert_eq!(Stamp::after(Some(first), now), stamp(first.0 + 1));
        assert_eq!(Stamp::after(Some(stamp(first.0 + 500)), now), stamp(first.0 + 501));
        assert_eq!(Stamp::after(Some(stamp(first.0 - 500)), now), first);
    }

    proptest! {
        #[test]
        fn names_sort_by_time_and_are_read_back(mut millis in prop::collection::vec(0i64..4_000_000_000_000, 1..20)) {
            let names = Names::of(Path::new("a.ndjson")).unwrap();
            millis.sort_unstable();
            millis.dedup();
            let written: Vec<_> = millis.iter().map(|millis| names.rotated(stamp(*millis))).collect();
            prop_assert!(written.is_sorted());
            for (name, millis) in written.iter().zip(&millis) {
                prop_assert_eq!(names.parse(name.to_str().unwrap()), Some((stamp(*millis), Form::Plain)));
            }
        }
    }
}
