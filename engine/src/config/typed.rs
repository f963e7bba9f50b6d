//! From a table to a plugin's typed settings, with every mistake and not only the first.
//!
//! serde stops at the first error of a struct. So the schema is walked first: it finds every unknown
//! key, and turns text into numbers, booleans and lists where the key wants those (text is all that
//! variables and `--set` can say). Then serde reads the rest; at an error the key is noted and taken
//! away, and serde tries again.

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::error::hint;
use super::join_key;
use crate::plugin::{Problem, Problems};

/// More mistakes than this in one table are not looked for.
const MAX_PROBLEMS: usize = 32;

/// Reads a table into its typed settings.
///
/// # Errors
/// Every problem found, with keys relative to the table.
pub fn typed<C: DeserializeOwned + JsonSchema>(table: &Value) -> Result<C, Problems> {
    let schema = schemars::schema_for!(C);
    let (mut value, mut problems) = fit(table, &schema);
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, C>(&value) {
            Ok(read) if problems.is_empty() => return Ok(read),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let path: Vec<String> = error.path().iter().filter_map(segment).collect();
        let key = as_written(&value, &path, &removed);
        let message = error.into_inner().to_string();
        // Said already: the key was taken away for its value, or the schema knew that it is missing.
        let known = missing(&message).is_some_and(|field| {
            let field = join_key(&key, field);
            removed.iter().any(|gone| gone.starts_with(&path)) || problems.iter().any(|problem| problem.key == field)
        });
        if !known {
            let quotes = message.starts_with("invalid ") || message.starts_with("unknown variant");
            let at = schema_at(schema.as_value(), &key);
            // serde loses the way inside a tagged enum: what it quotes may be a secret further down.
            let secret = at.is_some_and(|(at, root)| is_secret(at, root) || quotes && holds_secret(at, root, 8));
            let message = if secret { without_value(&message) } else { plain(&message) };
            problems.push(Problem::new(key, message));
        }
        if problems.len() >= MAX_PROBLEMS || !remove(&mut value, &path) {
            return Err(problems);
        }
        removed.push(path);
    }
}

/// A step of a path as it is written in the file; the variant of an enum is not.
fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// The dotted key, with items of lists counted as in the file: those taken away before count too.
fn as_written(value: &Value, path: &[String], removed: &[Vec<String>]) -> String {
    let mut key = String::new();
    let mut at = Some(value);
    for (depth, part) in path.iter().enumerate() {
        match (at, part.parse::<usize>()) {
            (Some(Value::Array(items)), Ok(index)) => {
                let mut gone: Vec<usize> = removed
                    .iter()
                    .filter(|gone| gone.len() == depth + 1 && gone.starts_with(&path[..depth]))
                    .filter_map(|gone| gone[depth].parse().ok())
                    .collect();
                // Each was counted without those before it, so the last one is put back first.
                gone.reverse();
                let written = gone.iter().fold(index, |index, gone| index + usize::from(*gone <= index));
                key = join_key(&key, &written.to_string());
                at = items.get(index);
            }
            (table, _) => {
                key = join_key(&key, part);
                at = table.and_then(|table| table.get(part));
            }
        }
    }
    key
}

/// The key that serde misses.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// What was expected, but not what was found: it is, or may be, a secret.
fn without_value(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => plain(&format!("a value is wrong, expected {expected}")),
        None => "a value is wrong; it is secret and not shown".to_owned(),
    }
}

/// serde's words, without its punctuation of Rust.
fn plain(message: &str) -> String {
    let mut plain = message.replace('`', "");
    for (rust, words) in [
        ("usize", "a whole number, 0 or more"),
        ("u64", "a whole number, 0 or more"),
        ("u32", "a whole number, 0 or more"),
        ("u16", "a whole number from 0 to 65535"),
        ("u8", "a whole number from 0 to 255"),
        ("i64", "a whole number"),
        ("f64", "a number"),
        ("a boolean", "true or false"),
        ("a sequence", "a list"),
    ] {
        if let Some(start) = plain.strip_suffix(&format!("expected {rust}")) {
            plain = format!("{start}expected {words}");
        }
    }
    if plain == "invalid socket address syntax" {
        plain.push_str("; expected an IP address and a port, such as 127.0.0.1:9090");
    }
    plain
}

