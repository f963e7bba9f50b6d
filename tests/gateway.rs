//! A fleet's gateway: sidecars push to it, each with a token of its own. What it does not take stays with them,
//! and they say why.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

#[allow(dead_code, unreachable_pub)]
#[path = "support/fleet.rs"]
mod fleet;
#[allow(unreachable_pub)]
#[path = "support/tls.rs"]
mod tls;

use std::collections::HashSet;

use fleet::{Fleet, batch, hang_up, push, sidecar, token};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Client, Home, Request, Sidecar, array, event, eventually, get, id_of, marked, post, stored, stored_ids};
use tls::{Authority, Terminator};
use uuid::Uuid;

fn batches(gateway: &Sidecar) -> String {
    format!("http://{}/v1/batches", gateway.ingest)
}

/// Gives a sidecar events, which it keeps; answers their identities.
async fn send(sidecar: &Sidecar, events: &[Value]) -> HashSet<Uuid> {
    let answer = post(sidecar.ingest, &Request::events(array(events))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    events.iter().map(id_of).collect()
}

fn unsent(home: &Home) -> HashSet<Uuid> {
    let waiting = "SELECT trace_id FROM events WHERE pushed_at IS NULL AND quarantined_at IS NULL";
    let connection = support::open(&home.db());
    let mut query = connection.prepare(waiting).unwrap();
    query.query_map([], |row| row.get::<_, [u8; 16]>(0)).unwrap().map(|id| Uuid::from_bytes(id.unwrap())).collect()
}

/// Waits until the gateway has all of these and the sidecar knows it.
async fn delivered(fleet: &Fleet, home: &Home, sent: &HashSet<Uuid>) {
    eventually("all is delivered", async || {
        stored_ids(&fleet.home.db()) == *sent && stored(&home.db()).iter().all(|event| event.pushed)
    })
    .await;
}

/// Waits for a line of the log that holds all of these.
async fn said(sidecar: &Sidecar, words: &[&str]) {
    eventually(&format!("the log says {words:?}"), async || {
        sidecar.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
    })
    .await;
}

#[tokio::test]
async fn each_agents_events_arrive_once_and_are_its_own_whatever_they_say() {
    let (a, b) = (token("agent-a", Some("acme")), token("agent-b", None));
    let fleet = Fleet::new(&[&a, &b]);
    let gateway = fleet.setup().start().await;
    let homes = [Home::new(), Home::new()];
    let pushing = [
        sidecar(&homes[0], &batches(&gateway), "agent-a", &a).start().await,
        sidecar(&homes[1], &batches(&gateway), "agent-b", &b).start().await,
    ];
    let mut sent = [HashSet::new(), HashSet::new()];
    for round in 0..5 {
        for (at, sidecar) in pushing.iter().enumerate() {
            let mut plain = marked(&format!("{at} {round}"));
            let mut forged = event();
            forged["agent_id"] = json!("agent-c");
            forged["attributes"] = json!({"openclaw_trace.org.id": "evil", "k": 1});
            plain["kind"] = json!(if round == 0 { "metric" } else { "log" });
            sent[at].extend(send(sidecar, &[plain, forged]).await);
        }
    }
    let all: HashSet<Uuid> = sent[0].union(&sent[1]).copied().collect();
    eventually("all is delivered", async || stored_ids(&fleet.home.db()) == all).await;
    for sidecar in pushing {
        sidecar.stop().await;
    }
    assert!(homes.iter().all(|home| unsent(home).is_empty()));
    for event in fleet.exported() {
        let own = sent[0].contains(&id_of(&event));
        assert_eq!(event["agent_id"], if own { "agent-a" } else { "agent-b" }, "{event}");
        let org = if own { json!("acme") } else { Value::Null };
        assert_eq!(event["attributes"]["openclaw_trace.org.id"], org, "{event}");
        assert_eq!(event["attributes"]["deployment.environment.name"], "production", "{event}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_token_is_said_once_and_all_is_delivered_when_it_is_known() {
    let (known, unknown) = (token("agent-a", None), token("agent-b", None));
    let fleet = Fleet::new(&[&known]);
    let gateway = fleet.setup().start().await;
    let home = Home::new();
    let pushing = sidecar(&home, &batches(&gateway), "agent-b", &unknown).start().await;
    let sent = send(&pushing, &[event(), event(), event()]).await;
    said(&pushing, &["push is denied", "401", "does not know the token", "TRACE_PUSH_TOKEN"]).await;
    eventually("it asks again, and again", async || refused(&gateway, 401).await >= 3).await;
    assert_eq!(unsent(&home), sent, "nothing is lost, nothing set aside");
    assert_eq!(pushing.log().matches("push is denied").count(), 1, "{}", pushing.log());

    fleet.write(&[&known, &unknown]);
    hang_up(&gateway, "tokens_file is read anew").await;
    delivered(&fleet, &home, &sent).await;
    assert_eq!(fleet.exported()[0]["agent_id"], "agent-b");
    assert!(!gateway.log().contains(&unknown.token) && !pushing.log().contains(&unknown.token));
    pushing.stop().await;
    gateway.stop().await;
}

/// How many requests the gateway answered with this status.
async fn refused(gateway: &Sidecar, status: u16) -> u64 {
    let metrics = get(gateway.api, "/metrics").await.text();
    let line = metrics.lines().find(|line| {
        line.starts_with("openclaw_trace_ingest_requests_total") && line.contains(&format!("status=\"{status}\""))
    });
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn an_agent_that_bears_anothers_id_is_refused_and_loses_nothing() {
    let (a, b) = (token("agent-a", None), token("agent-b", None));
    let fleet = Fleet::new(&[&a]);
    let gateway = fleet.setup().start().await;
    let home = Home::new();
    let pushing = sidecar(&home, &batches(&gateway), "agent-b", &a).start().await;
    let sent = send(&pushing, &[event(), event()]).await;
    said(&pushing, &["push is denied", "403", "agent_id", "TRACE_AGENT_ID"]).await;
    eventually("it asks again, and again", async || refused(&gateway, 403).await >= 3).await;
    said(&gateway, &["another agent's", "agent-a", "agent-b"]).await;
    assert_eq!(gateway.log().matches("another agent's than its token's").count(), 1, "{}", gateway.log());
    assert_eq!(unsent(&home), sent);
    assert!(stored(&fleet.home.db()).is_empty());
    pushing.stop().await;

    // The token was the mistake: it gets its own, and the gateway knows it.
    fleet.write(&[&a, &b]);
    hang_up(&gateway, "tokens_file is read anew").await;
    let pushing = sidecar(&home, &batches(&gateway), "agent-b", &b).start().await;
    delivered(&fleet, &home, &sent).await;
    pushing.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_gets_through_in_parts() {
    let a = token("agent-a", None);
    let fleet = Fleet::new(&[&a]);
    let gateway = fleet
        .setup()
        .set("sources.ingest.max_body", "100KiB")
        .set("sources.ingest.max_inflated", "100KiB")
        .start()
        .await;
    let home = Home::new();
    // 600 KiB wait before anything is pushed, and go as one batch.
    let waiting = home.setup().start().await;
    let mut sent = HashSet::new();
    for round in 0..4 {
        let events: Vec<Value> = (0..50)
            .map(|at| {
                let mut event = marked(&format!("{round} {at}"));
                event["output"] = json!(format!("{round} {at} ").repeat(500));
                event
            })
            .collect();
        sent.extend(send(&waiting, &events).await);
    }
    waiting.stop().await;
    let pushing = sidecar(&home, &batches(&gateway), "agent-a", &a).set("sinks.push.compression", "none").start().await;
    delivered(&fleet, &home, &sent).await;
    said(&pushing, &["receiver answered 413", "smaller ones are sent from now on", "max_body"]).await;
    pushing.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_is_said_and_all_is_delivered_under_a_valid_one() {
    let a = token("agent-a", None);
    let fleet = Fleet::new(&[&a]);
    let gateway = fleet.setup().start().await;
    let authority = Authority::new();
    let proxy = Terminator::start(gateway.ingest, authority.certificate(2020)).await;
    let home = Home::new();
    let ca = home.path("ca.pem");
    authority.write(&ca);
    let endpoint = format!("https://{}/v1/batches", proxy.address);
    let setup = sidecar(&home, &endpoint, "agent-a", &a).set("sinks.push.ca_file", ca.to_str().unwrap());
    let pushing = setup.start().await;
    let sent = send(&pushing, &[event(), event()]).await;
    said(&pushing, &["push failed", "certificate", "xpired"]).await;
    assert_eq!(unsent(&home), sent);
    assert!(stored(&fleet.home.db()).is_empty());
    assert_eq!(refused(&gateway, 200).await, 0, "nobody spoke to it");

    proxy.change(authority.certificate(2099));
    delivered(&fleet, &home, &sent).await;
    pushing.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_revoked_token_ends_with_the_next_request_and_a_wrong_file_changes_nothing() {
    let (a, b) = (token("agent-a", None), token("agent-b", None));
    let fleet = Fleet::new(&[&a, &b]);
    let gateway = fleet.setup().start().await;
    let mut open = Client::connect(gateway.ingest).await.unwrap();
    let mut ask = async |token: &fleet::Token, agent: &str| {
        open.send(&push(&batch(agent, &[event()]), token)).await.unwrap().status
    };
    assert_eq!((ask(&a, "agent-a").await, ask(&b, "agent-b").await), (200, 200));

    fleet.write_text(&format!("{}\n{} b c d\n\nnonsense\n", b.line, &a.line));
    hang_up(&gateway, "tokens_file is not taken").await;
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("tokens_file is not taken")).unwrap();
    let file = fleet.tokens_file().display().to_string();
    for told in [format!("{file}:2: "), format!("{file}:4: "), "stay in force".to_owned(), "SIGHUP".to_owned()] {
        assert!(line.contains(&told), "{told} is not in {line}");
    }
    assert!(!line.contains("nonsense"), "{line}");
    assert_eq!((ask(&a, "agent-a").await, ask(&b, "agent-b").await), (200, 200));

    fleet.write(&[&b]);
    hang_up(&gateway, "tokens_file is read anew").await;
    assert!(gateway.log().lines().any(|line| line.contains("read anew") && line.contains("\"tokens\":1")));
    assert_eq!((ask(&a, "agent-a").await, ask(&b, "agent-b").await), (401, 200), "on the same connection");
    gateway.stop().await;
}

#[tokio::test]
async fn a_batch_sent_again_is_stored_once() {
    let a = token("agent-a", None);
    let fleet = Fleet::new(&[&a]);
    let gateway = fleet.setup().start().await;
    let events: Vec<Value> = (0..20).map(|_| event()).collect();
    let batch = batch("agent-a", &events);
    for duplicates in [0, 20, 20] {
        let answer = post(gateway.ingest, &push(&batch, &a)).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"accepted": 20, "duplicates": duplicates})));
    }
    // Cut differently, and with an event that is new.
    let mut other = batch.clone();
    other["traces"] = json!([events[3], event()]);
    let answer = post(gateway.ingest, &push(&other, &a)).await;
    assert_eq!(answer.json(), json!({"accepted": 2, "duplicates": 1}));
    gateway.stop().await;
    assert_eq!(stored_ids(&fleet.home.db()).len(), 21);
}

#[tokio::test]
async fn a_batch_is_confirmed_only_once_stored_also_where_other_requests_are_not() {
    let a = token("agent-a", None);
    let fleet = Fleet::new(&[&a]);
    let setup = fleet.setup().set("sources.ingest.acknowledge", "queued").set("sources.ingest.answer_timeout", "300ms");
    let gateway = setup.start().await;
    let lone = Request::events(event().to_string()).header("authorization", &format!("Bearer {}", a.token));
    assert_eq!(post(gateway.ingest, &lone).await.status, 202);
    let sent = batch("agent-a", &[event(), event()]);
    eventually("the first is stored", async || stored(&fleet.home.db()).len() == 1).await;
    let lock = support::open(&fleet.home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = post(gateway.ingest, &push(&sent, &a)).await;
    assert_eq!(answer.status, 503, "the store is held: {}", answer.text());
    assert!(answer.retry_after() >= 1);
    lock.execute_batch("ROLLBACK").unwrap();
    eventually("it is taken", async || post(gateway.ingest, &push(&sent, &a)).await.status == 200).await;
    assert_eq!(stored_ids(&fleet.home.db()).len(), 3);
    gateway.stop().await;
}

#[tokio::test]
async fn every_path_gives_an_event_the_agent_of_its_token() {
    let a = token("agent-a", Some("acme"));
    let fleet = Fleet::new(&[&a]);
    let gateway = fleet.setup().start().await;
    let bearer = format!("Bearer {}", a.token);
    let forged = json!({"kind": "log", "agent_id": "b", "openclaw_trace.org.id": "x"});
    let span = json!({"traceId": "0123456789abcdef0123456789abcdef", "spanId": "0123456789abcdef", "name": "chat", "startTimeUnixNano": "1795546208145000000",
        "attributes": [{"key": "openclaw_trace.org.id", "value": {"stringValue": "x"}}]});
    let point = json!({"startTimeUnixNano": "5", "timeUnixNano": "10", "asInt": "3"});
    let sum = json!({"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point]});
    for (path, body) in [
        ("/v1/events", json!([forged])),
        ("/v1/traces", json!({"model": "m", "agent_id": "b", "openclaw_trace.org.id": "x"})),
        ("/v1/traces", json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})),
        ("/v1/logs", json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]})),
        ("/v1/metrics", json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "c", "sum": sum}]}]}]})),
        ("/v1/errors", json!({"message": "boom", "metadata": {"openclaw_trace.org.id": "x"}})),
    ] {
        let request = Request::new("POST", path).header("content-type", "application/json").body(body.to_string());
        assert_eq!(post(gateway.ingest, &request).await.status, 401, "{path}");
        let answer = post(gateway.ingest, &request.header("authorization", &bearer)).await;
        assert!([200, 202].contains(&answer.status), "{path}: {}", answer.text());
    }
    let events = fleet.exported();
    assert_eq!(events.len(), 6);
    for event in events {
        assert_eq!(
            (&event["agent_id"], &event["attributes"]["openclaw_trace.org.id"]),
            (&json!("agent-a"), &json!("acme")),
            "{event}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn one_agent_over_its_rate_does_not_starve_another() {
    let (a, b) = (token("agent-a", None), token("agent-b", None));
    let fleet = Fleet::new(&[&a, &b]);
    let setup = fleet.setup().set("sources.ingest.agent_rate_limit", "1").set("sources.ingest.max_events", "20");
    let gateway = setup.set("sources.ingest.max_series", "20").start().await;
    let many = |agent: &str| batch(agent, &(0..20).map(|_| event()).collect::<Vec<_>>());
    assert_eq!(post(gateway.ingest, &push(&many("agent-a"), &a)).await.status, 200);
    let refused = post(gateway.ingest, &push(&many("agent-a"), &a)).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.retry_after() > 1, "as long as so many take: {}", refused.retry_after());
    assert_eq!(post(gateway.ingest, &push(&many("agent-b"), &b)).await.status, 200);
    assert_eq!(stored_ids(&fleet.home.db()).len(), 40);
    gateway.stop().await;
}

