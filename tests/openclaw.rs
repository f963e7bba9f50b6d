//! OpenClaw's own exporter, as recorded: what it sends arrives once, and as connected runs.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::Connection;
use support::{FOLDERS, Home, Request, Sidecar, captures, open, post, told};

async fn replay(sidecar: &Sidecar, folder: &str, chunked: bool) {
    for (at, capture) in captures(folder).iter().enumerate() {
        let answer = post(sidecar.ingest, &capture.request(chunked)).await;
        assert_eq!(answer.status, 200, "{folder} {at} {}: {}", capture.path, answer.text());
        assert_eq!(answer.header("content-type"), Some(capture.content_type.as_str()), "{folder} {at}");
        let empty: &[u8] = if capture.content_type == "application/json" { b"{}" } else { b"" };
        assert_eq!(answer.body, empty, "nothing is rejected: {folder} {at} {}", capture.path);
    }
}

/// A row, by column.
type Row = BTreeMap<String, rusqlite::types::Value>;

fn rows(db: &Connection, query: &str) -> Vec<Row> {
    let mut query = db.prepare(query).unwrap();
    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
    let rows = query.query_map([], |row| {
        names.iter().enumerate().map(|(at, name)| Ok((name.clone(), row.get(at)?))).collect::<Result<Row, _>>()
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn number(db: &Connection, query: &str) -> f64 {
    db.query_row(query, [], |row| row.get::<_, Option<f64>>(0)).unwrap().unwrap_or(0.0)
}

fn count(db: &Connection, condition: &str) -> usize {
    number(db, &format!("SELECT CAST(count(*) AS REAL) FROM events WHERE {condition}")) as usize
}

const SPANS: &str = "attributes ->> '$.\"otel.span.name\"' IS NOT NULL";
/// Trace and span id as they were sent.
const SENT: &str = "coalesce(attributes ->> '$.\"otel.trace_id\"', run_id) || \
                    coalesce(attributes ->> '$.\"otel.span_id\"', span_id)";

/// Length-delimited field `wanted` of a protobuf message, each time it is there.
fn fields(mut message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let varint = |bytes: &mut &[u8]| {
        let mut value = 0;
        for at in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    };
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                0
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            _ => 4,
        };
        let (value, rest) = message.split_at(length);
        message = rest;
        if key == wanted << 3 | 2 {
            found.push(value);
        }
    }
    found
}

/// Log records of the requests that repeat an earlier one byte for byte.
fn repeated_records(folder: &str) -> usize {
    let mut seen = HashSet::new();
    let logs = captures(folder).into_iter().filter(|capture| capture.path == "/v1/logs");
    let again: Vec<Vec<u8>> = logs.map(|capture| capture.body).filter(|body| !seen.insert(body.clone())).collect();
    let records = |body: &Vec<u8>| -> usize {
        let scopes = fields(body, 1).into_iter().flat_map(|resource| fields(resource, 2));
        scopes.map(|scope| fields(scope, 2).len()).sum()
    };
    again.iter().map(records).sum()
}

fn assert_as_told(db: &Connection, folder: &str) {
    let name = if folder == "content-json" { "content-proto" } else { folder };
    let expected = told(&format!("{name}/expected.json"));
    let spans = count(db, SPANS);
    let distinct =
        number(db, &format!("SELECT CAST(count(DISTINCT {SENT}) AS REAL) FROM events WHERE {SPANS}")) as usize;
    assert_eq!(distinct, expected["spans"].as_u64().unwrap() as usize, "{folder}: spans by trace and span id");
    // Where two spans bear the same ids, as a command and its harness do, both are kept.
    let named = expected["span_names"].as_object().unwrap();
    let mut more = 0;
    for (name, expected) in named {
        let stored = count(db, &format!("attributes ->> '$.\"otel.span.name\"' = '{name}'"));
        let expected = expected.as_u64().unwrap() as usize;
        assert!(stored >= expected, "{folder}: {name} {stored} of {expected}");
        more += stored - expected;
    }
    assert_eq!(spans, distinct + more, "{folder}: every span has one of the names");
    let records = expected["log_records"].as_u64().unwrap() as usize - repeated_records(folder);
    assert_eq!(count(db, "kind = 'log'"), records, "{folder}: log records");
    let tokens = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens"];
    for (at, name) in tokens.iter().enumerate() {
        let stored =
            number(db, &format!("SELECT sum(attributes ->> '$.\"{name}\"') + 0.0 FROM events WHERE kind = 'usage'"));
        let expected = expected["usage_tokens_in_out_cacheread"][at].as_f64().unwrap();
        assert!((stored - expected).abs() < 0.5, "{folder}: {name} {stored}, not {expected}");
    }
    let totals = told("metrics.json");
    for (metric, expected) in totals[folder].as_object().into_iter().flatten() {
        let columns = if expected.as_array().unwrap().len() == 1 { &["value"][..] } else { &["count", "sum"] };
        for (at, column) in columns.iter().enumerate() {
            let sum = format!(
                "SELECT sum(attributes ->> '$.\"otel.metric.{column}\"') + 0.0 FROM events WHERE kind = 'metric' AND name = '{metric}'"
            );
            let (stored, expected) = (number(db, &sum), expected[at].as_f64().unwrap());
            let near = (stored - expected).abs() <= 1e-9 * expected.abs().max(1.0);
            assert!(near, "{folder}: {metric} {column} adds up to {stored}, not {expected}");
        }
    }
}

#[tokio::test]
async fn every_recorded_request_arrives_once_however_often_it_is_sent() {
    for folder in FOLDERS {
        let home = Home::new();
        let sidecar = home.setup().keep_forever().start().await;
        replay(&sidecar, folder, false).await;
        let db = open(&home.db());
        assert_as_told(&db, folder);
        let stored = count(&db, "kind <> 'link'");
        replay(&sidecar, folder, true).await;
        assert_as_told(&db, folder);
        assert_eq!(count(&db, "kind <> 'link'"), stored, "{folder}: sent again, in chunks");
        drop(db);
        sidecar.stop().await;

        // What series stood at is kept with their events.
        let sidecar = home.setup().keep_forever().start().await;
        replay(&sidecar, folder, true).await;
        sidecar.stop().await;
        let db = open(&home.db());
        assert_as_told(&db, folder);
        assert_eq!(count(&db, "kind <> 'link'"), stored, "{folder}: sent again after a restart");
    }
}

#[tokio::test]
async fn chunked_and_plain_gzip_and_json_give_equal_rows() {
    let all =
        "SELECT hex(trace_id) AS trace_id, kind, ts, duration_ms, status, error, session_id, run_id, agent_id, span_id,
               parent_span_id, name, input, output, attributes FROM events ORDER BY trace_id";
    let mut first: Option<Vec<Row>> = None;
    for (folder, chunked) in [("content-proto", false), ("content-proto-gzip", true), ("content-json", true)] {
        let home = Home::new();
        let sidecar = home.setup().keep_forever().start().await;
        replay(&sidecar, folder, chunked).await;
        sidecar.stop().await;
        let rows = rows(&open(&home.db()), all);
        match &first {
            None => first = Some(rows),
            Some(first) => assert_eq!(first, &rows, "{folder}"),
        }
    }
}

fn text(row: &Row, column: &str) -> Option<String> {
    match &row[column] {
        rusqlite::types::Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// The runs in the store as their readers put them together: by run id, links followed.
struct Runs {
    rows: Vec<Row>,
}

impl Runs {
    fn read(db: &Connection) -> Self {
        let query = "SELECT kind, name, status, error, run_id, span_id, parent_span_id, session_id, ts, duration_ms, input, output,
                     attributes, attributes ->> '$.\"otel.span.name\"' AS span_name, attributes ->> '$.\"link.run_id\"' AS other
                     FROM events WHERE run_id IS NOT NULL AND kind NOT IN ('log', 'metric') ORDER BY ts";
        let mut rows = rows(db, query);
        let links: Vec<Row> = rows.iter().filter(|row| text(row, "kind").as_deref() == Some("link")).cloned().collect();
        rows.retain(|row| text(row, "kind").as_deref() != Some("link"));
        for link in &links {
            for row in &mut rows {
                if text(link, "other").is_some() && text(row, "run_id") == text(link, "other") {
                    row.insert("run_id".into(), link["run_id"].clone());
                }
                if text(link, "span_id").is_some() && text(row, "span_id") == text(link, "span_id") {
                    if text(link, "parent_span_id").is_some() {
                        row.insert("parent_span_id".into(), link["parent_span_id"].clone());
                    }
                    if text(link, "status").is_some() {
                        row.insert("status".into(), link["status"].clone());
                    }
                }
            }
        }
        Self { rows }
    }

    fn named(&self, span: &str) -> Vec<&Row> {
        self.rows.iter().filter(|row| text(row, "span_name").as_deref() == Some(span)).collect()
    }

    /// The names of the spans above one, from its parent up.
    fn above(&self, row: &Row) -> Vec<String> {
        let mut names = Vec::new();
        let mut parent = text(row, "parent_span_id");
        while let Some(id) = parent {
            let found = self.rows.iter().find(|other| {
                text(other, "span_id").as_ref() == Some(&id) && text(other, "run_id") == text(row, "run_id")
            });
            let Some(found) = found else { break };
            assert!(names.len() < 10, "a circle above {row:?}");
            names.push(text(found, "span_name").unwrap());
            parent = text(found, "parent_span_id");
        }
        names
    }

    fn runs_of(&self, span: &str) -> BTreeSet<String> {
        self.named(span).into_iter().map(|row| text(row, "run_id").unwrap()).collect()
    }
}

#[tokio::test]
async fn a_turn_with_content_is_one_tree_with_its_tokens_and_its_failures() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    replay(&sidecar, "content-proto", true).await;
    sidecar.stop().await;
    let db = open(&home.db());
    let runs = Runs::read(&db);

    for exec in runs.named("openclaw.exec") {
        let above = runs.above(exec);
        assert_eq!(above[..3], ["openclaw.tool.execution", "openclaw.run", "openclaw.harness.run"], "{exec:?}");
        assert!(["openclaw.model.usage", "openclaw.message.processed"].contains(&above[3].as_str()), "{above:?}");
    }
    for call in runs.named("openclaw.model.call") {
        assert_eq!(runs.above(call)[..2], ["openclaw.run", "openclaw.harness.run"], "{call:?}");
    }
    // Four turns: by HTTP with a tool, plain by chat, by chat with a tool, and one that failed at each try.
    assert_eq!(runs.runs_of("openclaw.run").len(), 4);
    let tool = runs.named("openclaw.tool.execution")[0];
    assert_eq!(text(tool, "input").as_deref(), Some(r#"{"command":"echo hello-from-tool"}"#));
    assert!(text(tool, "output").unwrap().contains("hello-from-tool"));

    let tokens = |run: &str, name: &str| {
        number(
            &db,
            &format!(
                "SELECT sum(attributes ->> '$.\"gen_ai.usage.{name}\"') + 0.0 FROM events WHERE kind = 'llm_call' AND run_id = '{run}'"
            ),
        )
    };
    let with_tool = text(tool, "run_id").unwrap();
    assert_eq!(tokens(&with_tool, "input_tokens"), 2403.0);
    assert_eq!(tokens(&with_tool, "output_tokens"), 68.0);
    assert_eq!(tokens(&with_tool, "cache_read.input_tokens"), 2000.0);

    let failed: Vec<_> =
        runs.named("openclaw.run").into_iter().filter(|row| text(row, "status").as_deref() == Some("error")).collect();
    assert_eq!(failed.len(), 7, "each try of the failing turn");
    assert_eq!(failed.iter().map(|row| text(row, "run_id")).collect::<BTreeSet<_>>().len(), 1);
    assert!(text(failed[0], "error").is_some());
    for harness in runs.named("openclaw.harness.run") {
        let is_failed = text(harness, "run_id") == text(failed[0], "run_id");
        assert_eq!(text(harness, "status").as_deref() == Some("error"), is_failed, "{harness:?}");
    }
}

#[tokio::test]
async fn what_comes_in_traces_of_its_own_is_joined_to_the_run_it_belongs_to() {
    for folder in ["v2026.4.29-gateway-part", "v2026.9.6-local-3turns", "retry-503-then-200"] {
        let home = Home::new();
        let sidecar = home.setup().keep_forever().start().await;
        replay(&sidecar, folder, true).await;
        sidecar.stop().await;
        let runs = Runs::read(&open(&home.db()));
        for exec in runs.named("openclaw.exec") {
            assert_eq!(runs.above(exec)[..2], ["openclaw.tool.execution", "openclaw.run"], "{folder}: {exec:?}");
        }
        assert!(!runs.named("openclaw.exec").is_empty());
        for run in runs.named("openclaw.run") {
            assert_eq!(runs.above(run), ["openclaw.harness.run"], "{folder}: {run:?}");
        }
        assert_eq!(runs.runs_of("openclaw.harness.run"), runs.runs_of("openclaw.run"), "{folder}");
        // The gateway's own warnings are in no run and are no errors of the agent.
        let db = open(&home.db());
        assert_eq!(count(&db, "kind = 'gateway' AND (run_id IS NOT NULL OR status IS NOT NULL)"), 0);
        let warnings = if folder.starts_with("v2026.4") { 4 } else { 0 };
        assert_eq!(count(&db, "kind = 'gateway'"), warnings, "{folder}");
    }
}

#[tokio::test]
async fn the_flat_forms_of_augmis_agents_are_taken_and_answered_202() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let json = |path: &str, body: &str| {
        Request::new("POST", path).header("content-type", "application/json").body(body.to_owned())
    };
    let call = r#"{"provider":"openai","model":"gpt-x","input_text":"my key is sk-ant-api03-AAAAAAAAAAAAAAAAAAAA","output_text":"ok",
        "prompt_tokens":7,"completion_tokens":2,"cost_usd":0.01,"latency_ms":12,"status":"success"}"#;
    let answer = post(sidecar.ingest, &json("/v1/traces", call)).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &1.into()), "{}", answer.text());
    let error =
        r#"{"error_type":"crash","message":"boom","stack_trace":"at x","severity":"critical","metadata":{"a":1}}"#;
    let answer = post(sidecar.ingest, &json("/v1/errors", error)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = post(sidecar.ingest, &json("/v1/traces", r#"{"what":"?"}"#)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["rejected"][0]["error"].as_str().unwrap().contains("model"), "{}", answer.text());
    // An empty OTLP request is one, and asks for nothing.
    let answer = post(sidecar.ingest, &json("/v1/traces", "{}")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));

    let health = support::get(sidecar.ingest, "/health").await;
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!((&health["status"], &health["db"]), (&"ok".into(), &"ok".into()));
    for key in ["queue_depth", "uptime", "last_push"] {
        assert!(health.get(key).is_some(), "{key}: {health}");
    }
    sidecar.stop().await;
    let stored = support::stored(&home.db());
    assert_eq!(stored.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["llm_call", "error"]);
    assert_eq!(stored[1].error.as_deref(), Some("boom"));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_clients_own_encoding() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let send = |kind: &str, body: &[u8]| Request::new("POST", "/v1/traces").header("content-type", kind).body(body);
    let answer = post(sidecar.ingest, &send("application/x-protobuf", b"\x0a\xff")).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/x-protobuf")));
    let status = String::from_utf8_lossy(fields(&answer.body, 2)[0]).into_owned();
    assert!(status.contains("OTLP"), "{status}");
    let answer = post(sidecar.ingest, &send("application/json", br#"{"resourceSpans":[{"scopeSpans":5}]}"#)).await;
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")));
    assert!(answer.json()["message"].as_str().unwrap().contains("scopeSpans"), "{}", answer.text());

    // One span of two has no ids: the other is kept, and the client is told.
    let good = r#"{"traceId":"0123456789abcdef0123456789abcdef","spanId":"0123456789abcdef","name":"x","startTimeUnixNano":"1","endTimeUnixNano":2}"#;
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{good},{{"name":"y"}}]}}]}}]}}"#);
    let answer = post(sidecar.ingest, &send("application/json", body.as_bytes())).await;
    assert_eq!(answer.status, 200);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "1");
    assert!(partial["errorMessage"].as_str().unwrap().contains("trace id"), "{partial}");
    sidecar.stop().await;
    assert_eq!(support::stored(&home.db()).len(), 1);
}

