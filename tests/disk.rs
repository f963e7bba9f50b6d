//! P8: the disk does not fill.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Home, Request, array, eventually, get, marked, post};

fn files(home: &Home) -> u64 {
    ["", "-wal", "-shm"]
        .iter()
        .map(|end| std::fs::metadata(format!("{}{end}", home.db().display())).map_or(0, |m| m.len()))
        .sum()
}

#[tokio::test]
async fn the_files_stay_within_the_budget_while_much_more_is_sent() {
    let home = Home::new();
    let sidecar = home
        .setup()
        .set("sinks.store.max_bytes", "2MiB")
        .set("sinks.store.retention_interval", "50ms")
        .set("transforms.truncate.max_text_bytes", "65536")
        .start()
        .await;
    let mut largest = 0;
    let mut acknowledged = 0;
    for round in 0..60 {
        let events: Vec<_> = (0..40)
            .map(|n| {
                let mut event = marked(&format!("{round}.{n}"));
                event["input"] = format!("{round} {n} ").repeat(1500).into();
                event
            })
            .collect();
        let answer = post(sidecar.ingest, &Request::events(array(&events))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        acknowledged += events.len();
        largest = largest.max(files(&home));
    }
    // The budget, the log's limit, and what may be written before retention looks again.
    assert!(largest < 12 << 20, "{largest} bytes at the most, after {acknowledged} events");
    eventually("it is back within the budget", async || files(&home) < 7 << 20).await;
    sidecar.stop().await;
    assert!(files(&home) < 3 << 20, "{} bytes at rest", files(&home));
}

#[tokio::test]
async fn below_the_reserve_events_are_refused_and_the_program_lives() {
    let home = Home::new();
    let sidecar = home.setup().set("sinks.store.disk_reserve", "1000000GiB").start().await;
    for _ in 0..3 {
        let answer = post(sidecar.ingest, &Request::events(marked("x").to_string())).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.retry_after() >= 1);
        assert!(answer.error().contains("reserve"), "{}", answer.text());
    }
    let ready = get(sidecar.api, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("reserve"), "{}", ready.text());
    assert_eq!(get(sidecar.api, "/healthz").await.status, 200);
    sidecar.stop().await;
    assert!(support::stored(&home.db()).is_empty());
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_said_at_the_start() {
    let home = Home::new();
    let mut sidecar = home.setup().set("sinks.store.path", "/proc/no/such/place.db").spawn();
    assert_eq!(sidecar.exit_code().await, Some(1));
    let log = sidecar.log();
    assert!(log.contains("/proc/no/such/place.db") && log.contains("TRACE_DB_PATH"), "{log}");
}
