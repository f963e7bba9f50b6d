//! Secrets known by what stands around them: private keys, web tokens, passwords in addresses,
//! authorization headers, `curl -u`, Kubernetes secrets.
//!
//! Each finder gets the text and the place where its trigger was found. It answers with the secret,
//! or nothing; and looks at a bounded stretch of text, so that a text full of triggers stays cheap.
//! An empty range at the end of what it found says up to where it has looked.

use super::shape::entropy;

/// A range of bytes.
pub(super) type Range = (usize, usize);

/// A finder: the text, where its trigger starts and ends.
pub(super) type Finder = fn(&[u8], usize, usize, &mut Vec<Range>);

/// Rule, triggers (small letters), finder.
pub(super) const FINDERS: [(&str, &[&str], Finder); 7] = [
    ("private_key", &["-----begin ", "private-lines:"], private_key),
    ("jwt", &["eyj"], jwt),
    ("url_password", &["://"], url_password),
    ("bearer_token", &["bearer "], bearer),
    ("basic_auth", &["basic "], basic),
    ("curl_user", &[" -u ", " -u", "--user ", "--user=", "--proxy-user "], curl_user),
    ("kubernetes_secret", &["kind: secret", "kind: \"secret\""], kubernetes_secret),
];

/// A PEM block with all that follows until its end or, where it was cut, as far as the key reaches.
fn private_key(text: &[u8], at: usize, end: usize, found: &mut Vec<Range>) {
    let is_key = |b: &u8| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b"+/=\\:,-\"'.()".contains(b);
    if text[at] != b'-' {
        // PuTTY's form: lines of base64 after a count.
        let body = text[end..].iter().take_while(|b| is_key(b)).count();
        let stop = find(&text[end..end + body], b"Private-MAC").map_or(end + body, |stop| end + stop);
        found.push((end, stop));
        return;
    }
    let label = text[end..].iter().take(100).take_while(|b| **b != b'-').count();
    let is_private = find(&text[end..end + label], b"PRIVATE KEY").is_some();
    if !is_private || !text[end + label..].starts_with(b"-----") {
        return;
    }
    let body = end + label + 5;
    let run = text[body..].iter().take_while(|b| is_key(b)).count();
    let stop = match find(&text[body..body + run], b"-----END") {
        None => trim(text, body, body + run),
        Some(foot) => {
            let foot = body + foot + 8;
            let rest = text[foot..].iter().take(100).take_while(|b| **b != b'-').count();
            let dashes = text[foot + rest..].iter().take(5).take_while(|b| **b == b'-').count();
            if dashes == 0 { foot } else { foot + rest + dashes }
        }
    };
    found.push((at, stop));
}

fn trim(text: &[u8], start: usize, mut end: usize) -> usize {
    while end > start && !(text[end - 1].is_ascii_alphanumeric() || b"+/=".contains(&text[end - 1])) {
        end -= 1;
    }
    end
}

