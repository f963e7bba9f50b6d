//! The names of the gateway's log files, and their order in time.
//!
//! OpenClaw writes `openclaw-2026-11-24.log` (by local date; `openclaw-PROFILE-2026-11-24.log` for a
//! named profile). When it would grow beyond `logging.maxFileBytes`, it becomes
//! `openclaw-2026-11-24.1.log`, what was `.1` becomes `.2`, up to `.5`, and a new file is begun. So
//! the higher number is the older part of a day.

use std::cmp::Reverse;

/// What stands for the date in the setting, as in OpenClaw's own.
const DATE: &str = "YYYY-MM-DD";

/// The names of one family of log files: the text around the date and the number of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    before: String,
    dated: bool,
    after: String,
    extension: String,
}

/// Which part of the log a file is. Ordered by time: the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// `2026-11-24`; empty where the name has no date.
    pub(super) date: String,
    /// The archive's number; 0: the file that is written.
    pub(super) archive: Reverse<u32>,
}

impl Pattern {
    /// Reads the setting: a file name with `YYYY-MM-DD` in it once, or a fixed name.
    pub(super) fn parse(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err("must be a file name without a folder, such as \"openclaw-YYYY-MM-DD.log\"");
        }
        // Where the number goes: before the extension, as Node's `path.extname` sees it.
        let dot = name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
        let (stem, extension) = name.split_at(dot);
        let (before, dated, after) = match stem.split_once(DATE) {
            Some((before, after)) => (before, true, after),
            None => (stem, false, ""),
        };
        if after.contains(DATE) || extension.contains(DATE) {
            return Err("must hold YYYY-MM-DD at most once, and before the last dot");
        }
        Ok(Self { before: before.into(), dated, after: after.into(), extension: extension.into() })
    }

    /// Which part a file is; `None` when the name is of another family.
    pub(super) fn part(&self, name: &str) -> Option<Part> {
        let rest = name.strip_prefix(self.before.as_str())?;
        let (date, rest) = if self.dated { rest.split_at_checked(DATE.len())? } else { ("", rest) };
        if self.dated && !is_date(date) {
            return None;
        }
        let number = rest.strip_prefix(self.after.as_str())?.strip_suffix(self.extension.as_str())?;
        let archive = match number.strip_prefix('.') {
            None if number.is_empty() => 0,
            Some(digits) if digits.len() <= 4 && digits.starts_with(|c: char| ('1'..='9').contains(&c)) => {
                digits.parse().ok()?
            }
            _ => return None,
        };
        Some(Part { date: date.into(), archive: Reverse(archive) })
    }

    /// The name under which a day's lines were written: that of the file before it became an archive.
    pub(super) fn written_as(&self, date: &str) -> String {
        format!("{}{date}{}{}", self.before, self.after, self.extension)
    }
}

fn is_date(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_family_are_ordered_by_time_and_others_are_left_alone() {
        let pattern = Pattern::parse("openclaw-YYYY-MM-DD.log").unwrap();
        let mut names = [
            "openclaw-2026-11-25.log",
            "openclaw-2026-11-24.log",
            "openclaw-2026-11-24.1.log",
            "openclaw-2026-11-24.5.log",
            "openclaw-2025-12-31.log",
        ];
        names.sort_by_key(|name| pattern.part(name).unwrap());
        assert_eq!(
            names,
            [
                "openclaw-2025-12-31.log",
                "openclaw-2026-11-24.5.log",
                "openclaw-2026-11-24.1.log",
                "openclaw-2026-11-24.log",
                "openclaw-2026-11-25.log",
            ]
        );
        for other in [
            "openclaw-dev-2026-11-24.log",
            "openclaw-2026-11-24.log.gz",
            "openclaw-2026-11-24.0.log",
            "openclaw-2026-11-24.x.log",
            "openclaw-2026-11-24.99999.log",
            "openclaw-2026-1é-24.log",
            "openclaw-.log",
            "",
        ] {
            assert_eq!(pattern.part(other), None, "{other}");
        }
        assert_eq!(pattern.written_as("2026-11-24"), "openclaw-2026-11-24.log");
    }

    #[test]
    fn a_profile_and_a_fixed_name_are_families_of_their_own() {
        let profile = Pattern::parse("openclaw-dev-YYYY-MM-DD.log").unwrap();
        assert!(profile.part("openclaw-dev-2026-11-24.1.log").is_some());
        assert!(profile.part("openclaw-2026-11-24.log").is_none());
        let fixed = Pattern::parse("openclaw.log").unwrap();
        assert!(fixed.part("openclaw.1.log") < fixed.part("openclaw.log"));
        assert!(fixed.part("openclaw-2026-11-24.log").is_none());
        for wrong in ["", "logs/x.log", "YYYY-MM-DD-YYYY-MM-DD.log"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
