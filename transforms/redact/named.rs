//! Whether the value of a telling name is a secret.
//!
//! The name has said how likely it is ([`Hint`]), the place how the value is written ([`Style`]).
//! In JSON a string under `password` is a secret whatever it looks like. In free text it may be code
//! (`token = next_token()`), a type (`password: String`) or a sentence, so it has to look like one.

use super::assign::Style;
use super::keys::{Hint, is_session_key};
use super::personal::is_phone;
use super::shape::entropy;
use super::structure::{has_digit, is_placeholder};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Secret,
    Phone,
}

/// A value in free text.
pub(super) fn in_text(hint: Hint, name: &str, value: &[u8], style: Style) -> Option<Verdict> {
    if is_none(value) || is_session_name(name, value) {
        return None;
    }
    let is_secret = match hint {
        Hint::Phone => return std::str::from_utf8(value).is_ok_and(is_phone).then_some(Verdict::Phone),
        Hint::Weak => looks_random(value),
        Hint::Secret => match style {
            Style::Quoted => is_whole_value(name, value),
            Style::Bare => value.len() >= 4 && !is_code(value) && !is_path(value),
            Style::Loose if is_shouted(name) => value.len() >= 4 && !is_code(value) && !is_path(value),
            Style::Loose => looks_chosen(name, value),
            Style::Prose => value.len() >= 6 && looks_chosen(name, value),
        },
    };
    is_secret.then_some(Verdict::Secret)
}

/// A whole string of a JSON document.
pub(super) fn in_json(hint: Hint, name: &str, value: &str) -> Option<Verdict> {
    if is_none(value.as_bytes()) || is_session_name(name, value.as_bytes()) {
        return None;
    }
    match hint {
        Hint::Phone => is_phone(value).then_some(Verdict::Phone),
        Hint::Weak => looks_random(value.as_bytes()).then_some(Verdict::Secret),
        Hint::Secret => is_whole_value(name, value.as_bytes()).then_some(Verdict::Secret),
    }
}

fn is_none(value: &[u8]) -> bool {
    value.starts_with(b"[redacted:") || is_placeholder(value)
}

/// The name that OpenClaw calls a session key: `agent:main:main`, `agent:main:subagent:UUID`.
fn is_session_name(name: &str, value: &[u8]) -> bool {
    value.starts_with(b"agent:") && value.len() <= 256 && is_session_key(name)
}

/// A value with clear bounds: a secret, unless it is a sentence, or a place where the secret is.
fn is_whole_value(name: &str, value: &[u8]) -> bool {
    let has_space = value.iter().any(u8::is_ascii_whitespace);
    if name.eq_ignore_ascii_case("token") {
        // The word that a model calls a token, a parser too.
        return value.len() >= 8 && !has_space && (has_digit(value) || value.len() >= 16);
    }
    if has_space && !is_password(name) {
        return value.split(u8::is_ascii_whitespace).any(looks_random);
    }
    value.len() >= 3 && !is_path(value) && !is_code(value)
}

/// Names whose values are chosen by people: short, and words are possible.
fn is_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "pw", "cookie", "authorization"].iter().any(|part| name.contains(part))
}

/// `DB_PASSWORD`: a variable of the environment, whose value is a literal.
fn is_shouted(name: &str) -> bool {
    name.len() >= 3 && !name.bytes().any(|b| b.is_ascii_lowercase())
}

/// More than an identifier or a word: something a person or a program made up.
fn looks_chosen(name: &str, value: &[u8]) -> bool {
    if is_code(value) || is_path(value) || value.len() < 6 {
        return false;
    }
    let has_letter = value.iter().any(u8::is_ascii_alphabetic);
    let has_symbol = value.iter().any(|b| b"!@#$^*+~".contains(b));
    if is_password(name) {
        return has_letter && (has_digit(value) || has_symbol);
    }
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    looks_random(value) || (value.len() >= 8 && digits >= 2 && has_letter && !is_identifier(value))
}

/// `token_v2`: small words joined, with a number at most at the end.
fn is_identifier(value: &[u8]) -> bool {
    let stem = value.trim_ascii_end();
    let digits = stem.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    digits <= 2 && stem[..stem.len() - digits].iter().all(|b| b.is_ascii_alphabetic() || *b == b'_')
}

/// Calls, indices, members of members.
fn is_code(value: &[u8]) -> bool {
    value.iter().any(|b| matches!(b, b'(' | b'[' | b'{'))
        || value.starts_with(b"process.")
        || value.starts_with(b"os.")
        || value.starts_with(b"&")
        || value.windows(2).any(|w| w == b"::")
        || (value.contains(&b'.')
            && !has_digit(value)
            && value.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'.' | b'_' | b'?')))
}

fn is_path(value: &[u8]) -> bool {
    // Base64 may begin with a slash too.
    if let Some(rest) = value.strip_prefix(b"/") {
        return rest.iter().filter(|b| **b == b'/').count() > 2 || !looks_random(rest) || entropy(rest) < 4.2;
    }
    [&b"./"[..], b"../", b"~/", b"http://", b"https://", b"file:"].iter().any(|start| value.starts_with(start))
}

/// Of both cases in no order, as no name in code is.
pub(super) fn is_mixed(value: &[u8]) -> bool {
    value.windows(2).filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()).count() >= 3
}

/// Long, with digits among the letters, and no order to be seen. Not a UUID: those are ids.
pub(super) fn looks_random(value: &[u8]) -> bool {
    let fits = (16..=512).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || b"+/_-=.~%".contains(b))
        && !is_path(value);
    if !fits || is_uuid(value) {
        return false;
    }
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    if digits < 2 || digits == value.len() {
        return false;
    }
    if value.iter().all(u8::is_ascii_hexdigit) {
        return entropy(value) >= 2.8;
    }
    let has_mixed_segment = value
        .split(|b| !b.is_ascii_alphanumeric())
        .any(|part| part.len() >= 8 && has_digit(part) && part.iter().any(u8::is_ascii_alphabetic));
    has_mixed_segment && entropy(value) >= 3.3
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_told_from_code_and_words() {
        let text = |name, value: &str, style| in_text(Hint::Secret, name, value.as_bytes(), style);
        assert!(text("password", "hunter2", Style::Loose).is_some());
        assert!(text("DB_PASSWORD", "letmein", Style::Loose).is_some());
        assert!(text("password", "correct horse", Style::Quoted).is_some());
        for value in ["String", "getToken()", "response.data.token", "token_v2", "${TOKEN}", "Option", "must"] {
            assert_eq!(text("token", value, Style::Loose), None, "{value}");
        }
        assert_eq!(in_json(Hint::Secret, "token", " hello"), None);
        assert!(in_json(Hint::Secret, "password", "abc").is_some());
    }
}
