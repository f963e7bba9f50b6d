//! The push's contract: what the sidecar sends and what the gateway answers, held against the description that
//! is handed to those who write a receiver.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

#[allow(dead_code, unreachable_pub)]
#[path = "support/fleet.rs"]
mod fleet;
#[allow(unreachable_pub)]
#[path = "support/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::path::Path;

use fleet::{Fleet, Token, batch, push, token};
use rustix::process::Signal;
use schema::Description;
use serde_json::{Value, json};
use support::{Answer, Behaviour, Client, Home, Receiver, Request, array, event, eventually, marked, post, stored};

const DESCRIPTION: &str = "docs/augmi-push.openapi.json";

fn kept(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_default()
}

fn description() -> Description {
    Description::new(&kept(DESCRIPTION))
}

#[test]
fn the_description_is_the_ports_own_and_its_examples_fit() {
    let home = Home::new();
    let printed = home.bare().arg("openapi").arg("http_ingest").arg("--path").arg("/v1/batches").output();
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let anew = format!("write it anew: cargo run -- openapi http_ingest --path /v1/batches > {DESCRIPTION}");
    assert!(printed.stdout == kept(DESCRIPTION), "{anew}");
    assert!(description().check_examples() >= 12);
    let whole = Description::new(&home.bare().arg("openapi").arg("http_ingest").output().stdout);
    assert!(whole.check_examples() >= 18);
    let none = home.bare().arg("openapi").arg("http_ingest").arg("--path").arg("/v2").output();
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("/v1/batches"), "{}", none.stderr);
}

#[test]
fn the_page_has_a_row_for_every_status_of_the_description() {
    let page = kept("docs/augmi-push.md");
    let description = description();
    let statuses = description.operation("post", "/v1/batches")["responses"].as_object().unwrap();
    for status in statuses.keys() {
        let rows = page.lines().filter(|line| line.starts_with('|') && line.contains(status.as_str()));
        assert!(rows.count() > 0, "{status}");
    }
}

#[tokio::test]
async fn what_a_sidecar_sends_is_as_described() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let anyone = Token { token: String::new(), line: String::new() };
    let sidecar = fleet::sidecar(&home, &receiver.url(), "agent-7", &anyone).start().await;
    let mut events = vec![
        json!({"kind": "log"}),
        json!({"kind": "metric", "name": "cpu", "timestamp": 1_764_000_000_123_u64, "attributes": {"a": [1, {"b": null}]}}),
        json!({"kind": "a.kind_1", "timestamp": "1700-02-03T04:05:06.000000007+05:30", "zone": {"new": true}}),
        json!({"kind": "error", "error": "e", "status": "error", "duration_ms": 0.5, "input": null, "output": [1, "x"]}),
    ];
    events.push(marked("plain"));
    let answer = post(sidecar.ingest, &Request::events(array(&events))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("all are pushed", async || receiver.kept().len() == events.len()).await;
    sidecar.stop().await;
    let description = description();
    let operation = description.operation("post", "/v1/batches");
    for pushed in receiver.pushed() {
        description.check_request(operation, &pushed.body);
        assert_eq!(pushed.headers["idempotency-key"], pushed.body["batch_id"].as_str().unwrap());
        assert_eq!(pushed.headers["content-type"], "application/json");
    }
}

/// What was answered, by status.
struct Answers {
    description: Description,
    seen: BTreeSet<u16>,
}

impl Answers {
    fn check(&mut self, answer: &Answer, status: u16) {
        assert_eq!(answer.status, status, "{}", answer.text());
        self.description.check_answer(self.description.operation("post", "/v1/batches"), answer);
        self.seen.insert(status);
    }
}

