//! What is wrong is said, all of it, with its place.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::typed;

#[test]
fn every_error_of_every_component_comes_in_one_run() {
    static TEXT: &str = r#"colour = "red"

[runtime]
drain_timeout = "5 parsecs"
max_in_flight_event = 3

[source.x]
type = "http_ingest"

[sources.ingest]
type = "http_ingest"
inputs = ["x"]
max_events = "many"
ratio = "half"
limits = { per_secnd = 1, strict = "maybe" }
acknowledge = "store"
body_timeot = "5s"

[transforms.cut]
type = "trunkate"

[transforms.clean]
type = "truncate"
input = ["ingest"]
rules = [
  { name = "a", pattern = 1 },
  { name = "b" },
  { nam = "c", pattern = "x" },
]

[sinks.ingest]
inputs = ["clean", "clean"]

[sinks.store]
type = "sqlite_store"
inputs = "clean"
enabled = "perhaps"

[sinks.wrong]
type = "http_ingest"
inputs = []

[api]
enabled = 1
bind = "${NOWHERE}"
"#;
    let lines = errors(TEXT, &[], &[]);
    let expected = [
        "embedded default:1 | colour | is not a table of this file; there are: api, runtime, sinks, sources, transforms",
        "embedded default:4 | runtime.drain_timeout | invalid value: string \"5 parsecs\", expected a time such as \"250ms\", \"30s\", \"5m\", \"12h\", \"30d\", or a number of seconds",
        "embedded default:5 | runtime.max_in_flight_event | there is no such key; did you mean max_in_flight_events?",
        "embedded default:7 | source | is not a table of this file; did you mean sources?",
        "embedded default:12 | sources.ingest.inputs | a source reads from no component; remove it",
        "embedded default:13 | sources.ingest.max_events | invalid type: string \"many\", expected a whole number, 0 or more",
        "embedded default:14 | sources.ingest.ratio | invalid type: string \"half\", expected a number",
        "embedded default:15 | sources.ingest.limits.per_secnd | there is no such key; did you mean per_second?",
        "embedded default:15 | sources.ingest.limits.strict | invalid type: string \"maybe\", expected true or false",
        "embedded default:16 | sources.ingest.acknowledge | unknown variant store, expected stored or queued",
        "embedded default:17 | sources.ingest.body_timeot | there is no such key; did you mean body_timeout?",
        "embedded default:19 | transforms.cut.inputs | is missing or empty; name the components that it reads from",
        "embedded default:20 | transforms.cut.type | there is no transform called trunkate; did you mean truncate?",
        "embedded default:22 | transforms.clean.inputs | is missing or empty; name the components that it reads from",
        "embedded default:24 | transforms.clean.input | there is no such key; did you mean inputs?",
        "embedded default:26 | transforms.clean.rules.0.pattern | invalid type: integer 1, expected a string",
        "embedded default:27 | transforms.clean.rules.1.pattern | is missing; it has no default",
        "embedded default:28 | transforms.clean.rules.2.nam | there is no such key; did you mean name?",
        "embedded default:28 | transforms.clean.rules.2.name | is missing; it has no default",
        "embedded default:31 | sinks.ingest | the name ingest is already that of sources.ingest; names are single over all sections, since inputs refer to them",
        "embedded default:31 | sinks.ingest.type | is missing; there are: sqlite_store",
        "embedded default:32 | sinks.ingest.inputs | names clean twice",
        "embedded default:34 | sinks.store.path | is missing; it has no default",
        "embedded default:37 | sinks.store.enabled | must be true or false",
        "embedded default:40 | sinks.wrong.type | there is no sink called http_ingest; it is a source: [sources.NAME]",
        "embedded default:41 | sinks.wrong.inputs | is missing or empty; name the components that it reads from",
        "embedded default:44 | api.enabled | invalid type: integer 1, expected true or false",
        "embedded default:45 | api.bind | the variable NOWHERE is not set; set it, or give a default: ${NOWHERE:-default}",
    ];
    let (mut lines, mut expected) = (lines, expected.map(str::to_owned).to_vec());
    // Whatever the order of the checks, a line's errors are together; here only what is said counts.
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn errors_come_in_the_order_of_the_file() {
    let found = errors("[sources.b]\ntype = 1\n[sources.a]\ntype = 2\n[zzz]\n[api]\nbind = 1\n", &[], &[]);
    // Line 1 stands for what is nowhere: there is no sink.
    let lines: Vec<&str> = found.iter().filter_map(|line| line.split(" | ").next()).collect();
    assert_eq!(lines, [1, 2, 4, 5, 7].map(|line| format!("embedded default:{line}")));
}

#[test]
fn a_wrong_secret_is_never_printed() {
    static TEXT: &str = r#"[sources.ingest]
type = "http_ingest"
token = 4242
tokn = "hunter4242"
[sources.other]
type = "http_ingest"
token = { x = "hunter4242" }
login = { how = "basic", user = "u", password = 4242 }
[sources.third]
type = "http_ingest"
login = { how = "other", password = "hunter4242" }
"#;
    let found = errors(
        TEXT,
        &[("TRACE_SOURCES__INGEST__TOKN", "hunter4242")],
        &["sources.ingest.tokn=hunter4242", "hunter4242"],
    );
    assert!(found.len() >= 7, "{found:#?}");
    for line in &found {
        assert!(!line.contains("4242"), "{line}");
    }
}

#[test]
fn a_syntax_error_stands_alone_with_its_line_and_column() {
    let found = errors("[sources.x]\ntype = \"http_ingest\nother = 1\n", &[("TRACE_PROT", "1")], &[]);
    assert!(found[0].starts_with("embedded default:2 |  | not valid TOML at column 20: "), "{found:?}");
    assert!(found.iter().all(|line| line.contains("not valid TOML at column ")));
    let found = errors("[sources.x]\n[sources.x]\n", &[], &[]);
    assert!(found[0].starts_with("embedded default:2 "), "{found:?}");
}

#[test]
fn a_configuration_without_a_source_is_an_error() {
    let found = errors("", &[], &[]);
    assert_eq!(found[0], "embedded default:1 | sources | no source is enabled; add a [sources.NAME] table");
}

#[test]
fn nothing_in_flight_is_refused() {
    let found = errors(EMBEDDED, &[], &["runtime.max_in_flight_events=0", "runtime.max_in_flight_bytes=0"]);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|line| line.contains("must be more than 0")));
}

