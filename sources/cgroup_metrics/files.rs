//! Reading small kernel files: one buffer for all of them, and each failure said once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Beyond this a file is cut. The longest read here (`/proc/stat` of a large host) has some 100 KiB.
const MAX_BYTES: u64 = 256 * 1024;
/// The buffer gives back what a single long file made it take.
const KEEP_BYTES: usize = 16 * 1024;
/// So many files are remembered as complained of; after that the owner knows.
const MAX_SAID: usize = 64;

/// Reads files; see the module.
pub(super) struct Files {
    proc_root: PathBuf,
    buffer: Vec<u8>,
    said: BTreeSet<PathBuf>,
    denied: bool,
}

impl Files {
    /// Reads what belongs to `/proc` below `proc_root`.
    pub(super) fn new(proc_root: PathBuf) -> Self {
        Self { proc_root, buffer: Vec::new(), said: BTreeSet::new(), denied: false }
    }

    /// The folder that stands for `/proc`.
    pub(super) fn proc_root(&self) -> &Path {
        &self.proc_root
    }

    /// A file's text, or `None`, which costs the caller one attribute. Bytes that are no UTF-8 (a
    /// process may call itself anything) become U+FFFD.
    pub(super) fn read(&mut self, path: &Path) -> Option<Cow<'_, str>> {
        if let Err(error) = self.fill(path) {
            self.say_once(path, &error);
            return None;
        }
        Some(String::from_utf8_lossy(&self.buffer))
    }

    /// Like [`Files::read`], for files whose absence is no news: those of a process that ended.
    pub(super) fn read_if_there(&mut self, path: &Path) -> Option<Cow<'_, str>> {
        self.fill(path).ok()?;
        Some(String::from_utf8_lossy(&self.buffer))
    }

    /// A file below `/proc`.
    pub(super) fn read_proc(&mut self, name: &str) -> Option<Cow<'_, str>> {
        let path = self.proc_root.join(name);
        self.read(&path)
    }

    /// Says once for each path that it cannot be used. What is merely absent (a kernel without PSI)
    /// is normal and said at debug, and so is all but the first that is not permitted: there are a
    /// dozen such files or none.
    pub(super) fn say_once(&mut self, path: &Path, error: &std::io::Error) {
        if self.said.len() >= MAX_SAID || !self.said.insert(path.to_owned()) {
            return;
        }
        let path = path.display();
        if error.kind() == ErrorKind::NotFound {
            tracing::debug!(%path, "not there; its attributes are left out of resource samples");
        } else if error.kind() == ErrorKind::PermissionDenied {
            if std::mem::replace(&mut self.denied, true) {
                tracing::debug!(%path, %error, "cannot be read either");
            } else {
                tracing::warn!(%path, %error, "this user may not read it; what it and others like it tell is left out of resource samples");
            }
        } else {
            tracing::warn!(%path, %error, "cannot be read; its attributes are left out of resource samples");
        }
    }

    fn fill(&mut self, path: &Path) -> std::io::Result<()> {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP_BYTES);
        File::open(path)?.take(MAX_BYTES).read_to_end(&mut self.buffer)?;
        Ok(())
    }
}
