//! `otlp_push` as a user runs it: to another instance, where the very same events arrive, and to backends in trouble.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    FOLDERS, Home, Request, Setup, Sidecar, array, captures, eventually, get, id_of, marked, open, post, stored,
    stored_ids,
};
use uuid::Uuid;

/// A program that pushes what its store holds to this base address.
fn pushing(home: &Home, endpoint: &str) -> Setup {
    home.setup().keep_forever().more(&format!(
        r#"
[sinks.otlp]
type = "otlp_push"
inputs = ["store"]
endpoint = "{endpoint}"
interval = "50ms"
timeout = "2s"
max_tries = 3
base_delay = "10ms"
max_delay = "100ms"
breaker_cooldown = "50ms"
"#
    ))
}

/// An instance that takes what comes and changes nothing.
fn keeping(home: &Home) -> Setup {
    home.setup().keep_forever().set("transforms.assemble.enabled", "false")
}

/// Every event that an instance holds, as `export` writes it, by its identity.
async fn exported(sidecar: &Sidecar) -> BTreeMap<String, String> {
    let answer = get(sidecar.api, "/api/v1/export?kind=*").await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let lines = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["trace_id"].as_str().unwrap().to_owned(), line.to_owned())
    });
    lines.collect()
}

fn pushed(home: &Home) -> usize {
    stored(&home.db()).iter().filter(|event| event.pushed).count()
}

async fn send(sidecar: &Sidecar, body: impl Into<Vec<u8>>) {
    let body = body.into();
    // The credits of the request before may still be on their way back.
    eventually("taken", async || post(sidecar.ingest, &Request::events(body.clone())).await.status == 200).await;
}

/// Events of every kind and shape.
fn various() -> String {
    let mut events = vec![
        r#"{"kind":"llm_call","name":"model-a","run_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","session_id":"s","agent_id":"a","duration_ms":1500.5,"status":"ok","input":[{"role":"user","content":"hi \u00e9 \ud83d\ude00"}],"output":"hello","attributes":{"gen_ai.usage.input_tokens":12,"gen_ai.request.model":"model-a","cost_usd":0.0125,"x":1.0,"n":null,"big":18446744073709551615,"list":[1,2.50,{"a":[]}]}}"#.to_owned(),
        r#"{"kind":"tool_call","name":"exec","run_id":"a turn","span_id":"x","parent_span_id":"top","status":"error","error":"no such file","input":{"command": "ls",  "n": 1e3}}"#.to_owned(),
        r#"{"kind":"run","name":"user","run_id":"a turn","span_id":"top","attributes":{"gen_ai.agent.id":"other"}}"#.to_owned(),
        r#"{"kind":"usage","run_id":"a turn","span_id":"u","attributes":{"gen_ai.usage.input_tokens":12}}"#.to_owned(),
        r#"{"kind":"log","name":"gateway","output":"a line","timestamp":"1700-01-01T00:00:00Z"}"#.to_owned(),
        r#"{"kind":"metric","name":"queue","attributes":{"value":5,"lane":"a"}}"#.to_owned(),
        r#"{"kind":"metric","name":"container.resources","attributes":{"scope":"machine","openclaw_trace.sample.interval":15.0,"container.cpu.time":0.25,"container.memory.usage":1048576}}"#.to_owned(),
        r#"{"kind":"metric","name":"words","attributes":{"state":"idle"}}"#.to_owned(),
        r#"{"kind":"error","name":"oom_kill","status":"error","error":"it was killed","agent_id":"b"}"#.to_owned(),
        r#"{"kind":"a.kind_of.1ts_own","duration_ms":0,"output":"5","attributes":{}}"#.to_owned(),
        r#"{"kind":"message","attributes":{"openclaw_trace.event.id":"not one","a":1,"a":2}}"#.to_owned(),
    ];
    for at in 0..60 {
        events.push(marked(&format!("m{at}")).to_string());
    }
    format!("[{}]", events.join(","))
}