#[test]
fn typed_finds_all_problems_of_a_table() {
    let problems = typed::<Clean>(&json!({
        "max_text_bytes": -1,
        "rules": [{"name": "ok", "pattern": "x"}, 5, {"name": "x", "pattern": []}, 7],
    }))
    .unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["max_text_bytes", "rules.1", "rules.2.pattern", "rules.3"]);
}

/// Text that is nearly a configuration: parts of real ones in any order.
fn nearly() -> impl Strategy<Value = String> {
    let parts = [
        "[sources.a]\n",
        "[sinks.b]\n",
        "[[sources]]\n",
        "[runtime]\n",
        "[api]\n",
        "[sources]\n",
        "type = \"http_ingest\"\n",
        "type = \"sqlite_store\"\n",
        "inputs = [\"a\"]\n",
        "inputs = 1\n",
        "path = \"${X\"\n",
        "a = 1\n",
        "login = { how = \"basic\" }\n",
        "\"a.b\" = { \"\" = 1 }\n",
        "rules = [[{}]]\n",
        "bind = \"::\"\n",
        "x",
        "=",
        "\u{7f}",
        "é",
        "[\"\"]\n",
        "limits = []\n",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![any::<String>(), nearly()], name in "TRACE_[A-Z_]{0,12}", set in any::<String>()) {
        let mut inputs = inputs("", &[(name.as_str(), "1"), ("X", "y")], &[set.as_str()]);
        // A file's text is `'static` only when it is embedded; a test may leak a little.
        inputs.embedded = Box::leak(text.into_boxed_str());
        if let Err(errors) = load(&inputs, &registry()) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
