//! What a plugin is: a typed configuration, and one of the traits below.
//!
//! A plugin's configuration struct implements [`SourceConfig`], [`TransformConfig`] or
//! [`SinkConfig`]: `deny_unknown_fields`, a serde default for every key that is not required, and
//! doc comments, which become the configuration's reference and JSON schema.
//!
//! Life of a component: configuration is read → `build` (checks values; touches nothing outside, so
//! that `validate` can build the whole graph) → `open` (files, ports) → work → `close`.
//! Sinks are opened first and closed last.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::{IntCounter, IntCounterVec, Metrics};
use crate::runtime::Wiring;
use crate::{Admission, Batch, Event, Keep, Outbox, OutboxError, Receipt, Refusal, RefusalKind, Reload};

/// One thing wrong with a configuration, for its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key inside the component's table (`rate_limit.per_second`); empty for the table itself.
    pub key: String,
    /// What is wrong and what to do; lower case, no full stop.
    pub message: String,
}

impl Problem {
    /// A problem with one key.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// All that is wrong with one component.
pub type Problems = Vec<Problem>;

/// A component could not be opened: which thing, why, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// What a plugin may know while it is built.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The component's name in the configuration (`[sinks.NAME]`): label of its metrics, part of
    /// its log lines.
    pub name: String,
    /// Where it registers its metrics.
    pub metrics: Metrics,
    /// How long an orderly stop may take in all.
    pub drain_timeout: Duration,
    /// The in-flight budget, events and bytes; tells a plugin how much may come at once.
    pub in_flight: (usize, usize),
    /// How often a sink has lost what it had confirmed; shared by all components.
    pub losses: Losses,
    /// Of a sink that may read either ([`Reads::Either`]): its inputs name a sink whose outbox it reads.
    pub reads_outbox: bool,
    /// Tells a component that is to read its files anew; shared by all components.
    pub reload: Reload,
}

impl BuildContext {
    /// A context with the runtime's defaults, for one component alone.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            metrics: Metrics::default(),
            drain_timeout: Duration::from_secs(10),
            in_flight: (512, 4 << 20),
            losses: Losses::default(),
            reads_outbox: false,
            reload: Reload::default(),
        }
    }
}

/// How often a sink has lost what it had confirmed: its file was damaged, deleted or replaced, and a new one
/// begun. Who remembers that events are safe forgets it when this number changes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<std::sync::atomic::AtomicU64>);

impl Losses {
    /// The number.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Acquire)
    }

    /// A sink has lost what it had.
    pub fn add(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Release);
    }
}

/// What a component has to itself while it is open: a port, a file.
///
/// When a reload exchanges components, one that shares nothing with those that go is opened beside them; if it
/// cannot be opened, nothing has happened. One that does is opened after they were closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// It does not say; then it may be anything.
    Unknown,
    /// These things, each by a name that all who hold it give it; none: nothing.
    Only(Vec<String>),
}

impl Holds {
    /// Nothing that another could not have too.
    pub const NOTHING: Self = Self::Only(Vec::new());

    /// A file, under whichever name it is reached; it need not be there yet.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let real = path.canonicalize().or_else(|_| {
            // Not there yet: then by its folder.
            folder.canonicalize().map(|folder| folder.join(path.file_name().unwrap_or_default()))
        });
        Self::Only(vec![format!("file {}", real.as_deref().unwrap_or(path).display())])
    }

    /// A TCP port, at whatever address: one that listens everywhere has it too. Port 0 is no port yet.
    #[must_use]
    pub fn port(port: u16) -> Self {
        if port == 0 { Self::NOTHING } else { Self::Only(vec![format!("tcp {port}")]) }
    }

    /// Whether both could be open at once.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Only(one), Self::Only(other)) => one.iter().any(|name| other.contains(name)),
            (Self::Only(some), _) | (_, Self::Only(some)) if some.is_empty() => false,
            _ => true,
        }
    }
}

/// Configuration of a source.
pub trait SourceConfig: DeserializeOwned + JsonSchema + Send + 'static {
    /// The value of `type`.
    const TYPE: &'static str;
    /// What it serves over HTTP, as an OpenAPI 3.1 document in JSON.
    const OPENAPI: Option<&'static str> = None;
    /// Checks the values and makes the source.
    ///
    /// # Errors
    /// Every problem found.
    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems>;
}

