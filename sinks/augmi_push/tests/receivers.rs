//! Real sockets, short times: whatever a receiver does, in the end every event is confirmed or
//! quarantined, and the receiver has it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::config::values::{Size, Time};

use super::memory::{Fate, Memory};
use super::receiver::{Action, Receiver, raw, status, take};
use super::*;
use crate::augmi_push::Compression;

#[tokio::test]
async fn every_event_arrives_in_the_agreed_form() {
    for (compression, encoding) in [(Compression::Zstd, "zstd"), (Compression::Gzip, "gzip"), (Compression::None, "")] {
        let receiver = Receiver::start(|_, _| take()).await;
        let mut all = events(30);
        all.push(event("metric-cpu"));
        let outbox = Memory::with(&all);
        let running = Running::start(AugmiPush { compression, batch_events: 20, ..config(&receiver.url) }, &outbox);
        until("all confirmed", || outbox.counts() == (0, 31, 0)).await;
        let metrics = running.stop().await;

        assert_eq!((receiver.kept(), receiver.requests()), (31, 2));
        let seen = &receiver.seen()[1];
        assert_eq!(seen.header("authorization"), "Bearer hunter2");
        assert_eq!(seen.header("content-type"), "application/json");
        assert_eq!(seen.header("content-encoding"), encoding);
        assert!(seen.header("user-agent").starts_with("openclaw-trace/"));
        assert_eq!(seen.body["agent_id"], "agent-7");
        assert_eq!(seen.body["batch_id"], seen.key());
        assert!(seen.body["sent_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(seen.body["metrics"][0]["name"], "metric-cpu");
        assert_eq!(seen.body["traces"].as_array().unwrap().len(), 10);
        assert!(metrics.contains("openclaw_trace_push_events_total{component=\"push\"} 31"), "{metrics}");
    }
}

#[tokio::test]
async fn a_retry_carries_the_same_events_and_the_same_key() {
    let receiver = Receiver::start(|n, _| if n < 3 { status(500) } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&receiver.url), &outbox);
    until("first try", || receiver.requests() > 0).await;
    // What arrives between the tries belongs to the next batch.
    outbox.add(&events(5));
    until("all confirmed", || outbox.counts() == (0, 15, 0)).await;
    let metrics = running.stop().await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 5);
    for retry in &seen[1..4] {
        assert_eq!((retry.key(), retry.ids()), (seen[0].key(), seen[0].ids()));
    }
    assert_ne!(seen[4].key(), seen[0].key());
    assert!(metrics.contains("push_retries_total{component=\"push\"} 3"), "{metrics}");
}

