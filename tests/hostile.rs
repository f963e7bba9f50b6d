//! P7: bad input costs little. It is answered with a status and JSON, the other events of its batch
//! are kept, and memory stays within the budget.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Write as _;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use support::{Answer, Client, Home, Request, Sidecar, array, event, eventually, get, id_of, marked, post, stored};
use tokio::task::JoinSet;

/// A request, and the status it must get.
struct Case {
    name: &'static str,
    request: Request,
    status: u16,
}

fn case(name: &'static str, request: Request, status: u16) -> Case {
    Case { name, request, status }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Just under 1 MiB on the wire, about a GiB inflated: many gzip members in a row.
fn gzip_bomb() -> Vec<u8> {
    let member = gzip(&vec![b' '; 8 << 20]);
    member.repeat((1 << 20) / member.len())
}

/// Just under 1 MiB on the wire, many GiB inflated.
fn zstd_bomb() -> Vec<u8> {
    let frame = zstd::encode_all(&vec![b' '; 64 << 20][..], 19).unwrap();
    frame.repeat((1 << 20) / frame.len())
}

/// A frame that asks its reader for a window of 128 MiB.
fn zstd_with_a_large_window() -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.long_distance_matching(true).unwrap();
    // More than one write without an end: the size is not told, so the window stands as asked.
    for _ in 0..64 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

/// `[[[…]]]`, so many levels deep.
fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// A body in HTTP chunks.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(60_000) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn with_input(input: &str) -> String {
    format!(r#"{{"kind":"log","input":{input}}}"#)
}

fn too_large_and_wrongly_packed() -> Vec<Case> {
    let two_mib = with_input(&format!("\"{}\"", "x".repeat(2 << 20)));
    let unwanted: Vec<Value> = vec![json!({"kind": "log"}); 1001];
    let zeros = format!("[{}0]", "0,".repeat((4 << 20) / 2 - 2));
    let good = event().to_string();
    let cut = gzip(good.as_bytes());
    let cut = &cut[..cut.len() - 9];
    vec![
        case("larger than the limit", Request::events(two_mib.clone()), 413),
        case(
            "larger than the limit, in chunks",
            Request::events(chunked(two_mib.as_bytes())).header("transfer-encoding", "chunked"),
            413,
        ),
        case("a gzip bomb", Request::events(gzip_bomb()).header("content-encoding", "gzip"), 413),
        case("a zstd bomb", Request::events(zstd_bomb()).header("content-encoding", "zstd"), 413),
        case(
            "zstd with a large window",
            Request::events(zstd_with_a_large_window()).header("content-encoding", "zstd"),
            400,
        ),
        case("gzip that is none", Request::events(good.clone()).header("content-encoding", "gzip"), 400),
        case("gzip cut off", Request::events(cut).header("content-encoding", "gzip"), 400),
        case("zstd that is none", Request::events(good.clone()).header("content-encoding", "zstd"), 400),
        case("a coding that is not taken", Request::events(good.clone()).header("content-encoding", "br"), 415),
        case("two codings", Request::events(good.clone()).header("content-encoding", "gzip, gzip"), 415),
        case("too many events in an array", Request::events(array(&unwanted)), 413),
        case("too many events in lines", Request::lines(support::ndjson(&unwanted)), 413),
        case("4 MiB of zeros", Request::events(gzip(zeros.as_bytes())).header("content-encoding", "gzip"), 413),
        case("no content type", Request::events(good.clone()).header("content-type", ""), 415),
        case("a form", Request::events(good.clone()).header("content-type", "application/x-www-form-urlencoded"), 415),
        case("plain text", Request::events(good).header("content-type", "text/plain"), 415),
    ]
}

fn unreadable() -> Vec<Case> {
    let json = |name, body: &str, status| case(name, Request::events(body), status);
    vec![
        case("no body", Request::new("POST", "/v1/events").header("content-type", "application/json"), 400),
        json("an empty body", "", 400),
        case("no line", Request::lines("\n\n"), 400),
        json("cut off", r#"{"kind":"log","name":"x"#, 400),
        json("an array cut off", r#"[{"kind":"log"},{"kind":"#, 400),
        json("more after the end", r#"{"kind":"log"} {"kind":"log"}"#, 400),
        json("a string", r#""log""#, 400),
        json("a number", "7", 400),
        json("null", "null", 400),
        json("no kind", "{}", 400),
        json("a kind with capitals", r#"{"kind":"LOG"}"#, 400),
        json("a kind of 65 letters", &format!(r#"{{"kind":"{}"}}"#, "k".repeat(65)), 400),
        json("a trace_id that is none", r#"{"kind":"log","trace_id":"7"}"#, 400),
        json("a time that is none", r#"{"kind":"log","timestamp":"yesterday"}"#, 400),
        json("a time out of range", r#"{"kind":"log","timestamp":1e300}"#, 400),
        json("a time that overflows", r#"{"kind":"log","timestamp":9223372036854775807}"#, 400),
        json("a negative duration", r#"{"kind":"log","duration_ms":-1}"#, 400),
        json("an infinite duration", r#"{"kind":"log","duration_ms":1e999}"#, 400),
        json("NaN", r#"{"kind":"log","duration_ms":NaN}"#, 400),
        json("a status that is none", r#"{"kind":"log","status":"great"}"#, 400),
        json("attributes that are none", r#"{"kind":"log","attributes":[1]}"#, 400),
        json("a key given twice", r#"{"kind":"log","kind":"error"}"#, 400),
        json("an id of 10,000 letters", &format!(r#"{{"kind":"log","session_id":"{}"}}"#, "s".repeat(10_000)), 400),
        json("100,000 levels", &with_input(&deep(100_000)), 400),
        json("100,000 levels of nothing else", &deep(100_000), 400),
        json("100,000 opening brackets", &"[".repeat(100_000), 400),
        json("100,000 objects begun", &r#"{"a":"#.repeat(100_000), 400),
        json("a control character", "{\"kind\":\"log\",\"name\":\"a\u{0}b\"}", 400),
        json("NUL alone", "\u{0}", 400),
        json("a byte order mark", "\u{feff}{\"kind\":\"log\"}", 400),
        json("a broken escape", r#"{"kind":"log","name":"\x"}"#, 400),
        case("invalid UTF-8", Request::events(b"{\"kind\":\"log\",\"name\":\"\xff\xfe\"}".to_vec()), 400),
        case("overlong UTF-8", Request::events(b"{\"kind\":\"log\",\"name\":\"\xc0\xaf\"}".to_vec()), 400),
        case(
            "UTF-16",
            Request::events("{\"kind\":\"log\"}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            400,
        ),
    ]
}

fn unusual_but_legal() -> Vec<Case> {
    let json = |name, body: &str| case(name, Request::events(body), 200);
    vec![
        json("100 levels", &with_input(&deep(100))),
        json("a lone surrogate", r#"{"kind":"log","name":"\ud800","input":"\udc00\ud800"}"#),
        json("NUL, escaped", r#"{"kind":"log","name":"a\u0000b","input":{"\u0000":"\u0000"}}"#),
        json("a number beyond every type", &with_input("1e9999")),
        json("a number of 100,000 digits", &with_input(&"9".repeat(100_000))),
        json("a key given twice inside", &with_input(r#"{"a":1,"a":2}"#)),
        json("fields that nobody knows", r#"{"kind":"log","zone":"x","depth":{"a":[1]}}"#),
        json(
            "every field null",
            r#"{"kind":"log","trace_id":null,"timestamp":null,"name":null,"input":null,"attributes":null}"#,
        ),
        json("a long name", &format!(r#"{{"kind":"log","name":"{}"}}"#, "n".repeat(500_000))),
        json("100,000 strings", &with_input(&format!("[{}\"\"]", "\"a\",".repeat(100_000)))),
        json("an empty array", "[]"),
        case("lines with gaps", Request::lines("\r\n{\"kind\":\"log\"}\r\n\r\n{\"kind\":\"log\"}"), 200),
        case(
            "in small chunks",
            Request::events(chunked(br#"{"kind":"log"}"#)).header("transfer-encoding", "chunked"),
            200,
        ),
        case("gzip", Request::events(gzip(br#"{"kind":"log"}"#)).header("content-encoding", "gzip"), 200),
        case(
            "zstd",
            Request::events(zstd::encode_all(&br#"{"kind":"log"}"#[..], 3).unwrap()).header("content-encoding", "zstd"),
            200,
        ),
        // A stream at this level announces a window of 8 MiB, however short it is.
        case(
            "zstd at level 19",
            Request::events(zstd::encode_all(&br#"{"kind":"log"}"#[..], 19).unwrap())
                .header("content-encoding", "zstd"),
            200,
        ),
    ]
}

fn batches_of_a_push() -> Vec<Case> {
    let push = |body: &str| {
        Request::new("POST", "/v1/batches")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(gzip(body.as_bytes()))
    };
    let batch = |traces: &str| format!(r#"{{"agent_id":"a","batch_id":"b","traces":{traces}}}"#);
    let zeros = |bytes: usize| format!("[{}0]", "0,".repeat(bytes / 2));
    let beside = format!(r#"{{"zone":{},{}"#, zeros((4 << 20) - 1000), &batch(&format!("[{}]", event()))[1..]);
    let bare = format!(r#"{{"trace_id":"{}"}}"#, event()["trace_id"].as_str().unwrap());
    vec![
        case("a batch of 4 MiB of zeros", push(&batch(&zeros((4 << 20) - 1000))), 422),
        case("a batch with 4 MiB of zeros beside it", push(&beside), 200),
        case("a batch of 100,000 levels", push(&batch(&deep(100_000))), 422),
        case("a batch of 100,000 opening brackets", push(&batch(&"[".repeat(100_000))), 400),
        case("a batch in 100,000 batches", push(&r#"{"traces":"#.repeat(100_000)), 400),
        case(
            "a batch of 60,000 unreadable events",
            push(&batch(&format!("[{}{bare}]", format!("{bare},").repeat(60_000)))),
            413,
        ),
        case(
            "a batch of 1,000 unreadable events",
            push(&batch(&format!("[{}{bare}]", format!("{bare},").repeat(999)))),
            200,
        ),
    ]
}

fn not_ours() -> Vec<Case> {
    let good = event().to_string();
    vec![
        case("an unknown path", Request::new("POST", "/v2/events").body(good.clone()), 404),
        case("GET", Request::new("GET", "/v1/events"), 405),
        case("DELETE", Request::new("DELETE", "/v1/events"), 405),
        case("a rebound name", Request::events(good.clone()).header("host", "evil.example"), 403),
        case(
            "a rebound name that looks like ours",
            Request::events(good.clone()).header("host", "localhost.evil.example"),
            403,
        ),
        case("another site's page", Request::events(good.clone()).header("origin", "https://evil.example"), 403),
        case("a sandboxed page", Request::events(good).header("origin", "null"), 403),
    ]
}

fn check(case: &Case, answer: &Answer) {
    assert_eq!(answer.status, case.status, "{}: {}", case.name, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", case.name);
    let body = answer.json();
    if answer.status != 200 {
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{}: {body}", case.name);
    }
    if let Some(first) = body["rejected"].as_array().and_then(|rejected| rejected.first()) {
        let named = first["index"].is_u64() || first["trace_id"].is_string();
        assert!(named && first["error"].is_string(), "{}: {body}", case.name);
    }
}

/// That it lives, takes a good event and stores it.
async fn assert_well(sidecar: &Sidecar, home: &Home) {
    let good = event();
    eventually("a good event is taken", async || {
        let Ok(mut client) = Client::connect(sidecar.ingest).await else { return false };
        client.send(&Request::events(good.to_string())).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200);
    assert!(stored(&home.db()).iter().any(|event| event.trace_id == id_of(&good)));
}

#[tokio::test]
async fn every_bad_request_is_answered_and_none_costs_memory() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let memory = sidecar.watch_memory();
    let cases: Vec<_> =
        [too_large_and_wrongly_packed(), unreadable(), unusual_but_legal(), batches_of_a_push(), not_ours()]
            .into_iter()
            .flatten()
            .collect();
    for case in &cases {
        check(case, &post(sidecar.ingest, &case.request).await);
    }
    assert_well(&sidecar, &home).await;
    memory.assert_within_budget();
    sidecar.stop().await;
    let surrogate = stored(&home.db()).into_iter().find(|event| event.name.as_deref() == Some("\u{fffd}"));
    assert!(surrogate.is_some(), "a lone surrogate is kept as U+FFFD");
}

#[tokio::test]
async fn bad_requests_at_once_do_not_add_up() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let memory = sidecar.watch_memory();
    let zeros = format!("[{}0]", "0,".repeat((4 << 20) / 2 - 100));
    let requests = [
        Request::events(gzip_bomb()).header("content-encoding", "gzip"),
        Request::events(zstd_bomb()).header("content-encoding", "zstd"),
        Request::events(gzip(with_input(&zeros).as_bytes())).header("content-encoding", "gzip"),
        Request::events(with_input(&deep(400_000))),
        Request::events(with_input(&format!("\"{}\"", "\\u0041".repeat(170_000)))),
    ];
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        for request in requests.clone() {
            let address = sidecar.ingest;
            clients.spawn(async move { post(address, &request).await });
        }
    }
    for answer in clients.join_all().await {
        match answer.status {
            200 => {}
            400 | 413 => assert!(!answer.error().is_empty()),
            429 => assert!(answer.retry_after() >= 1),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_well(&sidecar, &home).await;
    memory.assert_within_budget();
    sidecar.stop().await;
}

#[tokio::test]
async fn the_largest_legal_body_is_taken_within_the_memory_budget() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let memory = sidecar.watch_memory();
    for input in [format!("[{}0]", "0,".repeat((4 << 20) / 2 - 100)), format!("\"{}\"", "word ".repeat(800_000))] {
        let request = Request::events(gzip(with_input(&input).as_bytes())).header("content-encoding", "gzip");
        let answer = post(sidecar.ingest, &request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    memory.assert_within_budget();
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 2);
}

#[tokio::test]
async fn the_other_events_of_a_bad_batch_are_kept_and_the_bad_ones_named() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let (first, last) = (marked("first"), marked("last"));
    let mut lines = format!("{first}\n{{\"kind\":7}}\n{{\"kind\":\"log\",\"name\":\"").into_bytes();
    lines.extend_from_slice(b"\xff\"}\n{\"kind\" \"log\"}\n");
    lines.extend_from_slice(with_input(&deep(1000)).as_bytes());
    lines.extend_from_slice(format!("\n{last}").as_bytes());
    let answer = post(sidecar.ingest, &Request::lines(lines)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["accepted"], 2, "{body}");
    let rejected = body["rejected"].as_array().unwrap();
    assert_eq!(rejected.iter().map(|one| one["index"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (one, place) in rejected.iter().zip(["kind", "UTF-8", "line 1 column", "input"]) {
        assert!(one["error"].as_str().unwrap().contains(place), "{one} does not name {place}");
    }
    let in_array = format!("[{},7,{{\"kind\":\"log\",\"timestamp\":\"x\"}},{}]", marked("third"), marked("fourth"));
    let body = post(sidecar.ingest, &Request::events(in_array)).await.json();
    assert_eq!(body["accepted"], 2, "{body}");
    assert_eq!(body["rejected"].as_array().map(Vec::len), Some(2), "{body}");
    assert!(body["rejected"][1]["error"].as_str().unwrap().contains("timestamp"), "{body}");
    sidecar.stop().await;
    let markers: Vec<_> = stored(&home.db()).iter().map(support::Stored::marker).collect();
    assert_eq!(markers, ["first", "last", "third", "fourth"]);
}

#[tokio::test]
async fn a_client_that_is_too_slow_is_told_so() {
    let home = Home::new();
    let setup = home.setup().set("sources.http.header_timeout", "300ms").set("sources.http.body_timeout", "300ms");
    let sidecar = setup.start().await;
    let beginnings: [&[u8]; 4] = [
        b"POST /v1/eve",
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx: ",
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"ki",
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"ki",
    ];
    for beginning in beginnings {
        let mut client = Client::connect(sidecar.ingest).await.unwrap();
        client.write(beginning).await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 408, "{}", answer.text());
        assert!(!answer.error().is_empty());
    }
    assert_well(&sidecar, &home).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nothing_behind() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let whole = Request::events(array(&(0..100).map(|_| event()).collect::<Vec<_>>())).bytes(sidecar.ingest);
    for end in [1, 20, 100, 200, whole.len() / 2, whole.len() - 1] {
        let mut client = Client::connect(sidecar.ingest).await.unwrap();
        client.write(&whole[..end]).await.unwrap();
    }
    // One that only stops writing may still be told what is wrong.
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    client.write(&whole[..whole.len() - 1]).await.unwrap();
    client.end_writing().await.unwrap();
    if let Ok(answer) = client.answer().await {
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    // And one that does not speak HTTP.
    for noise in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", &[b'a'; 100_000]]
    {
        let mut client = Client::connect(sidecar.ingest).await.unwrap();
        let _ = client.write(noise).await;
        let _ = client.end_writing().await;
        if let Ok(answer) = client.answer().await {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    assert_well(&sidecar, &home).await;
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 1, "half a request is no request");
}

#[tokio::test]
async fn one_connection_too_many_is_answered_503_and_the_next_one_finds_room() {
    let home = Home::new();
    let sidecar = home.setup().set("sources.http.header_timeout", "60s").start().await;
    let memory = sidecar.watch_memory();
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(Client::connect(sidecar.ingest).await.unwrap());
    }
    for number in 0..44 {
        let mut client = Client::connect(sidecar.ingest).await.unwrap();
        // Some ask at once, others wait to hear.
        let answer = match number % 2 {
            0 => client.answer().await,
            _ => client.send(&Request::events(event().to_string())).await,
        };
        let answer = answer.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.retry_after() >= 1);
        assert!(!answer.error().is_empty());
    }
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200, "the other port is not concerned");
    let answer = held[255].send(&Request::events(event().to_string())).await.unwrap();
    assert_eq!(answer.status, 200, "those that are in are served");
    drop(held);
    assert_well(&sidecar, &home).await;
    memory.assert_within_budget();
    sidecar.stop().await;
}

#[tokio::test]
async fn without_the_token_nobody_is_served() {
    let home = Home::new();
    let token = uuid::Uuid::now_v7().to_string();
    let setup = home.setup().env("TRACE_INGEST_TOKEN", &token).env("TRACE_API_TOKEN", &token);
    let sidecar = setup.start().await;
    let request = Request::events(event().to_string());
    let bearer = format!("Bearer {token}");
    for (given, status) in [("", 401), ("Bearer wrong", 401), (&token[..], 401), (&bearer[..], 200)] {
        let answer = post(sidecar.ingest, &request.clone().header("authorization", given)).await;
        assert_eq!(answer.status, status, "{given:?}: {}", answer.text());
        assert!(status == 200 || !answer.error().is_empty());
        let answer = post(sidecar.api, &Request::new("GET", "/metrics").header("authorization", given)).await;
        assert_eq!(answer.status, status, "{given:?}");
    }
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200, "a probe needs no token");
    assert_eq!(get(sidecar.api, "/readyz").await.status, 200);
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 1);
}
