//! The graph: from settings to components that are joined, or to every reason why not.
//!
//! What must hold, checked here before anything is opened: names are single; every input exists and
//! is of a sort that its reader takes; there is no cycle; what a source sends reaches at least one
//! sink, and each sink by one way only (two ways would deliver each event twice); no transform is
//! left unread. A disabled component is taken out: a transform is bypassed, a source or sink vanishes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::Reload;
use crate::config::{Component, ConfigError, ConfigErrors, Section, Settings, nearest};
use crate::metrics::Metrics;
use crate::plugin::{AnySink, BuildContext, Losses, OutboxSink, Problems, Reads, Registry, Sink, Source, Transform};

/// A checked graph with its components built and nothing opened yet.
pub struct Graph {
    pub(crate) sources: Vec<Named<Box<dyn Source>>>,
    pub(crate) transforms: BTreeMap<String, Arc<dyn Transform>>,
    pub(crate) sinks: Vec<Named<Box<dyn Sink>>>,
    pub(crate) outbox_sinks: Vec<OutboxReader>,
    pub(crate) edges: Edges,
    pub(crate) shared: Shared,
}

/// What all components of a process share, however often its graph is changed.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) metrics: Metrics,
    losses: Losses,
    reload: Reload,
}

/// A component and its name.
pub(crate) struct Named<T> {
    pub(crate) name: String,
    pub(crate) component: T,
}

/// A sink that reads from the outbox of `store`.
pub(crate) struct OutboxReader {
    pub(crate) name: String,
    pub(crate) store: String,
    pub(crate) component: Box<dyn OutboxSink>,
}

/// Who reads from whom: from a component's name to the names of its readers, in order.
pub(crate) type Edges = BTreeMap<String, Vec<String>>;

impl Graph {
    /// Builds the graph that `settings` describe.
    ///
    /// # Errors
    /// What a plugin finds wrong with its settings; [`crate::config::load`] has found all of it before.
    pub fn build(settings: &Settings, registry: &Registry, metrics: &Metrics) -> Result<Self, ConfigErrors> {
        let shared = Shared { metrics: metrics.clone(), losses: Losses::default(), reload: Reload::default() };
        Self::build_part(settings, registry, shared, |_| true)
    }

    /// Builds those of its components that are wanted; the edges are those of the whole.
    pub(crate) fn build_part(
        settings: &Settings,
        registry: &Registry,
        shared: Shared,
        wanted: impl Fn(&Component) -> bool,
    ) -> Result<Self, ConfigErrors> {
        let mut plan = Plan::new(settings, registry);
        let mut graph = Self {
            sources: Vec::new(),
            transforms: BTreeMap::new(),
            sinks: Vec::new(),
            outbox_sinks: Vec::new(),
            edges: plan.edges(),
            shared,
        };
        for component in settings.components.iter().filter(|component| wanted(component)) {
            let built = graph.add(component, &plan);
            plan.record(component, built.err().unwrap_or_default());
        }
        if plan.errors.is_empty() { Ok(graph) } else { Err(ConfigErrors(plan.errors)) }
    }

