//! The commands that look at something and end.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Home, Request, event, get, marked, post};

#[test]
fn help_and_version_answer() {
    let home = Home::new();
    for arg in ["--help", "--version", "plugins", "schema", "graph"] {
        let output = home.bare().arg(arg).output();
        assert_eq!(output.code, Some(0), "{arg}: {}", output.stderr);
        assert!(!output.stdout.is_empty(), "{arg}");
    }
    let dot = home.bare().arg("graph").arg("--format").arg("dot").output().stdout;
    assert!(dot.starts_with("digraph") && dot.contains("\"store\" -> \"push\""), "{dot}");
    let schema: serde_json::Value = serde_json::from_str(&home.bare().arg("schema").output().stdout).unwrap();
    assert!(schema["properties"]["sinks"].is_object());
    assert_eq!(home.bare().arg("no-such-command").output().code, Some(2));
    assert_eq!(home.bare().arg("plugins").arg("no-such-plugin").output().code, Some(2));
}

#[test]
fn completions_and_the_man_page_name_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = home.bare().arg("completions").arg(shell).output();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        for command in ["export", "replay", "store", "vacuum", "top", "stats"] {
            assert!(output.stdout.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(home.bare().arg("completions").arg("no-such-shell").output().code, Some(2));
    let page = home.bare().arg("man").output();
    assert_eq!(page.code, Some(0), "{}", page.stderr);
    assert!(page.stdout.contains(".TH openclaw-trace 1"), "{}", page.stdout);
    assert!(page.stdout.contains("OPENCLAW\\-TRACE STORE BACKUP"), "{}", page.stdout);
}

#[test]
fn what_needs_a_terminal_says_so_where_there_is_none() {
    let home = Home::new();
    let output = home.bare().arg("top").output();
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("openclaw-trace stats"), "{}", output.stderr);
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn an_export_sent_to_another_instance_is_the_same_export_there() {
    let (here, there) = (Home::new(), Home::new());
    let sidecar = here.setup().start().await;
    for marker in ["one", "two", "three"] {
        let mut event = marked(marker);
        event["input"] = serde_json::json!({"text": format!("zero \u{0} and {marker}"), "n": [1, 2.5, null]});
        event["duration_ms"] = 1.5.into();
        assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    }
    // Of the running instance's file.
    let db = here.db().display().to_string();
    let export = here.bare().arg("export").arg("--db").arg(&db).output();
    assert_eq!(export.code, Some(0), "{}", export.stderr);
    assert_eq!(export.stdout.lines().count(), 3);
    sidecar.stop().await;

    let other = there.setup().start().await;
    let answer = post(other.ingest, &Request::lines(export.stdout.clone())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    other.stop().await;
    let again = there.bare().arg("export").arg("--db").arg(there.db().display().to_string()).output();
    assert_eq!(again.stdout, export.stdout);
}

#[test]
fn an_export_of_nothing_fails_and_makes_nothing() {
    let home = Home::new();
    let output = home.bare().arg("export").arg("--db").arg("missing.db").output();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("missing.db"), "{}", output.stderr);
    assert!(!home.path("missing.db").exists());
}

#[tokio::test]
async fn health_tells_the_living_from_the_dead() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let ask = |args: &[&str]| {
        let setup = home.setup().set("api.bind", &sidecar.api.to_string()).arg("health");
        args.iter().fold(setup, |setup, arg| setup.arg(*arg)).output()
    };
    assert_eq!(ask(&[]).code, Some(0));
    assert_eq!(ask(&["--ready"]).code, Some(0));
    let api = sidecar.api;
    sidecar.stop().await;
    let dead = home.setup().set("api.bind", &api.to_string()).arg("health").output();
    assert_eq!(dead.code, Some(1));
    assert!(dead.stderr.contains("is openclaw-trace running?"), "{}", dead.stderr);
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let home = Home::new();
    let secret = "s3cr3t-never-to-be-seen";
    let setup = home
        .setup()
        .more("[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nendpoint = \"http://127.0.0.1:9/x\"\n")
        .env("TRACE_PUSH_TOKEN", secret)
        .env("TRACE_INGEST_TOKEN", secret);
    for args in [vec!["config"], vec!["config", "--json"], vec!["validate"], vec!["graph"]] {
        let output = args.iter().fold(setup.clone(), |setup, arg| setup.arg(*arg)).output();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{args:?}");
    }
    assert!(setup.clone().arg("config").output().stdout.contains("sinks.push.token = \"[secret]\""));
    let sidecar = setup.set("runtime.log_level", "trace").start().await;
    let request = Request::events(marked("x").to_string()).header("authorization", &format!("Bearer {secret}"));
    assert_eq!(post(sidecar.ingest, &request).await.status, 200);
    let wrong = Request::events(marked("x").to_string()).header("authorization", &format!("Bearer {secret}x"));
    assert!(!post(sidecar.ingest, &wrong).await.text().contains(secret));
    assert!(!get(sidecar.api, "/metrics").await.text().contains(secret));
    assert!(!sidecar.log().contains(secret));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_secret_may_come_in_a_file() {
    let home = Home::new();
    let secret = format!("tok-{}", uuid::Uuid::now_v7());
    let file = home.path("ingest-token");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let named = file.to_str().unwrap();
    // By its short name, and by its long one.
    for name in ["TRACE_INGEST_TOKEN_FILE", "TRACE_SOURCES__HTTP__TOKEN_FILE"] {
        let setup = home.setup().env(name, named);
        let shown = setup.clone().arg("config").output();
        assert!(shown.stdout.contains(name), "where it comes from: {}", shown.stdout);
        assert!(!shown.stdout.contains(&secret));
        let sidecar = setup.start().await;
        let request = Request::events(event().to_string());
        assert_eq!(post(sidecar.ingest, &request).await.status, 401);
        let bearer = format!("Bearer {secret}");
        assert_eq!(post(sidecar.ingest, &request.header("authorization", &bearer)).await.status, 200);
        sidecar.stop().await;
    }
    let refused = home.setup().env("TRACE_INGEST_TOKEN_FILE", "/nowhere/at/all").arg("validate").output();
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("TRACE_INGEST_TOKEN_FILE: names /nowhere/at/all, which cannot be read"),
        "{}",
        refused.stderr
    );
    let both =
        home.setup().env("TRACE_INGEST_TOKEN_FILE", named).env("TRACE_INGEST_TOKEN", "x").arg("validate").output();
    assert!(both.stderr.contains("TRACE_INGEST_TOKEN is set too"), "{}", both.stderr);
    // A file for what is no secret is no name of ours.
    let other = home.setup().env("TRACE_SINKS__STORE__PATH_FILE", named).arg("validate").output();
    assert_eq!(other.code, Some(2));
}

#[tokio::test]
async fn a_port_in_use_is_said_in_one_line() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut sidecar = home.setup().set("sources.http.bind", &address).spawn();
    assert_eq!(sidecar.exit_code().await, Some(1));
    let log = sidecar.log();
    assert!(log.contains(&address) && log.contains("another process has the port"), "{log}");
}
