//! The handle by which a program has its running graph changed.

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};

use super::exchange::{Exchange, ReloadError};
use crate::config::{Component, Section, Settings};
use crate::difference::{Difference, Place};
use crate::graph::{Graph, Shared};
use crate::plugin::Registry;

/// Changes the graph of one runtime. Not to be copied: one change comes after the other.
pub struct Reloader<'a> {
    /// What the graph that runs was built from.
    pub(super) settings: Settings,
    pub(super) registry: &'a Registry,
    pub(super) shared: Shared,
    pub(super) requests: mpsc::Sender<Request>,
}

/// What the runtime is asked.
pub(super) struct Request {
    pub(super) exchange: Box<Exchange>,
    pub(super) answer: oneshot::Sender<Result<Vec<String>, ReloadError>>,
}

/// What a reload changed; components as `sinks.store`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those with other settings: new instances.
    pub changed: Vec<String>,
    /// Those that read an outbox that was exchanged: new instances with the same settings.
    pub restarted: Vec<String>,
    /// Those that read from others than before, and are the same otherwise.
    pub rejoined: Vec<String>,
    /// The same in all.
    pub kept: Vec<String>,
    /// What a person should know of how it went.
    pub warnings: Vec<String>,
}

impl Changes {
    /// Whether all is as it was.
    #[must_use]
    pub fn is_none(&self) -> bool {
        [&self.added, &self.removed, &self.changed, &self.restarted, &self.rejoined].iter().all(|list| list.is_empty())
    }
}

impl From<&Difference> for Changes {
    fn from(difference: &Difference) -> Self {
        let told = |places: &[Place]| places.iter().map(ToString::to_string).collect();
        Self {
            added: told(&difference.added),
            removed: told(&difference.removed),
            changed: told(&difference.changed),
            restarted: told(&difference.restarted),
            rejoined: told(&difference.rejoined),
            kept: told(&difference.kept),
            warnings: Vec::new(),
        }
    }
}

impl Reloader<'_> {
    /// What the graph that runs was built from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts the graph that `settings` describe in the place of the one that runs, and its in-flight budget with it.
    /// All other keys of `[runtime]` stay as they were at the start.
    ///
    /// # Errors
    /// [`ReloadError`]; but for [`ReloadError::Lost`] the graph that ran goes on.
    pub async fn apply(&mut self, settings: Settings) -> Result<Changes, ReloadError> {
        let difference = Difference::between(&self.settings, &settings, self.registry);
        let added: Vec<String> = difference.added.iter().map(|place| place.name.clone()).collect();
        let done = self.exchange(settings, difference).await;
        if done.is_err() {
            self.forget(&added);
        }
        done
    }

    async fn exchange(&mut self, settings: Settings, difference: Difference) -> Result<Changes, ReloadError> {
        let mut changes = Changes::from(&difference);
        if difference.is_none() && settings.runtime.in_flight() == self.settings.runtime.in_flight() {
            self.settings = settings;
            return Ok(changes);
        }
        // Those that may have to be built again have all been built before; so only what is new can be wrong.
        let back = self.build(&self.settings, |section| match section {
            Section::Transforms => BTreeSet::new(),
            _ => difference.going(section),
        })?;
        let mark = self.shared.metrics.mark();
        let coming = self.build(&settings, |section| difference.coming(section))?;
        let exchange = Box::new(Exchange { coming, back, difference, settings: settings.runtime.clone(), mark });
        let (answer, done) = oneshot::channel();
        self.requests.send(Request { exchange, answer }).await.map_err(|_| ReloadError::Stopping)?;
        changes.warnings = done.await.map_err(|_| ReloadError::Stopping)??;
        self.settings = settings;
        Ok(changes)
    }

    /// Takes back the figures of components that came to nothing.
    fn forget(&self, names: &[String]) {
        let metrics = &self.shared.metrics;
        let there = |name: &String| self.settings.components.iter().any(|it| it.enabled && it.name == *name);
        names.iter().filter(|name| !there(name)).for_each(|name| metrics.forget(name, metrics.mark()));
    }

    fn build<'b>(
        &self,
        settings: &Settings,
        wanted: impl Fn(Section) -> BTreeSet<&'b str>,
    ) -> Result<Graph, ReloadError> {
        let wanted = Section::ALL.map(|section| (section, wanted(section)));
        let is_wanted = |component: &Component| {
            wanted
                .iter()
                .any(|(section, names)| *section == component.section && names.contains(component.name.as_str()))
        };
        Ok(Graph::build_part(settings, self.registry, self.shared.clone(), is_wanted)?)
    }
}