/// Configuration of a transform.
pub trait TransformConfig: DeserializeOwned + JsonSchema + Send + 'static {
    /// The value of `type`.
    const TYPE: &'static str;
    /// Checks the values and makes the transform.
    ///
    /// # Errors
    /// Every problem found.
    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems>;
}

/// What a sink reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The live stream.
    Stream,
    /// An outbox: its `inputs` name exactly one sink that offers one.
    Outbox,
    /// Whichever its `inputs` name; [`BuildContext::reads_outbox`] says which.
    Either,
}

/// Configuration of a sink.
pub trait SinkConfig: DeserializeOwned + JsonSchema + Send + 'static {
    /// The value of `type`.
    const TYPE: &'static str;
    /// Whether the sink keeps events and offers an outbox.
    const OFFERS_OUTBOX: bool = false;
    /// What the sink reads.
    const READS: Reads = Reads::Stream;
    /// Checks the values and makes the sink.
    ///
    /// # Errors
    /// Every problem found.
    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems>;
}

/// A sink of either sort.
pub enum AnySink {
    /// Takes the live stream.
    Stream(Box<dyn Sink>),
    /// Reads from an outbox.
    Outbox(Box<dyn OutboxSink>),
}

/// Brings events in.
#[async_trait]
pub trait Source: Send {
    /// See [`Holds`]. Called before `open`.
    fn holds(&self) -> Holds {
        Holds::Unknown
    }

    /// Binds ports, opens files.
    ///
    /// # Errors
    /// When it cannot work.
    async fn open(&mut self) -> Result<(), OpenError> {
        Ok(())
    }

    /// Works until `shutdown` is cancelled, then stops taking, finishes what it has begun, and
    /// returns. The runtime ends it at the drain's deadline.
    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken);
}

/// Changes batches on their way. Runs inside the source's call: short, no I/O, no waiting.
pub trait Transform: Send + Sync {
    /// Changes the batch in place.
    fn apply(&self, batch: &mut Batch);
}

/// Keeps or delivers events of the live stream.
#[async_trait]
pub trait Sink: Send {
    /// See [`Holds`]. Called before `open`.
    fn holds(&self) -> Holds {
        Holds::Unknown
    }

    /// Opens files and connections. When it returns, `write` will be called.
    ///
    /// # Errors
    /// When it cannot work.
    async fn open(&mut self) -> Result<(), OpenError> {
        Ok(())
    }

    /// Takes all batches that wait, as one write. Each is answered with [`Batch::confirm`] or
    /// [`Batch::fail`] (dropping one means failed), at the latest when `write` returns.
    async fn write(&mut self, batches: Vec<Batch>);

    /// How much one write holds. Called after `open`.
    fn write_size(&self) -> WriteSize {
        WriteSize::default()
    }

    /// The outbox, if the sink's configuration type says that it offers one. Called after `open`.
    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        None
    }

    /// While this holds a refusal, sources refuse events with it before they are admitted.
    fn gate(&self) -> Option<watch::Receiver<Option<Refusal>>> {
        None
    }

    /// Flushes and closes. Nothing is written afterwards.
    ///
    /// # Errors
    /// What could not be made safe; the process then ends with a code that is not 0.
    async fn close(&mut self) -> Result<(), OpenError> {
        Ok(())
    }
}

/// How much a sink is given as one write: what waits, up to the first of the bounds that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteSize {
    /// Events.
    pub events: usize,
    /// Bytes of events.
    pub bytes: usize,
    /// How long the first batch of a write waits for more. Zero: not at all, so that no timer delays a
    /// lone event; a burst shares a write all the same.
    pub age: Duration,
}

impl Default for WriteSize {
    /// What a group commit holds.
    fn default() -> Self {
        Self { events: 1000, bytes: 4 * 1024 * 1024, age: Duration::ZERO }
    }
}

/// Sends on what an outbox holds.
#[async_trait]
pub trait OutboxSink: Send {
    /// Works until `shutdown` is cancelled; then one last attempt, within what is left of the
    /// drain's time. The outbox stays open until this returns.
    async fn run(self: Box<Self>, outbox: Arc<dyn Outbox>, shutdown: CancellationToken);
}

