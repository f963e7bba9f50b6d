//! Configuration: layers, last wins, and where each value came from.
//!
//! Plugin defaults, then the TOML file (or the one inside the program), then environment variables,
//! then `--set`. The layers are merged by figment, each value remembering its layer; the lines of a
//! file are found by the TOML parser's spans. Text is text until the end: a variable or `--set` says
//! `"30"`, and the schema of the key that it sets says whether that is a number ([`typed`]).
//!
//! Nothing stops at the first mistake: [`load`] collects all of them, and each names its layer (file
//! and line, or variable), its key, and what to do.

mod effective;
mod env;
mod error;
mod file;
mod interpolate;
mod layers;
mod reference;
mod schema;
mod typed;
pub mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::plugin::{Problems, Registry};

pub use effective::Effective;
pub use env::{ShortName, Target};
pub use error::{ConfigError, ConfigErrors, nearest};
pub use reference::reference;
pub use schema::{DescribedKey, DescribedPlugin, schema};
pub use typed::typed;
pub use values::{Secret, Size, Time};

use layers::Layers;

/// What a configuration is made from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The arguments of `--set`.
    pub set: Vec<String>,
    /// The configuration inside the program.
    pub embedded: &'static str,
    /// Where a file is looked for when none is named, in this order.
    pub search: Vec<PathBuf>,
    /// The file that was read before: it is read again, and no other is looked for.
    pub again: Option<PathBuf>,
    /// Tables of the program's own, such as `[api]`.
    pub tables: &'static [Table],
    /// Short names of variables, for deploy time.
    pub short_names: &'static [ShortName],
    /// Variables of an earlier program, and the short names that replace them ("" for none).
    pub old_names: &'static [(&'static str, &'static str)],
}

/// The three tables of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `[sources.NAME]`
    Sources,
    /// `[transforms.NAME]`
    Transforms,
    /// `[sinks.NAME]`
    Sinks,
}

impl Section {
    /// All of them, in the order of the stream.
    pub const ALL: [Self; 3] = [Self::Sources, Self::Transforms, Self::Sinks];

    /// The table's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Transforms => "transforms",
            Self::Sinks => "sinks",
        }
    }

    /// What one of its components is called.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::Sources => "source",
            Self::Transforms => "transform",
            Self::Sinks => "sink",
        }
    }
}

/// One component as it is declared.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its table.
    pub section: Section,
    /// Its name.
    pub name: String,
    /// The plugin that it is one of.
    pub r#type: String,
    /// Whom it reads from.
    pub inputs: Vec<String>,
    /// Whether it takes part.
    pub enabled: bool,
    /// The plugin's own keys.
    pub table: Value,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what a person should look at.
    Warn,
    /// And the stations of its life.
    Info,
    /// And what it does.
    Debug,
    /// And how.
    Trace,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// The table `[runtime]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// Most events admitted and not yet stored; beyond it clients get 429.
    pub max_in_flight_events: usize,
    /// Most bytes of events admitted and not yet stored.
    pub max_in_flight_bytes: Size,
    /// Time for an orderly stop, and for what a reload exchanges. Takes effect at the start.
    pub drain_timeout: Time,
    /// How much is logged: error, warn, info, debug, trace.
    pub log_level: LogLevel,
    /// How log lines are written: text or json. Takes effect at the start.
    pub log_format: LogFormat,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            max_in_flight_events: 512,
            max_in_flight_bytes: Size::mib(4),
            drain_timeout: Time::seconds(10),
            log_level: LogLevel::Warn,
            log_format: LogFormat::Text,
        }
    }
}

impl RuntimeSettings {
    /// The in-flight budget: events and bytes.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.max_in_flight_events, usize::try_from(self.max_in_flight_bytes.0).unwrap_or(usize::MAX))
    }
}

/// A configuration whose structure and types are right.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The table `[runtime]`.
    pub runtime: RuntimeSettings,
    /// Every component, disabled ones too, by section and name.
    pub components: Vec<Component>,
    root: Value,
    layers: Layers,
    notices: Vec<String>,
}

