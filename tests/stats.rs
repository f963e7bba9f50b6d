//! What people see of many events at once: sums, and the list of runs.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::{Home, Output, Request, post};

fn command(home: &Home, args: &[&str]) -> Output {
    args.iter().fold(home.bare(), |setup, arg| setup.arg(*arg)).arg("--db").arg(home.db()).output()
}

fn call(run: &str, model: &str, millis: u32, cost: Option<f64>) -> Value {
    let mut call = json!({"kind": "llm_call", "name": model, "run_id": run, "session_id": format!("s-{run}"), "duration_ms": millis,
        "attributes": {"gen_ai.provider.name": "acme", "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": 1200, "gen_ai.usage.output_tokens": 34}});
    match cost {
        Some(cost) => call["attributes"]["cost_usd"] = cost.into(),
        None => call["attributes"]["openclaw_trace.cost.source"] = "unpriced".into(),
    }
    call
}

async fn with_a_day(home: &Home) {
    let sidecar = home.setup().keep_forever().start().await;
    let mut failed =
        json!({"kind": "tool_call", "name": "exec", "run_id": "r2", "status": "error", "error": "no such file"});
    failed["duration_ms"] = 50.into();
    let mut long_ago = call("r0", "old-model", 10, Some(1.0));
    long_ago["timestamp"] = "2020-01-01T00:00:00Z".into();
    let events = [
        call("r1", "big", 2000, Some(0.25)),
        call("r1", "big", 4000, Some(0.5)),
        call("r2", "small", 100, None),
        failed,
        long_ago,
    ];
    let answer = post(sidecar.ingest, &Request::events(serde_json::to_string(&events).unwrap())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    sidecar.stop().await;
}

#[tokio::test]
async fn stats_sum_up_a_time_by_model_tool_and_kind() {
    let home = Home::new();
    with_a_day(&home).await;
    let shown = command(&home, &["stats"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let lines: Vec<_> = shown.stdout.lines().collect();
    let words = |at: usize| lines[at].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(0), "model provider calls errors tokens in cached out cost p50 p95 p99 longest");
    assert!(words(1).starts_with("big acme 2 0 2,400 0 68 $0.7500 "), "{}", shown.stdout);
    assert!(words(2).starts_with("small acme 1 0 1,200 0 34 no price 10"), "{}", shown.stdout);
    assert!(words(3).starts_with("total 3 0 3,600 0 102 $0.7500+"), "{}", shown.stdout);
    assert!(lines[4].starts_with("without a price, and left out of the cost: 1 call;"), "{}", lines[4]);
    assert!(!shown.stdout.contains("old-model"), "{}", shown.stdout);
    assert!(!shown.stdout.contains('\u{1b}'), "no colour in a pipe");

    let tools = command(&home, &["stats", "--by", "tool"]).stdout;
    assert!(tools.contains("exec") && !tools.contains("cost"), "{tools}");
    let kinds = command(&home, &["stats", "--by", "kind"]).stdout;
    assert!(kinds.contains("llm_call") && kinds.contains("tool_call"), "{kinds}");
    let json: Value = serde_json::from_str(&command(&home, &["stats", "--json"]).stdout).unwrap();
    assert_eq!(json["total"]["calls"], 3);
    assert_eq!(json["groups"][0]["series"]["calls"].as_array().unwrap().len(), json["t"].as_array().unwrap().len());

    let nothing = command(&home, &["stats", "--from", "2021-01-01T00:00:00Z", "--to", "2021-01-02T00:00:00Z"]);
    assert_eq!(nothing.code, Some(0));
    assert!(nothing.stdout.starts_with("no model call from 2021-01-01 00:00 to"), "{}", nothing.stdout);
    let backwards = command(&home, &["stats", "--from", "1h", "--to", "2h"]);
    assert_eq!(backwards.code, Some(2));
    assert!(backwards.stderr.contains("--from must be before --to"), "{}", backwards.stderr);
}

#[tokio::test]
async fn runs_are_listed_with_what_failed_in_them() {
    let home = Home::new();
    with_a_day(&home).await;
    let shown = command(&home, &["runs"]).stdout;
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.contains("old-model") && shown.contains("$0.7500"), "{shown}");
    let failed = command(&home, &["runs", "--failed"]).stdout;
    assert!(failed.lines().count() == 2 && failed.contains("r2") && failed.contains("no such file"), "{failed}");
    let ids = |args: &[&str]| {
        let json: Value = serde_json::from_str(&command(&home, args).stdout).unwrap();
        json.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["runs", "--json", "--session", "s-r1"]), ["r1"]);
    assert_eq!(ids(&["runs", "--json", "--to", "2020-01-02T00:00:00Z"]), ["r0"]);
    assert_eq!(ids(&["runs", "--json", "-n", "1"]).len(), 1);
    assert!(command(&home, &["runs", "--session", "none"]).stdout.contains("no such run"));
    let sessions: Value =
        serde_json::from_str(&command(&home, &["sessions", "--json", "--from", "1h"]).stdout).unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 2);
}
