//! Configuration: layers, and where each value came from.
pub mod values;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
pub use values::{Secret, Size, Time};

use crate::plugin::{Problem, Problems, Registry};

/// Inputs.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// f
    pub file: Option<PathBuf>,
    /// e
    pub env: Vec<(String, String)>,
    /// s
    pub set: Vec<String>,
    /// e
    pub embedded: &'static str,
    /// s
    pub search: Vec<PathBuf>,
}
/// Section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// s
    Sources,
    /// t
    Transforms,
    /// k
    Sinks,
}
impl Section {
    /// Name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Transforms => "transforms",
            Self::Sinks => "sinks",
        }
    }
}
/// Component.
#[derive(Debug, Clone)]
pub struct Component {
    /// s
    pub section: Section,
    /// n
    pub name: String,
    /// t
    pub r#type: String,
    /// i
    pub inputs: Vec<String>,
    /// e
    pub enabled: bool,
    /// t
    pub table: serde_json::Value,
}
/// l
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// e
    Error,
    /// w
    Warn,
    /// i
    Info,
    /// d
    Debug,
    /// t
    Trace,
}
/// f
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// t
    Text,
    /// j
    Json,
}
/// Runtime.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// e
    pub max_in_flight_events: usize,
    /// b
    pub max_in_flight_bytes: Size,
    /// d
    pub drain_timeout: Time,
    /// l
    pub log_level: LogLevel,
    /// f
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
/// One error.
#[derive(Debug, Clone)]
pub struct ConfigError {
    /// o
    pub origin: String,
    /// k
    pub key: String,
    /// m
    pub message: String,
}
/// All.
#[derive(Debug, Clone)]
pub struct ConfigErrors(pub Vec<ConfigError>);
impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for e in &self.0 {
            writeln!(f, "{}: {}: {}", e.origin, e.key, e.message)?;
        }
        Ok(())
    }
}
impl std::error::Error for ConfigErrors {}
/// Settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// r
    pub runtime: RuntimeSettings,
    /// c
    pub components: Vec<Component>,
    root: serde_json::Value,
}
impl Settings {
    /// t
    pub fn table<T: DeserializeOwned + JsonSchema>(&self, name: &str) -> Result<T, ConfigErrors> {
        typed(self.root.get(name).unwrap_or(&serde_json::json!({}))).map_err(|p| {
            ConfigErrors(p.into_iter().map(|p| self.error_at(&format!("{name}.{}", p.key), &p.message)).collect())
        })
    }
    /// e
    pub fn error_at(&self, path: &str, message: &str) -> ConfigError {
        ConfigError { origin: "config".into(), key: path.into(), message: message.into() }
    }
    /// n
    pub fn notices(&self) -> &[String] {
        &[]
    }
    /// s
    pub fn source(&self) -> &str {
        "file"
    }
}
/// n
pub fn nearest<'a>(_name: &str, _known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    None
}
/// l
pub fn load(inputs: &Inputs, _registry: &Registry) -> Result<Settings, ConfigErrors> {
    let bad = |m: String| ConfigErrors(vec![ConfigError { origin: String::new(), key: String::new(), message: m }]);
    let text = match &inputs.file {
        Some(f) => std::fs::read_to_string(f).map_err(|e| bad(e.to_string()))?,
        None => inputs.embedded.to_owned(),
    };
    let mut root: serde_json::Value = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
    for set in &inputs.set {
        let (key, value) = set.split_once('=').ok_or_else(|| bad("set".into()))?;
        let value = toml::from_str::<serde_json::Value>(&format!("v={value}"))
            .ok()
            .and_then(|v| v.get("v").cloned())
            .unwrap_or_else(|| value.into());
        let mut at = &mut root;
        for part in key.split('.') {
            at = &mut at[part];
        }
        *at = value;
    }
    let mut components = vec![];
    for section in [Section::Sources, Section::Transforms, Section::Sinks] {
        let Some(tables) = root.get(section.as_str()).and_then(|t| t.as_object()) else { continue };
        for (name, table) in tables {
            let mut table = table.clone();
            let o = table.as_object_mut().ok_or_else(|| bad("table".into()))?;
            components.push(Component {
                section,
                name: name.clone(),
                r#type: o.remove("type").and_then(|t| t.as_str().map(str::to_owned)).unwrap_or_default(),
                inputs: o.remove("inputs").and_then(|i| serde_json::from_value(i).ok()).unwrap_or_default(),
                enabled: o.remove("enabled").and_then(|e| e.as_bool()).unwrap_or(true),
                table,
            });
        }
    }
    let runtime = typed(root.get("runtime").unwrap_or(&serde_json::json!({})))
        .map_err(|p: Problems| bad(p[0].message.clone()))?;
    Ok(Settings { runtime, components, root })
}
/// Reads a component's table (without `type`, `inputs`, `enabled`) into its typed configuration.
///
/// # Errors
/// Every problem found.
pub fn typed<C: DeserializeOwned + JsonSchema>(table: &serde_json::Value) -> Result<C, Problems> {
    serde_json::from_value(table.clone()).map_err(|error| vec![Problem::new("", error.to_string())])
}
