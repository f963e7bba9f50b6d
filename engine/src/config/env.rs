//! Settings from the environment.
//!
//! `TRACE_` and the path with `__` sets any key; a few short names serve at deploy time. A name that
//! is nearly one of ours is a mistake and stops the start, since the setting that was meant would
//! silently not be there; a name that resembles nothing is somebody else's.
//!
//! A secret may come in a file: `TRACE_PUSH_TOKEN_FILE=/run/secrets/push` is the text of that file, as
//! container platforms mount secrets. A variable's value is seen by whoever may look at the process.

use std::io::Read as _;

use serde_json::Value;

use super::error::{hint, nearest};
use super::layers::Layers;
use super::typed::{is_secret_at, takes_any_text};
use super::{ConfigError, Inputs, Section, tables};
use crate::plugin::Registry;

/// A variable that reaches one key.
#[derive(Debug, Clone, Copy)]
pub struct ShortName {
    /// The variable.
    pub name: &'static str,
    /// What it reaches.
    pub target: Target,
    /// Whether it replaces only the port of an address.
    pub port: bool,
}

/// What a short name reaches.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// A key of the program's own tables.
    Table(&'static str, &'static str),
    /// A key of the one component of a type.
    Component(Section, &'static str, &'static str),
}

const PREFIX: &str = "TRACE_";

/// Ends the name of a variable that names a file with the value.
const FILE: &str = "_FILE";

/// The most bytes of such a file.
const MAX_FILE: u64 = 64 * 1024;

struct Reader<'a> {
    inputs: &'a Inputs,
    registry: &'a Registry,
    root: Value,
    layers: &'a mut Layers,
    errors: &'a mut Vec<ConfigError>,
    notices: &'a mut Vec<String>,
}

/// Lays the variables over the file.
pub(super) fn apply(
    inputs: &Inputs,
    registry: &Registry,
    layers: &mut Layers,
    errors: &mut Vec<ConfigError>,
    notices: &mut Vec<String>,
) {
    let Ok(root) = layers.merged() else { return };
    let mut reader = Reader { inputs, registry, root, layers, errors, notices };
    for (old, new) in inputs.old_names {
        reader.old(old, new);
    }
    // Long names last: they are the more exact ones.
    let (long, short): (Vec<_>, Vec<_>) =
        inputs.env.iter().filter(|(name, _)| name.starts_with(PREFIX)).partition(|(name, _)| name.contains("__"));
    for (name, value) in short {
        reader.short(name, value);
    }
    for (name, value) in long {
        reader.long(name, value);
    }
}

