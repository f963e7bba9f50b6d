//! What people see at a terminal: sessions, runs, what comes in.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Home, Request, Setup, captures, marked, post};

fn command(home: &Home, args: &[&str]) -> Setup {
    let db = home.db();
    args.iter().fold(home.bare(), |setup, arg| setup.arg(*arg)).arg("--db").arg(db)
}

async fn with_events(home: &Home, events: &[serde_json::Value]) {
    let sidecar = home.setup().keep_forever().start().await;
    let answer = post(sidecar.ingest, &Request::events(serde_json::to_string(events).unwrap())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    sidecar.stop().await;
}

#[tokio::test]
async fn a_run_of_openclaw_is_shown_as_the_tree_that_it_was() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    for capture in captures("v2026.4.29-gateway-part") {
        assert_eq!(post(sidecar.ingest, &capture.request(true)).await.status, 200);
    }
    // While it runs.
    let shown = command(&home, &["show", "d775"]).output().stdout;
    let tree: Vec<&str> = shown.lines().skip(4).map(|line| line.split("  ").next().unwrap_or(line)).collect();
    assert!(shown.starts_with("run d775814e2b59b2233d93e73bc696e8fd  ok\n"), "{shown}");
    assert!(shown.contains("└─ run openclaw.run"), "{shown}");
    assert!(shown.contains("   │  └─ exec openclaw.exec"), "below the tool, though it came in another trace: {shown}");
    assert_eq!(tree.len(), 7, "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&command(&home, &["show", "d775", "--json"]).output().stdout).unwrap();
    assert_eq!(json["events"].as_array().unwrap().len(), 7);
    // By the beginning of an id that several have, and by one that nobody has.
    let none = command(&home, &["show", "zzz"]).output();
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("no run begins with zzz"), "{}", none.stderr);
    sidecar.stop().await;
}

#[tokio::test]
async fn sessions_are_listed_with_tokens_cost_and_errors() {
    let home = Home::new();
    let call = |run: &str, cost: f64, status: &str| {
        serde_json::json!({
            "kind": "llm_call", "name": "m", "run_id": run, "session_id": "s-1", "status": status,
            "attributes": {"gen_ai.usage.input_tokens": 1200, "gen_ai.usage.output_tokens": 34, "cost_usd": cost}
        })
    };
    // An event of a run whose session only another one names.
    let tool = serde_json::json!({"kind": "tool_call", "name": "exec", "run_id": "r1"});
    with_events(&home, &[call("r1", 0.25, "ok"), call("r2", 0.5, "error"), tool]).await;
    let json = command(&home, &["sessions", "--json"]).output().stdout;
    let sessions: serde_json::Value = serde_json::from_str(&json).unwrap();
    let session = &sessions[0];
    for (key, expected) in [
        ("runs", 2.0),
        ("llm_calls", 2.0),
        ("tool_calls", 1.0),
        ("errors", 1.0),
        ("input_tokens", 2400.0),
        ("cost_usd", 0.75),
    ] {
        assert_eq!(session[key].as_f64(), Some(expected), "{key}: {session}");
    }
    let text = command(&home, &["sessions"]).output().stdout;
    assert!(text.contains("2,400") && text.contains("$0.7500") && text.contains("s-1"), "{text}");
    let empty = Home::new();
    with_events(&empty, &[serde_json::json!({"kind": "log"})]).await;
    assert!(command(&empty, &["sessions"]).output().stdout.contains("no session is stored yet"));
}

#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    let home = Home::new();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}<script>";
    let mut event = marked("x");
    event["name"] = hostile.into();
    event["error"] = hostile.into();
    event["status"] = "error".into();
    event["run_id"] = format!("r{hostile}").into();
    event["session_id"] = hostile.into();
    with_events(&home, &[event]).await;
    for args in [&["show"][..], &["sessions"], &["tail"]] {
        let shown = command(&home, args).output().stdout;
        assert!(shown.contains("<script>"), "{args:?}: {shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{args:?}: {shown:?}");
    }
}

#[tokio::test]
async fn tail_shows_the_last_events_and_only_those_asked_for() {
    let home = Home::new();
    let logs: Vec<_> = (0..30).map(|at| serde_json::json!({"kind": "log", "name": format!("n{at}")})).collect();
    let failed = serde_json::json!({"kind": "tool_call", "name": "exec", "status": "error", "error": "no such file"});
    with_events(&home, &[logs, vec![failed]].concat()).await;
    let lines = |args: &[&str]| command(&home, args).output().stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let last = lines(&["tail", "-n", "3"]);
    assert_eq!(last.len(), 3);
    assert!(last[0].contains("n28") && last[2].contains("no such file"), "{last:?}");
    assert_eq!(lines(&["tail", "--failed"]).len(), 1);
    assert_eq!(lines(&["tail", "--kind", "log", "-n", "100"]).len(), 30);
    let json = lines(&["tail", "-n", "1", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json[0]).unwrap()["kind"], "tool_call");
    let missing = Home::new();
    let output = command(&missing, &["tail"]).output();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("there is no database"), "{}", output.stderr);
}