#[tokio::test]
async fn without_tokens_a_batch_names_the_agent_of_events_that_do_not() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let mut own = event();
    own["agent_id"] = json!("mine");
    let anyone = fleet::Token { token: String::new(), line: String::new() };
    let request = push(&batch("agent-a", &[event(), own]), &anyone).header("authorization", "");
    assert_eq!(post(sidecar.ingest, &request).await.status, 200);
    let export = home.bare().arg("export").arg("--db").arg(home.db()).output().stdout;
    let agents: Vec<Value> =
        export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["agent_id"].clone()).collect();
    assert_eq!(agents, ["agent-a", "mine"]);
    sidecar.stop().await;
}

#[tokio::test]
async fn sighup_never_ends_the_process() {
    let home = Home::new();
    let mut sidecar = home.setup().start().await;
    for _ in 0..3 {
        hang_up(&sidecar, "configuration reloaded").await;
    }
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    // Also while it drains: held up by a store that cannot write.
    let lock = support::open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let address = sidecar.ingest;
    let waiting = tokio::spawn(async move { post(address, &Request::events(event().to_string())).await.status });
    sidecar.in_flight(1).await;
    sidecar.signal(Signal::TERM);
    said(&sidecar, &["draining"]).await;
    hang_up(&sidecar, "nothing is read anew").await;
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
}