#[tokio::test]
async fn the_next_cycle_and_the_next_process_send_a_failed_batch_with_its_key() {
    let receiver = Receiver::start(|n, _| if n < 6 { status(503) } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let config = AugmiPush { max_tries: 2, breaker_failures: 100, ..config(&receiver.url) };
    let running = Running::start(config.clone(), &outbox);
    until("a failed cycle", || receiver.requests() >= 2).await;
    outbox.add(&events(5));
    until("another", || receiver.requests() >= 4).await;
    running.stop().await;
    let running = Running::start(config, &outbox);
    until("all confirmed", || outbox.counts() == (0, 15, 0)).await;
    running.stop().await;
    let seen = receiver.seen();
    assert!(seen[..7].iter().all(|one| one.key() == seen[0].key() && one.ids() == seen[0].ids()));
}

#[tokio::test]
async fn a_hanging_receiver_is_given_up_and_tried_again() {
    let receiver = Receiver::start(|n, _| if n < 2 { Action::Hang } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let running =
        Running::start(AugmiPush { timeout: Time(Duration::from_millis(80)), ..config(&receiver.url) }, &outbox);
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    running.stop().await;
    assert_eq!((receiver.kept(), receiver.requests()), (10, 3));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_makes_no_second_copy() {
    let late = Duration::from_millis(300);
    let receiver = Receiver::start(move |n, _| if n == 0 { Action::TakeLate(late) } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let running =
        Running::start(AugmiPush { timeout: Time(Duration::from_millis(80)), ..config(&receiver.url) }, &outbox);
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    running.stop().await;
    let seen = receiver.seen();
    assert_eq!((receiver.kept(), seen.len()), (10, 2));
    assert_eq!((seen[0].key(), seen[0].ids()), (seen[1].key(), seen[1].ids()));
}

#[tokio::test]
async fn an_answer_cut_short_confirms_nothing() {
    let (url, connections) = raw("HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{\"rejected\":[", None).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&url), &outbox);
    until("some tries", || *connections.lock().unwrap() >= 3).await;
    running.stop().await;
    assert_eq!(outbox.counts(), (10, 0, 0));
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_confirms_nothing() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (url, connections) = raw(head, Some("8\r\n        \r\n")).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(AugmiPush { timeout: Time::seconds(60), ..config(&url) }, &outbox);
    until("some tries", || *connections.lock().unwrap() >= 2).await;
    running.stop().await;
    assert_eq!(outbox.counts(), (10, 0, 0));
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let later = || Action::Answer(429, &[("retry-after", "1")], String::new());
    let receiver = Receiver::start(move |n, _| if n == 0 { later() } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&receiver.url), &outbox);
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    running.stop().await;
    let seen = receiver.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn events_rejected_by_name_are_quarantined_and_the_others_confirmed() {
    let all = events(10);
    let bad = all[4].trace_id;
    let answer = format!(r#"{{"accepted":9,"rejected":[{{"trace_id":"{bad}","error":"unknown model"}}]}}"#);
    let receiver = Receiver::start(move |_, _| Action::Take(201, answer.clone())).await;
    let outbox = Memory::with(&all);
    let running = Running::start(config(&receiver.url), &outbox);
    until("all settled", || outbox.counts() == (0, 9, 1)).await;
    running.stop().await;
    assert_eq!(outbox.fate(bad), Fate::Quarantined("receiver rejected it: unknown model".into()));
    assert_eq!(receiver.requests(), 1);
}

#[tokio::test]
async fn one_guilty_event_is_found_and_does_not_block_the_others() {
    for code in [400, 413, 422] {
        let mut all = events(100);
        all[37] = event("guilty");
        let guilty = all[37].trace_id;
        let receiver = Receiver::start(move |_, seen| {
            if seen.has("guilty") { Action::Answer(code, &[], "no such field".into()) } else { take() }
        })
        .await;
        let outbox = Memory::with(&all);
        let running = Running::start(config(&receiver.url), &outbox);
        until("all settled", || outbox.counts() == (0, 99, 1)).await;
        running.stop().await;
        assert_eq!(receiver.kept(), 99);
        assert!(receiver.requests() <= 2 * 7 + 1, "{} requests", receiver.requests());
        assert_eq!(outbox.fate(guilty), Fate::Quarantined(format!("receiver answered {code}: no such field")));
    }
}

#[tokio::test]
async fn a_guilty_event_that_is_all_there_is_does_not_stay_for_ever() {
    let receiver = Receiver::start(|_, seen| if seen.has("guilty") { status(422) } else { take() }).await;
    let outbox = Memory::with(&[event("guilty")]);
    let running = Running::start(config(&receiver.url), &outbox);
    until("quarantined", || outbox.counts() == (0, 0, 1)).await;
    outbox.add(&events(3));
    until("others confirmed", || outbox.counts() == (0, 3, 1)).await;
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_costs_no_event() {
    let receiver = Receiver::start(|_, _| status(400)).await;
    let outbox = Memory::with(&events(50));
    let running = Running::start(config(&receiver.url), &outbox);
    until("breaker opened twice", || receiver.requests() > 30).await;
    let metrics = running.stop().await;
    assert_eq!(outbox.counts(), (50, 0, 0));
    assert!(metrics.contains("push_rejected_total{component=\"push\"} 0"), "{metrics}");
}

#[tokio::test]
async fn many_guilty_events_are_all_found() {
    let receiver = Receiver::start(|_, seen| if seen.has("guilty") { status(400) } else { take() }).await;
    let all: Vec<_> =
        events(120).into_iter().enumerate().map(|(n, e)| if n % 9 == 0 { event("guilty") } else { e }).collect();
    let outbox = Memory::with(&all);
    let running = Running::start(config(&receiver.url), &outbox);
    until("all settled", || outbox.counts() == (0, 106, 14)).await;
    running.stop().await;
    assert_eq!(receiver.kept(), 106);
}

#[tokio::test]
async fn a_200_with_a_web_page_confirms_nothing() {
    let page = || Action::Answer(200, &[("content-type", "text/html")], "<html>Sign in to the Wi-Fi</html>".into());
    let receiver = Receiver::start(move |n, _| if n < 2 { page() } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&receiver.url), &outbox);
    until("lied to", || receiver.requests() == 2).await;
    assert_eq!(outbox.counts(), (10, 0, 0));
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    running.stop().await;
    assert_eq!(receiver.kept(), 10);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Receiver::start(|_, _| take()).await;
    let target: &'static str = Box::leak(other.url.clone().into_boxed_str());
    let headers: &'static [(&str, &str)] = Box::leak(vec![("location", target)].into_boxed_slice());
    let receiver = Receiver::start(move |_, _| Action::Answer(307, headers, String::new())).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&receiver.url), &outbox);
    until("redirected", || receiver.requests() >= 2).await;
    running.stop().await;
    assert_eq!((other.requests(), outbox.counts()), (0, (10, 0, 0)));
}

#[tokio::test]
async fn a_wrong_token_costs_no_event_and_one_request_per_cooldown() {
    let receiver = Receiver::start(|n, _| if n < 3 { status(401) } else { take() }).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&receiver.url), &outbox);
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    running.stop().await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(150)));
}

