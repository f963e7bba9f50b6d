//! Whatever a backend answers, in the end each event is taken once, or quarantined, or still there.

use engine::Batch;

use super::backend::{Backend, Seen, status, taken};
use super::memory::Fate;
use super::*;
use crate::Compression;
use crate::otlp::Signal;

#[tokio::test]
async fn each_signal_goes_to_its_path_in_protobuf_with_the_headers() {
    for (compression, encoding) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd"), (Compression::None, "")] {
        let backend = Backend::start(|_, _| taken()).await;
        let events = mixed(30);
        let outbox = Memory::with(&events);
        let running = Running::start(OtlpPush { compression, ..config(&backend.url) }, &outbox);
        until("all sent", || outbox.counts() == (0, 30, 0)).await;
        let metrics = running.stop().await;
        let seen = backend.seen();
        let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(paths, ["/otlp/v1/traces", "/otlp/v1/logs", "/otlp/v1/metrics"]);
        for seen in &seen {
            assert_eq!(seen.header("content-type"), "application/x-protobuf");
            assert_eq!(seen.header("content-encoding"), encoding);
            assert_eq!(seen.header("authorization"), "Basic hunter2");
            assert!(seen.header("user-agent").starts_with("openclaw-trace/"));
        }
        for event in &events {
            let at = Signal::ALL.iter().position(|signal| *signal == Signal::of(event)).unwrap();
            assert!(seen[at].holds(event), "{event:?}");
            assert_eq!(backend.taken(event), 1);
        }
        assert!(metrics.contains("openclaw_trace_push_events_total{component=\"otlp\"} 30"), "{metrics}");
    }
}

#[tokio::test]
async fn a_signal_may_have_an_address_of_its_own_and_one_that_is_left_out_is_settled() {
    let (backend, logs) = (Backend::start(|_, _| taken()).await, Backend::start(|_, _| taken()).await);
    let events = mixed(9);
    let outbox = Memory::with(&events);
    let config = OtlpPush {
        logs_endpoint: format!("{}elsewhere", logs.url),
        signals: vec![Signal::Traces, Signal::Logs],
        ..config(&backend.url)
    };
    let running = Running::start(config, &outbox);
    until("all settled", || outbox.counts() == (0, 9, 0)).await;
    let metrics = running.stop().await;
    assert_eq!(backend.seen().iter().map(|seen| seen.path.clone()).collect::<Vec<_>>(), ["/otlp/v1/traces"]);
    assert_eq!(logs.seen().iter().map(|seen| seen.path.clone()).collect::<Vec<_>>(), ["/otlp/elsewhere"]);
    assert_eq!(events.iter().map(|event| backend.taken(event) + logs.taken(event)).sum::<usize>(), 6);
    assert!(metrics.contains("push_left_out_total{component=\"otlp\"} 3"), "{metrics}");
    assert!(metrics.contains("push_events_total{component=\"otlp\"} 6"), "{metrics}");
}

#[tokio::test]
async fn what_is_rejected_of_a_request_that_was_taken_is_counted_and_not_sent_again() {
    let partial = |seen: &Seen| match seen.path.as_str() {
        // partial_success { rejected_spans: 2, error_message: "a secret of the agent" }
        "/otlp/v1/traces" => {
            let mut body = vec![0x0a, 25, 8, 2, 0x12, 21];
            body.extend(b"a secret of the agent");
            (200, &[("content-type", "application/x-protobuf")][..], body)
        }
        "/otlp/v1/logs" => {
            let body = br#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#.to_vec();
            (200, &[("content-type", "application/json")][..], body)
        }
        _ => taken(),
    };
    let backend = Backend::start(move |_, seen| partial(seen)).await;
    let outbox = Memory::with(&mixed(9));
    let running = Running::start(config(&backend.url), &outbox);
    until("all sent", || outbox.counts() == (0, 9, 0)).await;
    let metrics = running.stop().await;
    assert_eq!(backend.requests(), 3);
    assert!(metrics.contains("otlp_push_rejected_total{component=\"otlp\"} 3"), "{metrics}");
    assert!(metrics.contains("push_events_total{component=\"otlp\"} 9"), "{metrics}");
}

