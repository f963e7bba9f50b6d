//! The query API, asked as a dashboard asks it: of the running program, over its API port.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use support::{Home, Request, Sidecar, captures, eventually, get, post};

async fn send(sidecar: &Sidecar, events: &[Value]) {
    for events in events.chunks(500) {
        let answer = post(sidecar.ingest, &Request::events(serde_json::to_string(events).unwrap())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// The answer to a question, once all that is stored is summed up.
async fn ask(sidecar: &Sidecar, path: &str) -> Value {
    eventually("the rollup has all", async || {
        let status = get(sidecar.api, "/api/v1/status").await.json();
        status["store"]["rollup_behind"] == 0
    })
    .await;
    let answer = get(sidecar.api, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn call(run: &str, session: &str, at: i64, status: &str) -> Value {
    json!({
        "kind": "llm_call", "name": "model-a", "run_id": run, "session_id": session, "timestamp": at, "duration_ms": 100,
        "status": status, "span_id": format!("{at}"), "input": "what is asked", "output": format!("answer {at}"),
        "attributes": {"gen_ai.provider.name": "p", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10, "cost_usd": 0.5}
    })
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn the_pages_of_a_list_hold_each_event_once_however_rare_it_is() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let start = now() - 3_600_000;
    // Six thousand, so that a page ends before it has looked at all; of some, many at one and the same time.
    let events: Vec<Value> = (0..6000)
        .map(|at| {
            let name = if at % 1999 == 7 { "rare" } else { "common" };
            json!({"kind": "tool_call", "name": name, "timestamp": start + at / 50 * 1000, "output": at})
        })
        .collect();
    send(&sidecar, &events).await;
    for (filter, expected) in [("tool=rare", 3), ("tool=none", 0), ("q=comm", 5997), ("kind=tool_call", 6000)] {
        for order in ["asc", "desc"] {
            let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
            loop {
                let path = format!("/api/v1/events?{filter}&order={order}&limit=500&bodies=full{cursor}");
                let page = ask(&sidecar, &path).await;
                seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["output"].as_i64().unwrap()));
                pages += 1;
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
                assert!(pages < 100, "{filter} {order}: the pages have no end");
            }
            assert_eq!(seen.len(), expected, "{filter} {order}");
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), expected, "{filter} {order}: one came twice");
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            if order == "desc" {
                sorted.reverse();
            }
            assert_eq!(seen, sorted, "{filter} {order}");
            if filter == "tool=none" {
                assert!(pages > 1, "a page looks at a bounded number of rows");
            }
        }
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn sessions_runs_and_sums_agree_with_what_was_sent() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let start = now() - 600_000;
    let mut events = Vec::new();
    for run in 0..30 {
        for at in 0..3 {
            let status = if run == 7 && at == 2 { "error" } else { "ok" };
            events.push(call(
                &format!("run-{run}"),
                &format!("s-{}", run % 3),
                start + run * 10_000 + at * 1000,
                status,
            ));
        }
        events.push(json!({"kind": "tool_call", "name": format!("tool-{}", run % 2), "run_id": format!("run-{run}"),
            "timestamp": start + run * 10_000 + 500, "duration_ms": 20}));
    }
    send(&sidecar, &events).await;
    let sessions = ask(&sidecar, "/api/v1/sessions").await;
    let sessions = sessions["sessions"].as_array().unwrap();
    assert_eq!(
        sessions.iter().map(|one| one["session_id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["s-2", "s-1", "s-0"]
    );
    let second = &sessions[1];
    for (key, expected) in [
        ("runs", 10.0),
        ("llm_calls", 30.0),
        ("tool_calls", 10.0),
        ("errors", 1.0),
        ("input_tokens", 3000.0),
        ("cost_usd", 15.0),
    ] {
        assert_eq!(second[key].as_f64(), Some(expected), "{key} of {second}");
    }
    let failed = ask(&sidecar, "/api/v1/runs?status=error").await;
    assert_eq!(failed["runs"].as_array().unwrap().len(), 1);
    assert_eq!(failed["runs"][0]["run_id"], "run-7");
    let runs = ask(&sidecar, "/api/v1/runs?session=s-1&limit=4").await;
    assert_eq!(runs["runs"][0]["run_id"], "run-28");
    let more = ask(&sidecar, &format!("/api/v1/runs?session=s-1&cursor={}", runs["next"].as_str().unwrap())).await;
    assert_eq!(more["runs"].as_array().unwrap().len(), 6);
    assert_eq!(more["next"], Value::Null);
    // Also an event of the session's run that names no session itself.
    let of_session = ask(&sidecar, "/api/v1/events?session=s-1&kind=tool_call").await;
    assert_eq!(of_session["events"].as_array().unwrap().len(), 10);
    let models = ask(&sidecar, "/api/v1/stats?by=model&from=1h").await;
    assert_eq!(models["total"]["calls"], 90);
    assert_eq!(models["groups"][0]["errors"], 1);
    assert_eq!(models["t"].as_array().unwrap().len(), models["groups"][0]["series"]["calls"].as_array().unwrap().len());
    let tools = ask(&sidecar, "/api/v1/stats?by=tool&from=1h").await;
    assert_eq!(tools["groups"].as_array().unwrap().len(), 2);
    let whole = ask(&sidecar, "/api/v1/runs/run-7").await;
    assert_eq!(whole["run"]["status"], "error");
    assert_eq!(whole["events"].as_array().unwrap().len(), 4);
    assert_eq!(whole["events"][0]["input_tokens"], 100.0);
    assert_eq!(whole["cut"], false);
    let one = ask(&sidecar, &format!("/api/v1/events/{}", whole["events"][0]["trace_id"].as_str().unwrap())).await;
    assert_eq!(one["input"], "what is asked");
    assert!(one["received_at"].is_string() && one["pushed_at"].is_null());
    sidecar.stop().await;
}

#[tokio::test]
async fn an_openclaw_turn_told_in_pieces_is_one_run_in_the_lists_too() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    for capture in captures("v2026.4.29-gateway-part") {
        assert_eq!(post(sidecar.ingest, &capture.request(true)).await.status, 200);
    }
    let runs = ask(&sidecar, "/api/v1/runs?q=d775").await;
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "its pieces are no runs of their own: {runs:?}");
    assert_eq!(runs[0]["run_id"], "d775814e2b59b2233d93e73bc696e8fd");
    assert_eq!((&runs[0]["events"], &runs[0]["tool_calls"]), (&json!(7), &json!(1)));
    let whole = ask(&sidecar, "/api/v1/runs/d775814e2b59b2233d93e73bc696e8fd").await;
    let spans: Vec<&Value> = whole["events"].as_array().unwrap().iter().collect();
    assert_eq!(spans.iter().filter(|span| span["kind"] != "log").count(), 7);
    let exec = spans.iter().find(|span| span["kind"] == "exec").unwrap();
    let ids: BTreeSet<_> = spans.iter().filter_map(|span| span["span_id"].as_str()).collect();
    assert!(ids.contains(exec["parent_span_id"].as_str().unwrap()), "it hangs below its tool: {exec}");
    sidecar.stop().await;
}

#[tokio::test]
async fn a_long_run_is_answered_whole_and_said_to_be_cut_only_where_it_is() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let tool = |at: i64| json!({"kind": "tool_call", "name": "t", "run_id": "long", "timestamp": now() - 60_000 + at, "output": at});
    send(&sidecar, &(0..1000).map(tool).collect::<Vec<_>>()).await;
    let whole = ask(&sidecar, "/api/v1/runs/long").await;
    assert_eq!((whole["events"].as_array().unwrap().len(), &whole["cut"]), (1000, &json!(false)));
    send(&sidecar, &(1000..20_000).map(tool).collect::<Vec<_>>()).await;
    let whole = ask(&sidecar, "/api/v1/runs/long").await;
    assert_eq!((whole["events"].as_array().unwrap().len(), &whole["cut"]), (20_000, &json!(false)));
    send(&sidecar, &[tool(20_000)]).await;
    let whole = ask(&sidecar, "/api/v1/runs/long").await;
    assert_eq!((whole["events"].as_array().unwrap().len(), &whole["cut"]), (20_000, &json!(true)));
    sidecar.stop().await;
}

#[tokio::test]
async fn a_wrong_question_names_everything_that_is_wrong_with_it() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let answer = get(sidecar.api, "/api/v1/events?limit=0&kinds=run&from=yesterday&status=bad").await;
    assert_eq!(answer.status, 400);
    let said = answer.json()["error"].as_str().unwrap().to_owned();
    for part in ["limit is \"0\"", "unknown parameter \"kinds\"", "from is \"yesterday\"", "it may be: ok, error"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    for (path, status) in [
        ("/api/v1/runs/nobody", 404),
        ("/api/v1/events/not-a-uuid", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/stats?from=1h&to=2h", 400),
        ("/api/v1/events?cursor=5", 400),
    ] {
        let answer = get(sidecar.api, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_at_every_question() {
    let home = Home::new();
    let token = rand::random::<u128>().to_string();
    let sidecar = home.setup().env("TRACE_API_TOKEN", &token).start().await;
    for path in ["/metrics", "/api/v1/status", "/api/v1/events", "/api/v1/stream", "/api/v1/export", "/api/v1/runs/x"] {
        assert_eq!(get(sidecar.api, path).await.status, 401, "{path}");
    }
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(get(sidecar.api, path).await.status, 200, "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn an_export_is_taken_again_as_the_very_same_events() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let events: Vec<Value> = (0..450).map(|at| call(&format!("r-{}", at % 9), "s", now() - at, "ok")).collect();
    send(&sidecar, &events).await;
    let exported = get(sidecar.api, "/api/v1/export?kind=*").await;
    assert_eq!(exported.status, 200);
    let other = Home::new();
    let second = other.setup().keep_forever().start().await;
    let request = Request::lines(exported.text());
    let answer = post(second.ingest, &request).await;
    assert_eq!(answer.json()["accepted"], 450, "{}", answer.text());
    assert_eq!(get(second.api, "/api/v1/export?kind=*").await.text(), exported.text());
    second.stop().await;
    sidecar.stop().await;
}

#[tokio::test]
async fn an_otlp_export_is_what_an_otlp_receiver_takes() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let mut events: Vec<Value> = (0..30).map(|at| call(&format!("r-{}", at % 3), "s", now() - at, "ok")).collect();
    events
        .extend((0..10).map(|at| json!({"kind": "log", "name": "gateway", "run_id": "r-1", "timestamp": now() - at})));
    send(&sidecar, &events).await;
    let exported = get(sidecar.api, "/api/v1/export?format=otlp").await;
    let other = Home::new();
    let second = other.setup().keep_forever().start().await;
    for line in exported.text().lines() {
        let path = if line.starts_with("{\"resourceSpans") { "/v1/traces" } else { "/v1/logs" };
        let request = Request::new("POST", path).header("content-type", "application/json").body(line);
        let answer = post(second.ingest, &request).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "nothing of it is rejected");
    }
    let sums = |runs: Value| -> Vec<Value> {
        runs["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| json!([run["llm_calls"], run["input_tokens"], run["model"]]))
            .collect()
    };
    let sent = sums(ask(&sidecar, "/api/v1/runs").await);
    assert_eq!(sent.len(), 3);
    assert_eq!(sums(ask(&second, "/api/v1/runs").await), sent);
    second.stop().await;
    sidecar.stop().await;
}

#[tokio::test]
async fn what_is_stored_is_streamed_and_a_client_goes_on_where_it_was() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    send(&sidecar, &[call("before", "s", now(), "ok")]).await;
    let mut following = Follower::new(sidecar.api, "/api/v1/stream?session=s").await;
    following.until("connected").await;
    send(&sidecar, &[call("other", "t", now(), "ok"), call("new", "s", now() + 1, "error")]).await;
    let seen = following.until("\"run_id\":\"new\"").await;
    assert!(!seen.contains("before") && !seen.contains("\"other\""), "{seen}");
    assert!(seen.contains("event: event\nid: 3\ndata: {"), "{seen}");
    let mut again = Follower::new(sidecar.api, "/api/v1/stream?after=1").await;
    let seen = again.until("\"run_id\":\"new\"").await;
    assert!(seen.contains("\"other\"") && !seen.contains("before"), "{seen}");
    // A stream never ends by itself, and must not hold the stop.
    sidecar.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_when_the_file_is_begun_anew() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    send(&sidecar, &(0..50).map(|at| call("before", "s", now() + at, "ok")).collect::<Vec<_>>()).await;
    let mut following = Follower::new(sidecar.api, "/api/v1/stream").await;
    following.until("connected").await;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", home.db().display()));
    }
    send(&sidecar, &[call("after", "s", now(), "ok")]).await;
    let seen = following.until("\"run_id\":\"after\"").await;
    assert!(!seen.contains("before"), "{seen}");
    sidecar.stop().await;
}

/// A client that reads an answer which does not end.
struct Follower {
    stream: tokio::net::TcpStream,
    read: String,
}

impl Follower {
    async fn new(address: std::net::SocketAddr, path: &str) -> Self {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&Request::new("GET", path).bytes(address)).await.unwrap();
        Self { stream, read: String::new() }
    }

    /// All that came until this did. The time is for all of it: signs of life alone are no answer.
    async fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        let reading = async {
            while !self.read.contains(text) {
                let count = self.stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the stream ended: {}", self.read);
                self.read.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        let came = tokio::time::timeout(support::PATIENCE, reading).await;
        assert!(came.is_ok(), "waited in vain for {text} in {}", self.read);
        self.read.clone()
    }
}

#[tokio::test]
async fn the_full_text_index_finds_words_wherever_they_stand_and_can_be_turned_on_later() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let said = |at: i64, output: Value| json!({"kind": "message", "timestamp": now() - 1000 + at, "output": output});
    let events = [
        said(1, json!("line one\nBrücken are built here")),
        said(2, json!([{"role": "assistant", "content": "over the \"Bridge\" we go"}])),
        json!({"kind": "tool_call", "name": "bridge_builder", "timestamp": now(), "error": "no bridge", "status": "error"}),
        said(3, json!("nothing of the kind")),
    ];
    send(&sidecar, &events).await;
    let count = async |sidecar: &Sidecar, words: &str| {
        let page = ask(sidecar, &format!("/api/v1/events?q={words}&bodies=none")).await;
        page["events"].as_array().unwrap().len()
    };
    assert_eq!(count(&sidecar, "bridge").await, 2, "by looking at each");
    assert_eq!(count(&sidecar, "idg").await, 2, "also inside of words");
    sidecar.stop().await;

    let sidecar = home.setup().keep_forever().set("sinks.store.full_text", "true").start().await;
    eventually("what was stored before is indexed", async || count(&sidecar, "built").await == 1).await;
    for (words, expected) in
        [("bridge", 2), ("brucken", 1), ("bruck", 0), ("bridge%20over", 1), ("bridge%20nothing", 0), ("kind", 1)]
    {
        assert_eq!(count(&sidecar, words).await, expected, "{words}");
    }
    send(&sidecar, &[said(9, json!("a late bridge"))]).await;
    eventually("what is stored now is indexed", async || count(&sidecar, "bridge").await == 3).await;
    assert_eq!(count(&sidecar, "bridge&status=error").await, 1);
    sidecar.stop().await;

    let sidecar = home.setup().keep_forever().start().await;
    assert_eq!(count(&sidecar, "idg").await, 3, "turned off again, each is looked at");
    sidecar.stop().await;
}
