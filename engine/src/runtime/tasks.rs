//! Tasks by name, each of which can be told to stop, waited for and cut off by itself.

use std::collections::BTreeMap;
use std::future::Future;

use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// See the module's description.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<String>,
    /// Told to all of them.
    stop: CancellationToken,
    by_name: BTreeMap<String, Task>,
}

struct Task {
    stop: CancellationToken,
    /// Cancelled once the task is gone, however that came.
    gone: CancellationToken,
    abort: AbortHandle,
}

impl Tasks {
    /// Starts what `task` makes of the word by which it is told to stop.
    pub(super) fn spawn<F>(&mut self, name: &str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, gone) = (self.stop.child_token(), CancellationToken::new());
        let (running, leaving, called) = (task(stop.clone()), gone.clone().drop_guard(), name.to_owned());
        let abort = self.set.spawn(async move {
            let _leaving = leaving;
            running.await;
            called
        });
        self.by_name.insert(name.to_owned(), Task { stop, gone, abort });
    }

    /// The next one that ends: its name, or how it failed. `None`: none is left.
    pub(super) async fn next(&mut self) -> Option<Result<String, JoinError>> {
        let ended = self.set.join_next().await;
        self.by_name.retain(|_, task| !task.gone.is_cancelled());
        ended
    }

    /// Tells these to stop.
    pub(super) fn stop(&self, names: &[String]) {
        names.iter().filter_map(|name| self.by_name.get(name)).for_each(|task| task.stop.cancel());
    }

    /// Until these have ended; one that is not there has.
    pub(super) async fn ended(&mut self, names: &[String]) {
        while self.by_name.keys().any(|name| names.contains(name)) {
            match self.next().await {
                Some(Err(error)) if !error.is_cancelled() => {
                    tracing::error!(%error, "a task failed while it was stopping");
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Cuts these off, and answers which of them were still there.
    pub(super) async fn cut_off(&mut self, names: &[String]) -> Vec<String> {
        let late: Vec<String> = self.by_name.keys().filter(|name| names.contains(name)).cloned().collect();
        late.iter().filter_map(|name| self.by_name.get(name)).for_each(|task| task.abort.abort());
        self.ended(&late).await;
        late
    }

    /// Tells all of them to stop, and answers their names.
    pub(super) fn stop_all(&self) -> Vec<String> {
        self.stop.cancel();
        self.by_name.keys().cloned().collect()
    }
}