#[tokio::test]
async fn another_instance_ends_with_the_very_same_events() {
    let (home, other) = (Home::new(), Home::new());
    let second = keeping(&other).start().await;
    // The sampler too: its events are the ones that travel as metrics.
    let sampler = "\n[sources.resources]\ntype = \"cgroup_metrics\"\ninterval = \"1s\"\n";
    let setup = pushing(&home, &format!("http://{}", second.ingest)).more(sampler);
    let first = setup.set("transforms.redact.inputs", "[\"assemble\", \"resources\"]").start().await;
    send(&first, various()).await;
    for folder in FOLDERS {
        for capture in captures(folder) {
            eventually("taken", async || post(first.ingest, &capture.request(false)).await.status == 200).await;
        }
    }
    eventually("a sample is stored", async || {
        stored(&home.db()).iter().any(|event| event.name.as_deref() == Some("container.resources") && event.pushed)
    })
    .await;
    eventually("all is pushed", async || pushed(&home) == stored(&home.db()).len()).await;
    let sent = exported(&first).await;
    first.stop().await;
    let arrived = exported(&second).await;
    let metrics = get(second.api, "/metrics").await.text();
    second.stop().await;
    assert!(sent.len() > 200, "{} events", sent.len());
    for (id, line) in &sent {
        assert_eq!(arrived.get(id), Some(line));
    }
    // What the first pushed while it stopped may be one sample more.
    assert!(arrived.len() <= sent.len() + 2, "{} arrived of {}", arrived.len(), sent.len());
    assert!(metrics.contains("ingest_rejected_total{component=\"http\"} 0"), "{metrics}");
    let quarantined: i64 = open(&home.db())
        .query_row("SELECT count(*) FROM events WHERE quarantined_at IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(quarantined, 0);
}

#[tokio::test]
async fn an_export_as_otlp_is_taken_again_as_the_very_same_events_and_only_once() {
    let (home, other) = (Home::new(), Home::new());
    let first = home.setup().keep_forever().start().await;
    send(&first, various()).await;
    let sent = exported(&first).await;
    let requests = get(first.api, "/api/v1/export?format=otlp&kind=*").await.text();
    first.stop().await;
    let second = keeping(&other).start().await;
    for _ in 0..2 {
        for line in requests.lines() {
            let path =
                [("resourceSpans", "/v1/traces"), ("resourceLogs", "/v1/logs"), ("resourceMetrics", "/v1/metrics")]
                    .into_iter()
                    .find_map(|(root, path)| line.starts_with(&format!("{{\"{root}\"")).then_some(path))
                    .unwrap();
            let request = Request::new("POST", path).header("content-type", "application/json").body(line);
            let answer = post(second.ingest, &request).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "nothing of it is rejected");
        }
    }
    assert_eq!(exported(&second).await, sent);
    second.stop().await;
}

#[tokio::test]
async fn on_the_live_stream_a_200_means_that_the_backend_has_it() {
    let (home, other) = (Home::new(), Home::new());
    let mut second = keeping(&other).start().await;
    let relay = format!(
        r#"
[sinks.otlp]
type = "otlp_push"
inputs = ["truncate"]
endpoint = "http://{}"
interval = "10ms"
timeout = "1s"
max_tries = 1
base_delay = "10ms"
max_delay = "50ms"
breaker_failures = 1000
"#,
        second.ingest
    );
    let first = home.setup().more(&relay).set("sinks.store.enabled", "false").start().await;
    let events: Vec<Value> = (0..20).map(|at| marked(&format!("m{at}"))).collect();
    assert_eq!(post(first.ingest, &Request::events(array(&events))).await.status, 200);
    let ids: HashSet<Uuid> = events.iter().map(id_of).collect();
    assert_eq!(stored_ids(&other.db()), ids, "by now, and not later");
    second.signal(Signal::KILL);
    second.exit_code().await;
    let lost = post(first.ingest, &Request::events(array(&[marked("later")]))).await;
    assert_eq!(lost.status, 503, "{}", lost.text());
    assert!(lost.retry_after() >= 1);
    first.stop().await;
}

/// A backend that answers what it is told to; keeps the identities of what it took.
#[derive(Clone)]
struct Backend {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    answer: Answer,
    requests: Vec<(String, u16)>,
    took: Vec<u8>,
}

#[derive(Clone, Default)]
enum Answer {
    #[default]
    Take,
    /// Some of it was rejected.
    Partly,
    Refuse(u16),
    /// 400 to every body with this text.
    Choke(&'static str),
}

impl Backend {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let router = Router::new().fallback(take).layer(DefaultBodyLimit::max(16 << 20)).with_state(backend.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        backend
    }

    fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    fn answer(&self, answer: Answer) {
        self.shared.lock().unwrap().answer = answer;
    }