#[tokio::test]
async fn tokens_that_cannot_be_are_said_at_the_start() {
    let a = token("agent-a", None);
    let fleet = Fleet::new(&[&a]);
    let both = fleet.setup().set("sources.ingest.token", "x").arg("validate").output();
    assert_eq!(both.code, Some(2));
    assert!(both.stderr.contains("tokens_file") && both.stderr.contains("beside token"), "{}", both.stderr);
    let empty = fleet.setup().set("sources.ingest.tokens_file", "").arg("validate").output();
    assert!(empty.stderr.contains("tokens_file: is empty"), "{}", empty.stderr);
    let alone = fleet.home.setup().set("sources.http.agent_rate_limit", "5").arg("validate").output();
    assert!(alone.stderr.contains("agent_rate_limit") && alone.stderr.contains("tokens_file"), "{}", alone.stderr);
    fleet.write_text(&format!("{}\noops\n", a.line));
    let mut gateway = fleet.setup().spawn();
    assert_eq!(gateway.exit_code().await, Some(1));
    assert!(gateway.log().contains("tokens:2: must begin with the SHA-256"), "{}", gateway.log());
    std::fs::remove_file(fleet.tokens_file()).unwrap();
    let mut gateway = fleet.setup().spawn();
    assert_eq!(gateway.exit_code().await, Some(1));
    assert!(gateway.log().contains(fleet.tokens_file().to_str().unwrap()), "{}", gateway.log());
}

#[test]
fn the_command_prints_the_token_alone_and_keeps_its_line_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let file = home.path("tokens");
    let mut tokens = HashSet::new();
    for agent in ["agent-a", "agent-b"] {
        let made = home.bare().arg("token").arg("--agent").arg(agent).arg("--file").arg(&file).output();
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert_eq!(made.stdout.lines().count(), 1);
        assert!(made.stdout.starts_with("oct_") && !made.stderr.contains(made.stdout.trim()), "{}", made.stderr);
        tokens.insert(made.stdout);
    }
    assert_eq!(tokens.len(), 2);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
    let wrong = home.bare().arg("token").arg("--agent").arg("a b").output();
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""));
}
