//! Every setting in force, for a person who asks why.

use serde::Serialize;
use serde_json::{Value, json};

use super::layers::Layers;
use super::schema::{DescribedKey, describe_keys};
use super::typed::masked;
use super::{Component, Table, join_key, tables};
use crate::plugin::Registry;

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    /// Its key, dotted.
    pub key: String,
    /// Its value; a secret that is set reads `[secret]`.
    pub value: Value,
    /// The layer that it is from.
    pub origin: String,
}

pub(super) fn list(
    root: &Value,
    components: &[Component],
    layers: &Layers,
    registry: &Registry,
    own: &[Table],
) -> Vec<Effective> {
    let mut out = Vec::new();
    let mut add = |path: String, set: Option<&Value>, key: &DescribedKey, schema: &Value| {
        let value = set.unwrap_or(&key.default);
        let of_key = schema.get("properties").and_then(|keys| keys.get(&key.name)).unwrap_or(&Value::Null);
        let value = masked(value, of_key, schema);
        let origin = set.and_then(|_| layers.origin(&path)).unwrap_or_else(|| "default".to_owned());
        out.push(Effective { key: path, value, origin });
    };
    for table in tables(own) {
        let schema = (table.schema)();
        for key in describe_keys(&schema) {
            let set = root.get(table.name).and_then(|table| table.get(&key.name));
            add(join_key(table.name, &key.name), set, &key, schema.as_value());
        }
    }
    for component in components {
        let path = format!("{}.{}", component.section.as_str(), component.name);
        let fixed = [
            ("type", json!(component.r#type)),
            ("inputs", json!(component.inputs)),
            ("enabled", json!(component.enabled)),
        ];
        for (name, value) in fixed {
            let plain =
                |default| DescribedKey { name: name.to_owned(), summary: String::new(), default, secret: false };
            let set = root.pointer(&format!("/{}/{}/{name}", component.section.as_str(), component.name));
            if name != "inputs" || set.is_some() {
                add(format!("{path}.{name}"), set.map(|_| &value), &plain(value.clone()), &Value::Null);
            }
        }
        let schema = registry.schema_of(component.section, &component.r#type);
        let Some(schema) = schema else { continue };
        for key in describe_keys(&schema) {
            add(format!("{path}.{}", key.name), component.table.get(&key.name), &key, schema.as_value());
        }
    }
    out
}
