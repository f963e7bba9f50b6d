//! The first minute: the program as it comes, one event, a stop, and a second start.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rustix::process::Signal;
use support::{Home, Request, Setup, event, get, id_of, post, stored};

/// The embedded configuration; only what a test cannot share with others is set.
fn as_it_comes(home: &Home) -> Setup {
    home.bare()
        .set("runtime.log_level", "info")
        .set("runtime.log_format", "json")
        .env("TRACE_PORT", "0")
        .env("TRACE_API_PORT", "0")
        .env("TRACE_DB_PATH", home.db().to_str().unwrap())
}

#[tokio::test]
async fn an_event_sent_to_the_default_program_is_stored_and_survives_a_restart() {
    let home = Home::new();
    let sidecar = as_it_comes(&home).start().await;
    let first = event();
    let answer = post(sidecar.ingest, &Request::events(first.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["accepted"], &body["duplicates"]), (&1.into(), &0.into()), "{body}");
    assert_eq!(body["rejected"], serde_json::json!([]));
    assert_eq!(answer.trace_ids(), [id_of(&first)]);
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200);
    assert_eq!(get(sidecar.api, "/readyz").await.status, 200);
    sidecar.stop().await;

    let sidecar = as_it_comes(&home).start().await;
    let again = post(sidecar.ingest, &Request::events(first.to_string())).await;
    assert_eq!(again.json()["duplicates"], 1, "the restarted program knows the event: {}", again.text());
    sidecar.stop().await;

    let kept: Vec<_> = stored(&home.db()).into_iter().filter(|event| event.kind == "tool_call").collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].trace_id, id_of(&first));
    assert_eq!(kept[0].name.as_deref(), Some("read_file"));
    assert_eq!(kept[0].input.as_deref(), Some(r#"{"path":"/data/notes.md"}"#));
}

#[tokio::test]
async fn an_event_without_an_identity_is_given_one_and_told() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let answer = post(sidecar.ingest, &Request::events(r#"{"kind":"log"}"#)).await;
    assert_eq!(answer.status, 200);
    let ids = answer.trace_ids();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].get_version_num(), 7);
    sidecar.stop().await;
    assert_eq!(stored(&home.db())[0].trace_id, ids[0]);
}

#[tokio::test]
async fn ctrl_c_is_an_orderly_stop_too() {
    let home = Home::new();
    let mut sidecar = home.setup().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    assert_eq!(stored(&home.db()).len(), 1);
    assert!(!home.path("trace.db-wal").exists(), "a closed database has no write-ahead log left");
}

#[tokio::test]
async fn the_database_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new();
    let sidecar = home.setup().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    for file in ["trace.db", "trace.db-wal", "trace.db-shm"] {
        let mode = std::fs::metadata(home.path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file} has mode {mode:o}");
    }
    sidecar.stop().await;
}