#[tokio::test]
async fn what_a_counter_stood_at_is_known_after_a_kill() {
    let home = Home::new();
    let setup = home.setup().keep_forever();
    let body = |time: u64, value: u64| {
        let point = format!(r#"{{"startTimeUnixNano":"5","timeUnixNano":"{time}","asInt":"{value}"}}"#);
        let sum = format!(r#"{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{point}]}}"#);
        let body =
            format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"c","sum":{sum}}}]}}]}}]}}"#);
        Request::new("POST", "/v1/metrics").header("content-type", "application/json").body(body)
    };
    let mut sidecar = setup.start().await;
    assert_eq!(post(sidecar.ingest, &body(1_000, 3)).await.status, 200);
    sidecar.signal(rustix::process::Signal::KILL);
    sidecar.exit_code().await;
    let sidecar = setup.start().await;
    // Not the old body first: that would tell it what it had stood at.
    for (time, value) in [(2_000, 5), (1_000, 3), (3_000, 5)] {
        assert_eq!(post(sidecar.ingest, &body(time, value)).await.status, 200);
    }
    sidecar.stop().await;
    let db = open(&home.db());
    assert_eq!(number(&db, "SELECT sum(attributes ->> '$.\"otel.metric.value\"') + 0.0 FROM events"), 5.0);
    assert_eq!(count(&db, "kind = 'metric'"), 2);
}

#[tokio::test]
async fn a_turn_told_by_the_plugin_and_by_the_exporter_bears_one_run_id() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    replay(&sidecar, "content-proto", false).await;
    let trace = "38585c9c0c5eda7a251c9822489b61c8";
    let event = format!(
        r#"{{"kind":"message","run_id":"k2","session_id":"s-1","agent_id":"main","attributes":{{"otel.trace_id":"{trace}"}}}}"#
    );
    assert_eq!(post(sidecar.ingest, &Request::events(event)).await.status, 200);
    let db = open(&home.db());
    let link = "kind = 'link' AND run_id = 'k2' AND session_id = 's-1'";
    assert_eq!(count(&db, link), 1, "the session");
    assert_eq!(
        count(&db, &format!("kind = 'link' AND run_id = 'k2' AND attributes ->> '$.\"link.run_id\"' = '{trace}'")),
        1
    );
    sidecar.stop().await;
}