/// Takes away what is at the path, or the nearest thing around it; false where that is the whole.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((key, above)) = path.split_last() else { return false };
    let holder = above.iter().try_fold(&mut *value, |value, part| match value {
        Value::Object(table) => table.get_mut(part),
        Value::Array(items) => part.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
        _ => None,
    });
    let gone = match holder {
        Some(Value::Object(table)) => table.remove(key).is_some(),
        Some(Value::Array(items)) => match key.parse::<usize>() {
            Ok(at) if at < items.len() => {
                items.remove(at);
                true
            }
            _ => false,
        },
        _ => false,
    };
    gone || remove(value, above)
}

/// A list where a variable could only say text: `["a"]`, `a,b` or `a`.
pub(super) fn as_list(value: Value) -> Value {
    match value {
        Value::String(text) => match from_toml(&text) {
            Some(list @ Value::Array(_)) => list,
            _ => text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        },
        other => other,
    }
}

/// The table with its text turned into what the schema wants and without its unknown keys, which
/// are the problems.
fn fit(table: &Value, schema: &Schema) -> (Value, Problems) {
    let mut problems = Problems::new();
    let value = walk(table.clone(), schema.as_value(), schema.as_value(), "", &mut problems);
    (value, problems)
}

fn walk(value: Value, schema: &Value, root: &Value, path: &str, problems: &mut Problems) -> Value {
    let schema = resolve(schema, root);
    match value {
        Value::String(text) => coerce(text, schema, root),
        Value::Object(table) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return Value::Object(table);
            };
            let required = schema.get("required").and_then(Value::as_array);
            for key in required.into_iter().flatten().filter_map(Value::as_str) {
                if !table.contains_key(key) {
                    problems.push(Problem::new(join_key(path, key), "is missing; it has no default"));
                }
            }
            let mut kept = Map::new();
            for (key, value) in table {
                let path = join_key(path, &key);
                match properties.get(&key) {
                    Some(schema) => {
                        kept.insert(key, walk(value, schema, root, &path, problems));
                    }
                    None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                        let hint = hint(&key, properties.keys().map(String::as_str));
                        problems.push(Problem::new(path, format!("there is no such key{hint}")));
                    }
                    None => {
                        kept.insert(key, value);
                    }
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => match schema.get("items") {
            Some(each) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| walk(item, each, root, &join_key(path, &at.to_string()), problems))
                .collect(),
            None => Value::Array(items),
        },
        other => other,
    }
}

/// Follows `$ref`, and looks through the wrapping that an optional key has.
fn resolve<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let mut schema = schema;
    for _ in 0..8 {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let Some(target) = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else { break };
            schema = target;
            continue;
        }
        let options = schema.get("anyOf").and_then(Value::as_array);
        match options
            .map(|options| options.iter().filter(|o| o.get("type") != Some(&"null".into())).collect::<Vec<_>>())
        {
            Some(options) if options.len() == 1 => schema = options[0],
            _ => break,
        }
    }
    schema
}

fn coerce(text: String, schema: &Value, root: &Value) -> Value {
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Value::String(text),
    };
    if types.contains(&"string") {
        return Value::String(text);
    }
    if types.contains(&"array") {
        let list = as_list(Value::String(text));
        return match (list, schema.get("items")) {
            (Value::Array(items), Some(each)) => {
                let each = resolve(each, root);
                let item = |item| if let Value::String(text) = item { coerce(text, each, root) } else { item };
                items.into_iter().map(item).collect()
            }
            (list, _) => list,
        };
    }
    match from_toml(&text) {
        Some(value @ (Value::Number(_) | Value::Bool(_) | Value::Object(_))) => value,
        _ => Value::String(text),
    }
}

