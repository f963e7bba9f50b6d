//! What a backend's answer means, by the OTLP specification (1.x, "OTLP/HTTP Response").
//!
//! | status | |
//! |---|---|
//! | 200 | taken: the body is an `Export…ServiceResponse`, empty where all was taken. 204 without a body is taken for the same, since Loki answers so |
//! | 429, 502, 503, 504 | later; `Retry-After` |
//! | 400, 413, 422 | the request is refused: the guilty event is looked for |
//! | 401, 403 | denied |
//! | any other | not an answer of such a receiver, or one in trouble: kept, and tried in the next cycle |
//!
//! A 200 with a web page in it is somebody else's: it confirms nothing.

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::delivery::{Reply, Verdict, excerpt};
use crate::otlp::Signal;

/// An answer, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// Spans, records or points that were rejected of a request that was taken.
    pub(super) rejected: u64,
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, rejected: 0 }
    }
}

/// Reads the answer to a request of this signal.
pub(super) fn read(reply: &Reply, signal: Option<Signal>) -> Answer {
    let path = signal.map(Signal::path).unwrap_or_default();
    let said = |what: &str| format!("receiver answered {} to {path}{what}", reply.status);
    let wrong = |what: &str| Answer::from(Verdict::Wrong { reason: said(what) });
    match reply.status {
        200 | 204 => match partial_success(reply) {
            Some(rejected) => Answer { verdict: Verdict::Confirmed(Vec::new()), rejected },
            None => wrong(" with a body that is no answer of OTLP: check endpoint"),
        },
        429 | 502..=504 => Verdict::Later { reason: said(""), retry_after: reply.retry_after }.into(),
        400 | 413 | 422 => {
            let text = excerpt(&String::from_utf8_lossy(&reply.body));
            let reason = if text.is_empty() { said("") } else { said(&format!(": {text}")) };
            Verdict::Refused { reason, too_large: reply.status == 413 }.into()
        }
        401 | 403 => Verdict::Denied { reason: said(": check headers") }.into(),
        404 | 405 => {
            let name = path.strip_prefix("v1/").unwrap_or("them");
            wrong(&format!(": check endpoint, or leave {name} out of signals"))
        }
        415 => wrong(": check compression"),
        300..=399 => match &reply.location {
            Some(host) => wrong(&format!(", a redirect to {host}: set endpoint to the final address")),
            None => wrong(", a redirect: set endpoint to the final address"),
        },
        201..=299 => wrong(": only 200 confirms"),
        _ => wrong(""),
    }
}