    fn requests(&self) -> Vec<(String, u16)> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// Whether an event is in what was taken.
    fn has(&self, id: &Uuid) -> bool {
        let id = id.to_string();
        self.shared.lock().unwrap().took.windows(id.len()).any(|window| window == id.as_bytes())
    }
}

async fn take(State(backend): State<Backend>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    assert_eq!(headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    let mut shared = backend.shared.lock().unwrap();
    let has = |text: &str| plain.windows(text.len()).any(|window| window == text.as_bytes());
    let (status, answer): (u16, &[u8]) = match &shared.answer {
        Answer::Take => (200, b""),
        Answer::Partly => (200, &[0x0a, 2, 8, 1]),
        Answer::Refuse(status) => (*status, b""),
        Answer::Choke(guilty) if has(guilty) => (400, b"guilty"),
        Answer::Choke(_) => (200, b""),
    };
    if status == 200 {
        shared.took.extend(plain);
    }
    shared.requests.push((uri.path().to_owned(), status));
    let mut response = Response::new(Body::from(answer.to_vec()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("retry-after", "0".parse().unwrap());
    response
}

#[tokio::test]
async fn whatever_happens_the_backend_ends_with_what_was_acknowledged() {
    let home = Home::new();
    let backend = Backend::start().await;
    let setup = pushing(&home, &backend.url());
    let mut random = StdRng::seed_from_u64(11);
    let mut sidecar = setup.start().await;
    let mut sent = HashSet::new();
    for round in 0..16 {
        backend.answer(match random.random_range(0..6) {
            0 => Answer::Refuse(503),
            1 => Answer::Refuse(429),
            2 => Answer::Refuse(500),
            3 => Answer::Refuse(404),
            4 => Answer::Partly,
            _ => Answer::Take,
        });
        let events: Vec<Value> = (0..random.random_range(1..40)).map(|at| marked(&format!("r{round}e{at}"))).collect();
        send(&sidecar, array(&events)).await;
        sent.extend(events.iter().map(id_of));
        tokio::time::sleep(std::time::Duration::from_millis(random.random_range(0..150))).await;
        if round % 8 == 7 {
            sidecar.signal(Signal::KILL);
            sidecar.exit_code().await;
            sidecar = setup.start().await;
        }
    }
    backend.answer(Answer::Take);
    eventually("all is pushed", async || pushed(&home) == sent.len()).await;
    sidecar.stop().await;
    assert!(sent.iter().all(|id| backend.has(id)), "pushed, and the backend has it");
    assert!(backend.requests().iter().all(|(path, _)| path == "/base/v1/traces"));
}

#[tokio::test]
async fn one_event_that_the_backend_refuses_does_not_hold_up_the_others() {
    let home = Home::new();
    let backend = Backend::start().await;
    backend.answer(Answer::Choke("the guilty one"));
    let sidecar = pushing(&home, &backend.url()).start().await;
    let mut events: Vec<Value> = (0..50).map(|at| marked(&format!("m{at}"))).collect();
    events[17]["error"] = json!("the guilty one");
    send(&sidecar, array(&events)).await;
    eventually("the others are pushed", async || pushed(&home) == 49).await;
    sidecar.stop().await;
    let reason: String = open(&home.db())
        .query_row("SELECT quarantine_reason FROM events WHERE quarantined_at IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(reason, "receiver answered 400 to v1/traces: guilty");
}

#[tokio::test]
async fn a_push_of_large_events_stays_within_the_memory_budget() {
    let home = Home::new();
    let backend = Backend::start().await;
    let sidecar = pushing(&home, &backend.url()).start().await;
    let memory = sidecar.watch_memory();
    // As large as they get behind truncate, and of the sort that grows most as OTLP.
    let numbers = format!("[{}0]", "0,".repeat(30_000));
    let members: Vec<String> = (0..4000).map(|at| format!("\"k{at}\":{at}")).collect();
    let members = members.join(",");
    for at in 0..60 {
        let kind = ["llm_call", "log", "metric"][at % 3];
        let event = format!(r#"{{"kind":"{kind}","name":"n","input":{numbers},"attributes":{{{members}}}}}"#);
        send(&sidecar, event).await;
    }
    eventually("all is pushed", async || pushed(&home) == 60).await;
    memory.assert_within_budget();
    sidecar.stop().await;
}

#[tokio::test]
async fn no_header_is_shown_by_any_command_log_line_or_answer() {
    let home = Home::new();
    let backend = Backend::start().await;
    let secret = Uuid::now_v7().simple().to_string();
    let headers = format!("\n[sinks.otlp.headers]\nAuthorization = \"Bearer {secret}\"\nx-other = \"${{OTHER}}\"\n");
    let file = home.path("secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let setup = pushing(&home, &backend.url())
        .more(&headers)
        .env("OTHER", &secret)
        .env("TRACE_SINKS__OTLP__HEADERS__COOKIE_FILE", file.to_str().unwrap())
        .set("runtime.log_level", "trace");
    for command in ["config", "graph", "validate"] {
        let shown = setup.clone().arg(command).output();
        assert!(!format!("{shown:?}").contains(&secret), "{command}: {shown:?}");
        if command == "config" {
            assert!(shown.stdout.contains(r#"{"Authorization":"[secret]","cookie":"[secret]","x-other":"[secret]"}"#));
        }
    }
    let wrong = setup.clone().arg("validate").set("sinks.otlp.headers.Content-Type", &secret).output();
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("headers.Content-Type") && !wrong.stderr.contains(&secret), "{}", wrong.stderr);

    let mut sidecar = setup.start().await;
    let mut answers = String::new();
    for refusal in [401, 404, 500, 503] {
        backend.answer(Answer::Refuse(refusal));
        let before = backend.requests().len();
        send(&sidecar, array(&[marked("a")])).await;
        eventually("it asks", async || backend.requests().len() > before + 1).await;
        for path in ["/metrics", "/api/v1/status", "/healthz"] {
            answers.push_str(&get(sidecar.api, path).await.text());
        }
    }
    backend.answer(Answer::Take);
    eventually("all is pushed", async || pushed(&home) == 4).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0));
    let log = sidecar.log();
    assert!(log.contains("push is denied") && log.contains("v1/traces"), "{log}");
    assert!(!log.contains(&secret), "a header is in the log");
    assert!(!answers.contains(&secret));
}
