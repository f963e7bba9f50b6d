//! `name = value`, in the many ways people and programs write it.
//!
//! Given a place inside a name, finds the whole name and where its value lies: `KEY=value`,
//! `"key": "value"`, `\"key\": \"value\"`, `key => 'value'`, `<key>value</key>`, `--key value`,
//! `?key=value&`, `Key: Bearer value`, `("key", "value")`, `the key is value`.

/// A value and what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) style: Style,
}

/// How the value is written; decides how much it must look like a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// In quotes.
    Quoted,
    /// Bare, where any value is meant as one: `?key=value`, `--key value`, `<key>value<`, a header's
    /// scheme.
    Bare,
    /// Bare after `=` or `:`, where it may also be code.
    Loose,
    /// After the word "is", or the next in a list: the weakest of ties.
    Prose,
}

/// The longest name, and the longest stretch of an unquoted value that is looked at.
const MAX_NAME: usize = 96;
const MAX_BARE: usize = 512;
const MAX_QUOTED: usize = 8192;

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

/// The name around `at`; where it is longer than any name, the second is false.
pub(super) fn name_around(text: &[u8], at: usize) -> ((usize, usize), bool) {
    let before = text[..at].iter().rev().take(MAX_NAME).take_while(|b| is_name(**b)).count();
    let after = text[at..].iter().take(MAX_NAME).take_while(|b| is_name(**b)).count();
    let (mut start, mut end) = (at - before, at + after);
    // `--password` and `...secret` begin with the letter; a sentence's dot ends no name.
    while start < end && !text[start].is_ascii_alphanumeric() && text[start] != b'_' {
        start += 1;
    }
    while end > start && matches!(text[end - 1], b'.' | b'-') {
        end -= 1;
    }
    ((start, end), before + after < MAX_NAME)
}

/// The value that is assigned to the name at `name`. With `words`, other words may stand between
/// the name and the sign: `Datadog API key: …`.
pub(super) fn value_of(text: &[u8], name: (usize, usize), words: bool) -> Option<Value> {
    let mut at = name.1;
    if words {
        let more = text[at..].iter().take(24).take_while(|b| is_name(**b) || matches!(b, b' ' | b'\t')).count();
        at += more;
        while at > name.1 && matches!(text[at - 1], b' ' | b'\t') {
            at -= 1;
        }
    }
    let name_is_quoted = text.get(at).is_some_and(|b| matches!(b, b'"' | b'\'' | b'`' | b'\\'));
    at = skip(text, at, 5, |b| matches!(b, b'"' | b'\'' | b'`' | b'\\' | b']'));
    at = skip(text, at, 8, |b| matches!(b, b' ' | b'\t'));
    let spaced = at > name.1 && matches!(text[at - 1], b' ' | b'\t');
    let rest = &text[at..];
    let signs: [(&[u8], Style); 10] = [
        (b":=", Style::Loose),
        (b"=>", Style::Loose),
        (b"==", Style::Loose),
        (b"?=", Style::Loose),
        (b"||", Style::Loose),
        (b"=", Style::Loose),
        (b":", Style::Loose),
        (b">", Style::Bare),
        (b",", Style::Prose),
        (b"is ", Style::Prose),
    ];
    let flag = text[..name.0].ends_with(b"--") || text[..name.0].ends_with(b" -");
    let (mut style, in_list) = match signs.iter().find(|(sign, _)| rest.starts_with(sign)) {
        // `a, b` is a list unless both are in quotes.
        Some((b",", _)) if !name_is_quoted => return None,
        Some((b"is ", _)) if !spaced => return None,
        Some((sign, style)) => {
            at += sign.len();
            (*style, *sign == b",")
        }
        None if spaced && (flag || is_netrc(text, name.0)) => (Style::Bare, false),
        None => return None,
    };
    let query = name.0.checked_sub(1).is_some_and(|before| matches!(text[before], b'?' | b'&'));
    if query || (flag && style == Style::Loose) {
        style = Style::Bare;
    }
    let after_spaces = skip(text, at, 8, |b| matches!(b, b' ' | b'\t'));
    let over_lines = skip(text, after_spaces, 40, |b| b.is_ascii_whitespace());
    let quote_at = skip(text, over_lines, 4, |b| matches!(b, b'\\' | b'('));
    if let Some(quote @ (b'"' | b'\'' | b'`')) = text.get(quote_at).copied() {
        let value = quoted(text, quote_at, quote)?;
        return Some(if in_list { Value { style: Style::Prose, ..value } } else { value });
    }
    if in_list {
        return None;
    }
    let (start, scheme) = skip_scheme(text, after_spaces);
    if scheme {
        style = Style::Bare;
    }
    let end = start + text[start..].iter().take(MAX_BARE).take_while(|b| !ends_bare(**b)).count();
    let end = trim_punctuation(text, start, end);
    (end > start).then_some(Value { start, end, style })
}