/// How many were rejected; `None` where this is no `Export…ServiceResponse`.
fn partial_success(reply: &Reply) -> Option<u64> {
    let kind = reply.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if reply.cut || kind.starts_with("text/html") {
        return None;
    }
    let body = &reply.body[..];
    if body.trim_ascii().is_empty() {
        return Some(0);
    }
    // Some answer in JSON, whatever they were asked in.
    if body.trim_ascii_start().starts_with(b"{") {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let partial = answer.get("partialSuccess").unwrap_or(&Value::Null);
        let names = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"];
        let number = names.iter().find_map(|name| partial.get(name));
        return Some(match number {
            Some(Value::String(text)) => text.parse().unwrap_or(0),
            Some(number) => number.as_u64().unwrap_or(0),
            None => 0,
        });
    }
    match field(body, 1)? {
        // A negative number, which is none of theirs, would be one of 64 bits.
        Some(Field::Message(partial)) => match field(partial, 1)? {
            Some(Field::Number(rejected)) => Some(u64::try_from(rejected.cast_signed()).unwrap_or(0)),
            _ => Some(0),
        },
        _ => Some(0),
    }
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Message(&'a [u8]),
}

/// The last field of that number, where it has one; `None` where the bytes are no message.
#[allow(clippy::option_option)]
fn field(mut bytes: &[u8], wanted: u64) -> Option<Option<Field<'_>>> {
    let mut found = None;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Some(Field::Number(varint(&mut bytes)?)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Some(Field::Message(take(&mut bytes, length)?))
            }
            1 => take(&mut bytes, 8).map(|_| None)?,
            5 => take(&mut bytes, 4).map(|_| None)?,
            _ => return None,
        };
        match key >> 3 {
            0 => return None,
            number if number == wanted => found = value,
            _ => {}
        }
    }
    Some(found)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn reply(status: u16, kind: &'static str, body: &[u8]) -> Reply {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Reply { status, headers, body: body.to_vec(), ..Reply::default() }
    }

    fn verdict(reply: &Reply) -> Verdict {
        read(reply, Some(Signal::Traces)).verdict
    }

    #[test]
    fn exactly_the_retryable_statuses_are_tried_again() {
        for status in 100..=599 {
            let answer = verdict(&reply(status, "", b""));
            let later = matches!(answer, Verdict::Later { .. });
            assert_eq!(later, [429, 502, 503, 504].contains(&status), "{status}");
            assert_eq!(matches!(answer, Verdict::Confirmed(_)), [200, 204].contains(&status), "{status}");
            assert_eq!(matches!(answer, Verdict::Refused { .. }), [400, 413, 422].contains(&status), "{status}");
            assert_eq!(matches!(answer, Verdict::Denied { .. }), [401, 403].contains(&status), "{status}");
        }
        let asked = Reply { retry_after: Some(Duration::from_secs(7)), ..reply(429, "", b"") };
        let Verdict::Later { retry_after, .. } = verdict(&asked) else { panic!() };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_partial_success_is_read_in_either_form() {
        let answer = |kind, body: &[u8]| {
            let answer = read(&reply(200, kind, body), Some(Signal::Logs));
            assert_eq!(answer.verdict, Verdict::Confirmed(Vec::new()));
            answer.rejected
        };
        assert_eq!(answer("application/x-protobuf", b""), 0);
        // partial_success { rejected_spans: 300, error_message: "no" }
        assert_eq!(answer("application/x-protobuf", &[0x0a, 7, 8, 0xac, 2, 0x12, 2, b'n', b'o']), 300);
        assert_eq!(answer("application/x-protobuf", &[0x0a, 4, 0x12, 2, b'n', b'o']), 0, "only a warning");
        assert_eq!(answer("application/json", b"{}"), 0);
        for name in ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"] {
            let body = format!(r#"{{"partialSuccess":{{"{name}":"5","errorMessage":"no"}}}}"#);
            assert_eq!(answer("application/json", body.as_bytes()), 5);
        }
        assert_eq!(answer("", br#"{"partialSuccess":{"rejectedSpans":2}}"#), 2);
    }

    #[test]
    fn a_200_of_somebody_else_confirms_nothing() {
        for (kind, body) in [
            ("text/html", &b""[..]),
            ("text/html; charset=utf-8", b"<html>sign in</html>"),
            ("", b"<html>"),
            ("text/plain", b"ok"),
            ("application/json", b"{"),
            ("application/x-protobuf", &[0x0a, 9, 1]),
        ] {
            assert!(matches!(verdict(&reply(200, kind, body)), Verdict::Wrong { .. }), "{kind} {body:?}");
        }
        let cut = Reply { cut: true, ..reply(200, "application/json", b"{}") };
        assert!(matches!(verdict(&cut), Verdict::Wrong { .. }));
    }

    #[test]
    fn a_wrong_address_is_told_with_the_signal() {
        let Verdict::Wrong { reason } = verdict(&reply(404, "", b"")) else { panic!() };
        assert_eq!(reason, "receiver answered 404 to v1/traces: check endpoint, or leave traces out of signals");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(status in 0u16..1000, body in prop::collection::vec(any::<u8>(), 0..60)) {
            read(&reply(status, "", &body), None);
        }
    }
}
