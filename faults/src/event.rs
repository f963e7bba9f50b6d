//! The events that are sent, and what may become of one on its way.

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

const WORDS: [&str; 16] = [
    "agent",
    "file",
    "answer",
    "step",
    "river",
    "stone",
    "plan",
    "näher",
    "письмо",
    "light",
    "note",
    "tool",
    "reads",
    "writes",
    "seven",
    "日本語",
];
const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What was done to an event so that cleaning has work with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trait {
    /// Nothing: it must arrive as it was sent.
    Plain,
    /// A secret stands in `output`, between two texts that must arrive.
    Secret,
    /// `output` is longer than is kept; its beginning must arrive.
    Long,
}

/// One event to send.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Its identity.
    pub(crate) id: Uuid,
    /// Its JSON.
    pub(crate) json: Value,
    /// What is special about it.
    pub(crate) of: Trait,
}

/// A text of ordinary words.
pub(crate) fn words(random: &mut StdRng, count: usize) -> String {
    let words: Vec<&str> = (0..count).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    words.join(" ")
}

/// Letters and digits.
pub(crate) fn alnum(random: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(ALNUM[random.random_range(0..ALNUM.len())])).collect()
}

/// Makes one event. Each secret holds `nonce` at its beginning, middle or end, so that one search
/// through a file finds any of them, whole or cut.
pub(crate) fn make(random: &mut StdRng, marker: &str, nonce: &str) -> Made {
    // Not of the clock alone: its order must say nothing, and two rigs must never meet.
    let id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
    let of = match random.random_range(0..20) {
        0..3 => Trait::Secret,
        3 => Trait::Long,
        _ => Trait::Plain,
    };
    let count = random.random_range(3..20);
    let output = match of {
        Trait::Plain => words(random, count),
        Trait::Long => words(random, 1500),
        Trait::Secret => {
            let secret = secret(random, nonce);
            format!("{} {secret} {}", words(random, 5), words(random, 5))
        }
    };
    let kind = ["tool_call", "llm_call", "message", "metric", "log"][random.random_range(0..5)];
    let json = json!({
        "trace_id": id.to_string(),
        "kind": kind,
        "timestamp": jiff::Timestamp::now().as_millisecond() - random.random_range(0..3_600_000),
        "status": "ok",
        "session_id": "session-1",
        "run_id": format!("run-{}", random.random_range(0..50)),
        "name": "read_file",
        "duration_ms": f64::from(random.random_range(0..1000)) / 4.0,
        "input": {"path": "/data/notes.md", "list": [1, 2.5, null, true, "a\"b\\c\n"], "say": words(random, 4)},
        "output": output,
        "attributes": {"marker": marker, "size": random.random_range(0..1000)},
    });
    Made { id, json, of }
}

/// A secret of a known form that holds the nonce.
fn secret(random: &mut StdRng, nonce: &str) -> String {
    let around = |random: &mut StdRng, length: usize| {
        let rest = length - nonce.len();
        let before = [0, rest / 2, rest][random.random_range(0..3)];
        format!("{}{nonce}{}", alnum(random, before), alnum(random, rest - before))
    };
    match random.random_range(0..5) {
        0 => format!("sk-ant-api03-{}", around(random, 80)),
        1 => format!("sk-proj-{}", around(random, 64)),
        2 => format!("ghp_{}", around(random, 36)),
        3 => format!("glpat-{}", around(random, 24)),
        _ => format!("https://user:{}@db.example/x", around(random, 32)),
    }
}

/// How what was kept differs from what was sent; `None` where it does not.
#[must_use]
pub(crate) fn difference(sent: &Value, of: Trait, kept: &Value) -> Option<String> {
    for field in ["kind", "status", "session_id", "run_id", "name", "duration_ms", "input", "attributes"] {
        if sent[field] != kept[field] {
            return Some(format!("{field} was {} and is {}", sent[field], kept[field]));
        }
    }
    let (was, is) = (sent["output"].as_str().unwrap_or_default(), kept["output"].as_str().unwrap_or_default());
    let same = match of {
        Trait::Plain => was == is,
        Trait::Long => is.contains("[truncated: ") && is.len() < was.len() && was.starts_with(begin(is, 3000)),
        Trait::Secret => {
            let spaces: Vec<usize> = was.match_indices(' ').map(|(at, _)| at).collect();
            let (before, after) = (&was[..spaces[4]], &was[spaces[5]..]);
            is.starts_with(before) && is.ends_with(after) && is.contains("[redacted:")
        }
    };
    (!same).then(|| format!("output was {:?} and is {:?}", begin(was, 200), begin(is, 200)))
}

/// The first bytes of a text, to a character's boundary.
fn begin(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn made(of: Trait) -> Made {
        let mut random = StdRng::seed_from_u64(3);
        let mut all = std::iter::from_fn(|| Some(make(&mut random, "m", "NONCE0NONCE0NO")));
        all.find(|event| event.of == of).expect("each sort turns up")
    }

    #[test]
    fn what_was_kept_as_sent_does_not_differ_and_what_was_changed_does() {
        let event = made(Trait::Plain);
        assert_eq!(difference(&event.json, event.of, &event.json), None);
        for field in ["kind", "name", "input", "output", "attributes"] {
            let mut changed = event.json.clone();
            changed[field] = json!("other");
            assert!(difference(&event.json, event.of, &changed).is_some(), "{field}");
        }
    }

    #[test]
    fn a_secret_must_be_replaced_and_the_text_around_it_must_stay() {
        let event = made(Trait::Secret);
        let text = event.json["output"].as_str().expect("a text");
        assert!(text.contains("NONCE0NONCE0NO"));
        assert!(difference(&event.json, event.of, &event.json).is_some(), "left as it was");
        let secret = text.split(' ').nth(5).expect("the secret is the sixth word");
        let mut kept = event.json.clone();
        kept["output"] = json!(text.replace(secret, "[redacted:a_rule]"));
        assert_eq!(difference(&event.json, event.of, &kept), None);
        kept["output"] = json!("[redacted:a_rule]");
        assert!(difference(&event.json, event.of, &kept).is_some(), "everything went");
    }

    #[test]
    fn a_long_text_must_be_cut_and_keep_its_beginning() {
        let event = made(Trait::Long);
        let text = event.json["output"].as_str().expect("a text");
        assert!(difference(&event.json, event.of, &event.json).is_some(), "not cut");
        let mut kept = event.json.clone();
        kept["output"] = json!(format!("{}…[truncated: 9 bytes, sha256 0]", begin(text, 4000)));
        assert_eq!(difference(&event.json, event.of, &kept), None);
        kept["output"] = json!("…[truncated: 9 bytes, sha256 0]");
        assert!(difference(&event.json, event.of, &kept).is_some(), "nothing is left");
    }
}