    /// Asks the components to read their files anew.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.shared.reload.clone()
    }

    /// Builds one component and gives it its place; a disabled one has none.
    fn add(&mut self, component: &Component, plan: &Plan<'_>) -> Result<(), Problems> {
        if !component.enabled {
            return Ok(());
        }
        let runtime = &plan.settings.runtime;
        let cx = BuildContext {
            name: component.name.clone(),
            metrics: self.shared.metrics.clone(),
            drain_timeout: runtime.drain_timeout.0,
            in_flight: runtime.in_flight(),
            losses: self.shared.losses.clone(),
            reload: self.shared.reload.clone(),
            reads_outbox: plan.reads_outbox(component),
        };
        let name = component.name.clone();
        match component.section {
            Section::Sources => {
                let Some(plugin) = plan.registry.sources.get(component.r#type.as_str()) else { return Ok(()) };
                self.sources.push(Named { name, component: (plugin.build)(&component.table, &cx)? });
            }
            Section::Transforms => {
                let Some(plugin) = plan.registry.transforms.get(component.r#type.as_str()) else { return Ok(()) };
                self.transforms.insert(name, Arc::from((plugin.build)(&component.table, &cx)?));
            }
            Section::Sinks => {
                let Some(plugin) = plan.registry.sinks.get(component.r#type.as_str()) else { return Ok(()) };
                match (plugin.build)(&component.table, &cx)? {
                    AnySink::Stream(sink) => self.sinks.push(Named { name, component: sink }),
                    AnySink::Outbox(reader) => {
                        let store = component.inputs.first().cloned().unwrap_or_default();
                        self.outbox_sinks.push(OutboxReader { name, store, component: reader });
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with how the components are joined. A component whose type is unknown is joined as
/// far as its inputs tell: its own mistake is said elsewhere.
pub(crate) fn check(settings: &Settings, registry: &Registry) -> Vec<ConfigError> {
    let mut plan = Plan::new(settings, registry);
    plan.check();
    plan.errors
}

/// Who reads from whom, live stream and outboxes alike: from a component's name to the names of what it reads from.
pub(crate) fn inputs(settings: &Settings, registry: &Registry) -> BTreeMap<String, BTreeSet<String>> {
    let plan = Plan::new(settings, registry);
    let enabled = settings.components.iter().filter(|component| component.enabled);
    enabled.map(|one| (one.name.clone(), plan.resolve(&one.inputs, &mut BTreeSet::new()))).collect()
}

/// Whether a component reads the outbox of its input, rather than the live stream.
pub(crate) fn reads_outbox(settings: &Settings, registry: &Registry, component: &Component) -> bool {
    Plan::new(settings, registry).reads_outbox(component)
}

/// The graph while it is checked.
struct Plan<'a> {
    settings: &'a Settings,
    registry: &'a Registry,
    by_name: BTreeMap<&'a str, &'a Component>,
    errors: Vec<ConfigError>,
}

impl<'a> Plan<'a> {
    fn new(settings: &'a Settings, registry: &'a Registry) -> Self {
        let by_name = settings.components.iter().map(|component| (component.name.as_str(), component)).collect();
        Self { settings, registry, by_name, errors: Vec::new() }
    }

    fn error(&mut self, component: &Component, key: &str, message: &str) {
        let path = path(component, key);
        self.errors.push(self.settings.error_at(&path, message));
    }

    fn record(&mut self, component: &Component, problems: Problems) {
        for problem in problems {
            self.error(component, &problem.key, &problem.message);
        }
    }

    fn offers_outbox(&self, component: &Component) -> bool {
        component.section == Section::Sinks
            && self.registry.sinks.get(component.r#type.as_str()).is_some_and(|plugin| plugin.offers_outbox)
    }

    fn reads_outbox(&self, component: &Component) -> bool {
        if component.section != Section::Sinks {
            return false;
        }
        match self.registry.sinks.get(component.r#type.as_str()).map(|plugin| plugin.reads) {
            None | Some(Reads::Stream) => false,
            Some(Reads::Outbox) => true,
            Some(Reads::Either) => component
                .inputs
                .iter()
                .any(|input| self.by_name.get(input.as_str()).is_some_and(|named| self.offers_outbox(named))),
        }
    }

    fn check(&mut self) {
        self.check_names();
        for component in &self.settings.components {
            if component.section != Section::Sources {
                self.check_inputs(component);
            }
        }
        self.check_outboxes();
        // What follows walks the edges and would only repeat what is wrong with them.
        if self.errors.is_empty() && self.check_cycles() {
            self.check_reach();
        }
    }

    fn check_names(&mut self) {
        let mut seen: BTreeMap<&str, &Component> = BTreeMap::new();
        for component in &self.settings.components {
            if let Some(first) = seen.insert(&component.name, component) {
                let message = format!(
                    "the name {} is already that of {}; names are single over all sections, since inputs refer to them",
                    component.name,
                    path(first, "")
                );
                self.error(component, "", &message);
            }
        }
        if !self.settings.components.iter().any(|c| c.section == Section::Sources && c.enabled) {
            self.errors.push(self.settings.error_at("sources", "no source is enabled; add a [sources.NAME] table"));
        }
        if !self.settings.components.iter().any(|c| c.section == Section::Sinks && c.enabled) {
            self.errors.push(self.settings.error_at("sinks", "no sink is enabled; add a [sinks.NAME] table"));
        }
    }

    fn check_inputs(&mut self, component: &Component) {
        let reads_outbox = self.reads_outbox(component);
        if component.inputs.is_empty() {
            let what = if reads_outbox { "the sink that keeps events" } else { "the components that it reads from" };
            self.error(component, "inputs", &format!("is missing or empty; name {what}"));
        }
        if reads_outbox && component.inputs.len() > 1 {
            self.error(component, "inputs", "must name exactly one sink, whose outbox it reads");
        }
        let mut seen = BTreeSet::new();
        for input in &component.inputs {
            if !seen.insert(input) {
                self.error(component, "inputs", &format!("names {input} twice"));
            }
            let Some(named) = self.by_name.get(input.as_str()).copied() else {
                let hint = nearest(input, self.by_name.keys().copied())
                    .map_or_else(|| format!("; there are: {}", self.names()), |near| format!("; did you mean {near}?"));
                self.error(component, "inputs", &format!("names {input}, which does not exist{hint}"));
                continue;
            };
            if reads_outbox && !self.offers_outbox(named) {
                let message = format!(
                    "names {input}, which keeps no events; a {} sink reads from a sink that does, such as one of type {}",
                    component.r#type,
                    self.registry.sinks.iter().find(|(_, p)| p.offers_outbox).map_or("none", |(name, _)| *name)
                );
                self.error(component, "inputs", &message);
            } else if reads_outbox && !named.enabled && component.enabled {
                let message = format!("names {input}, which is disabled; enable it, or disable {} too", component.name);
                self.error(component, "inputs", &message);
            } else if !reads_outbox
                && !component.r#type.is_empty()
                && named.section == Section::Sinks
                // Which of two of that name is meant is not known; that there are two is said.
                && self.settings.components.iter().filter(|c| c.name == *input).count() == 1
            {
                self.error(component, "inputs", &format!("names {input}, a sink; inputs are sources and transforms"));
            }
        }
    }

    /// An outbox has one reader: what one has confirmed is sent, and the other would never see it.
    fn check_outboxes(&mut self) {
        let mut readers: BTreeMap<&str, &Component> = BTreeMap::new();
        for component in self.settings.components.iter().filter(|c| c.enabled) {
            let Some(store) = component.inputs.first().filter(|_| self.reads_outbox(component)) else { continue };
            if let Some(first) = readers.insert(store, component) {
                let message = format!(
                    "names {store}, whose outbox {} reads already: each event is sent on once; give each a store of its own",
                    first.name
                );
                self.error(component, "inputs", &message);
            }
        }
    }

    fn names(&self) -> String {
        let readable = self.by_name.values().filter(|c| c.section != Section::Sinks).map(|c| c.name.as_str());
        readable.collect::<Vec<_>>().join(", ")
    }

    /// Edges of the live stream between enabled components, disabled transforms bypassed.
    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for component in self.settings.components.iter().filter(|c| c.enabled && !self.reads_outbox(c)) {
            for input in self.resolve(&component.inputs, &mut BTreeSet::new()) {
                edges.entry(input).or_default().push(component.name.clone());
            }
        }
        edges
    }

    /// The enabled components behind these inputs.
    fn resolve(&self, inputs: &[String], through: &mut BTreeSet<String>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for input in inputs {
            match self.by_name.get(input.as_str()) {
                Some(named) if named.enabled => drop(found.insert(input.clone())),
                Some(named) if named.section == Section::Transforms && through.insert(input.clone()) => {
                    found.extend(self.resolve(&named.inputs, through));
                }
                _ => {}
            }
        }
        found
    }

    /// Finds cycles by taking away, again and again, what reads nothing that is left.
    fn check_cycles(&mut self) -> bool {
        let mut left: Vec<&Component> =
            self.settings.components.iter().filter(|c| c.section == Section::Transforms).collect();
        loop {
            let names: BTreeSet<&str> = left.iter().map(|c| c.name.as_str()).collect();
            let before = left.len();
            left.retain(|c| c.inputs.iter().any(|input| names.contains(input.as_str())));
            if left.len() == before {
                break;
            }
        }
        // Readers behind a cycle are left too; those that are not read by any of the rest go.
        loop {
            let read: BTreeSet<&str> = left.iter().flat_map(|c| c.inputs.iter().map(String::as_str)).collect();
            let before = left.len();
            left.retain(|c| read.contains(c.name.as_str()));
            if left.len() == before {
                break;
            }
        }
        let names = left.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(first) = left.first() {
            self.error(first, "inputs", &format!("makes a cycle: {names} read from each other; cut it"));
        }
        left.is_empty()
    }

    fn check_reach(&mut self) {
        let edges = self.edges();
        for component in self.settings.components.iter().filter(|c| c.enabled) {
            let is_read = edges.get(&component.name).is_some_and(|readers| !readers.is_empty());
            match component.section {
                Section::Sources if !is_read => {
                    self.error(component, "", "reaches no sink; name it in the inputs of a transform or sink");
                }
                Section::Sources => self.check_single_way(component, &edges),
                Section::Transforms if !is_read => {
                    self.error(component, "", "nothing reads from it; name it in the inputs of a sink, or remove it");
                }
                Section::Transforms | Section::Sinks => {
                    let live = !self.reads_outbox(component);
                    if live && self.resolve(&component.inputs, &mut BTreeSet::new()).is_empty() {
                        self.error(
                            component,
                            "inputs",
                            "names only disabled components; enable one, or disable this too",
                        );
                    }
                }
            }
        }
    }

    fn check_single_way(&mut self, source: &Component, edges: &Edges) {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<&str> = vec![&source.name];
        while let Some(name) = ahead.pop() {
            for reader in edges.get(name).into_iter().flatten() {
                if reached.insert(reader.as_str()) {
                    ahead.push(reader);
                    continue;
                }
                if let Some(twice) = self.by_name.get(reader.as_str()).copied() {
                    let message = format!(
                        "events of {} come here by two ways and would be delivered twice; keep one",
                        source.name
                    );
                    self.error(twice, "inputs", &message);
                }
            }
        }
    }
}

fn path(component: &Component, key: &str) -> String {
    let table = format!("{}.{}", component.section.as_str(), component.name);
    if key.is_empty() { table } else { format!("{table}.{key}") }
}

/// How a drawing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// For Markdown and its viewers.
    Mermaid,
    /// For Graphviz.
    Dot,
}

/// Draws the graph that `settings` describe; disabled components are drawn dashed.
#[must_use]
pub fn draw(settings: &Settings, drawing: Drawing) -> String {
    let mut out = String::from(match drawing {
        Drawing::Mermaid => "flowchart LR\n",
        Drawing::Dot => "digraph pipeline {\n  rankdir = LR;\n",
    });
    for component in &settings.components {
        let (name, kind) = (&component.name, &component.r#type);
        let _ = match (drawing, component.section) {
            (Drawing::Mermaid, Section::Sources) => writeln!(out, "  {name}([\"{name}<br/>{kind}\"])"),
            (Drawing::Mermaid, Section::Transforms) => writeln!(out, "  {name}[\"{name}<br/>{kind}\"]"),
            (Drawing::Mermaid, Section::Sinks) => writeln!(out, "  {name}[(\"{name}<br/>{kind}\")]"),
            (Drawing::Dot, section) => {
                let shape = match section {
                    Section::Sources => "oval",
                    Section::Transforms => "box",
                    Section::Sinks => "cylinder",
                };
                let style = if component.enabled { "solid" } else { "dashed" };
                writeln!(out, "  \"{name}\" [label=\"{name}\\n{kind}\", shape={shape}, style={style}];")
            }
        };
        if drawing == Drawing::Mermaid && !component.enabled {
            let _ = writeln!(out, "  style {name} stroke-dasharray: 4");
        }
    }
    for component in &settings.components {
        for input in &component.inputs {
            let _ = match drawing {
                Drawing::Mermaid => writeln!(out, "  {input} --> {}", component.name),
                Drawing::Dot => writeln!(out, "  \"{input}\" -> \"{}\";", component.name),
            };
        }
    }
    if drawing == Drawing::Dot {
        out.push_str("}\n");
    }
    out
}
