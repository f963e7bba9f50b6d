//! What an answer of ClickHouse means.
//!
//! Only 200 with an empty body confirms: that is how an insert is answered. ClickHouse reports errors as text, `Code: N.
//! DB::Exception: …`, with a status that says little (500 for a row that cannot be parsed as for a full disk), and an
//! error met after the head was sent comes inside a 200. So the code decides, wherever it stands.
//!
//! The text of an error may quote a row. It is kept beside a quarantined event and never logged: what is logged is the
//! code and its name.

use crate::delivery::{Reply, Verdict, excerpt};

/// What to do, and with whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was carried out; the body.
    Done(String),
    /// A table or column is missing: make it, then try again.
    Missing { reason: String },
    /// Anything else; the tables are as they were.
    Not(Verdict),
}

/// Reads the answer to any statement.
pub(super) fn read(reply: &Reply) -> Meaning {
    let body = String::from_utf8_lossy(&reply.body);
    let status = reply.status;
    if let Some(code) = code(reply, &body) {
        return by_code(code, &body, reply);
    }
    let reason = format!("ClickHouse answered {status}");
    Meaning::Not(match status {
        200 if reply.cut => {
            Verdict::Wrong { reason: format!("{reason} with more than was asked for: check endpoints") }
        }
        200 => return Meaning::Done(body.into_owned()),
        401 | 403 => Verdict::Denied { reason: format!("{reason}: check user and password") },
        413 => Verdict::Refused { reason, too_large: true },
        408 | 425 | 429 | 500..=599 => Verdict::Later { reason, retry_after: reply.retry_after },
        300..=399 => match &reply.location {
            Some(host) => Verdict::Wrong { reason: format!("{reason}, a redirect to {host}: set endpoints to that") },
            None => Verdict::Wrong { reason: format!("{reason}, a redirect: set endpoints to the final address") },
        },
        _ => Verdict::Wrong { reason: format!("{reason}: check endpoints") },
    })
}

/// The code of the error, from the header of newer servers or from the text.
fn code(reply: &Reply, body: &str) -> Option<u32> {
    let told = reply.headers.get("x-clickhouse-exception-code").and_then(|value| value.to_str().ok());
    if let Some(code) = told.and_then(|told| told.trim().parse().ok()).filter(|code| *code != 0) {
        return Some(code);
    }
    let place = body.find("Code: ").filter(|_| body.contains("DB::Exception"))?;
    let digits = &body[place + "Code: ".len()..];
    digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
}

fn by_code(code: u32, body: &str, reply: &Reply) -> Meaning {
    let reason = match name(code, body) {
        Some(name) => format!("ClickHouse answered code {code} ({name})"),
        None => format!("ClickHouse answered code {code}"),
    };
    Meaning::Not(match code {
        // No such table, database or column; a table that is being dropped.
        16 | 60 | 81 | 218 => return Meaning::Missing { reason },
        164 | 192..=195 | 291 | 497 | 516 => {
            Verdict::Denied { reason: format!("{reason}: check user and password, and what the user may do") }
        }
        // One block may touch so many partitions and no more: events of many months, told apart by halving.
        252 if body.contains("partitions") => refused(&reason, body),
        // The text of a row cannot be read, or one of its values does not fit.
        6 | 25..=28 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 130 | 131 | 349 | 376 | 407 | 467 | 469 | 641 => {
            refused(&reason, body)
        }
        // The statement itself is not understood: another try is no use.
        36 | 44 | 48 | 50 | 62 | 73 | 78 | 89 | 115 => {
            Verdict::Wrong { reason: format!("{reason}: this server does not understand what it was asked") }
        }
        // Too many parts, too little memory or disk, timeouts, read-only, no quorum, no ZooKeeper, what is new to us.
        _ => Verdict::Later { reason, retry_after: reply.retry_after },
    })
}

fn refused(reason: &str, body: &str) -> Verdict {
    Verdict::Refused { reason: format!("{reason}: {}", excerpt(body)), too_large: false }
}

