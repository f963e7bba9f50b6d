//! The schema of the whole file, and what the plugins say of themselves.

use schemars::Schema;
use serde_json::{Map, Value, json};

use super::typed::{is_secret, is_table_of_secrets};
use super::{Section, Table, tables};
use crate::plugin::{BuildContext, Problems, Registry};

/// What a plugin is and takes.
#[derive(Debug, Clone)]
pub struct DescribedPlugin {
    /// Its section.
    pub section: Section,
    /// The value of `type`.
    pub r#type: &'static str,
    /// The first line of its description.
    pub summary: String,
    /// Its keys.
    pub keys: Vec<DescribedKey>,
}

/// A key of a plugin.
#[derive(Debug, Clone)]
pub struct DescribedKey {
    /// Its name.
    pub name: String,
    /// Its description.
    pub summary: String,
    /// Its default, as JSON; `null` where there is none.
    pub default: Value,
    /// Whether it holds a secret, or is a table of them.
    pub secret: bool,
}

impl Registry {
    /// The types of a section.
    #[must_use]
    pub fn types(&self, section: Section) -> Vec<&'static str> {
        match section {
            Section::Sources => self.sources.keys().copied().collect(),
            Section::Transforms => self.transforms.keys().copied().collect(),
            Section::Sinks => self.sinks.keys().copied().collect(),
        }
    }

    /// The schema of a type's table.
    #[must_use]
    pub fn schema_of(&self, section: Section, r#type: &str) -> Option<Schema> {
        let make = match section {
            Section::Sources => self.sources.get(r#type)?.schema,
            Section::Transforms => self.transforms.get(r#type)?.schema,
            Section::Sinks => self.sinks.get(r#type)?.schema,
        };
        Some(make())
    }

    /// What is wrong with a table of this type.
    pub(super) fn try_build(&self, section: Section, r#type: &str, table: &Value) -> Problems {
        let cx = BuildContext::new("trial");
        let problems = match section {
            Section::Sources => self.sources.get(r#type).map(|plugin| (plugin.build)(table, &cx).err()),
            Section::Transforms => self.transforms.get(r#type).map(|plugin| (plugin.build)(table, &cx).err()),
            Section::Sinks => self.sinks.get(r#type).map(|plugin| (plugin.build)(table, &cx).err()),
        };
        problems.flatten().unwrap_or_default()
    }

    pub(super) fn keys_of(&self, section: Section, r#type: &str) -> Option<Vec<String>> {
        let schema = self.schema_of(section, r#type)?;
        Some(schema.get("properties")?.as_object()?.keys().cloned().collect())
    }

    /// Every plugin, in the order of the stream.
    #[must_use]
    pub fn describe(&self) -> Vec<DescribedPlugin> {
        let all =
            Section::ALL.into_iter().flat_map(|section| self.types(section).into_iter().map(move |t| (section, t)));
        all.filter_map(|(section, r#type)| {
            let schema = self.schema_of(section, r#type)?;
            Some(DescribedPlugin { section, r#type, summary: text(schema.as_value()), keys: describe_keys(&schema) })
        })
        .collect()
    }
}

/// The keys that a schema describes.
pub(super) fn describe_keys(schema: &Schema) -> Vec<DescribedKey> {
    let root = schema.as_value();
    let properties = root.get("properties").and_then(Value::as_object);
    let key = |(name, key): (&String, &Value)| DescribedKey {
        name: name.clone(),
        summary: text(key),
        default: key.get("default").cloned().unwrap_or(Value::Null),
        secret: is_secret(key, root) || is_table_of_secrets(key, root),
    };
    properties.into_iter().flatten().map(key).collect()
}

fn text(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or("");
    text.split("\n\n").next().unwrap_or("").replace('\n', " ")
}

/// The JSON schema of the TOML file, for editors: components by their `type`, and the program's
/// tables.
#[must_use]
pub fn schema(registry: &Registry, own: &[Table]) -> Value {
    let mut defs = Map::new();
    let mut properties = Map::new();
    for section in Section::ALL {
        let mut options = Vec::new();
        for r#type in registry.types(section) {
            let Some(schema) = registry.schema_of(section, r#type) else { continue };
            let mut table = moved(schema, r#type, &mut defs);
            if let Some(keys) = table.get_mut("properties").and_then(Value::as_object_mut) {
                keys.insert("type".to_owned(), json!({ "const": r#type }));
                keys.insert("enabled".to_owned(), json!({ "type": "boolean", "default": true }));
                if section != Section::Sources {
                    keys.insert("inputs".to_owned(), json!({ "type": "array", "items": { "type": "string" } }));
                }
            }
            let mut required = table.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            required.push(json!("type"));
            if section != Section::Sources {
                required.push(json!("inputs"));
            }
            table["required"] = Value::Array(required);
            options.push(table);
        }
        let tables = json!({ "type": "object", "additionalProperties": { "oneOf": options } });
        properties.insert(section.as_str().to_owned(), tables);
    }
    for table in tables(own) {
        properties.insert(table.name.to_owned(), moved((table.schema)(), table.name, &mut defs));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "openclaw-trace.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": defs,
    })
}

/// Takes a schema's definitions out into `defs`, under names that tell whose they are.
fn moved(schema: Schema, owner: &str, defs: &mut Map<String, Value>) -> Value {
    let text = Value::from(schema).to_string().replace("#/$defs/", &format!("#/$defs/{owner}."));
    let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(table) = value.as_object_mut() {
        table.remove("$schema");
        if let Some(Value::Object(own)) = table.remove("$defs") {
            defs.extend(own.into_iter().map(|(name, def)| (format!("{owner}.{name}"), def)));
        }
    }
    value
}
