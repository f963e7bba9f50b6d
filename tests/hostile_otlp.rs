//! OTLP from clients that are broken or hostile: no 5xx, and memory within the budget.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use support::{FOLDERS, Home, Request, captures, post};
use tokio::task::JoinSet;

/// Spoils a body in a few places, repeatably.
fn spoil(body: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=body.len().saturating_sub(1));
        match random.random_range(0..4) {
            0 if !body.is_empty() => body[at] = random.random(),
            1 => body.truncate(at),
            2 => body.extend_from_within(at.min(body.len())..),
            _ => drop(body.splice(at..at, [0xff; 3])),
        }
        body.truncate(1 << 20);
    }
}

#[tokio::test]
async fn spoiled_requests_get_no_5xx_and_cost_no_memory() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let memory = sidecar.watch_memory();
    let all: Vec<_> = FOLDERS.iter().flat_map(|folder| captures(folder)).collect();
    let mut clients = JoinSet::new();
    for seed in 0..8 {
        let (address, all) = (sidecar.ingest, all.clone());
        clients.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..300 {
                let mut capture = all[random.random_range(0..all.len())].clone();
                spoil(&mut capture.body, &mut random);
                let answer = post(address, &capture.request(random.random())).await;
                assert!(
                    [200, 400, 413, 429].contains(&answer.status),
                    "seed {seed}: {} {}",
                    answer.status,
                    answer.text()
                );
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let answer = post(sidecar.ingest, &captures("content-proto")[0].request(true)).await;
    assert_eq!(answer.status, 200, "it is well");
    memory.assert_within_budget();
    sidecar.stop().await;
    assert_eq!(support::integrity(&home.db()), "ok");
}

/// A protobuf field of bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn hostile_requests_at_once_stay_within_the_memory_budget() {
    let home = Home::new();
    let sidecar = home.setup().keep_forever().start().await;
    let memory = sidecar.watch_memory();
    let wrap = |items: &[u8]| bytes(1, &bytes(2, items));
    let ids = [bytes(1, &[1; 16]), bytes(2, &[1; 8])].concat();
    let span = |attributes: &[u8]| wrap(&bytes(2, &[ids.as_slice(), attributes].concat()));
    let control = bytes(9, &[bytes(1, b"k"), bytes(2, &bytes(1, &[1; 3_900_000]))].concat());
    let series: Vec<u8> = (0..60_000_u32)
        .flat_map(|at| {
            let attribute = bytes(7, &[bytes(1, &at.to_le_bytes()), bytes(2, &[])].concat());
            let point =
                [&[0x11][..], &1_u64.to_le_bytes(), &[0x19], &2_u64.to_le_bytes(), &[0x21], &1f64.to_le_bytes()]
                    .concat();
            bytes(1, &[point, attribute].concat())
        })
        .collect();
    let metric = bytes(2, &[bytes(1, b"m"), bytes(7, &[series, vec![0x10, 2, 0x18, 1]].concat())].concat());
    // What says that it is an event of ours, and then is too much.
    let told = |key: &str, value: &[u8]| {
        let key = format!("openclaw_trace.event.{key}");
        bytes(9, &[bytes(1, key.as_bytes()), bytes(2, value)].concat())
    };
    let text = |text: &[u8]| bytes(1, text);
    let id = told("id", &text(b"0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3"));
    let ours = |more: &[u8]| span(&[id.clone(), told("kind", &text(b"log")), more.to_vec()].concat());
    let list = told("fields", &bytes(5, &bytes(1, &text(b"")).repeat(900_000)));
    let object = told("attributes", &text(format!("{{\"a\":\"{}\"}}", "x".repeat(3_900_000)).as_bytes()));
    let bodies = [
        ("/v1/traces", "application/x-protobuf", ours(&bytes(9, b"").repeat(1_800_000))),
        ("/v1/traces", "application/x-protobuf", ours(&control)),
        ("/v1/traces", "application/x-protobuf", ours(&list)),
        ("/v1/traces", "application/x-protobuf", ours(&object)),
        ("/v1/traces", "application/x-protobuf", wrap(&bytes(2, b"").repeat(1_900_000))),
        ("/v1/traces", "application/x-protobuf", span(&bytes(9, b"").repeat(1_900_000))),
        ("/v1/traces", "application/x-protobuf", span(&control)),
        ("/v1/logs", "application/x-protobuf", wrap(&bytes(2, b"").repeat(1_900_000))),
        ("/v1/metrics", "application/x-protobuf", wrap(&metric)),
        (
            "/v1/traces",
            "application/json",
            format!("{{\"resourceSpans\":[{}{{}}]}}", "{},".repeat(1_300_000)).into_bytes(),
        ),
    ];
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        for (path, kind, body) in &bodies {
            let request = Request::new("POST", path)
                .header("content-type", kind)
                .header("content-encoding", "gzip")
                .body(gzip(body));
            let address = sidecar.ingest;
            clients.spawn(async move {
                // Bodies that are being read share a budget: most are told to come again, and do.
                loop {
                    let answer = post(address, &request).await;
                    if answer.status != 429 {
                        return answer;
                    }
                    assert!(answer.retry_after() >= 1);
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            });
        }
    }
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    while let Some(answer) = clients.join_next().await {
        *statuses.entry(answer.unwrap().status).or_default() += 1;
    }
    // Empty spans are rejected one by one, empty log records are too many at once.
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200, 413], "{statuses:?}");
    let answer = post(sidecar.ingest, &captures("content-proto")[0].request(true)).await;
    assert_eq!(answer.status, 200, "it is well");
    memory.assert_within_budget();
    sidecar.stop().await;
}