impl Settings {
    /// A table of the program's own, such as `[api]`.
    ///
    /// # Errors
    /// Every wrong key and value in it.
    pub fn table<T: DeserializeOwned + JsonSchema>(&self, name: &str) -> Result<T, ConfigErrors> {
        typed_at(&self.layers, &self.root, name)
    }

    /// An error at a dotted path (`sinks.store.inputs`), with the layer that set it.
    #[must_use]
    pub fn error_at(&self, path: &str, message: &str) -> ConfigError {
        self.layers.error_at(path, message)
    }

    /// What a person should be told at start.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The file, or "embedded default".
    #[must_use]
    pub fn source(&self) -> &str {
        self.layers.file_name()
    }

    /// The file; `None`: the embedded default.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.layers.path()
    }

    /// Every key in force, its value with secrets masked, and its layer.
    #[must_use]
    pub fn effective(&self, registry: &Registry, tables: &[Table]) -> Vec<Effective> {
        effective::list(&self.root, &self.components, &self.layers, registry, tables)
    }
}

/// A table of the program's own, beside those of components.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub(crate) name: &'static str,
    pub(crate) schema: fn() -> schemars::Schema,
    check: fn(&Value) -> Problems,
}

impl Table {
    /// The table `[name]`, which reads as a `T`.
    #[must_use]
    pub const fn of<T: DeserializeOwned + JsonSchema>(name: &'static str) -> Self {
        Self { name, schema: || schemars::schema_for!(T), check: |table| typed::<T>(table).err().unwrap_or_default() }
    }
}

const RUNTIME: Table = Table::of::<RuntimeSettings>("runtime");

/// The tables of the program, the engine's own first.
pub(crate) fn tables(own: &[Table]) -> impl Iterator<Item = Table> + Clone {
    [RUNTIME].into_iter().chain(own.iter().copied())
}

/// Reads and checks a configuration.
///
/// # Errors
/// Everything that is wrong with it: its structure, its keys and values, its graph.
pub fn load(inputs: &Inputs, registry: &Registry) -> Result<Settings, ConfigErrors> {
    let mut errors = Vec::new();
    let mut notices = Vec::new();
    let found = file::find(inputs)?;
    let mut layers = Layers::from_file(found, &inputs.env, &mut errors)?;
    env::apply(inputs, registry, &mut layers, &mut errors, &mut notices);
    layers.set(&inputs.set, &mut errors);
    let root = layers.merged()?;
    check_top(&root, inputs.tables, &layers, &mut errors);

    let runtime = typed_at(&layers, &root, RUNTIME.name).unwrap_or_default();
    let RuntimeSettings { max_in_flight_events, max_in_flight_bytes, .. } = &runtime;
    for (key, zero) in
        [("max_in_flight_events", *max_in_flight_events == 0), ("max_in_flight_bytes", max_in_flight_bytes.0 == 0)]
    {
        if zero {
            errors.push(layers.error_at(&join(RUNTIME.name, key), "must be more than 0"));
        }
    }
    let mut components = Vec::new();
    for section in Section::ALL {
        let Some(tables) = root.get(section.as_str()).and_then(Value::as_object) else { continue };
        for (name, table) in tables {
            components.extend(component(section, name, table, registry, &layers, &mut errors));
        }
    }
    let settings = Settings { runtime, components, root, layers, notices };
    errors.extend(crate::graph::check(&settings, registry));
    if errors.is_empty() { Ok(settings) } else { Err(ConfigErrors::sorted(errors)) }
}

/// One table alone, whatever is wrong with the rest.
///
/// # Errors
/// What is wrong with the table, or that the file is no TOML.
pub fn table<T: DeserializeOwned + JsonSchema>(
    inputs: &Inputs,
    registry: &Registry,
    name: &str,
) -> Result<T, ConfigErrors> {
    let (mut errors, mut notices) = (Vec::new(), Vec::new());
    let mut layers = Layers::from_file(file::find(inputs)?, &inputs.env, &mut errors)?;
    env::apply(inputs, registry, &mut layers, &mut errors, &mut notices);
    layers.set(&inputs.set, &mut errors);
    typed_at(&layers, &layers.merged()?, name)
}

