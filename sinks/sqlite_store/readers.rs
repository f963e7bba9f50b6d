//! A few readers for many askers: what a listener answers questions with.
//!
//! At most [`AT_ONCE`] questions are being answered, each within [`TIME`]; more wait their turn, and beyond
//! [`WAITING`] the asker is told to come again. So a page that asks too much costs neither memory nor the writer.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::query::Reader;
use super::read::ExportError;
use super::space::{self, Identity};

/// Questions answered at once; the memory of each is its connection's cache and one page.
const AT_ONCE: usize = 2;

/// Questions that wait.
const WAITING: usize = 64;

/// The longest that one may take.
const TIME: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Too many ask.
    #[error("too many questions are being answered; ask again")]
    Busy,
    /// The process is stopping.
    #[error("openclaw-trace is stopping")]
    Closed,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] ExportError),
}

/// See the module's description.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Open>>,
    permits: Semaphore,
    waiting: AtomicUsize,
    closed: AtomicBool,
}

/// A reader, and the file that it leads to: the writer may have set that aside.
struct Open {
    reader: Reader,
    file: Option<Identity>,
}

impl Open {
    fn new(path: &Path) -> Result<Self, ExportError> {
        // Looked at first: a file replaced in between is noticed at the next use.
        let file = space::identity(path);
        Ok(Self { reader: Reader::open(path)?, file })
    }
}

/// Counts one that waits for as long as it does.
struct Waiting<'r>(&'r AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Readers {
    /// Readers of this file, which are opened when they are needed.
    #[must_use]
    pub fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            idle: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// Answers a question on a thread where it may block.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Reader) -> Result<T, ExportError> + Send + 'static,
    ) -> Result<T, AskError> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            return Err(AskError::Busy);
        }
        let _permit = self.permits.acquire().await.map_err(|_| AskError::Closed)?;
        drop(waiting);
        if self.closed.load(Ordering::Acquire) {
            return Err(AskError::Closed);
        }
        let readers = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            let mut open = readers.take()?;
            open.reader.limit(TIME)?;
            // A reader that failed is not used again: its file may be damaged, or another one by now.
            let answer = question(&open.reader)?;
            readers.give_back(open);
            Ok(answer)
        });
        answer.await.map_err(|_| AskError::Closed)?
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Open, ExportError> {
        let now = space::identity(&self.path);
        let open = self.idle().pop().filter(|open| open.file == now);
        open.map_or_else(|| Open::new(&self.path), Ok)
    }

    fn give_back(&self, open: Open) {
        let mut idle = self.idle();
        if !self.closed.load(Ordering::Acquire) && idle.len() < AT_ONCE {
            idle.push(open);
        }
    }

    /// Lets go of the file, so that the last connection to close is the writer's, which moves the log into it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.permits.close();
        self.idle().clear();
    }
}
