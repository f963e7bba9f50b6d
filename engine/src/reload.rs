//! How a running component hears that what it read from files is to be read anew.
//!
//! The program asks (it was sent SIGHUP); each component that cares waits in its own task and reads
//! its own files again. Asking waits for nobody and fails never: a component that finds its new file
//! wrong goes on with what it has and says so.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Asks for it, and hands out the ears. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Reload(Arc<watch::Sender<u64>>);

impl Reload {
    /// Asks every component that listens; answers how many that are.
    pub fn ask(&self) -> usize {
        self.0.send_modify(|times| *times += 1);
        self.0.receiver_count()
    }

    /// An ear that hears whatever is asked from now on. To be taken before the files are first read,
    /// so that nothing asked meanwhile is missed.
    #[must_use]
    pub fn listen(&self) -> Asked {
        Asked(self.0.subscribe())
    }
}

impl Default for Reload {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reload").field(&*self.0.borrow()).finish()
    }
}

/// One component's ear.
#[derive(Debug)]
pub struct Asked(watch::Receiver<u64>);

impl Asked {
    /// Waits until it is asked. What was asked several times meanwhile is asked once. Where nobody is
    /// left to ask, it waits for ever.
    pub async fn asked(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_while_nobody_waits_is_heard_once() {
        let reload = Reload::default();
        assert_eq!(reload.ask(), 0, "nobody listens yet");
        let mut ear = reload.listen();
        assert_eq!((reload.ask(), reload.clone().ask()), (1, 1));
        ear.asked().await;
        let more = tokio::time::timeout(std::time::Duration::ZERO, ear.asked()).await;
        assert!(more.is_err(), "asked twice, and heard twice");
        drop(reload);
        let never = tokio::time::timeout(std::time::Duration::ZERO, ear.asked()).await;
        assert!(never.is_err(), "nobody is left to ask");
    }
}
