//! Finding the file, reading it, and the line of each of its keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigErrors, Inputs};

/// The largest file that is read, in bytes: a mistaken name must not fill the memory.
const MAX_FILE: u64 = 1024 * 1024;

/// The text of the configuration, what to call it, and where it is from; `None`: from inside the program.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) path: Option<PathBuf>,
}

/// A file's values, and its lines by dotted key.
pub(super) struct Parsed {
    pub(super) root: Value,
    pub(super) lines: BTreeMap<String, usize>,
}

/// The file that was read before; else the one that is named, else the first of the places that has one, else the
/// embedded one.
///
/// # Errors
/// When a file that was read before or is named cannot be read.
pub(super) fn find(inputs: &Inputs) -> Result<Found, ConfigErrors> {
    if let Some(path) = &inputs.again {
        return read(path).map_err(|why| {
            let message = format!("cannot be read: {why}; the configuration in force was read from it, so put it back");
            ConfigErrors::one(path.display().to_string(), "", message)
        });
    }
    let variable = inputs.env.iter().find(|(name, value)| name == "TRACE_CONFIG" && !value.is_empty());
    let named = match (&inputs.file, variable) {
        (Some(path), _) => Some((path.as_path(), "--config")),
        (None, Some((_, path))) => Some((Path::new(path), "TRACE_CONFIG")),
        (None, None) => None,
    };
    if let Some((path, by)) = named {
        return read(path).map_err(|why| {
            ConfigErrors::one(by, "", format!("cannot read {}: {why}; name another file", path.display()))
        });
    }
    match inputs.search.iter().find(|path| path.is_file()) {
        Some(path) => read(path)
            .map_err(|why| ConfigErrors::one(path.display().to_string(), "", format!("cannot be read: {why}"))),
        None => Ok(Found { name: "embedded default".to_owned(), text: inputs.embedded.to_owned(), path: None }),
    }
}

fn read(path: &Path) -> Result<Found, String> {
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if meta.len() > MAX_FILE {
        return Err(format!("{} bytes are too many for a configuration", meta.len()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Ok(Found { name: path.display().to_string(), text, path: Some(path.to_owned()) })
}

/// Reads TOML.
///
/// # Errors
/// Each place where it is not TOML.
pub(super) fn parse(found: &Found) -> Result<Parsed, ConfigErrors> {
    let (table, errors) = DeTable::parse_recoverable(&found.text);
    if !errors.is_empty() {
        let errors = errors.into_iter().map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = (line_of(&found.text, at), column_of(&found.text, at));
            let mut message =
                format!("not valid TOML at column {column}: {}", error.message().trim().replace('\n', ", "));
            if message.ends_with("duplicate key") {
                let key = error.span().and_then(|span| found.text.get(span)).unwrap_or("");
                message = format!("{message} {key}; keep one");
            } else if message.contains("invalid float")
                || message.contains("invalid number")
                || message.contains("nothing")
            {
                message.push_str("; text must stand in quotes");
            }
            super::ConfigError { origin: format!("{}:{line}", found.name), key: String::new(), message }
        });
        return Err(ConfigErrors(errors.collect()));
    }
    let mut lines = BTreeMap::new();
    let root = table_value(table.get_ref(), "", &found.text, &mut lines);
    Ok(Parsed { root, lines })
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// In characters, from 1, as editors count.
fn column_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).chars().count() + 1
}

fn table_value(table: &DeTable<'_>, path: &str, text: &str, lines: &mut BTreeMap<String, usize>) -> Value {
    let mut object = serde_json::Map::new();
    for (key, value) in table {
        let path = super::join_key(path, key.get_ref());
        lines.insert(path.clone(), line_of(text, key.span().start));
        object.insert(key.get_ref().clone().into_owned(), value_of(value, &path, text, lines));
    }
    Value::Object(object)
}

fn value_of(value: &Spanned<DeValue<'_>>, path: &str, text: &str, lines: &mut BTreeMap<String, usize>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        // What is no finite number stays text, and the key's type says what it thinks of it.
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map_or_else(|| Value::String(number.as_str().to_owned()), Value::Number),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    let path = super::join_key(path, &at.to_string());
                    lines.insert(path.clone(), line_of(text, item.span().start));
                    value_of(item, &path, text, lines)
                })
                .collect(),
        ),
        DeValue::Table(table) => table_value(table, path, text, lines),
    }
}
