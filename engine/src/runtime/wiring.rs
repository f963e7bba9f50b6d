//! The way from a source to its sinks, which may be laid anew while it is used.
//!
//! An outlet does not know its path: it sends through a [`Wiring`], behind which the [`Path`] is exchanged.
//! A batch goes one path or the other, never a part of each; and once a path was taken away, no batch is
//! still on its way through the transforms: whoever lays a new one waits until the senders are through.
//!
//! While there is nothing to lead to (a sink is exchanged for another of the same file), a wiring *holds*:
//! batches that were admitted wait before the first transform, with their credits, in the order they came. Nobody is
//! refused that would not be otherwise, what waits is bounded by the budget, and the path that is laid at the end
//! is the only one that these batches see: the new one, or the old one where the new one could not be had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::queue::{Queue, RunningSink};
use crate::graph::Edges;
use crate::plugin::Transform;
use crate::{Batch, Outbox, OutboxError, Refusal};

/// See the module's description. One for each source.
pub(crate) struct Wiring {
    /// Before each key of the source's state, so that two sources cannot meet.
    prefix: String,
    way: RwLock<Way>,
    /// Batches of this source that have no outcome yet.
    unresolved: TaskTracker,
}

struct Way {
    path: Path,
    /// Batches that wait for a path; `None`: they go.
    held: Option<Mutex<Vec<Batch>>>,
}

impl Wiring {
    pub(super) fn new(source: &str, path: Path) -> Self {
        let way = RwLock::new(Way { path, held: None });
        Self { prefix: format!("source.{source}."), way, unresolved: TaskTracker::new() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn send(&self, batch: Batch) {
        let unresolved = self.unresolved.token();
        batch.on_outcome(move |_| drop(unresolved));
        let way = self.read();
        match &way.held {
            Some(held) => held.lock().unwrap_or_else(PoisonError::into_inner).push(batch),
            None => way.path.branch.send(batch),
        }
    }

    /// Why events are refused now, if a sink takes none.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.read().path.gates.iter().find_map(|gate| gate.borrow().clone())
    }

    /// Where the source's state is kept; none where no sink behind it keeps any.
    pub(crate) fn store(&self) -> Result<Option<Arc<dyn Outbox>>, OutboxError> {
        let way = self.read();
        if way.held.is_some() {
            // What there is now is about to go, and nothing would look like a source that had kept nothing.
            return Err(OutboxError("the store is being exchanged; ask again".to_owned()));
        }
        Ok(way.path.store.clone())
    }

    /// From here on batches wait.
    pub(super) fn hold(&self) {
        self.write().held.get_or_insert_default();
    }

    /// Takes the path away.
    pub(super) fn cut(&self) {
        self.write().path = Path::default();
    }

    /// Lets what waits go the path that is there.
    pub(super) fn release(&self) {
        let mut way = self.write();
        way.let_go();
    }

    /// Lays another path, and lets what waits go it, before anything that comes later.
    pub(super) fn lay(&self, path: Path) {
        let mut way = self.write();
        way.path = path;
        way.let_go();
    }

    /// Drops what waits, which fails it, and takes the path away: nothing comes through any more. Answers how many
    /// events were dropped whose clients had been told that they are safe.
    pub(super) fn end(&self) -> usize {
        let mut way = self.write();
        way.path = Path::default();
        let held = way.held.take().map(|held| held.into_inner().unwrap_or_else(PoisonError::into_inner));
        held.iter().flatten().filter(|batch| batch.is_acknowledged()).map(Batch::len).sum()
    }

    /// Until every batch of this source has its outcome. Only once it sends none any more.
    pub(super) async fn resolved(&self) {
        self.unresolved.close();
        self.unresolved.wait().await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Way> {
        self.way.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Way> {
        self.way.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn let_go(&mut self) {
        let held = self.held.take().map(|held| held.into_inner().unwrap_or_else(PoisonError::into_inner));
        for batch in held.into_iter().flatten() {
            self.path.branch.send(batch);
        }
    }
}

/// What lies behind a source; nothing at all drops what comes, which fails it.
#[derive(Default)]
pub(super) struct Path {
    branch: Branch,
    gates: Vec<watch::Receiver<Option<Refusal>>>,
    /// The first sink that keeps events keeps a source's state too.
    store: Option<Arc<dyn Outbox>>,
}

/// What lies behind one component: a transform (none behind a source), and what reads from it.
#[derive(Default)]
struct Branch {
    transform: Option<Arc<dyn Transform>>,
    branches: Vec<Branch>,
    queues: Vec<Queue>,
}

impl Branch {
    fn send(&self, mut batch: Batch) {
        if let Some(transform) = &self.transform {
            transform.apply(&mut batch);
        }
        if batch.is_empty() && batch.keep().is_empty() {
            // Every event was safe already, or dropped on purpose: done, and well.
            batch.confirm(0);
            return;
        }
        let mut readers = self.branches.len() + self.queues.len();
        let mut batch = Some(batch);
        // The last reader gets the batch itself; only a real branching copies the list of events.
        let mut copy = || {
            readers -= 1;
            if readers == 0 { batch.take() } else { batch.as_ref().map(Batch::share) }
        };
        for branch in &self.branches {
            if let Some(batch) = copy() {
                branch.send(batch);
            }
        }
        for queue in &self.queues {
            if let Some(batch) = copy() {
                queue.push(batch);
            }
        }
    }
}

/// Makes paths of what runs.
pub(super) struct Paths<'a> {
    pub(super) edges: &'a Edges,
    pub(super) transforms: &'a BTreeMap<String, Arc<dyn Transform>>,
    pub(super) sinks: &'a BTreeMap<String, RunningSink>,
}

impl Paths<'_> {
    pub(super) fn from(&self, name: &str) -> Path {
        let mut path = Path { store: self.keeper(name), ..Path::default() };
        path.branch = self.branch(name, &mut path.gates);
        path
    }

    fn branch(&self, name: &str, gates: &mut Vec<watch::Receiver<Option<Refusal>>>) -> Branch {
        let mut branch = Branch { transform: self.transforms.get(name).cloned(), ..Branch::default() };
        for reader in self.edges.get(name).into_iter().flatten() {
            if let Some(sink) = self.sinks.get(reader) {
                branch.queues.push(sink.queue.clone());
                gates.extend(sink.gate.clone());
            } else {
                branch.branches.push(self.branch(reader, gates));
            }
        }
        branch
    }

    fn keeper(&self, name: &str) -> Option<Arc<dyn Outbox>> {
        let readers = self.edges.get(name)?;
        let outbox = |reader: &String| self.sinks.get(reader).and_then(|sink| sink.outbox.clone());
        readers.iter().find_map(|reader| outbox(reader).or_else(|| self.keeper(reader)))
    }
}

/// Whether what comes from `name` reaches one of `sinks`.
pub(super) fn reaches(edges: &Edges, name: &str, sinks: &[String]) -> bool {
    edges.get(name).into_iter().flatten().any(|reader| sinks.contains(reader) || reaches(edges, reader, sinks))
}