impl Reader<'_> {
    fn error(&mut self, name: &str, message: String) {
        self.errors.push(ConfigError { origin: name.to_owned(), key: String::new(), message });
    }

    fn old(&mut self, old: &str, new: &str) {
        let said = |wanted: &str| {
            self.inputs
                .env
                .iter()
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(_, value)| value.clone())
        };
        let Some(value) = said(old) else { return };
        if new.is_empty() {
            self.notices.push(format!("{old} has no meaning any more and is ignored"));
        } else if said(new).is_some() {
            self.notices.push(format!("{old} is ignored, since {new} is set"));
        } else if let Some(short) = self.inputs.short_names.iter().find(|short| short.name == new).copied() {
            self.notices.push(format!("{old} is an old name and still taken; use {new}"));
            self.reach(old, short, &value);
        }
    }

    fn short(&mut self, name: &str, value: &str) {
        if name == "TRACE_CONFIG" {
            return;
        }
        if let Some(short) = self.inputs.short_names.iter().find(|short| short.name == name).copied() {
            return self.reach(name, short, value);
        }
        let in_file = name.strip_suffix(FILE);
        let in_file = in_file.and_then(|base| self.inputs.short_names.iter().find(|short| short.name == base)).copied();
        if let Some(short) = in_file.filter(|short| self.is_secret(short.target)) {
            if let Some(text) = self.text_of(name, short.name, value) {
                self.reach(name, short, &text);
            }
            return;
        }
        let known = self.inputs.short_names.iter().map(|short| short.name).chain(["TRACE_CONFIG"]);
        // Compared without the prefix, which all of them share.
        let bare = known.clone().map(|known| &known[PREFIX.len()..]);
        let near = nearest(&name[PREFIX.len()..], bare).map(|near| format!("{PREFIX}{near}"));
        // `TRACE_SINKS_STORE_PATH`: one `_` where two separate the parts of a path.
        let near = near.or_else(|| self.long_names().into_iter().find(|long| long.replace("__", "_") == name));
        match near {
            Some(near) => self.error(name, format!("is not a variable of openclaw-trace; did you mean {near}?")),
            None => self.notices.push(format!("{name} is no variable of openclaw-trace and is ignored")),
        }
    }

    fn reach(&mut self, name: &str, short: ShortName, value: &str) {
        match short.target {
            Target::Table(table, key) => self.put(name, short.port, &[table, key], value),
            Target::Component(section, r#type, key) => {
                let tables = self.root.get(section.as_str()).and_then(Value::as_object);
                let of_type = |table: &Value| table.get("type").and_then(Value::as_str) == Some(r#type);
                let found: Vec<String> = tables
                    .into_iter()
                    .flatten()
                    .filter(|(_, table)| of_type(table))
                    .map(|(name, _)| name.clone())
                    .collect();
                match found.as_slice() {
                    [] => self.notices.push(format!("{name} is set, but there is no {type} to take it")),
                    [component] => self.put(name, short.port, &[section.as_str(), component, key], value),
                    several => {
                        let names: Vec<_> =
                            several.iter().map(|component| long_name(&[section.as_str(), component, key])).collect();
                        self.error(
                            name,
                            format!("there are {} of type {type}; use {}", several.len(), names.join(" or ")),
                        );
                    }
                }
            }
        }
    }

    fn put(&mut self, name: &str, port: bool, path: &[&str], value: &str) {
        if value.is_empty() && (port || !self.by_schema(path, takes_any_text)) {
            return;
        }
        if !port {
            return self.layers.put(name, path, value);
        }
        let pointer = format!("/{}", path.join("/"));
        let address = self.root.pointer(&pointer).and_then(Value::as_str).unwrap_or("127.0.0.1:0");
        let host = address.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        match value.trim().parse::<u16>() {
            Ok(port) => self.layers.put(name, path, &format!("{host}:{port}")),
            Err(_) => self.error(name, "must be a port: a number from 0 to 65535".to_owned()),
        }
    }

    fn long(&mut self, name: &str, value: &str) {
        let parts: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        let found = self.resolve(&parts);
        // In a table of secrets any name is one, and one that ends so is meant for a file.
        let is_free = found.as_ref().is_ok_and(|path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            path.len() > 3 && self.by_schema(&path, is_secret_at)
        });
        let in_file = if is_free || found.is_err() { self.secret_in_file(&parts) } else { None };
        match (in_file, found) {
            (Some(path), _) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let base = name.strip_suffix(FILE).unwrap_or(name);
                if let Some(text) = self.text_of(name, base, value) {
                    self.layers.put(name, &path, &text);
                }
            }
            (None, Ok(path)) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                self.put(name, false, &path, value);
            }
            (None, Err(message)) => self.error(name, message),
        }
    }

    /// Whether what a short name reaches is a secret.
    fn is_secret(&self, target: Target) -> bool {
        match target {
            Target::Table(table, key) => self.by_schema(&[table, key], is_secret_at),
            Target::Component(section, r#type, key) => {
                self.registry.schema_of(section, r#type).is_some_and(|schema| is_secret_at(schema.as_value(), key))
            }
        }
    }

    /// The path of the secret that `…__TOKEN_FILE` means.
    fn secret_in_file(&self, parts: &[String]) -> Option<Vec<String>> {
        let mut parts = parts.to_vec();
        let key = parts.last_mut()?;
        *key = key.strip_suffix(&FILE.to_ascii_lowercase())?.to_owned();
        let path = self.resolve(&parts).ok()?;
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        self.by_schema(&names, is_secret_at).then_some(path)
    }

    /// The text of the file that a variable names, without the newline at its end; `base` is the
    /// variable that would hold the text itself.
    fn text_of(&mut self, name: &str, base: &str, path: &str) -> Option<String> {
        if path.is_empty() {
            return None;
        }
        if self.inputs.env.iter().any(|(other, value)| other == base && !value.is_empty()) {
            self.error(name, format!("{base} is set too; remove one of them"));
            return None;
        }
        // Read within the bound: the name may lead to something without an end.
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
        let read = read.and_then(|bytes| {
            let fits = bytes as u64 <= MAX_FILE;
            fits.then_some(text).ok_or_else(|| std::io::Error::other(format!("larger than {MAX_FILE} bytes")))
        });
        match read {
            Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => {
                self.error(name, format!("names {path}, which cannot be read: {error}"));
                None
            }
        }
    }

    /// What the schema of the key at this path says.
    fn by_schema(&self, path: &[&str], says: fn(&Value, &str) -> bool) -> bool {
        match path {
            [table, key @ ..] if !Section::ALL.iter().any(|section| section.as_str() == *table) => {
                let mut own = tables(self.inputs.tables).filter(|own| own.name == *table);
                own.any(|own| says((own.schema)().as_value(), &key.join(".")))
            }
            [first, component, key @ ..] => {
                let section = Section::ALL.into_iter().find(|section| section.as_str() == *first);
                let r#type = self.root.pointer(&format!("/{first}/{component}/type")).and_then(Value::as_str);
                let schema = section.zip(r#type).and_then(|(section, name)| self.registry.schema_of(section, name));
                schema.is_some_and(|schema| says(schema.as_value(), &key.join(".")))
            }
            _ => false,
        }
    }

    /// The long name of every key that the tables and components of this configuration have.
    fn long_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for table in tables(self.inputs.tables) {
            let schema = (table.schema)();
            let keys = schema.get("properties").and_then(Value::as_object);
            names.extend(keys.into_iter().flatten().map(|(key, _)| long_name(&[table.name, key])));
        }
        for section in Section::ALL {
            let declared = self.root.get(section.as_str()).and_then(Value::as_object);
            for (name, table) in declared.into_iter().flatten() {
                let r#type = table.get("type").and_then(Value::as_str);
                let keys = r#type.and_then(|name| self.registry.keys_of(section, name)).unwrap_or_default();
                let keys = keys.iter().map(String::as_str).chain(["type", "inputs", "enabled"]);
                names.extend(keys.map(|key| long_name(&[section.as_str(), name, key])));
            }
        }
        names
    }

    /// From the parts of a name to the path that it means.
    fn resolve(&self, parts: &[String]) -> Result<Vec<String>, String> {
        let sections = Section::ALL.map(Section::as_str);
        let first = parts.first().map_or("", String::as_str);
        let mut own = tables(self.inputs.tables).map(|table| table.name);
        if own.any(|table| table == first) && parts.len() >= 2 {
            return Ok(parts.to_vec());
        }
        let Some(section) = Section::ALL.into_iter().find(|section| section.as_str() == first) else {
            let known: Vec<_> =
                sections.into_iter().chain(tables(self.inputs.tables).map(|table| table.name)).collect();
            return Err(format!("names nothing: there is no table {first}{}", hint(first, known)));
        };
        if parts.len() < 3 {
            return Err(format!("names no key; the form is {PREFIX}{}__NAME__KEY", first.to_uppercase()));
        }
        let declared = self.root.get(first).and_then(Value::as_object);
        let named: Vec<&str> = declared.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
        let Some(component) = named.iter().find(|name| plain(name) == parts[1]).copied() else {
            return Err(format!(
                "names nothing: there is no {} called {}{}",
                section.singular(),
                parts[1],
                hint(&parts[1], named)
            ));
        };
        let r#type = declared.and_then(|tables| tables.get(component)).and_then(|table| table.get("type"));
        if let Some(keys) = r#type.and_then(Value::as_str).and_then(|name| self.registry.keys_of(section, name)) {
            let known: Vec<&str> = keys.iter().map(String::as_str).chain(["type", "inputs", "enabled"]).collect();
            if !known.contains(&parts[2].as_str()) {
                return Err(format!("names nothing: {component} has no key {}{}", parts[2], hint(&parts[2], known)));
            }
        }
        let mut path = vec![first.to_owned(), component.to_owned()];
        path.extend(parts[2..].iter().cloned());
        Ok(path)
    }
}

/// `TRACE_SINKS__STORE__PATH`.
fn long_name(path: &[&str]) -> String {
    format!("{PREFIX}{}", path.join("__")).to_ascii_uppercase().replace('-', "_")
}
