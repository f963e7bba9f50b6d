//! Which layer wins, and whether each value knows its own.

use std::fs;

use serde_json::json;

use super::*;
use crate::config::{LogLevel, schema, typed};

#[test]
fn later_layers_win_and_each_value_knows_its_layer() {
    let settings = settings(
        &[
            ("TRACE_SINKS__STORE__PATH", "/env.db"),
            ("TRACE_SOURCES__INGEST__MAX_EVENTS", "7"),
            ("TRACE_DB_PATH", "/short.db"),
        ],
        &["sources.ingest.max_events=8", "sources.ingest.limits.strict=true"],
    );
    for (key, shown, origin) in [
        ("runtime.log_level", "\"info\"", "embedded default:2"),
        ("runtime.drain_timeout", "\"10s\"", "default"),
        ("sources.ingest.bind", "\"127.0.0.1:9090\"", "embedded default:6"),
        ("sources.ingest.max_events", "\"8\"", "--set sources.ingest.max_events"),
        ("sinks.store.path", "\"/env.db\"", "TRACE_SINKS__STORE__PATH"),
        ("sinks.store.retention_days", "30", "default"),
        ("sinks.store.max_bytes", "null", "default"),
        ("sinks.store.enabled", "true", "default"),
        ("transforms.cut-text.inputs", "[\"ingest\"]", "embedded default:10"),
        ("api.bind", "\"127.0.0.1:9091\"", "default"),
    ] {
        assert_eq!(value(&settings, key), (shown.to_owned(), origin.to_owned()), "{key}");
    }
    assert_eq!(settings.runtime.log_level, LogLevel::Info);
    assert_eq!(settings.source(), "embedded default");
}

#[test]
fn components_come_in_the_order_of_flow_and_without_their_head() {
    let settings = settings(&[], &["api.enabled=false"]);
    let paths: Vec<String> = settings.components.iter().map(|c| format!("{}.{}", c.section.as_str(), c.name)).collect();
    assert_eq!(paths, ["sources.ingest", "transforms.cut-text", "sinks.store"]);
    let store = &settings.components[2];
    assert_eq!((store.section, store.r#type.as_str(), store.enabled), (Section::Sinks, "sqlite_store", true));
    assert_eq!(store.inputs, ["cut-text"]);
    assert_eq!(store.table, json!({"path": "/data/x.db"}));
}

#[test]
fn an_error_of_the_graph_finds_the_line_the_variable_or_the_table_around() {
    let settings = settings(&[("TRACE_DB_PATH", "/x")], &["sinks.store.retention_days=3"]);
    for (path, origin) in [
        ("sinks.store.inputs", "embedded default:14"),
        ("sinks.store.inputs.0", "embedded default:14"),
        ("sinks.store.path", "TRACE_DB_PATH"),
        ("sinks.store.retention_days", "--set sinks.store.retention_days"),
        ("sinks.store.max_bytes", "embedded default:12"),
        ("sinks.store", "embedded default:12"),
        ("api.bind", "embedded default:1"),
    ] {
        assert_eq!(settings.error_at(path, "x").origin, origin, "{path}");
    }
    assert_eq!(settings.error_at("sinks.store.path", "bad").to_string(), "TRACE_DB_PATH: sinks.store.path: bad");
}

#[test]
fn a_file_is_found_by_option_then_variable_then_the_usual_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, EMBEDDED).unwrap();
        path
    };
    let (option, variable, usual) = (file("option.toml"), file("variable.toml"), file("usual.toml"));
    let mut inputs = inputs("", &[("TRACE_CONFIG", variable.to_str().unwrap())], &[]);
    inputs.file = Some(option.clone());
    inputs.search = vec![folder.path().join("none.toml"), usual.clone()];
    let source = |inputs: &Inputs| load(inputs, &registry()).map(|settings| settings.source().to_owned()).unwrap();
    assert_eq!(source(&inputs), option.to_str().unwrap());
    inputs.file = None;
    assert_eq!(source(&inputs), variable.to_str().unwrap());
    inputs.env.clear();
    assert_eq!(source(&inputs), usual.to_str().unwrap());
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = inputs(EMBEDDED, &[("TRACE_CONFIG", "/nowhere/x.toml")], &[]);
    let said = |inputs: &Inputs| load(inputs, &registry()).err().unwrap().to_string();
    assert!(said(&inputs).starts_with("TRACE_CONFIG: cannot read /nowhere/x.toml"));
    inputs.file = Some(folder.path().to_owned());
    assert!(said(&inputs).starts_with("--config: cannot read"));
}

#[test]
fn the_file_that_was_read_before_is_read_again_and_no_other_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (first, usual) = (folder.path().join("first.toml"), folder.path().join("usual.toml"));
    fs::write(&usual, EMBEDDED).unwrap();
    let mut inputs = inputs(EMBEDDED, &[], &[]);
    let load = |inputs: &Inputs| load(inputs, &registry());
    assert_eq!(load(&inputs).unwrap().file(), None, "from inside the program");
    inputs.search = vec![first.clone(), usual.clone()];
    let settings = load(&inputs).unwrap();
    assert_eq!(settings.file(), Some(usual.as_path()));
    inputs.again = settings.file().map(Into::into);
    // One that would have been found before it, and one by name.
    fs::write(&first, "").unwrap();
    inputs.file = Some(first.clone());
    assert_eq!(load(&inputs).unwrap().file(), Some(usual.as_path()));
    fs::remove_file(&usual).unwrap();
    let gone = load(&inputs).err().unwrap().to_string();
    assert!(gone.starts_with(&format!("{}: cannot be read: No such file", usual.display())), "{gone}");
}