/// Three or five parts of base64url, the first of which is a JSON object; the last may be cut off.
fn jwt(text: &[u8], at: usize, _: usize, found: &mut Vec<Range>) {
    let inside = at.checked_sub(1).is_some_and(|before| text[before].is_ascii_alphanumeric());
    if inside || !text[at..].starts_with(b"eyJ") {
        return;
    }
    let run =
        |from: usize| text[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
    let mut end = at + run(at);
    if end - at < 12 || text.get(end) != Some(&b'.') {
        return;
    }
    let mut parts = 1;
    while parts < 5 && text.get(end) == Some(&b'.') {
        let more = run(end + 1);
        if more == 0 && parts > 1 {
            break;
        }
        end += 1 + more;
        parts += 1;
    }
    if end - at >= 24 {
        found.push((at, end));
    }
}

/// `scheme://user:password@host`, and `scheme://token@host` where the name is long and random.
fn url_password(text: &[u8], _: usize, end: usize, found: &mut Vec<Range>) {
    let stops = |b: &u8| b.is_ascii_whitespace() || b"\"'`<>\\{}|^".contains(b);
    let whole = text[end..].iter().take(512).take_while(|b| !stops(b)).count();
    let whole = &text[end..end + whole];
    // A password with a slash in it is wrong but common; so an `@` counts as far as a host may follow it.
    let authority = whole.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(whole.len());
    let at_sign = whole[..authority].iter().rposition(|b| *b == b'@').or_else(|| {
        let colon = whole[..authority].iter().position(|b| *b == b':')?;
        let port = whole[colon + 1..authority].iter().all(u8::is_ascii_digit);
        if port { None } else { whole.iter().position(|b| *b == b'@') }
    });
    let Some(at_sign) = at_sign else { return };
    let user_info = &whole[..at_sign];
    match user_info.iter().position(|b| *b == b':') {
        Some(colon) if colon + 1 < at_sign && !is_placeholder(&user_info[colon + 1..]) => {
            found.push((end + colon + 1, end + at_sign));
        }
        None if at_sign >= 20 && entropy(user_info) > 3.0 && has_digit(user_info) => found.push((end, end + at_sign)),
        _ => {}
    }
}

fn bearer(text: &[u8], _: usize, end: usize, found: &mut Vec<Range>) {
    let run = text[end..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-.~+/=".contains(b)).count();
    let token = &text[end..end + run];
    let sample = &token[..token.len().min(256)];
    if sample.len() >= 16 && has_digit(sample) && entropy(sample) > 3.0 {
        found.push((end, end + run));
    }
}

/// `Basic` and base64 of `user:password`.
fn basic(text: &[u8], _: usize, end: usize, found: &mut Vec<Range>) {
    let run = text[end..].iter().take(4096).take_while(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b)).count();
    let token = &text[end..end + run];
    if token.len() >= 8 && decodes_to_credentials(token) {
        found.push((end, end + run));
    }
}

fn decodes_to_credentials(base64: &[u8]) -> bool {
    let mut bits = 0u32;
    let mut count = 0;
    let mut colon = false;
    for b in base64.iter().filter(|b| **b != b'=') {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            let byte = (bits >> count) & 0xff;
            colon |= byte == u32::from(b':');
            if byte < 0x20 || byte == 0x7f {
                return false;
            }
        }
    }
    colon
}

/// `curl -u user:password`.
fn curl_user(text: &[u8], at: usize, end: usize, found: &mut Vec<Range>) {
    let line = text[at.saturating_sub(512)..at].rsplit(|b| *b == b'\n').next().unwrap_or_default();
    if find(line, b"curl").is_none() {
        return;
    }
    let quote = text.get(end).copied().filter(|b| matches!(b, b'"' | b'\'' | b'\\'));
    let start = end + text[end..].iter().take(3).take_while(|b| matches!(b, b'"' | b'\'' | b'\\')).count();
    let stops = |b: &u8| match quote {
        Some(_) => matches!(b, b'"' | b'\'' | b'\n' | b'\\'),
        None => b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'\\'),
    };
    let run = text[start..].iter().take(512).take_while(|b| !stops(b)).count();
    if let Some(colon) = text[start..start + run].iter().position(|b| *b == b':')
        && colon + 1 < run
        && !is_placeholder(&text[start + colon + 1..start + run])
    {
        found.push((start + colon + 1, start + run));
    }
}

