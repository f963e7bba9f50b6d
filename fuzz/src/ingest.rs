//! The bodies that `http_ingest` takes.

#[path = "../../sources/http_ingest/answer.rs"]
mod answer;
#[path = "../../sources/http_ingest/batch.rs"]
mod batch;
#[path = "../../sources/http_ingest/flat.rs"]
mod flat;
#[path = "../../sources/http_ingest/otlp/mod.rs"]
mod otlp;
#[path = "../../sources/http_ingest/parse.rs"]
mod parse;
#[path = "../../sources/http_ingest/tokens.rs"]
mod token_file;

use otlp::{Bounds, Refused, Series, Signal};

const MOST: usize = 50;
const BYTES: usize = 256 * 1024;

/// A body of `/v1/events`: an object or an array, or lines.
pub fn body(data: &[u8]) {
    let (choice, body) = crate::choice(data);
    let format = if choice & 1 == 0 { parse::Format::Json } else { parse::Format::Ndjson };
    let Ok(parsed) = parse::events(body, format, MOST, parse::event) else { return };
    assert!(parsed.events.len() + parsed.rejected.len() <= MOST);
    for rejected in &parsed.rejected {
        assert!(!rejected.error.is_empty());
    }
    // Each event stands alone: those that were taken are taken again without the others.
    let lines: Vec<_> = parsed.events.iter().map(engine::Event::to_json).collect();
    if let Ok(again) = parse::events(lines.join("\n").as_bytes(), parse::Format::Ndjson, MOST, parse::event) {
        assert_eq!(again.events, parsed.events);
        assert!(again.rejected.is_empty(), "{:?}", again.rejected);
    } else {
        assert!(parsed.events.is_empty());
    }
}

/// The body of `/v1/batches`.
pub fn batch(data: &[u8]) {
    let Ok(read) = batch::read(data, MOST) else { return };
    let taken = read.events.len() + read.rejected.len();
    assert!((1..=MOST).contains(&taken), "{taken} events");
    // What the sender reads of an answer: 256 bytes for each event.
    let told = serde_json::to_string(&read.rejected).unwrap_or_default();
    assert!(told.len() <= 2 + 256 * read.rejected.len(), "{told}");
    // Sent again without those that are rejected, it is the same.
    let events: Vec<_> = read.events.iter().map(engine::Event::to_json).collect();
    let quoted = engine::json::quoted;
    let (agent, id) = (quoted(&read.agent_id), quoted(&read.batch_id));
    let again = format!(r#"{{"metrics":[{}],"agent_id":{agent},"batch_id":{id}}}"#, events.join(","));
    if let Ok(again) = batch::read(again.as_bytes(), MOST) {
        assert_eq!(again.events, read.events);
        assert!(again.rejected.is_empty(), "{:?}", again.rejected);
    } else {
        assert!(read.events.is_empty());
    }
}

/// The file of agents' tokens.
pub fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match token_file::parse(text) {
        Ok(entries) => {
            let hashes: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.hash).collect();
            assert_eq!(hashes.len(), entries.len(), "a token is two agents'");
            let named = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
            assert!(entries.iter().all(|entry| named(&entry.agent) && entry.org.as_deref().is_none_or(named)));
        }
        Err(problems) => {
            let lines = text.lines().count();
            assert!(!problems.is_empty() && problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
        }
    }
}

/// The flat forms of Augmi's agents.
pub fn flat(data: &[u8]) {
    let (choice, body) = crate::choice(data);
    let Ok(text) = std::str::from_utf8(body) else { return };
    let form = if choice & 1 == 0 { flat::Form::Trace } else { flat::Form::Error };
    if let Ok(event) = form.read(text) {
        crate::assert_round_trip(&event);
    }
}

/// OTLP, all signals, protobuf and JSON.
pub fn otlp(data: &[u8]) {
    let (choice, body) = crate::choice(data);
    let signal = [Signal::Traces, Signal::Metrics, Signal::Logs][usize::from(choice % 3)];
    let is_json = choice & 4 != 0;
    if is_json {
        // Looked at for the path's other form first.
        let _ = signal.is_in(body);
    }
    let bounds = Bounds { events: MOST, bytes: BYTES };
    let mut series = Series::new(10, &[]);
    let mut read = || {
        let read = if is_json {
            otlp::read_json(signal, body, &mut series, bounds, "")
        } else {
            otlp::read(signal, body, &mut series, bounds, "")
        };
        // What was not committed is told again.
        read.map(|decoded| (decoded.events, decoded.rejected))
    };
    match read() {
        Ok((events, rejected)) => {
            assert!(events.len() <= bounds.events, "{} events", events.len());
            assert!(events.iter().map(engine::Event::size_bytes).sum::<usize>() <= bounds.bytes);
            events.iter().for_each(crate::assert_round_trip);
            let ids = |events: &[engine::Event]| events.iter().map(|event| event.trace_id).collect::<Vec<_>>();
            let distinct: std::collections::BTreeSet<_> = ids(&events).into_iter().collect();
            if signal == Signal::Logs {
                assert_eq!(distinct.len(), events.len(), "two records of one request are one event");
            }
            let (again, rejected_again) =
                read().unwrap_or_else(|refused| panic!("read once, refused twice: {refused:?}"));
            assert_eq!((ids(&again), rejected_again), (ids(&events), rejected), "sent again it is another event");
        }
        Err(Refused::Unreadable(text) | Refused::TooLarge(text)) => assert!(!text.is_empty()),
    }
}