fn from_toml(text: &str) -> Option<Value> {
    // One value and nothing behind it: text with a line break could bring keys of its own.
    let table: toml::Table = toml::from_str(&format!("v = {}", text.trim())).ok()?;
    if table.len() != 1 {
        return None;
    }
    serde_json::to_value(table.get("v")?).ok()
}

/// The schema of a key, and the whole that it is from.
fn schema_at<'s>(root: &'s Value, key: &str) -> Option<(&'s Value, &'s Value)> {
    let mut schema = root;
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let here = resolve(schema, root);
        let named = here.get("properties").and_then(|p| p.get(part)).or_else(|| here.get("items"));
        schema = named.or_else(|| here.get("additionalProperties").filter(|each| each.is_object()))?;
    }
    Some((schema, root))
}

/// Whether a key holds a secret: the schema says `writeOnly`.
pub(super) fn is_secret(schema: &Value, root: &Value) -> bool {
    resolve(schema, root).get("writeOnly") == Some(&Value::Bool(true))
}

/// Whether a key is a table whose every value is a secret, such as the headers of a request.
pub(super) fn is_table_of_secrets(schema: &Value, root: &Value) -> bool {
    resolve(schema, root).get("additionalProperties").is_some_and(|each| is_secret(each, root))
}

/// The value as it may be shown: without its secrets, however deep they are.
pub(super) fn masked(value: &Value, schema: &Value, root: &Value) -> Value {
    let schema = resolve(schema, root);
    let variants = ["oneOf", "anyOf", "allOf"];
    let below = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    let shapes = || std::iter::once(schema).chain(variants.iter().flat_map(|name| below(name)));
    if is_secret(schema, root) {
        return if value == "" { value.clone() } else { Value::from("[secret]") };
    }
    match value {
        Value::Object(table) => {
            let show = |(key, value): (&String, &Value)| {
                let of_key = |shape: &'_ Value| {
                    let named = resolve(shape, root).get("properties").and_then(|keys| keys.get(key)).cloned();
                    named.or_else(|| resolve(shape, root).get("additionalProperties").cloned())
                };
                let shown =
                    shapes().filter_map(of_key).fold(value.clone(), |value, of_key| masked(&value, &of_key, root));
                (key.clone(), shown)
            };
            Value::Object(table.iter().map(show).collect())
        }
        Value::Array(items) => match schema.get("items") {
            Some(each) => items.iter().map(|item| masked(item, each, root)).collect(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Whether the key of this path holds a secret.
pub(super) fn is_secret_at(schema: &Value, key: &str) -> bool {
    schema_at(schema, key).is_some_and(|(schema, root)| is_secret(schema, root))
}

/// Whether a key takes any text, the empty one too. For every other key, one that may be left out
/// among them, an empty variable is one that is not set: that is how deploy tools leave them.
pub(super) fn takes_any_text(schema: &Value, key: &str) -> bool {
    let Some((schema, root)) = schema_at(schema, key) else { return false };
    let schema = resolve(schema, root);
    let bounds = ["enum", "const", "pattern"];
    schema.get("type") == Some(&"string".into()) && bounds.iter().all(|bound| schema.get(bound).is_none())
}

/// Whether a key, or any key below it, holds a secret.
fn holds_secret(schema: &Value, root: &Value, depth: usize) -> bool {
    let schema = resolve(schema, root);
    let below = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let parts = properties.chain(schema.get("items")).chain(schema.get("additionalProperties"));
    let mut parts = parts.chain(below("oneOf")).chain(below("anyOf")).chain(below("allOf"));
    schema.get("writeOnly") == Some(&Value::Bool(true))
        || depth > 0 && parts.any(|part| holds_secret(part, root, depth - 1))
}