#[tokio::test]
async fn retryable_answers_are_tried_again_and_what_was_taken_before_is_not_sent_twice() {
    for retryable in [429, 502, 503, 504] {
        // The spans are taken; the log records only at the third try.
        let backend = Backend::start(move |n, _| match n {
            1 | 2 => (retryable, &[("retry-after", "0")], Vec::new()),
            _ => taken(),
        })
        .await;
        let events = mixed(9);
        let outbox = Memory::with(&events);
        let running = Running::start(config(&backend.url), &outbox);
        until("all sent", || outbox.counts() == (0, 9, 0)).await;
        let metrics = running.stop().await;
        assert_eq!(backend.requests(), 5, "{retryable}");
        assert!(events.iter().all(|event| backend.taken(event) == 1));
        // Whole batches are tried again, so the metrics behind the log records count as repeated too.
        assert!(metrics.contains("push_retries_total{component=\"otlp\"} 3"), "{metrics}");
    }
}

#[tokio::test]
async fn a_wait_that_is_asked_for_and_longer_than_max_delay_ends_the_cycle() {
    let backend =
        Backend::start(|n, _| if n == 0 { (429, &[("retry-after", "600")], Vec::new()) } else { taken() }).await;
    let outbox = Memory::with(&mixed(3));
    let running = Running::start(config(&backend.url), &outbox);
    until("one request", || backend.requests() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.stop().await;
    assert_eq!((backend.requests(), outbox.counts()), (1, (3, 0, 0)));
}

#[tokio::test]
async fn other_failures_are_not_tried_again_at_once_and_lose_nothing() {
    for other in [500, 501, 408, 404, 405, 415, 202, 302] {
        let backend = Backend::start(move |n, _| if n == 0 { status(other) } else { taken() }).await;
        let events = mixed(3);
        let outbox = Memory::with(&events);
        let running = Running::start(config(&backend.url), &outbox);
        until("all sent", || outbox.counts() == (0, 3, 0)).await;
        let metrics = running.stop().await;
        // A cycle later, and not as a retry.
        assert!(metrics.contains("push_retries_total{component=\"otlp\"} 0"), "{other}: {metrics}");
        assert!(events.iter().all(|event| backend.taken(event) == 1), "{other}");
    }
}

#[tokio::test]
async fn one_event_that_is_refused_is_found_and_set_aside_whichever_signal_it_is() {
    for kind in ["llm_call", "log", "metric"] {
        for refusal in [400, 422] {
            let guilty = |seen: &Seen| seen.has("guilty");
            let backend = Backend::start(move |_, seen| if guilty(seen) { status(refusal) } else { taken() }).await;
            let mut events = mixed(60);
            let bad = event(kind, "guilty");
            events.insert(31, bad.clone());
            let outbox = Memory::with(&events);
            let running = Running::start(config(&backend.url), &outbox);
            until("all settled", || outbox.counts() == (0, 60, 1)).await;
            running.stop().await;
            let Fate::Quarantined(reason) = outbox.fate(bad.trace_id) else { panic!() };
            assert!(
                reason.starts_with(&format!("receiver answered {refusal} to {}", Signal::of(&bad).path())),
                "{reason}"
            );
            assert!(events.iter().all(|event| backend.taken(event) == usize::from(event.trace_id != bad.trace_id)));
        }
    }
}

#[tokio::test]
async fn a_path_that_refuses_everything_has_nothing_quarantined_though_others_take_all() {
    let backend = Backend::start(|_, seen| if seen.path.ends_with("metrics") { status(400) } else { taken() }).await;
    let outbox = Memory::with(&mixed(60));
    let running = Running::start(config(&backend.url), &outbox);
    until("the others are sent", || outbox.counts() == (20, 40, 0)).await;
    until("it is tried again", || backend.requests() > 60).await;
    running.stop().await;
    assert_eq!(outbox.counts(), (20, 40, 0));
}

#[tokio::test]
async fn a_wrong_path_or_a_wrong_key_quarantines_nothing() {
    for wrong in [404, 401, 403] {
        let backend = Backend::start(move |n, _| if n < 3 { status(wrong) } else { taken() }).await;
        let outbox = Memory::with(&mixed(3));
        let running = Running::start(config(&backend.url), &outbox);
        until("all sent", || outbox.counts() == (0, 3, 0)).await;
        running.stop().await;
        assert_eq!(backend.requests(), 6, "{wrong}");
    }
}

#[tokio::test]
async fn after_a_413_bodies_are_smaller() {
    let limit = 150 * 1024;
    let backend = Backend::start(move |_, seen| if seen.body.len() > limit { status(413) } else { taken() }).await;
    let mut events = mixed(90);
    for event in &mut events {
        event.error = Some("x".repeat(8000));
    }
    let outbox = Memory::with(&events);
    let running = Running::start(config(&backend.url), &outbox);
    until("all sent", || outbox.counts() == (0, 90, 0)).await;
    running.stop().await;
    assert!(events.iter().all(|event| backend.taken(event) == 1));
}

#[tokio::test]
async fn an_event_that_no_body_can_hold_is_set_aside_and_the_others_go() {
    let backend = Backend::start(|_, _| taken()).await;
    let mut events = mixed(6);
    events[2].error = Some("x".repeat(20_000));
    let outbox = Memory::with(&events);
    let config = OtlpPush { max_body: engine::config::Size(8192), ..config(&backend.url) };
    let running = Running::start(config, &outbox);
    until("all settled", || outbox.counts() == (0, 5, 1)).await;
    running.stop().await;
    let Fate::Quarantined(reason) = outbox.fate(events[2].trace_id) else { panic!() };
    assert!(reason.contains("more than a body of 8192 bytes (max_body)"), "{reason}");
    assert!(backend.seen().iter().all(|seen| seen.body.len() <= 8192));
}

#[tokio::test]
async fn lokis_204_confirms_and_a_page_of_somebody_else_does_not() {
    let backend = Backend::start(|n, _| match n {
        0 => (200, &[("content-type", "text/html")], b"<html>sign in</html>".to_vec()),
        _ => status(204),
    })
    .await;
    let events = mixed(3);
    let outbox = Memory::with(&events);
    let running = Running::start(config(&backend.url), &outbox);
    until("all sent", || outbox.counts() == (0, 3, 0)).await;
    running.stop().await;
    assert_eq!(backend.requests(), 4);
    assert_eq!(backend.seen()[0].path, backend.seen()[1].path, "the page confirmed nothing");
}

#[tokio::test]
async fn the_live_stream_is_confirmed_by_the_backend() {
    let backend = Backend::start(|n, _| if n == 0 { status(503) } else { taken() }).await;
    let cx = BuildContext::new("otlp");
    let Ok(AnySink::Stream(mut sink)) = config(&backend.url).build(&cx) else { panic!("not built") };
    sink.open().await.unwrap();
    let admission = engine::Admission::new(100, 1 << 20);
    let events = mixed(9);
    let credits = admission.try_acquire(9, 9000).unwrap();
    let (batch, mut receipt) = Batch::new(events.clone(), credits, false);
    sink.write(vec![batch]).await;
    assert!(matches!(receipt.outcome().await, engine::Outcome::Stored { .. }));
    assert!(events.iter().all(|event| backend.taken(event) == 1));
    sink.close().await.unwrap();
}

#[tokio::test]
async fn without_an_address_the_live_stream_passes_by() {
    let cx = BuildContext::new("otlp");
    let Ok(AnySink::Stream(mut sink)) = OtlpPush::default().build(&cx) else { panic!("not built") };
    let admission = engine::Admission::new(100, 1 << 20);
    let (batch, mut receipt) = Batch::new(mixed(3), admission.try_acquire(3, 3000).unwrap(), false);
    sink.write(vec![batch]).await;
    assert!(matches!(receipt.outcome().await, engine::Outcome::Stored { .. }));
}
