//! What a receiver's answer means.
//!
//! Only 200 and 201 confirm, and only with an empty body or a JSON object: a captive portal, a
//! parking page or a proxy answers 200 with HTML, and must not make events count as pushed.
//! An object may name events that the receiver will never take (`rejected`); all others of the
//! batch are confirmed. An entry that names no event leaves open which one was meant, so the batch is
//! then treated as refused whole and halved until it is known. One that names an event that was not
//! sent belongs to another batch: the answer confirms nothing and condemns nothing.

use std::collections::HashSet;

use engine::TraceId;
use serde_json::Value;

use crate::delivery::{Rejected, Reply, Verdict, excerpt};

/// Reads the answer to a batch of these events.
pub(super) fn judge(reply: &Reply, sent: &[TraceId]) -> Verdict {
    let status = reply.status;
    let wrong = |reason: String| Verdict::Wrong { reason };
    match status {
        200 | 201 if reply.cut => wrong(format!("receiver answered {status} with a body that is too long to read")),
        200 | 201 => read_success(status, &reply.body, sent),
        400 | 413 | 422 => Verdict::Refused { reason: with_excerpt(status, &reply.body), too_large: status == 413 },
        401 => Verdict::Denied { reason: denied(status, "it does not know the token; check token (TRACE_PUSH_TOKEN)") },
        403 => Verdict::Denied {
            reason: denied(
                status,
                "it knows the token, and it is another agent's or may not push; check that agent_id (TRACE_AGENT_ID) is the token's",
            ),
        },
        408 | 425 | 429 | 500..=599 => {
            Verdict::Later { reason: format!("receiver answered {status}"), retry_after: reply.retry_after }
        }
        300..=399 => wrong(match &reply.location {
            Some(host) => {
                format!("receiver answered {status}, a redirect to {host}: set endpoint to the final address")
            }
            None => format!("receiver answered {status}, a redirect: set endpoint to the final address"),
        }),
        202..=299 => wrong(format!("receiver answered {status}: only 200 or 201 confirms")),
        _ => wrong(format!("receiver answered {status}: check endpoint")),
    }
}

fn read_success(status: u16, body: &[u8], sent: &[TraceId]) -> Verdict {
    if body.trim_ascii().is_empty() {
        return Verdict::Confirmed(Vec::new());
    }
    let wrong =
        |what: &str| Verdict::Wrong { reason: format!("receiver answered {status} with {what}: check endpoint") };
    let Ok(Value::Object(answer)) = serde_json::from_slice::<Value>(body) else {
        return wrong("something other than a JSON object");
    };
    // Some interfaces report failures with status 200.
    if answer.get("error").is_some_and(|error| !is_nothing(error)) {
        return wrong("an \"error\"");
    }
    let entries = match answer.get("rejected") {
        None => &[][..],
        Some(nothing) if is_nothing(nothing) => &[],
        Some(Value::Array(entries)) => entries,
        Some(_) => return wrong("a \"rejected\" that is no array"),
    };
    let known: HashSet<&TraceId> = sent.iter().collect();
    let mut rejected = Vec::with_capacity(entries.len());
    for entry in entries {
        let trace_id = entry.get("trace_id").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let reason = match entry.get("error") {
            Some(Value::String(text)) => excerpt(text),
            Some(other) => excerpt(&other.to_string()),
            None => "no reason given".to_owned(),
        };
        match trace_id {
            Some(trace_id) if known.contains(&trace_id) => {
                rejected.push(Rejected { trace_id, reason: format!("receiver rejected it: {reason}") });
            }
            // An answer to some other batch: it says nothing of this one.
            Some(_) => return wrong("a \"rejected\" event that was not sent"),
            None => {
                let reason = format!("receiver rejected an event without naming its trace_id: {reason}");
                return Verdict::Refused { reason, too_large: false };
            }
        }
    }
    Verdict::Confirmed(rejected)
}

fn denied(status: u16, what: &str) -> String {
    format!("receiver answered {status}: {what}")
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) | Value::Bool(true) => false,
    }
}

fn with_excerpt(status: u16, body: &[u8]) -> String {
    let text = excerpt(&String::from_utf8_lossy(body));
    if text.is_empty() { format!("receiver answered {status}") } else { format!("receiver answered {status}: {text}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    #[test]
    fn only_200_and_201_confirm() {
        for status in 100..=599 {
            let confirms = matches!(judge(&reply(status, ""), &[]), Verdict::Confirmed(_));
            assert_eq!(confirms, matches!(status, 200 | 201), "{status}");
        }
    }

    #[test]
    fn a_200_that_is_neither_empty_nor_an_object_confirms_nothing() {
        for body in
            ["<html>sign in</html>", "[]", "\"ok\"", "{", "ok", r#"{"error":"down"}"#, r#"{"rejected":{"a":1}}"#]
        {
            assert!(matches!(judge(&reply(200, body), &[]), Verdict::Wrong { .. }), "{body}");
        }
        for body in ["", " \r\n", "{}", r#"{"accepted":5,"rejected":[]}"#, r#"{"rejected":0,"error":null}"#] {
            assert_eq!(judge(&reply(200, body), &[]), Verdict::Confirmed(vec![]), "{body}");
        }
        let cut = Reply { cut: true, ..reply(200, "{}") };
        assert!(matches!(judge(&cut, &[]), Verdict::Wrong { .. }));
    }

    #[test]
    fn rejected_entries_are_read_and_one_without_a_name_refuses_the_batch() {
        let id = TraceId::new();
        let body = format!(r#"{{"accepted":1,"rejected":[{{"trace_id":"{id}","error":"bad\u0000name"}}]}}"#);
        let rejected = Rejected { trace_id: id, reason: "receiver rejected it: bad name".into() };
        assert_eq!(judge(&reply(200, &body), &[id, TraceId::new()]), Verdict::Confirmed(vec![rejected]));
        assert!(matches!(judge(&reply(200, &body), &[TraceId::new()]), Verdict::Wrong { .. }), "of another batch");
        let by_index = r#"{"rejected":[{"index":1,"error":"x"}]}"#;
        assert!(matches!(judge(&reply(200, by_index), &[id]), Verdict::Refused { .. }));
    }

    #[test]
    fn a_redirect_names_its_target() {
        let reply = Reply { location: Some("other.example".into()), ..reply(302, "") };
        let Verdict::Wrong { reason } = judge(&reply, &[]) else { panic!() };
        assert!(reason.contains("other.example"));
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_without_a_panic(status in 0u16..1000, body in prop::collection::vec(any::<u8>(), 0..200)) {
            judge(&Reply { status, body, ..Reply::default() }, &[]);
        }
    }
}
