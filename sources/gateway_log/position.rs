//! How far the log was read: what is kept between two starts.

use serde::{Deserialize, Serialize};

pub(super) use crate::beginning::Beginning;

/// A place in the log. All lines before it are dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The name under which the file was written (`openclaw-2026-11-24.log`, also of its archives).
    pub(super) file: String,
    /// Its inode.
    pub(super) inode: u64,
    /// Its content's identity, once its first line was complete.
    pub(super) beginning: Option<Beginning>,
    /// Bytes from its start to the first line that was not dealt with.
    pub(super) offset: u64,
    /// When the file was last written as far as was seen, in nanoseconds since 1970. An archive that
    /// was written later is newer than the file.
    pub(super) modified: i64,
}

impl Position {
    /// The form that is stored.
    pub(super) fn to_text(&self) -> String {
        // Strings and numbers only: writing cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the form that is stored.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
