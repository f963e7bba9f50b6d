//! How far the file was read: what is kept between two starts.

use serde::{Deserialize, Serialize};

use crate::beginning::Beginning;
use crate::ndjson::Place;

/// A place in a file. All lines before it are dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The file's inode: another file under the same name has another.
    pub(super) inode: u64,
    /// Its content's identity, once its first line was complete: an inode is used again.
    pub(super) beginning: Option<Beginning>,
    /// Bytes of its text, unpacked, to the first line that was not dealt with.
    pub(super) offset: u64,
    /// That line's number, from 1.
    pub(super) line: u64,
}

impl Position {
    /// The form that is stored.
    pub(super) fn to_text(&self) -> String {
        // Strings and numbers only: writing cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the form that is stored.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|position: &Self| position.line > 0)
    }

    pub(super) fn place(&self) -> Place {
        Place { offset: self.offset, number: self.line }
    }
}
