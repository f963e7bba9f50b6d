//! One reader for many askers: what a listener answers questions with.
//!
//! Questions are answered one after the other on a thread of their own, each within [`TIME`]; so many may wait as
//! [`WAITING`] says, and beyond that the asker is told to come again. So a page that asks too much costs neither
//! memory (one connection, one thread's heap) nor the writer. A question reads a bounded number of rows and
//! takes milliseconds: on the one CPU of a small machine two at once would be no faster.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::query::Reader;
use super::read::ReadError;
use super::space::{self, Identity};

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
    Store(#[from] ReadError),
}

type Question = Box<dyn FnOnce(&mut Connection) + Send>;

/// See the module's description.
pub struct Readers {
    questions: Mutex<Option<SyncSender<Question>>>,
}

/// A reader that is opened when it is needed, and anew where the file is another one: the writer may have set it
/// aside.
struct Connection {
    path: PathBuf,
    open: Option<(Reader, Option<Identity>)>,
}

impl Connection {
    fn ask<T>(&mut self, question: impl FnOnce(&Reader) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let now = space::identity(&self.path);
        let mut open = match self.open.take() {
            Some(open) if open.1 == now => open,
            // Looked at first: a file replaced in between is noticed at the next use.
            _ => (Reader::open(&self.path)?, now),
        };
        open.0.limit(TIME)?;
        // A reader that failed is not used again: its file may be damaged, or another one by now.
        let answer = question(&open.0)?;
        self.open = Some(open);
        Ok(answer)
    }
}

impl Readers {
    /// Readers of this file, which is opened at the first question.
    ///
    /// # Errors
    /// When the system has no thread.
    pub fn new(path: &Path) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = sync_channel::<Question>(WAITING);
        let mut connection = Connection { path: path.to_owned(), open: None };
        std::thread::Builder::new().name("reader".to_owned()).stack_size(512 * 1024).spawn(move || {
            while let Ok(question) = receiver.recv() {
                question(&mut connection);
            }
        })?;
        Ok(Arc::new(Self { questions: Mutex::new(Some(sender)) }))
    }

    /// Answers a question on the thread where it may block.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, AskError> {
        let (done, answer) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            // Who asked may have gone while it waited.
            if !done.is_closed() {
                let _ = done.send(connection.ask(question));
            }
        });
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match questions.ok_or(AskError::Closed)?.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(AskError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(AskError::Closed),
        }
        Ok(answer.await.map_err(|_| AskError::Closed)??)
    }

    /// Lets go of the file, so that the last connection to close is the writer's, which moves the log into it.
    pub fn close(&self) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