/// The values under `data:` and `stringData:` of a YAML document of kind Secret.
fn kubernetes_secret(text: &[u8], at: usize, end: usize, found: &mut Vec<Range>) {
    let from = at.saturating_sub(4096);
    let start = rfind(&text[from..at], b"\n---").map_or(from, |place| from + place + 4);
    let until = (end + 16_384).min(text.len());
    let stop = find(&text[end..until], b"\n---").map_or(until, |place| end + place);
    let mut inside = None;
    let mut line_start = start;
    for line in text[start..stop].split_inclusive(|b| *b == b'\n') {
        let indent = line.iter().take_while(|b| **b == b' ').count();
        let trimmed = line.trim_ascii();
        if let Some(outer) = inside {
            if !trimmed.is_empty() && indent <= outer {
                inside = None;
            } else if !trimmed.is_empty() {
                let value = line.iter().position(|b| *b == b':').map_or(indent, |colon| colon + 1);
                let value = value + line[value..].iter().take_while(|b| b" \t\"'".contains(b)).count();
                let length = line[value..].trim_ascii_end().iter().take_while(|b| !b"\"'".contains(b)).count();
                if length >= 4 && !is_placeholder(&line[value..value + length]) {
                    found.push((line_start + value, line_start + value + length));
                }
            }
        }
        if matches!(trimmed, b"data:" | b"stringData:") {
            inside = Some(indent);
        }
        line_start += line.len();
    }
    found.push((stop, stop));
}

/// What stands where a secret would, and is none: a variable, a template, stars.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&str; 34] = [
        "null",
        "none",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "str",
        "any",
        "number",
        "boolean",
        "object",
        "optional",
        "required",
        "include",
        "omit",
        "same-origin",
        "bearer",
        "basic",
        "password",
        "passwd",
        "secret",
        "token",
        "key",
        "apikey",
        "api_key",
        "value",
        "env",
        "self",
        "this",
        "default",
        "unknown",
        "missing",
        "yes",
    ];
    let Some(first) = value.first() else { return true };
    let inner = || value.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.$(){}[]<>% :?!".contains(b));
    let is_reference = match first {
        b'$' => inner(),
        b'<' => value.ends_with(b">"),
        b'{' => value.starts_with(b"{{") || inner(),
        b'%' => value.len() > 2 && value.ends_with(b"%"),
        b'[' => inner(),
        _ => false,
    };
    is_reference
        || value.iter().all(|b| b == first)
        || value.iter().all(|b| b"*.xX-_#?".contains(b))
        || std::str::from_utf8(value).is_ok_and(|text| WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)))
}

pub(super) fn has_digit(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_digit)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(finder: Finder, text: &str, trigger: &str) -> Vec<String> {
        let at = text.find(trigger).unwrap_or_default();
        let mut ranges = vec![];
        finder(text.as_bytes(), at, at + trigger.len(), &mut ranges);
        ranges.iter().filter(|(start, end)| start < end).map(|(start, end)| text[*start..*end].to_owned()).collect()
    }

    #[test]
    fn passwords_in_addresses_are_found_and_ports_are_not() {
        assert_eq!(found(url_password, "postgres://bob:p4ss@db:5432/x", "://"), ["p4ss"]);
        assert_eq!(found(url_password, "redis://:p/4@ss@cache/0", "://"), ["p/4"]);
        assert_eq!(found(url_password, "amqp://u:a@b@host", "://"), ["a@b"]);
        assert!(found(url_password, "http://localhost:8080/a@b", "://").is_empty());
        assert!(found(url_password, "https://bob:${PASSWORD}@host", "://").is_empty());
        assert!(found(url_password, "https://git@host/x", "://").is_empty());
    }

    #[test]
    fn a_kubernetes_secret_loses_its_values() {
        let yaml = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: n\ndata:\n  a: YWJjZGVm\n  b: \"Z2hpamts\"\ntype: Opaque\n";
        assert_eq!(found(kubernetes_secret, yaml, "kind: Secret"), ["YWJjZGVm", "Z2hpamts"]);
    }

    #[test]
    fn basic_is_credentials_only_where_they_decode() {
        assert_eq!(found(basic, "Basic dXNlcjpwYXNz", "Basic "), ["dXNlcjpwYXNz"]);
        assert!(found(basic, "Basic principles of", "Basic ").is_empty());
    }
}