/// The name of an error. Newer servers end with it in brackets; of the older ones' those are known here that an operator
/// meets.
fn name(code: u32, body: &str) -> Option<&str> {
    let told = body.rsplit_once('(').and_then(|(_, end)| end.split_once(')')).map(|(name, _)| name);
    let is_name = |name: &&str| {
        (3..=80).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            && name.contains('_')
    };
    told.filter(is_name).or(Some(match code {
        16 => "NO_SUCH_COLUMN_IN_TABLE",
        27 => "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        41 => "CANNOT_PARSE_DATETIME",
        60 => "UNKNOWN_TABLE",
        62 => "SYNTAX_ERROR",
        81 => "UNKNOWN_DATABASE",
        115 => "UNKNOWN_SETTING",
        159 => "TIMEOUT_EXCEEDED",
        164 => "READONLY",
        192 => "UNKNOWN_USER",
        193 => "WRONG_PASSWORD",
        202 => "TOO_MANY_SIMULTANEOUS_QUERIES",
        225 => "NO_ZOOKEEPER",
        241 => "MEMORY_LIMIT_EXCEEDED",
        242 => "TABLE_IS_READ_ONLY",
        243 => "NOT_ENOUGH_SPACE",
        252 => "TOO_MANY_PARTS",
        285 => "TOO_FEW_LIVE_REPLICAS",
        286 => "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
        319 => "UNKNOWN_STATUS_OF_INSERT",
        376 => "CANNOT_PARSE_UUID",
        516 => "AUTHENTICATION_FAILED",
        999 => "KEEPER_EXCEPTION",
        _ => return None,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    fn old(code: u32, text: &str) -> String {
        format!("Code: {code}, e.displayText() = DB::Exception: {text}, e.what() = DB::Exception\n")
    }

    fn modern(code: u32, text: &str, name: &str) -> String {
        format!("Code: {code}. DB::Exception: {text}. ({name}) (version 26.9.2.1)\n")
    }

    /// The verdict in one word.
    fn word(reply: &Reply) -> &'static str {
        match read(reply) {
            Meaning::Done(_) => "done",
            Meaning::Missing { .. } => "missing",
            Meaning::Not(Verdict::Confirmed(_)) => "confirmed",
            Meaning::Not(Verdict::Refused { .. }) => "refused",
            Meaning::Not(Verdict::Denied { .. }) => "denied",
            Meaning::Not(Verdict::Later { .. }) => "later",
            Meaning::Not(Verdict::Wrong { .. }) => "wrong",
        }
    }

    #[test]
    fn the_code_says_what_to_do() {
        for (word_, status, codes) in [
            ("missing", 404, &[60, 81, 16, 218][..]),
            ("denied", 401, &[516, 192, 193, 194, 164, 497]),
            ("refused", 500, &[26, 27, 117, 41, 6, 376, 72]),
            ("later", 500, &[252, 241, 159, 160, 202, 242, 243, 285, 286, 319, 999, 209, 210, 100_000]),
            ("wrong", 400, &[62, 115, 50]),
        ] {
            for code in codes {
                assert_eq!(word(&reply(status, &old(*code, "it went wrong"))), word_, "{code}");
                assert_eq!(word(&reply(status, &modern(*code, "it went wrong", "SOME_NAME"))), word_, "{code}");
            }
        }
        let many = modern(252, "Too many partitions for single INSERT block (more than 100)", "TOO_MANY_PARTS");
        assert_eq!(word(&reply(500, &many)), "refused", "halving tells the months apart");
    }

    #[test]
    fn an_error_inside_a_200_does_not_confirm() {
        assert_eq!(word(&reply(200, "")), "done");
        assert_eq!(word(&reply(200, &old(241, "Memory limit exceeded"))), "later");
        let mut headers = HeaderMap::new();
        headers.insert("x-clickhouse-exception-code", "252".parse().unwrap());
        assert_eq!(word(&Reply { headers, ..reply(200, "") }), "later");
        assert_eq!(word(&Reply { cut: true, ..reply(200, "1\n2\n") }), "wrong");
    }

    #[test]
    fn an_answer_that_is_not_of_clickhouse_is_judged_by_its_status() {
        for (status, word_) in [
            (401, "denied"),
            (413, "refused"),
            (429, "later"),
            (502, "later"),
            (301, "wrong"),
            (404, "wrong"),
            (204, "wrong"),
        ] {
            assert_eq!(word(&reply(status, "<html>no</html>")), word_, "{status}");
        }
    }

    #[test]
    fn what_is_logged_never_quotes_a_row() {
        for body in [
            old(41, "Cannot parse datetime hunter2: (while read the value of key ts): (at row 1)"),
            modern(241, "Memory limit exceeded hunter2", "MEMORY_LIMIT_EXCEEDED"),
            modern(62, "Syntax error hunter2", "SYNTAX_ERROR"),
            modern(999, "hunter2 (HUNTER2", "x"),
        ] {
            let reason = match read(&reply(500, &body)) {
                Meaning::Not(Verdict::Refused { reason, .. }) => reason.split(": ").next().unwrap().to_owned(),
                Meaning::Not(Verdict::Later { reason, .. } | Verdict::Wrong { reason }) => reason,
                other => panic!("{other:?}"),
            };
            assert!(!reason.to_lowercase().contains("hunter2"), "{reason}");
            assert!(reason.contains("code "), "{reason}");
        }
    }
}