/// The value in the quotes that open at `at`. What closes is the same quote behind no more
/// backslashes than opened it: an escaped quote inside has more.
pub(super) fn quoted(text: &[u8], at: usize, quote: u8) -> Option<Value> {
    let escapes = |at: usize| text[..at].iter().rev().take(16).take_while(|b| **b == b'\\').count();
    let depth = escapes(at);
    let (start, _) = skip_scheme(text, at + 1);
    let mut end = start;
    loop {
        let Some(b) = text.get(end).copied().filter(|_| end - start < MAX_QUOTED) else {
            break;
        };
        if b == b'\n' && quote != b'`' {
            break;
        }
        if b == quote && escapes(end).min(end - start) <= depth {
            end -= escapes(end).min(end - start);
            break;
        }
        end += 1;
    }
    (end > start).then_some(Value { start, end, style: Style::Quoted })
}

fn skip(text: &[u8], at: usize, most: usize, of: impl Fn(u8) -> bool) -> usize {
    at + text[at..].iter().take(most).take_while(|b| of(**b)).count()
}

/// Past `Bearer ` and its like.
fn skip_scheme(text: &[u8], at: usize) -> (usize, bool) {
    const SCHEMES: [&[u8]; 7] = [b"bearer ", b"basic ", b"token ", b"bot ", b"apikey ", b"digest ", b"negotiate "];
    for scheme in SCHEMES {
        if text.get(at..at + scheme.len()).is_some_and(|found| found.eq_ignore_ascii_case(scheme)) {
            return (at + scheme.len(), true);
        }
    }
    (at, false)
}

fn ends_bare(b: u8) -> bool {
    b.is_ascii_whitespace()
        || b < 0x20
        || matches!(b, b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'<' | b'>' | b')' | b']' | b'}' | b'|' | b'\\')
}

fn trim_punctuation(text: &[u8], start: usize, mut end: usize) -> usize {
    while end > start && matches!(text[end - 1], b'.' | b':' | b'?' | b'!') {
        end -= 1;
    }
    end
}

/// `machine host login name password value`.
fn is_netrc(text: &[u8], name: usize) -> bool {
    let before = &text[name.saturating_sub(160)..name];
    before.windows(6).any(|w| w == b"login ") && before.windows(8).any(|w| w == b"machine ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<&str> {
        let at = text.find("key").unwrap();
        let (name, _) = name_around(text.as_bytes(), at);
        value_of(text.as_bytes(), name, false).map(|value| &text[value.start..value.end])
    }

    #[test]
    fn values_are_found_however_they_are_written() {
        for text in [
            "MY_key=val1",
            "export key=\"val1\"",
            "{\"my_key\": \"val1\"}",
            "{\"my_key\" :\n  \"val1\"}",
            r#"{\"key\":\"val1\"}"#,
            "key => 'val1',",
            "<key>val1</key>",
            "tool --key val1 --more",
            "tool --key=val1",
            "https://x/?key=val1&b=c",
            "X-key: Bearer val1",
            "set(\"key\", \"val1\")",
            "The key is val1.",
            "key: val1",
            "conf['key'] = 'val1'",
        ] {
            assert_eq!(value(text), Some("val1"), "{text}");
        }
        assert_eq!(value(r#"{"key":"a\"b","c":1}"#), Some(r#"a\"b"#));
        assert_eq!(value(r#"{\"key\":\"a\\\"b\",\"c\":1}"#), Some(r#"a\\\"b"#));
        assert_eq!(value("a list: key, value"), None);
        assert_eq!(value("a keyboard"), None);
    }
}