#[tokio::test]
async fn a_body_never_exceeds_its_limit_and_what_cannot_fit_is_quarantined() {
    let receiver = Receiver::start(|_, _| take()).await;
    let mut all = events(200);
    all[3].output = Some(Json::from_value(&"x".repeat(9000)).unwrap());
    let outbox = Memory::with(&all);
    let running = Running::start(AugmiPush { max_body: Size(8192), ..config(&receiver.url) }, &outbox);
    until("all settled", || outbox.counts() == (0, 199, 1)).await;
    running.stop().await;
    assert!(receiver.seen().iter().all(|seen| seen.bytes <= 8192));
    assert!(matches!(outbox.fate(all[3].trace_id), Fate::Quarantined(reason) if reason.contains("max_body")));
}

#[tokio::test]
async fn bodies_get_smaller_after_a_413() {
    let receiver = Receiver::start(|_, seen| if seen.bytes > 100_000 { status(413) } else { take() }).await;
    let mut all = events(400);
    all.iter_mut().for_each(|event| event.output = Some(Json::from_value(&"x".repeat(2000)).unwrap()));
    let outbox = Memory::with(&all);
    let running = Running::start(AugmiPush { interval: Time::seconds(1), ..config(&receiver.url) }, &outbox);
    until("all confirmed", || outbox.counts() == (0, 400, 0)).await;
    running.stop().await;
    // Nothing was left for a second cycle.
    let seen = receiver.seen();
    assert!(seen[seen.len() - 1].at - seen[0].at < Duration::from_secs(1));
    let refused = seen.iter().filter(|seen| seen.bytes > 100_000).count();
    assert!(refused <= 8, "{refused} of {}", seen.len());
}

#[tokio::test]
async fn a_confirmation_that_the_outbox_could_not_keep_is_sent_again_with_its_key() {
    let receiver = Receiver::start(|_, _| take()).await;
    let outbox = Memory::with(&events(10));
    outbox.broken.store(true, Ordering::Relaxed);
    let running = Running::start(config(&receiver.url), &outbox);
    until("sent", || receiver.requests() >= 2).await;
    outbox.broken.store(false, Ordering::Relaxed);
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    let metrics = running.stop().await;
    let seen = receiver.seen();
    assert!(seen.iter().all(|one| one.key() == seen[0].key()));
    assert!(metrics.contains("push_breaker_open{component=\"push\"} 0"), "{metrics}");
}

#[tokio::test]
async fn what_waits_at_shutdown_is_pushed_once_more() {
    let receiver = Receiver::start(|_, _| take()).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(AugmiPush { interval: Time::seconds(3600), ..config(&receiver.url) }, &outbox);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(receiver.requests(), 0);
    running.stop().await;
    assert_eq!((outbox.counts(), receiver.requests()), ((0, 10, 0), 1));
    assert!(outbox.state_text().contains("\"last_success\":1"), "{}", outbox.state_text());
}

