//! Names of variables and options.

use super::*;
use crate::config::{LogLevel, typed};

#[test]
fn short_names_reach_the_one_component_of_their_type() {
    let settings = settings(&[("TRACE_PORT", "9999"), ("TRACE_DB_PATH", "0123"), ("TRACE_LOG_LEVEL", "error")], &[]);
    assert_eq!(value(&settings, "sources.ingest.bind"), ("\"127.0.0.1:9999\"".into(), "TRACE_PORT".into()));
    assert_eq!(value(&settings, "sinks.store.path"), ("\"0123\"".into(), "TRACE_DB_PATH".into()));
    assert_eq!(settings.runtime.log_level, LogLevel::Error);
}

#[test]
fn a_short_name_for_two_components_names_both_and_the_long_forms() {
    static TWO: &str = r#"[sources.a]
type = "http_ingest"
[sources.b-2]
type = "http_ingest"
[sinks.s]
type = "sqlite_store"
inputs = ["a", "b-2"]
path = "x"
"#;
    assert_eq!(
        errors(TWO, &[("TRACE_PORT", "1")], &[]),
        ["TRACE_PORT |  | there are 2 of type http_ingest; use TRACE_SOURCES__A__BIND or TRACE_SOURCES__B_2__BIND"]
    );
    let long = load(&inputs(TWO, &[("TRACE_SOURCES__B_2__BIND", "x:1")], &[]), &registry()).unwrap();
    assert_eq!(value(&long, "sources.b-2.bind").0, "\"x:1\"");
}

#[test]
fn a_short_name_without_its_component_is_a_notice() {
    let settings = settings(&[("TRACE_PUSH_TOKEN", "hunter2")], &[]);
    assert_eq!(settings.notices(), ["TRACE_PUSH_TOKEN is set, but there is no augmi_push to take it"]);
}

#[test]
fn old_names_are_taken_with_a_notice_unless_the_new_one_is_there() {
    let old =
        settings(&[("OCT_PORT", "9"), ("OCT_DB_PATH", "/old"), ("TRACE_DB_PATH", "/new"), ("OCT_LOG_PATH", "x")], &[]);
    assert_eq!(value(&old, "sources.ingest.bind"), ("\"127.0.0.1:9\"".into(), "OCT_PORT".into()));
    assert_eq!(value(&old, "sinks.store.path"), ("\"/new\"".into(), "TRACE_DB_PATH".into()));
    assert_eq!(
        old.notices(),
        [
            "OCT_PORT is an old name and still taken; use TRACE_PORT",
            "OCT_DB_PATH is ignored, since TRACE_DB_PATH is set",
            "OCT_LOG_PATH has no meaning any more and is ignored",
        ]
    );
}

#[test]
fn a_variable_that_resembles_a_known_one_is_an_error_and_others_are_not() {
    let env = [
        ("TRACE_PROT", "1"),
        ("TRACE_DB_PAHT", "1"),
        ("TRACE_SINKS__STOR__PATH", "1"),
        ("TRACE_SINKS_STORE_PATH", "1"),
        ("TRACE_ELSE__WHERE", "1"),
    ];
    assert_eq!(
        errors(EMBEDDED, &env, &[]),
        [
            "TRACE_PROT |  | is not a variable of openclaw-trace; did you mean TRACE_PORT?",
            "TRACE_DB_PAHT |  | is not a variable of openclaw-trace; did you mean TRACE_DB_PATH?",
            "TRACE_SINKS_STORE_PATH |  | is not a variable of openclaw-trace; did you mean TRACE_SINKS__STORE__PATH?",
            "TRACE_SINKS__STOR__PATH |  | names nothing: there is no sink called stor; did you mean store?",
            "TRACE_ELSE__WHERE |  | names nothing: there is no table else; there are: sources, transforms, sinks, runtime, api",
        ]
    );
    let settings = settings(&[("TRACE_ID", "x"), ("TRACE_PARENT", "y"), ("OTHER", "z")], &[]);
    assert_eq!(
        settings.notices(),
        [
            "TRACE_ID is no variable of openclaw-trace and is ignored",
            "TRACE_PARENT is no variable of openclaw-trace and is ignored"
        ]
    );
}

#[test]
fn lists_and_components_with_a_hyphen_are_reached() {
    let env = [
        ("TRACE_SOURCES__INGEST__ALLOWED_HOSTS", "a.example, b.example"),
        ("TRACE_TRANSFORMS__CUT_TEXT__MAX_TEXT_BYTES", "5"),
    ];
    let settings = settings(&env, &[r#"transforms.cut-text.inputs=["ingest"]"#]);
    let ingest: Ingest = typed(&settings.components[0].table).unwrap();
    let clean: Clean = typed(&settings.components[1].table).unwrap();
    assert_eq!(ingest.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(clean.max_text_bytes, 5);
    assert_eq!(value(&settings, "transforms.cut-text.inputs").1, "--set transforms.cut-text.inputs");
}

#[test]
fn an_empty_variable_is_a_value_only_where_text_is_wanted() {
    let env = [
        ("TRACE_PORT", ""),
        ("TRACE_LOG_LEVEL", ""),
        ("TRACE_RETENTION_DAYS", ""),
        ("TRACE_DB_PATH", ""),
        ("TRACE_SINKS__STORE__KEY_FILE", ""),
    ];
    let settings = settings(&env, &[]);
    assert_eq!(settings.runtime.log_level, LogLevel::Info);
    assert_eq!(value(&settings, "sources.ingest.bind").0, "\"127.0.0.1:9090\"");
    assert_eq!(value(&settings, "sinks.store.path").0, "\"\"");
    // A key that can be left out is left out.
    assert_eq!(value(&settings, "sinks.store.key_file").0, "null");
}

#[test]
fn wrong_values_of_variables_and_options_name_them() {
    assert_eq!(
        errors(
            EMBEDDED,
            &[("TRACE_PORT", "http"), ("OCT_DB_PATH", "x"), ("TRACE_RETENTION_DAYS", "many")],
            &["runtime.log_level=wran", "sinks.store.paht=x", "hunter2"]
        ),
        [
            "TRACE_PORT |  | must be a port: a number from 0 to 65535",
            "--set |  | must be KEY=VALUE, such as sinks.store.path=/tmp/x.db",
            "--set runtime.log_level | runtime.log_level | unknown variant wran, expected one of error, warn, info, debug, trace",
            "--set sinks.store.paht | sinks.store.paht | there is no such key; did you mean path?",
            "TRACE_RETENTION_DAYS | sinks.store.retention_days | invalid type: string \"many\", expected a whole number, 0 or more",
        ]
    );
}

#[test]
fn a_variable_that_changes_a_type_changes_the_keys() {
    let found = errors(EMBEDDED, &[("TRACE_TRANSFORMS__CUT_TEXT__TYPE", "trunkate")], &[]);
    assert_eq!(
        found,
        [
            "TRACE_TRANSFORMS__CUT_TEXT__TYPE | transforms.cut-text.type | there is no transform called trunkate; did you mean truncate?"
        ]
    );
}