fn typed_at<T: DeserializeOwned + JsonSchema>(layers: &Layers, root: &Value, name: &str) -> Result<T, ConfigErrors> {
    let empty = Value::Object(serde_json::Map::new());
    typed(root.get(name).unwrap_or(&empty)).map_err(|problems| {
        ConfigErrors(problems.into_iter().map(|p| layers.error_at(&join(name, &p.key), &p.message)).collect())
    })
}

fn join(path: &str, key: &str) -> String {
    if key.is_empty() { path.to_owned() } else { join_key(path, key) }
}

fn join_key(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn check_top(root: &Value, own: &[Table], layers: &Layers, errors: &mut Vec<ConfigError>) {
    let known: BTreeSet<&str> =
        Section::ALL.into_iter().map(Section::as_str).chain(tables(own).map(|table| table.name)).collect();
    for (name, value) in root.as_object().into_iter().flatten() {
        if !known.contains(name.as_str()) {
            let hint = error::hint(name, known.iter().copied());
            errors.push(layers.error_at(name, &format!("is not a table of this file{hint}")));
        } else if !value.is_object() {
            errors.push(layers.error_at(name, "must be a table"));
        } else if let Some(table) = tables(own).find(|table| table.name == name) {
            let problems = (table.check)(value);
            errors.extend(problems.iter().map(|p| layers.error_at(&join(name, &p.key), &p.message)));
        }
    }
}

fn component(
    section: Section,
    name: &str,
    table: &Value,
    registry: &Registry,
    layers: &Layers,
    errors: &mut Vec<ConfigError>,
) -> Option<Component> {
    let path = format!("{}.{name}", section.as_str());
    let mut wrong = |key: &str, message: &str| errors.push(layers.error_at(&join(&path, key), message));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        wrong("", "a component's name is 1 to 64 letters, digits, '_' and '-'");
    }
    let Some(table) = table.as_object() else {
        wrong("", &format!("must be a table: [{path}]"));
        return None;
    };
    let mut table = table.clone();
    let known = registry.types(section);
    let r#type = match table.remove("type") {
        Some(Value::String(name)) if known.contains(&name.as_str()) => Some(name),
        Some(Value::String(name)) => {
            let elsewhere = Section::ALL.into_iter().find(|other| registry.types(*other).contains(&name.as_str()));
            let hint = match elsewhere {
                Some(other) => format!("; it is a {}: [{}.NAME]", other.singular(), other.as_str()),
                None => error::hint(&name, known.iter().copied()),
            };
            wrong("type", &format!("there is no {} called {name}{hint}", section.singular()));
            None
        }
        Some(_) => {
            wrong("type", "must be a string");
            None
        }
        None => {
            wrong("type", &format!("is missing; there are: {}", known.join(", ")));
            None
        }
    };
    let inputs = match table.remove("inputs") {
        Some(_) if section == Section::Sources => {
            wrong("inputs", "a source reads from no component; remove it");
            Vec::new()
        }
        Some(value) => typed::<Vec<String>>(&typed::as_list(value)).unwrap_or_else(|_| {
            wrong("inputs", "must be a list of names: [\"a\", \"b\"]");
            Vec::new()
        }),
        None => Vec::new(),
    };
    let enabled = match table.remove("enabled") {
        None => true,
        Some(Value::Bool(enabled)) => enabled,
        Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
        Some(_) => {
            wrong("enabled", "must be true or false");
            true
        }
    };
    if let Some(keys) = r#type.as_ref().and_then(|r#type| registry.keys_of(section, r#type)) {
        // The plugin's schema does not know the keys that every component has.
        table.retain(|key, _| {
            let all = keys.iter().map(String::as_str).chain(["type", "inputs", "enabled"]);
            let near = nearest(key, all).filter(|near| !keys.contains(key) && !keys.iter().any(|known| known == near));
            if let Some(near) = near {
                wrong(key, &format!("there is no such key; did you mean {near}?"));
            }
            near.is_none()
        });
    }
    let table = Value::Object(table);
    if let Some(r#type) = &r#type {
        // Built and thrown away: only the plugin knows what is wrong with its values.
        let problems = registry.try_build(section, r#type, &table);
        problems.iter().for_each(|problem| wrong(&problem.key, &problem.message));
    }
    Some(Component { section, name: name.to_owned(), r#type: r#type.unwrap_or_default(), inputs, enabled, table })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
