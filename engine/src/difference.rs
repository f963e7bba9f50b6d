//! What is different between two configurations, component by component.
//!
//! A component is the same where its section, name, type and table are: then its instance is kept, with all that
//! it remembers, holds and does. Whom it reads from is how it is joined and no part of it, but for a sink that
//! reads an outbox: that one was given its outbox when it began, so it is the same only where the sink that
//! offers it is. The tables are compared as they are after all layers, not as text; a value that is written
//! another way (`"60s"`, `"1m"`) is another value here, and costs no more than an exchange.

use std::collections::BTreeSet;

use crate::config::{Component, Section, Settings};
use crate::graph::{inputs, reads_outbox};
use crate::plugin::Registry;

/// Components by what becomes of them, each by section and name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Only in the new configuration.
    pub(crate) added: Vec<Place>,
    /// Only in the old one.
    pub(crate) removed: Vec<Place>,
    /// In both, with another type or table.
    pub(crate) changed: Vec<Place>,
    /// The same, but what they read from an outbox is not.
    pub(crate) restarted: Vec<Place>,
    /// The same, and read from others.
    pub(crate) rejoined: Vec<Place>,
    /// The same in all.
    pub(crate) kept: Vec<Place>,
}

/// A component's place in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) section: Section,
    pub(crate) name: String,
}

impl Place {
    fn of(component: &Component) -> Self {
        Self { section: component.section, name: component.name.clone() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.section.as_str(), self.name)
    }
}

impl Difference {
    pub(crate) fn between(old: &Settings, new: &Settings, registry: &Registry) -> Self {
        let mut found = Self::default();
        let (old_inputs, new_inputs) = (inputs(old, registry), inputs(new, registry));
        let mut same = Vec::new();
        for component in enabled(new) {
            match enabled(old).find(|before| Place::of(before) == Place::of(component)) {
                None => found.added.push(Place::of(component)),
                Some(before) if is_same(before, component) => same.push((before, component)),
                Some(_) => found.changed.push(Place::of(component)),
            }
        }
        let gone = enabled(old).map(Place::of).filter(|place| !enabled(new).any(|new| Place::of(new) == *place));
        found.removed = gone.collect();
        for (before, component) in same {
            let (place, name) = (Place::of(component), &component.name);
            let kind = match (reads_outbox(old, registry, before), reads_outbox(new, registry, component)) {
                (false, false) if old_inputs.get(name) == new_inputs.get(name) => &mut found.kept,
                (false, false) => &mut found.rejoined,
                (true, true) if before.inputs == component.inputs && !found.exchanges(&component.inputs) => {
                    &mut found.kept
                }
                _ => &mut found.restarted,
            };
            kind.push(place);
        }
        found
    }

    /// Whether nothing is different.
    pub(crate) fn is_none(&self) -> bool {
        [&self.added, &self.removed, &self.changed, &self.restarted, &self.rejoined].iter().all(|list| list.is_empty())
    }

    /// Whose instance must go.
    pub(crate) fn going(&self, section: Section) -> BTreeSet<&str> {
        named([&self.removed, &self.changed, &self.restarted], section)
    }

    /// Of what there must be a new instance.
    pub(crate) fn coming(&self, section: Section) -> BTreeSet<&str> {
        named([&self.added, &self.changed, &self.restarted], section)
    }

    fn exchanges(&self, stores: &[String]) -> bool {
        // A store does not read an outbox, so `restarted` names none.
        let going = self.going(Section::Sinks);
        stores.iter().any(|store| going.contains(store.as_str()))
    }
}

fn named(lists: [&Vec<Place>; 3], section: Section) -> BTreeSet<&str> {
    let places = lists.into_iter().flatten().filter(|place| place.section == section);
    places.map(|place| place.name.as_str()).collect()
}

fn enabled(settings: &Settings) -> impl Iterator<Item = &Component> {
    settings.components.iter().filter(|component| component.enabled)
}

fn is_same(one: &Component, other: &Component) -> bool {
    one.r#type == other.r#type && one.table == other.table
}