#[tokio::test]
async fn the_last_push_is_of_what_waits_and_not_of_what_keeps_coming() {
    let outbox = Memory::with(&events(10));
    let store = Arc::clone(&outbox);
    // The store takes events on, as it does while a reload exchanges the push.
    let receiver = Receiver::start(move |_, _| {
        store.add(&events(10));
        take()
    })
    .await;
    let running = Running::start(AugmiPush { interval: Time::seconds(3600), ..config(&receiver.url) }, &outbox);
    running.stop().await;
    assert_eq!((outbox.counts(), receiver.requests()), ((10, 10, 0), 1));
}

#[tokio::test]
async fn an_unreachable_receiver_gets_a_single_try_at_shutdown() {
    let receiver = Receiver::start(|_, _| status(500)).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(AugmiPush { interval: Time::seconds(3600), ..config(&receiver.url) }, &outbox);
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.stop().await;
    assert_eq!((outbox.counts(), receiver.requests()), ((10, 0, 0), 1));
}

#[tokio::test]
async fn a_hung_request_does_not_hold_up_the_stop() {
    let receiver = Receiver::start(|_, _| Action::Hang).await;
    let outbox = Memory::with(&events(10));
    let config = AugmiPush { timeout: Time::seconds(60), ..config(&receiver.url) };
    let drain = Duration::from_millis(800);
    let running = Running::start_with_drain(config, &outbox, drain);
    until("in flight", || receiver.requests() == 1).await;
    let begin = Instant::now();
    running.stop().await;
    assert!(begin.elapsed() < drain * 3 / 4, "{:?}", begin.elapsed());
    assert_eq!(outbox.counts(), (10, 0, 0));
}

#[tokio::test]
async fn a_request_that_is_answered_during_the_stop_still_counts() {
    let receiver = Receiver::start(|_, _| Action::TakeLate(Duration::from_millis(150))).await;
    let outbox = Memory::with(&events(10));
    let running = Running::start(config(&receiver.url), &outbox);
    until("in flight", || receiver.requests() == 1).await;
    running.stop().await;
    assert_eq!((outbox.counts(), receiver.requests()), ((0, 10, 0), 1));
}

#[tokio::test]
async fn the_breaker_stays_open_over_a_restart_but_not_for_another_receiver() {
    let receiver = Receiver::start(|_, _| status(500)).await;
    let outbox = Memory::with(&events(10));
    let long = AugmiPush { breaker_cooldown: Time::seconds(3600), max_tries: 2, ..config(&receiver.url) };
    let running = Running::start(long.clone(), &outbox);
    until("breaker open", || receiver.requests() == 6).await;
    // A probe or a retry would come within this.
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.stop().await;
    let running = Running::start(long.clone(), &outbox);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let metrics = running.stop().await;
    assert_eq!(receiver.requests(), 6);
    assert!(metrics.contains("push_breaker_open{component=\"push\"} 1"), "{metrics}");
    let other = Receiver::start(|_, _| take()).await;
    let running = Running::start(AugmiPush { endpoint: other.url.clone(), ..long }, &outbox);
    until("all confirmed", || outbox.counts() == (0, 10, 0)).await;
    running.stop().await;
}

#[tokio::test]
async fn no_secret_is_kept_in_the_state() {
    let receiver = Receiver::start(|_, _| take()).await;
    let outbox = Memory::with(&events(1));
    let running = Running::start(config(&receiver.url), &outbox);
    until("all confirmed", || outbox.counts() == (0, 1, 0)).await;
    running.stop().await;
    let state = outbox.state_text();
    assert!(state.contains("/v1/push") && !state.contains("hunter2") && !state.contains("in-the-query"), "{state}");
}

#[tokio::test]
async fn an_empty_endpoint_just_waits() {
    let outbox = Memory::with(&events(1));
    let running = Running::start(config(""), &outbox);
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.stop().await;
    assert_eq!((outbox.counts(), outbox.polls.load(Ordering::Relaxed)), ((1, 0, 0), 0));
}
