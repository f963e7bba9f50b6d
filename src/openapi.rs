//! `openclaw-trace openapi`: the description of a port, whole or of one path.

use std::collections::BTreeSet;

use engine::Registry;
use serde_json::{Map, Value};

use crate::api;
use crate::cli::Failure;

pub(crate) fn print(registry: &Registry, port: &str, path: Option<&str>) -> Result<String, Failure> {
    let document = of_port(registry, port)?;
    let Some(path) = path else { return Ok(document + "\n") };
    let document: Value = serde_json::from_str(&document)
        .map_err(|error| Failure::failed(format!("the description of {port} is not JSON: {error}")))?;
    let paths: Vec<&String> = document["paths"].as_object().into_iter().flat_map(Map::keys).collect();
    if !paths.iter().any(|known| *known == path) {
        let paths = paths.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure { code: 2, message: format!("{port} has no path {path}; there are: {paths}") });
    }
    let text = serde_json::to_string_pretty(&narrowed(document, path))
        .map_err(|error| Failure::failed(format!("cannot be written: {error}")))?;
    Ok(text + "\n")
}

fn of_port(registry: &Registry, port: &str) -> Result<String, Failure> {
    if port == "api" {
        return Ok(api::openapi());
    }
    match registry.openapi().find(|(name, _)| *name == port) {
        Some((_, document)) => Ok(document.trim_end().to_owned()),
        None => {
            let names: Vec<_> = registry.openapi().map(|(name, _)| name).collect();
            let message = format!("no port is called {port}; there are: api, {}", names.join(", "));
            Err(Failure { code: 2, message })
        }
    }
}

/// The document with one path, and of its components those that this one leads to.
fn narrowed(mut document: Value, path: &str) -> Value {
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|known, _| known == path);
    }
    if let Some(title) = document["info"]["title"].as_str().map(|title| format!("{title}: {path}")) {
        document["info"]["title"] = title.into();
    }
    let mut wanted = BTreeSet::new();
    let mut ahead = references(&document["paths"]);
    while let Some(reference) = ahead.pop() {
        if let Some(component) = document.pointer(&reference) {
            ahead.extend(references(component).into_iter().filter(|found| !wanted.contains(found)));
        }
        wanted.insert(reference);
    }
    if let Some(components) = document["components"].as_object_mut() {
        for (sort, members) in components.iter_mut().filter(|(sort, _)| *sort != "securitySchemes") {
            if let Some(members) = members.as_object_mut() {
                members.retain(|name, _| wanted.contains(&format!("/components/{sort}/{name}")));
            }
        }
        components.retain(|_, members| members.as_object().is_some_and(|members| !members.is_empty()));
    }
    document
}

/// What a part of the document refers to, as JSON pointers.
fn references(part: &Value) -> Vec<String> {
    match part {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str().and_then(|text| text.strip_prefix('#')) {
                Some(pointer) if name == "$ref" => vec![pointer.to_owned()],
                _ => references(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_told_with_all_that_it_leads_to_and_nothing_else() {
        let document = json!({
            "info": {"title": "t"},
            "paths": {"/a": {"$ref": "#/components/responses/R"}, "/b": {"$ref": "#/components/schemas/Other"}},
            "components": {
                "securitySchemes": {"token": {}},
                "responses": {"R": {"schema": [{"$ref": "#/components/schemas/Node"}]}},
                "schemas": {"Node": {"next": {"$ref": "#/components/schemas/Node"}}, "Other": {}},
                "headers": {"H": {}},
            },
        });
        let expected = json!({
            "info": {"title": "t: /a"},
            "paths": {"/a": {"$ref": "#/components/responses/R"}},
            "components": {
                "securitySchemes": {"token": {}},
                "responses": {"R": {"schema": [{"$ref": "#/components/schemas/Node"}]}},
                "schemas": {"Node": {"next": {"$ref": "#/components/schemas/Node"}}},
            },
        });
        assert_eq!(narrowed(document, "/a"), expected);
    }
}
