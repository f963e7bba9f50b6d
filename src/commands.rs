//! The commands that look at something and end.

use std::fmt::Write as _;
use std::path::PathBuf;

use engine::Registry;
use engine::config::{ConfigErrors, Inputs, Section};
use engine::graph::{self, Drawing};

use crate::api;
use crate::cli::Failure;

type Done = Result<String, Failure>;

pub(crate) fn validate(inputs: &Inputs, registry: &Registry) -> Done {
    let settings = engine::config::load(inputs, registry)?;
    let mut out = String::new();
    for notice in settings.notices() {
        let _ = writeln!(out, "note: {notice}");
    }
    let _ = writeln!(out, "{}: valid, {} components", settings.source(), settings.components.len());
    Ok(out)
}

pub(crate) fn config(inputs: &Inputs, registry: &Registry, json: bool) -> Done {
    let settings = engine::config::load(inputs, registry)?;
    let effective = settings.effective(registry, api::TABLES);
    if json {
        return Ok(serde_json::to_string_pretty(&effective).unwrap_or_default() + "\n");
    }
    let width = effective.iter().map(|entry| entry.key.len() + entry.value.to_string().len() + 3).max().unwrap_or(0);
    let mut out = String::new();
    for entry in effective {
        let line = format!("{} = {}", entry.key, entry.value);
        let _ = writeln!(out, "{line:width$}  # {}", entry.origin, width = width.min(72));
    }
    Ok(out)
}

pub(crate) fn graph(inputs: &Inputs, registry: &Registry, drawing: Drawing) -> Done {
    let settings = engine::config::load(inputs, registry)?;
    Ok(graph::draw(&settings, drawing))
}

pub(crate) fn schema(registry: &Registry) -> Done {
    let schema = engine::config::schema(registry, api::TABLES);
    Ok(serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n")
}

pub(crate) fn reference(registry: &Registry) -> String {
    let head = include_str!("reference.md");
    format!("{head}\n{}", engine::config::reference(registry, api::TABLES))
}

pub(crate) fn plugins(registry: &Registry, name: Option<&str>) -> Done {
    let known = registry.describe();
    let mut out = String::new();
    for plugin in known.iter().filter(|plugin| name.is_none_or(|name| name == plugin.r#type)) {
        let _ = writeln!(out, "{:11} {:16} {}", plugin.section.singular(), plugin.r#type, plugin.summary);
        for key in plugin.keys.iter().filter(|_| name.is_some()) {
            let _ = writeln!(out, "  {:20} {} (default {})", key.name, key.summary, key.default);
        }
    }
    match name {
        Some(name) if out.is_empty() => {
            let names: Vec<_> = known.iter().map(|plugin| plugin.r#type).collect();
            Err(Failure { code: 2, message: format!("no plugin is called {name}; there are: {}", names.join(", ")) })
        }
        _ => Ok(out),
    }
}

/// The database that is meant: the one named, else that of the configuration.
pub(crate) fn database(inputs: &Inputs, registry: &Registry, named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    named.map_or_else(|| configured_database(inputs, registry), Ok)
}

fn configured_database(inputs: &Inputs, registry: &Registry) -> Result<PathBuf, Failure> {
    let settings = engine::config::load(inputs, registry)?;
    let stores: Vec<_> = settings
        .components
        .iter()
        .filter(|component| component.section == Section::Sinks && component.r#type == "sqlite_store")
        .collect();
    match stores.as_slice() {
        [store] => sinks::sqlite_store::database_path(&store.table).map_err(|problems| {
            let errors = problems
                .iter()
                .map(|problem| settings.error_at(&format!("sinks.{}.{}", store.name, problem.key), &problem.message));
            Failure::from(ConfigErrors(errors.collect()))
        }),
        [] => Err(Failure {
            code: 2,
            message: "the configuration has no sqlite_store; name a database with --db".to_owned(),
        }),
        _ => Err(Failure {
            code: 2,
            message: "the configuration has several stores; name a database with --db".to_owned(),
        }),
    }
}

/// The stores of a configuration, each with its database. A table that is wrong has none: the start says why.
pub(crate) fn stores(settings: &engine::config::Settings) -> Vec<(String, PathBuf)> {
    let stores = settings.components.iter().filter(|one| one.r#type == "sqlite_store" && one.enabled);
    stores
        .filter_map(|store| Some((store.name.clone(), sinks::sqlite_store::database_path(&store.table).ok()?)))
        .collect()
}
