//! The configuration reference, made of the settings themselves: what a doc comment says of a key is what
//! its reader finds here.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::{DescribedKey, describe_keys};
use super::{Section, Table, tables};
use crate::plugin::Registry;

/// Every table and key, as Markdown.
#[must_use]
pub fn reference(registry: &Registry, own: &[Table]) -> String {
    let mut out = String::new();
    for table in tables(own) {
        let _ = writeln!(out, "## `[{}]`\n", table.name);
        write_keys(&mut out, &table.name.to_uppercase(), &describe_keys(&(table.schema)()));
    }
    let plugins = registry.describe();
    for section in Section::ALL {
        let title = match section {
            Section::Sources => "Sources",
            Section::Transforms => "Transforms",
            Section::Sinks => "Sinks",
        };
        let _ = writeln!(out, "## {title}\n");
        for plugin in plugins.iter().filter(|plugin| plugin.section == section) {
            let _ = writeln!(out, "### `{}`\n\n{}\n", plugin.r#type, plugin.summary);
            write_keys(&mut out, &format!("{}__NAME", section.as_str().to_uppercase()), &plugin.keys);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn write_keys(out: &mut String, path: &str, keys: &[DescribedKey]) {
    let _ = writeln!(out, "| key | default | meaning | variable |\n|---|---|---|---|");
    for key in keys {
        let default = match &key.default {
            Value::Null => String::new(),
            Value::String(text) if text.is_empty() => "empty".to_owned(),
            value => format!("`{value}`"),
        };
        let secret = match &key.default {
            _ if !key.secret => "",
            Value::Object(_) => " Secrets: never shown; each may come in a file (`…__KEY_FILE`).",
            _ => " A secret: never shown; may come in a file (`…_FILE`).",
        };
        let summary = key.summary.replace('|', "\\|");
        let variable = format!("TRACE_{path}__{}", key.name.to_uppercase());
        let _ = writeln!(out, "| `{}` | {default} | {summary}{secret} | `{variable}` |", key.name);
    }
    out.push('\n');
}
