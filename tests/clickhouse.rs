//! ClickHouse behind the program: from the live stream, where a 200 means that ClickHouse has the events, and from a store,
//! where an outage of it loses nothing. Against as much of a ClickHouse as the sink speaks to; real ones: `tests/fleet`.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../sinks/clickhouse/tests/server.rs"]
mod server;
mod support;

#[allow(dead_code, unreachable_pub)]
#[path = "support/fleet.rs"]
mod fleet;

use std::collections::HashSet;

use fleet::{Fleet, sidecar, token};
use rustix::process::Signal;
use serde_json::Value;
use server::{Server, exception};
use support::{Home, Request, Setup, array, event, eventually, id_of, post, stored};
use uuid::Uuid;

const MODERN: &str = "26.9.2.1";

/// The sink, reading from `input`.
fn with_clickhouse(home: &Home, input: &str, server: &Server) -> Setup {
    home.setup().more(&format!(
        r#"
[sinks.fleet]
type = "clickhouse"
inputs = ["{input}"]
endpoints = ["{}"]
user = "writer"
batch_age = "50ms"
timeout = "500ms"
base_delay = "10ms"
max_delay = "100ms"
breaker_cooldown = "100ms"
"#,
        server.url()
    ))
}

/// The identities of the rows that ClickHouse took.
fn kept(server: &Server) -> HashSet<Uuid> {
    server.inside().kept.iter().map(id_of).collect()
}

fn events(count: usize) -> (Vec<Value>, HashSet<Uuid>) {
    let events: Vec<Value> = (0..count).map(|_| event()).collect();
    let ids = events.iter().map(id_of).collect();
    (events, ids)
}

#[tokio::test]
async fn on_the_live_stream_a_200_means_that_clickhouse_has_the_events() {
    let home = Home::new();
    let server = Server::start(MODERN).await;
    let sidecar = with_clickhouse(&home, "truncate", &server).start().await;
    let (sent, ids) = events(30);
    let answer = post(sidecar.ingest, &Request::events(array(&sent))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(kept(&server), ids);

    server.script(|asked| if asked.is_insert() { exception(243, "Not enough space") } else { None });
    let (again, more) = events(5);
    let answer = post(sidecar.ingest, &Request::events(array(&again))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.retry_after() >= 1);
    server.script(|_| None);
    eventually("what was refused can be sent again", async || {
        post(sidecar.ingest, &Request::events(array(&again))).await.status == 200
    })
    .await;
    assert_eq!(kept(&server), ids.union(&more).copied().collect());
    sidecar.stop().await;
}

#[tokio::test]
async fn from_a_store_an_outage_of_clickhouse_and_a_kill_lose_nothing() {
    let home = Home::new();
    let server = Server::start(MODERN).await;
    server.script(|_| Some((503, String::new())));
    let setup = with_clickhouse(&home, "store", &server);
    let mut sidecar = setup.start().await;
    let (sent, ids) = events(40);
    let answer = post(sidecar.ingest, &Request::events(array(&sent))).await;
    assert_eq!(answer.status, 200, "the store keeps them: {}", answer.text());
    eventually("ClickHouse is asked in vain", async || server.asked().len() > 3).await;
    sidecar.signal(Signal::KILL);
    sidecar.exit_code().await;

    server.script(|_| None);
    let sidecar = setup.start().await;
    eventually("all of it has arrived", async || kept(&server) == ids).await;
    eventually("and is known to have", async || stored(&home.db()).iter().filter(|event| event.pushed).count() == 40)
        .await;
    sidecar.stop().await;
}

#[tokio::test]
async fn neither_the_password_nor_an_event_stands_in_the_log() {
    let home = Home::new();
    let server = Server::start(MODERN).await;
    let secret = Uuid::now_v7().simple().to_string();
    let quoted = secret.clone();
    server.script(move |asked| match asked.rows.len() {
        0 => None,
        // It quotes what it was sent, as ClickHouse does.
        _ if asked.rows.iter().any(|row| row["error"] == quoted.as_str()) => exception(41, &quoted),
        _ => Some((500, format!("Code: 241. DB::Exception: {quoted}. (MEMORY_LIMIT_EXCEEDED)"))),
    });
    let sidecar = with_clickhouse(&home, "store", &server)
        .set("runtime.log_level", "trace")
        .set("sinks.fleet.create_tables", "false")
        .env("TRACE_SINKS__FLEET__PASSWORD", &secret)
        .start()
        .await;
    // The tables that are missing are said, and made by another.
    eventually("what is missing is said", async || {
        post(sidecar.ingest, &Request::events(array(&[event()]))).await;
        sidecar.log().contains("create_tables is false")
    })
    .await;
    let columns = made_columns().await;
    server.inside().tables.insert("events".to_owned(), columns);
    eventually("inserts fail", async || server.inserts().len() > 3).await;
    let mut guilty = event();
    guilty["error"] = secret.clone().into();
    post(sidecar.ingest, &Request::events(array(&[guilty]))).await;
    server.script({
        let quoted = secret.clone();
        move |asked| match asked.rows.iter().any(|row| row["error"] == quoted.as_str()) {
            true => exception(41, &quoted),
            false => None,
        }
    });
    eventually("the guilty one is set aside", async || sidecar.log().contains("event is quarantined")).await;
    let log = sidecar.log();
    sidecar.stop().await;
    assert!(log.contains("code 241 (MEMORY_LIMIT_EXCEEDED)"), "{log}");
    assert!(!log.contains(&secret), "{log}");
}

#[tokio::test]
async fn the_gateway_that_ships_confirms_what_clickhouse_has_and_a_row_it_refuses_is_set_aside_at_its_sidecar() {
    let server = Server::start(MODERN).await;
    server.script(|asked| match asked.rows.iter().any(|row| row["error"] == "guilty") {
        true => exception(41, "Cannot parse it"),
        false => None,
    });
    let who = token("agent-7", Some("acme"));
    let gateway = Fleet::new(&[&who])
        .setup()
        .set("sinks.store.enabled", "false")
        .set("sinks.fleet.enabled", "true")
        .set("sinks.fleet.batch_age", "20ms")
        .env("CLICKHOUSE_URL", &server.url())
        .start()
        .await;
    let home = Home::new();
    let sidecar = sidecar(&home, &format!("http://{}/v1/batches", gateway.ingest), "agent-7", &who).start().await;
    let (mut sent, mut ids) = events(40);
    sent[17]["error"] = "guilty".into();
    sent[17]["status"] = "error".into();
    ids.remove(&id_of(&sent[17]));
    let answer = post(sidecar.ingest, &Request::events(array(&sent))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("the others are in ClickHouse", async || kept(&server) == ids).await;
    eventually("the guilty one is set aside", async || sidecar.log().contains("event is quarantined")).await;
    eventually("and no other", async || stored(&home.db()).iter().filter(|event| event.pushed).count() == 39).await;
    let row = server.inside().kept[0].clone();
    assert_eq!((&row["org_id"], &row["agent_id"]), (&"acme".into(), &"agent-7".into()), "{row}");
    sidecar.stop().await;
    gateway.stop().await;
}

/// The columns that the sink makes, as another program would find them in the docs.
async fn made_columns() -> Vec<String> {
    let server = Server::start(MODERN).await;
    let other = Home::new();
    let sidecar = with_clickhouse(&other, "truncate", &server).start().await;
    let answer = post(sidecar.ingest, &Request::events(array(&[event()]))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    sidecar.stop().await;
    server.inside().tables["events"].clone()
}
