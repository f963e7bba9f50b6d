//! The layers: figment merges them, and remembers for each value which one it is from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;

use super::file::{self, Found};
use super::interpolate::expand;
use super::{ConfigError, ConfigErrors, join_key};

/// The merged configuration, with its provenance.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    file: String,
    path: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
    figment: Figment,
}

/// One layer, or one variable of the environment: values and the name to blame.
struct Layer {
    name: String,
    values: Value,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        figment::providers::Serialized::defaults(&self.values).data()
    }
}

impl Layers {
    /// The layer of the file, its variables replaced.
    ///
    /// # Errors
    /// When it is not TOML. A variable that is not set is added to `errors`.
    pub(super) fn from_file(
        found: Found,
        env: &[(String, String)],
        errors: &mut Vec<ConfigError>,
    ) -> Result<Self, ConfigErrors> {
        let mut parsed = file::parse(&found)?;
        let mut layers = Self { file: found.name, path: found.path, lines: parsed.lines, figment: Figment::new() };
        layers.expand_all(&mut parsed.root, "", env, errors);
        layers.merge(layers.file.clone(), parsed.root);
        Ok(layers)
    }

    fn expand_all(&self, value: &mut Value, path: &str, env: &[(String, String)], errors: &mut Vec<ConfigError>) {
        match value {
            Value::String(text) => match expand(text, env) {
                Ok(expanded) => *text = expanded,
                Err(message) => errors.push(self.in_file(path, &message)),
            },
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.expand_all(item, &join_key(path, &at.to_string()), env, errors);
                }
            }
            Value::Object(table) => {
                for (key, value) in table {
                    self.expand_all(value, &join_key(path, key), env, errors);
                }
            }
            _ => {}
        }
    }

    fn merge(&mut self, name: String, values: Value) {
        self.figment = std::mem::take(&mut self.figment).merge(Layer { name, values });
    }

    /// Lays one value over what is there.
    pub(super) fn put(&mut self, name: &str, path: &[&str], text: &str) {
        let mut value = Value::String(text.to_owned());
        for key in path.iter().rev() {
            value = Value::Object(serde_json::Map::from_iter([((*key).to_owned(), value)]));
        }
        self.merge(name.to_owned(), value);
    }

    /// Lays the arguments of `--set` over what is there.
    pub(super) fn set(&mut self, arguments: &[String], errors: &mut Vec<ConfigError>) {
        for argument in arguments {
            let parts = argument.split_once('=').map(|(key, value)| (key.trim().split('.').collect::<Vec<_>>(), value));
            match parts {
                Some((path, value)) if path.iter().all(|key| !key.is_empty()) => {
                    self.put(&format!("--set {}", path.join(".")), &path, value);
                }
                _ => errors.push(ConfigError {
                    // Not the argument itself: what stands behind a misplaced = may be a secret.
                    origin: "--set".to_owned(),
                    key: String::new(),
                    message: "must be KEY=VALUE, such as sinks.store.path=/tmp/x.db".to_owned(),
                }),
            }
        }
    }

    /// All layers as one tree.
    ///
    /// # Errors
    /// When figment cannot make one, which a tree of ours never causes.
    pub(super) fn merged(&self) -> Result<Value, ConfigErrors> {
        self.figment.extract::<Value>().map_err(|error| ConfigErrors::one(&self.file, "", error.to_string()))
    }

    pub(super) fn file_name(&self) -> &str {
        &self.file
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The layer that set this key, or the nearest table above it; `None` where no layer did.
    pub(super) fn origin(&self, path: &str) -> Option<String> {
        let Ok(value) = self.figment.find_value(path) else {
            // figment does not look into lists; a list is of one layer as a whole.
            let (above, _) = path.rsplit_once('.')?;
            let of_file = self.origin(above)?.starts_with(&format!("{}:", self.file));
            return (of_file && self.lines.contains_key(path)).then(|| self.in_file(path, "").origin);
        };
        // A table that a later layer put a key into is that layer's to figment, but stands in the file.
        if matches!(value, figment::value::Value::Dict(..)) && self.lines.contains_key(path) {
            return Some(self.in_file(path, "").origin);
        }
        let set_by = self.figment.get_metadata(value.tag())?.name.to_string();
        Some(if set_by == self.file { self.in_file(path, "").origin } else { set_by })
    }

    pub(super) fn error_at(&self, path: &str, message: &str) -> ConfigError {
        // A plugin may write `rules[0]`; lines and layers are kept under `rules.0`.
        let path = &path.replace('[', ".").replace(']', "");
        let mut at = path.as_str();
        loop {
            if let Some(origin) = self.origin(at) {
                return ConfigError { origin, key: path.to_owned(), message: message.to_owned() };
            }
            match at.rsplit_once('.') {
                Some((above, _)) => at = above,
                None => return self.in_file(path, message),
            }
        }
    }

    /// An error in the file, at the line of the key or of the nearest table above it.
    fn in_file(&self, path: &str, message: &str) -> ConfigError {
        let mut at = path;
        let line = loop {
            if let Some(line) = self.lines.get(at) {
                break *line;
            }
            match at.rsplit_once('.') {
                Some((above, _)) => at = above,
                None => break 1,
            }
        };
        ConfigError { origin: format!("{}:{line}", self.file), key: path.to_owned(), message: message.to_owned() }
    }
}