/// Where a source puts its batches: admission, then the transforms, then the queues of the sinks.
#[derive(Clone)]
pub struct Outlet {
    pub(crate) admission: Admission,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) offered: IntCounter,
    pub(crate) refused: IntCounterVec,
    pub(crate) failures: Failures,
}

/// What sources that have given up said of it.
pub(crate) type Failures = Arc<Mutex<Vec<String>>>;

impl Outlet {
    /// Offers events. They are taken whole or not at all; when refused, no trace of them is left.
    ///
    /// `acknowledged`: the source answers its client before the receipt resolves, so sinks must try
    /// on rather than fail.
    ///
    /// # Errors
    /// A [`Refusal`] when there are no credits or a sink takes nothing now.
    pub fn try_send(&self, events: Vec<Event>, acknowledged: bool) -> Result<Receipt, Refusal> {
        self.try_send_keeping(events, Vec::new(), acknowledged)
    }

    /// Like [`Outlet::try_send`], with state of the source that is kept exactly if the events are.
    ///
    /// # Errors
    /// A [`Refusal`] when there are no credits or a sink takes nothing now.
    pub fn try_send_keeping(
        &self,
        events: Vec<Event>,
        keep: Vec<Keep>,
        acknowledged: bool,
    ) -> Result<Receipt, Refusal> {
        self.check_gates()?;
        let (count, bytes) = weigh(&events, &keep);
        let Some(credits) = self.admission.try_acquire(count, bytes) else {
            self.refused.with_label_values(&["full"]).inc_by(count as u64);
            let message = "too many events in flight; send them again later";
            return Err(Refusal::new(RefusalKind::Full, message, Duration::from_secs(1)));
        };
        Ok(self.route(events, keep, credits, acknowledged))
    }

    /// Like [`Outlet::try_send`], but waits for credits.
    ///
    /// # Errors
    /// A [`Refusal`] when a sink takes nothing now.
    pub async fn send(&self, events: Vec<Event>, acknowledged: bool) -> Result<Receipt, Refusal> {
        self.send_keeping(events, Vec::new(), acknowledged).await
    }

    /// Like [`Outlet::try_send_keeping`], but waits for credits.
    ///
    /// # Errors
    /// A [`Refusal`] when a sink takes nothing now.
    pub async fn send_keeping(
        &self,
        events: Vec<Event>,
        keep: Vec<Keep>,
        acknowledged: bool,
    ) -> Result<Receipt, Refusal> {
        self.check_gates()?;
        let (count, bytes) = weigh(&events, &keep);
        let credits = self.admission.acquire(count, bytes).await;
        Ok(self.route(events, keep, credits, acknowledged))
    }

    /// What this source had kept when it last ran: key and value, in the order of the keys. Nothing
    /// where no sink behind it keeps events.
    ///
    /// # Errors
    /// When the sink cannot be read.
    pub async fn kept(&self) -> Result<Vec<(String, String)>, OutboxError> {
        let Some(store) = self.wiring.store()? else { return Ok(Vec::new()) };
        let prefix = self.wiring.prefix();
        let found = store.states(prefix).await?;
        Ok(found
            .into_iter()
            .filter_map(|(key, value)| key.strip_prefix(prefix).map(|key| (key.to_owned(), value)))
            .collect())
    }

    /// Whether any sink behind this outlet refuses everything now, and why.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_gates(&self) -> Result<(), Refusal> {
        match self.wiring.refusal() {
            Some(refusal) => {
                self.refused.with_label_values(&["sink"]).inc();
                Err(refusal)
            }
            None => Ok(()),
        }
    }

    /// Whether any sink behind this outlet refuses everything now; counts nothing.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.wiring.refusal().is_some()
    }

    /// Events and bytes admitted by all sources and not yet done with.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        self.admission.in_flight()
    }

    /// The source has given up before it had all that it should bring in. The process goes on with the other
    /// sources, and does not end with 0.
    pub fn give_up(&self, why: impl Into<String>) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why.into());
    }

    fn route(&self, events: Vec<Event>, mut keep: Vec<Keep>, credits: crate::Credits, acknowledged: bool) -> Receipt {
        self.offered.inc_by(events.len() as u64);
        for item in &mut keep {
            item.key.insert_str(0, self.wiring.prefix());
        }
        let (batch, receipt) = Batch::keeping(events, keep, credits, acknowledged);
        self.wiring.send(batch);
        receipt
    }
}

