//! How far the log was read: what is kept between two starts.

use serde::{Deserialize, Serialize};

/// Identity of a file's content: a hash of its first line, of which at most [`Beginning::BYTES`] count.
/// It outlives a renaming, a copy and a restored backup, and tells a new file under an old inode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Beginning(String);

impl Beginning {
    /// As much of the first line as is looked at. It holds the time and the host.
    pub(super) const BYTES: usize = 1024;

    /// From the first bytes of a file. `None` while they may still grow into another first line,
    /// unless `finished` says that the file will not grow.
    pub(super) fn of(bytes: &[u8], finished: bool) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(Self::BYTES)];
        let newline = bytes.iter().position(|b| *b == b'\n');
        if newline.is_none() && bytes.len() < Self::BYTES && !finished {
            return None;
        }
        let digest = engine::identity::digest(&[&bytes[..newline.unwrap_or(bytes.len())]]);
        Some(Self(data_encoding::HEXLOWER.encode(&digest)))
    }

    /// For hashing.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

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
