//! Broken configurations are refused with everything that is wrong; those that ship are right and run.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::{Path, PathBuf};

use support::{Home, Request, marked, post, stored};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_broken_file_is_refused_with_file_line_and_key() {
    let home = Home::new();
    let broken = files("tests/broken");
    assert!(broken.len() >= 25, "only {} files", broken.len());
    let mut all = String::new();
    for file in broken {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // Beside the program's own folder, so that messages show the name alone.
        std::fs::copy(&file, home.path(&name)).unwrap();
        let output = home.bare().arg("validate").arg("--config").arg(&name).output();
        assert_eq!(output.code, Some(2), "{name}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{name}");
        for line in output.stderr.lines() {
            let place =
                line.strip_prefix(&format!("{name}:")).unwrap_or_else(|| panic!("{name}: no place in {line:?}"));
            let (number, message) = place.split_once(": ").unwrap();
            assert!(number.parse::<u32>().is_ok(), "{name}: no line in {line:?}");
            assert!(message.contains(": "), "{name}: no key in {line:?}");
        }
        all.push_str(&output.stderr);
    }
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("broken_configurations", all);
    });
}

#[tokio::test]
async fn each_file_that_ships_is_valid_starts_and_stores() {
    let shipped = files("config");
    assert_eq!(shipped.len(), 4);
    for file in shipped {
        let home = Home::new();
        let output = home.bare().arg("validate").arg("--config").arg(&file).output();
        assert_eq!(output.code, Some(0), "{}: {}", file.display(), output.stderr);
        let db = home.db().display().to_string();
        let mut setup = home
            .bare()
            .arg("--config")
            .arg(&file)
            .set("runtime.log_level", "info")
            .set("runtime.log_format", "json")
            .set("api.bind", "127.0.0.1:0");
        setup = if file.ends_with("custom.toml") {
            setup
                .set("sources.agent.bind", "127.0.0.1:0")
                .set("sources.tools.bind", "127.0.0.1:0")
                .set("sinks.agent_store.path", &db)
        } else {
            setup.set("sources.ingest.bind", "127.0.0.1:0").set("sinks.store.path", &db)
        };
        let mut request = Request::events(marked("shipped").to_string());
        if file.ends_with("fleet-gateway.toml") {
            let tokens = home.path("tokens").display().to_string();
            let token = home.bare().arg("token").arg("--agent").arg("a").arg("--file").arg(&tokens).output().stdout;
            setup = setup.set("sources.ingest.tokens_file", &tokens);
            // Its ClickHouse is tested in tests/clickhouse.rs; here it has a store of its own.
            setup = setup.set("sinks.fleet.enabled", "false").set("sinks.store.enabled", "true");
            request = request.header("authorization", &format!("Bearer {}", token.trim_end()));
        }
        let sidecar = setup.start().await;
        let answer = post(sidecar.ingest, &request).await;
        assert_eq!(answer.status, 200, "{}: {}", file.display(), answer.text());
        sidecar.stop().await;
        assert!(stored(&home.db()).iter().any(|event| event.marker() == "shipped"), "{}", file.display());
    }
}

#[test]
fn a_variable_that_is_nearly_ours_is_an_error_and_a_strange_one_is_not() {
    let home = Home::new();
    let wrong = home.bare().arg("validate").env("TRACE_PROT", "1").env("TRACE_SINKS__STORE__PTH", "x").output();
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("TRACE_PROT: is not a variable of openclaw-trace; did you mean TRACE_PORT?"),
        "{}",
        wrong.stderr
    );
    assert!(wrong.stderr.contains("TRACE_SINKS__STORE__PTH"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("did you mean path?"), "{}", wrong.stderr);
    let strange = home.bare().arg("validate").env("TRACE_WOMBATS_PER_ACRE", "1").output();
    assert_eq!(strange.code, Some(0), "{}", strange.stderr);
    assert!(strange.stdout.contains("TRACE_WOMBATS_PER_ACRE"), "{}", strange.stdout);
}

#[test]
fn old_variables_are_taken_where_the_new_one_is_absent_and_said() {
    let home = Home::new();
    let shown = |setup: support::Setup| setup.arg("config").output().stdout;
    let old = shown(home.bare().env("OCT_RETENTION_DAYS", "7"));
    assert!(
        old.lines().any(|line| line.starts_with("sinks.store.retention_days = 7 ")
            || line.contains("\"7\"") && line.contains("OCT_RETENTION_DAYS")),
        "{old}"
    );
    let both = shown(home.bare().env("OCT_RETENTION_DAYS", "7").env("TRACE_RETENTION_DAYS", "9"));
    assert!(
        both.lines()
            .any(|line| line.starts_with("sinks.store.retention_days") && line.contains("TRACE_RETENTION_DAYS")),
        "{both}"
    );
    let notice = home.bare().env("OCT_RETENTION_DAYS", "7").arg("validate").output();
    assert!(
        notice.stdout.contains("OCT_RETENTION_DAYS is an old name and still taken; use TRACE_RETENTION_DAYS"),
        "{}",
        notice.stdout
    );
}

#[test]
fn the_layers_lie_over_each_other_and_each_value_says_which_it_is_from() {
    let home = Home::new();
    let setup = home
        .bare()
        .env("TRACE_PORT", "19090")
        .env("TRACE_SINKS__STORE__RETENTION_DAYS", "5")
        .set("sinks.store.retention_days", "6");
    let shown = setup.clone().arg("config").output().stdout;
    let line = |key: &str| {
        shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key} in {shown}")).to_owned()
    };
    assert!(line("sources.ingest.bind").contains("127.0.0.1:19090"), "{shown}");
    assert!(line("sources.ingest.bind").ends_with("# TRACE_PORT"), "{shown}");
    assert!(line("sinks.store.retention_days").ends_with("# --set sinks.store.retention_days"), "{shown}");
    assert!(line("sinks.store.max_bytes").contains("# embedded default:"), "{shown}");
}

#[test]
fn the_reference_is_the_one_that_the_program_prints() {
    let printed = Home::new().bare().arg("reference").output().stdout;
    let kept = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md"))
        .unwrap_or_default();
    assert!(printed == kept, "write it anew: cargo run -- reference > docs/configuration.md");
    // What a reader looks for.
    for key in ["max_in_flight_events", "`http_ingest`", "TRACE_SINKS__NAME__RETENTION_DAYS", "`truncate`"] {
        assert!(printed.contains(key), "{key}");
    }
}