#[test]
fn one_table_can_be_read_whatever_is_wrong_with_the_rest() {
    static WRONG: &str = "[api]\nbind = \"${HOST:-127.0.0.1}:9\"\n[sorces.x]\ntype = \"y\"\nz = \"${NONE}\"\n";
    let api = |text, set: &[&str]| crate::config::table::<Api>(&inputs(text, &[], set), &registry(), "api");
    assert_eq!(api(WRONG, &[]).unwrap().bind, "127.0.0.1:9");
    assert_eq!(api(WRONG, &["api.bind=127.0.0.1:8"]).unwrap().bind, "127.0.0.1:8");
    assert!(api(WRONG, &["api.enabled=perhaps"]).err().unwrap().to_string().starts_with("--set api.enabled"));
    assert!(api("[api", &[]).err().unwrap().to_string().contains("not valid TOML"));
}

#[test]
fn variables_in_a_file_become_what_their_key_takes() {
    static TEXT: &str = r#"[sources.ingest]
type = "http_ingest"
max_events = "${EVENTS:-9}"
token = "${TOKEN}"
limits = { strict = "${STRICT}" }
[sinks.store]
type = "sqlite_store"
inputs = ["${FROM}"]
path = '${DIR:-/data}/\${x}.db'
"#;
    let env = [("TOKEN", "0123"), ("STRICT", "true"), ("FROM", "ingest")];
    let settings = load(&inputs(TEXT, &env, &[]), &registry()).unwrap();
    let ingest: Ingest = typed(&settings.components[0].table).unwrap();
    assert_eq!((ingest.max_events, ingest.limits.strict, ingest.token.reveal()), (9, true, "0123"));
    assert_eq!(settings.components[1].inputs, ["ingest"]);
    assert_eq!(settings.components[1].table["path"], "/data/${x}.db");
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    let env = [("TRACE_INGEST_TOKEN", "hunter2"), ("TRACE_API__TOKEN", "hunter2")];
    let settings = settings(&env, &[]);
    assert!(!format!("{:?}", settings.effective(&registry(), TABLES)).contains("hunter2"));
    assert_eq!(value(&settings, "sources.ingest.token"), ("\"[secret]\"".into(), "TRACE_INGEST_TOKEN".into()));
    assert_eq!(settings.table::<Api>("api").unwrap().token.reveal(), "hunter2");
}

#[test]
fn secrets_below_a_key_are_masked_too_and_may_come_by_variable_or_file() {
    static TEXT: &str = r#"[sources.ingest]
type = "http_ingest"
headers = { x-team = "hunter2", empty = "" }
login = { how = "basic", user = "u", password = "hunter2" }
[sinks.store]
type = "sqlite_store"
inputs = ["ingest"]
path = "/data/x.db"
"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter2-of-file\n").unwrap();
    let env = [
        ("TRACE_SOURCES__INGEST__HEADERS__AUTHORIZATION", "hunter2"),
        ("TRACE_SOURCES__INGEST__HEADERS__COOKIE_FILE", file.to_str().unwrap()),
    ];
    let settings = load(&inputs(TEXT, &env, &[]), &registry()).unwrap();
    assert!(!format!("{:?}", settings.effective(&registry(), TABLES)).contains("hunter2"));
    let shown = r#"{"authorization":"[secret]","cookie":"[secret]","empty":"","x-team":"[secret]"}"#;
    assert_eq!(value(&settings, "sources.ingest.headers").0, shown);
    assert!(value(&settings, "sources.ingest.login").0.contains(r#""user":"u""#));
    let ingest: Ingest = typed(&settings.components[0].table).unwrap();
    assert_eq!(ingest.headers["cookie"].reveal(), "hunter2-of-file");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_repeated_wherever_it_stands() {
    static TEXT: &str = "[sources.ingest]\ntype = \"http_ingest\"\nheaders = { authorization = 271828 }\n[sinks.s]\ntype = \"sqlite_store\"\ninputs = [\"ingest\"]\npath = \"x\"\n";
    let found = errors(TEXT, &[], &[]);
    assert!(found.len() == 1 && found[0].contains("headers.authorization"), "{found:?}");
    assert!(!found[0].contains("271828"), "{found:?}");
}

#[test]
fn the_programs_tables_are_read_with_their_defaults() {
    let settings = settings(&[("TRACE_API_PORT", "1234"), ("TRACE_API__ENABLED", "false")], &[]);
    let api: Api = settings.table("api").unwrap();
    assert_eq!((api.bind.as_str(), api.enabled), ("127.0.0.1:1234", false));
}

#[test]
fn the_schema_holds_every_plugin_and_every_reference_leads_somewhere() {
    fn references<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        match value {
            serde_json::Value::Object(table) => {
                found.extend(table.get("$ref").and_then(|target| target.as_str()));
                table.values().for_each(|value| references(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let schema = schema(&registry(), TABLES);
    let mut found = Vec::new();
    references(&schema, &mut found);
    assert!(found.len() > 5);
    for reference in found {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    assert!(schema["properties"]["api"].is_object());
}