fn weigh(events: &[Event], keep: &[Keep]) -> (usize, usize) {
    let state: usize = keep.iter().map(|item| item.key.len() + item.value.as_ref().map_or(0, String::len)).sum();
    (events.len(), state + events.iter().map(Event::size_bytes).sum::<usize>())
}

/// How one type of plugin is made from its table.
pub(crate) struct Plugin<T> {
    pub(crate) schema: fn() -> schemars::Schema,
    pub(crate) build: BuildFn<T>,
    pub(crate) offers_outbox: bool,
    pub(crate) reads: Reads,
    pub(crate) openapi: Option<&'static str>,
}

pub(crate) type BuildFn<T> = fn(&serde_json::Value, &BuildContext) -> Result<T, Problems>;

/// The plugins that a program knows, by the value of `type`.
#[derive(Default)]
pub struct Registry {
    pub(crate) sources: BTreeMap<&'static str, Plugin<Box<dyn Source>>>,
    pub(crate) transforms: BTreeMap<&'static str, Plugin<Box<dyn Transform>>>,
    pub(crate) sinks: BTreeMap<&'static str, Plugin<AnySink>>,
}

impl Registry {
    /// Adds a source.
    #[must_use]
    pub fn with_source<C: SourceConfig>(mut self) -> Self {
        let plugin = Plugin {
            schema: || schemars::schema_for!(C),
            build: |table, cx| crate::config::typed::<C>(table)?.build(cx),
            offers_outbox: false,
            reads: Reads::Stream,
            openapi: C::OPENAPI,
        };
        self.sources.insert(C::TYPE, plugin);
        self
    }

    /// The OpenAPI documents of the sources that serve HTTP, by the value of `type`.
    pub fn openapi(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.sources.iter().filter_map(|(name, plugin)| Some((*name, plugin.openapi?)))
    }

    /// Adds a transform.
    #[must_use]
    pub fn with_transform<C: TransformConfig>(mut self) -> Self {
        let plugin = Plugin {
            schema: || schemars::schema_for!(C),
            build: |table, cx| crate::config::typed::<C>(table)?.build(cx),
            offers_outbox: false,
            reads: Reads::Stream,
            openapi: None,
        };
        self.transforms.insert(C::TYPE, plugin);
        self
    }

    /// Adds a sink.
    #[must_use]
    pub fn with_sink<C: SinkConfig>(mut self) -> Self {
        let plugin = Plugin {
            schema: || schemars::schema_for!(C),
            build: |table, cx| crate::config::typed::<C>(table)?.build(cx),
            offers_outbox: C::OFFERS_OUTBOX,
            reads: C::READS,
            openapi: None,
        };
        self.sinks.insert(C::TYPE, plugin);
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_under_all_its_names_and_a_port_is_one_at_all_addresses() {
        let home = tempfile::tempdir().unwrap();
        let (file, other) = (home.path().join("a.db"), home.path().join("b.db"));
        std::os::unix::fs::symlink(home.path(), home.path().join("here")).unwrap();
        let before = Holds::file(&file);
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, home.path().join("link.db")).unwrap();
        for name in ["a.db", "here/a.db", "link.db", "here/./a.db"] {
            assert!(before.meets(&Holds::file(&home.path().join(name))), "{name}");
        }
        assert!(!before.meets(&Holds::file(&other)));
        assert!(Holds::port(9090).meets(&Holds::port(9090)) && !Holds::port(9090).meets(&Holds::port(9091)));
        assert!(!Holds::port(0).meets(&Holds::port(0)), "the system chooses another");
        assert!(Holds::Unknown.meets(&before) && Holds::Unknown.meets(&Holds::Unknown));
        assert!(!Holds::Unknown.meets(&Holds::NOTHING) && !Holds::NOTHING.meets(&Holds::Unknown));
    }
}
