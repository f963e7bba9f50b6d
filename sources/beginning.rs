//! How the content of a file is told from that of another.

use serde::{Deserialize, Serialize};

/// Identity of a file's content: a hash of its first line, of which at most [`Beginning::BYTES`] count.
/// It outlives a renaming, a copy and a restored backup, and tells a new file under an old inode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Beginning(String);

impl Beginning {
    /// As much of the first line as is looked at. It holds the time and the host.
    pub(crate) const BYTES: usize = 1024;

    /// From the first bytes of a file. `None` while they may still grow into another first line,
    /// unless `finished` says that the file will not grow.
    pub(crate) fn of(bytes: &[u8], finished: bool) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(Self::BYTES)];
        let newline = bytes.iter().position(|b| *b == b'\n');
        if newline.is_none() && bytes.len() < Self::BYTES && !finished {
            return None;
        }
        let digest = engine::identity::digest(&[&bytes[..newline.unwrap_or(bytes.len())]]);
        Some(Self(data_encoding::HEXLOWER.encode(&digest)))
    }

    /// For hashing.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