#[tokio::test]
async fn every_answer_of_the_gateway_is_as_described_and_every_status_is_seen() {
    let (a, b) = (token("agent-a", None), token("agent-b", None));
    let fleet = Fleet::new(&[&a, &b]);
    let setup = fleet
        .setup()
        .set("sources.ingest.max_body", "64KiB")
        .set("sources.ingest.max_inflated", "256KiB")
        .set("sources.ingest.max_events", "50")
        .set("sources.ingest.max_series", "50")
        .set("sources.ingest.agent_rate_limit", "1")
        .set("sources.ingest.body_timeout", "500ms");
    let gateway = setup.start().await;
    let mut answers = Answers { description: description(), seen: BTreeSet::new() };
    let many = |events: usize| batch("agent-a", &(0..events).map(|_| event()).collect::<Vec<_>>());
    let of_a = |body: &Value| push(body, &a);

    // 200: all, but one, none.
    let example = &answers.description.operation("post", "/v1/batches")["requestBody"]["content"]["application/json"];
    let mut example = example["examples"]["one"]["value"].clone();
    example["agent_id"] = json!("agent-a");
    answers.check(&post(gateway.ingest, &of_a(&example)).await, 200);
    let unreadable = json!({"trace_id": uuid::Uuid::now_v7().to_string(), "kind": "NOT A KIND"});
    let but_one = post(gateway.ingest, &of_a(&batch("agent-a", &[event(), unreadable.clone()]))).await;
    answers.check(&but_one, 200);
    assert_eq!(but_one.json()["accepted"], 1);
    assert_eq!(but_one.json()["rejected"][0]["trace_id"], unreadable["trace_id"]);
    let none = post(gateway.ingest, &of_a(&batch("agent-a", &[unreadable]))).await;
    answers.check(&none, 200);
    assert_eq!(none.json()["accepted"], 0);

    // 400: not JSON, no batch, cut, empty, not what its coding says.
    let whole = many(2).to_string();
    for body in ["", "[]", "{}", &whole[..whole.len() - 1], &many(0).to_string()] {
        answers.check(&post(gateway.ingest, &of_a(&many(1)).body(body)).await, 400);
    }
    answers.check(&post(gateway.ingest, &of_a(&many(1)).header("content-encoding", "zstd")).await, 400);
    // 401: no token, another one.
    answers.check(&post(gateway.ingest, &of_a(&many(1)).header("authorization", "")).await, 401);
    answers.check(&post(gateway.ingest, &push(&many(1), &token("agent-a", None))).await, 401);
    // 403: another agent's, another host's.
    answers.check(&post(gateway.ingest, &push(&many(1), &b)).await, 403);
    answers.check(&post(gateway.ingest, &of_a(&many(1)).header("host", "evil.example")).await, 403);
    // 408: half a body, and no more.
    let mut slow = Client::connect(gateway.ingest).await.unwrap();
    let head = format!(
        "POST /v1/batches HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        a.token
    );
    answers.check(&slow.raw_exchange(head.as_bytes()).await.unwrap(), 408);
    // 413: on the wire, inflated, in events.
    answers.check(&post(gateway.ingest, &of_a(&many(1)).body(" ".repeat(65 * 1024))).await, 413);
    let bomb = zstd::encode_all(" ".repeat(300 * 1024).as_bytes(), 3).unwrap();
    answers.check(&post(gateway.ingest, &of_a(&many(1)).header("content-encoding", "zstd").body(bomb)).await, 413);
    answers.check(&post(gateway.ingest, &of_a(&many(51))).await, 413);
    // 415: the type, the coding.
    for (name, value) in
        [("content-type", "text/plain"), ("content-type", "application/x-ndjson"), ("content-encoding", "br")]
    {
        answers.check(&post(gateway.ingest, &of_a(&many(1)).header(name, value)).await, 415);
    }
    // 422: an event that cannot be told from the others.
    answers.check(&post(gateway.ingest, &of_a(&batch("agent-a", &[event(), json!({"kind": "log"})]))).await, 422);
    // 429: more than this agent may send, whose burst is used up.
    answers.check(&post(gateway.ingest, &of_a(&many(45))).await, 200);
    answers.check(&post(gateway.ingest, &of_a(&many(50))).await, 429);
    assert_eq!(stored(&fleet.home.db()).len(), 48, "what was refused left nothing");

    // 503: while it stops, held up by one request that is not stored yet.
    let lock = support::open(&fleet.home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut open = Client::connect(gateway.ingest).await.unwrap();
    let address = gateway.ingest;
    let held = push(&batch("agent-b", &[event()]), &b);
    let waiting = tokio::spawn(async move { post(address, &held).await });
    gateway.in_flight(1).await;
    gateway.signal(Signal::TERM);
    eventually("it stops", async || gateway.log().contains("draining")).await;
    answers.check(&open.send(&push(&batch("agent-b", &[event()]), &b)).await.unwrap(), 503);
    lock.execute_batch("ROLLBACK").unwrap();
    answers.check(&waiting.await.unwrap(), 200);

    // 503: no room on the disk.
    let full = Fleet::new(&[&a]);
    let gateway = full.setup().set("sinks.store.disk_reserve", "8000000GiB").start().await;
    answers.check(&post(gateway.ingest, &of_a(&many(1))).await, 503);
    gateway.stop().await;
    // 429: no credits, since another batch holds them all.
    let busy = Fleet::new(&[&a]);
    let gateway = busy.setup().set("runtime.max_in_flight_events", "2").start().await;
    let lock = support::open(&busy.home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (address, held) = (gateway.ingest, of_a(&many(2)));
    let waiting = tokio::spawn(async move { post(address, &held).await });
    gateway.in_flight(2).await;
    answers.check(&post(gateway.ingest, &of_a(&many(2))).await, 429);
    lock.execute_batch("ROLLBACK").unwrap();
    answers.check(&waiting.await.unwrap(), 200);
    gateway.stop().await;

    let described = answers.description.operation("post", "/v1/batches")["responses"].as_object().unwrap();
    let described: BTreeSet<u16> = described.keys().map(|status| status.parse().unwrap()).collect();
    assert_eq!(answers.seen, described, "each status was seen, and none that is not described");
}
