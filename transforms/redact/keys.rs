//! What a name says of its value: `db_password` holds a secret, `max_tokens` does not.
//!
//! Names are taken apart into words (`apiKey`, `API_KEY`, `x_api_key` are the same two words), so that
//! `monkey`, `author` and `keyboard` are never mistaken for what they contain.

/// How sure a name makes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hint {
    /// The value may be a secret if it looks like one: `key`, `auth`.
    Weak,
    /// The value is a secret whatever it looks like: `password`, `api_key`, `authorization`.
    Secret,
    /// The value is a telephone number, if it is made of digits: `phone`.
    Phone,
}

/// Words that make a secret by themselves.
const SECRET: [&str; 37] = [
    "password",
    "passwd",
    "passwort",
    "passphrase",
    "passcode",
    "pwd",
    "pw",
    "pass",
    "secret",
    "secrets",
    "token",
    "authtoken",
    "accesstoken",
    "refreshtoken",
    "bearer",
    "authorization",
    "apikey",
    "apitoken",
    "apisecret",
    "secretkey",
    "privatekey",
    "accesskey",
    "authkey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "sessionkey",
    "clientsecret",
    "credential",
    "credentials",
    "creds",
    "cookie",
    "setcookie",
    "cvv",
    "accountkey",
    "sharedaccesskey",
    "storagekey",
];

const PHONE: [&str; 7] = ["phone", "telephone", "mobile", "msisdn", "e164", "whatsapp", "fax"];

/// Words that may make a secret.
const WEAK: [&str; 9] = ["key", "keys", "auth", "tokens", "access", "api", "dsn", "sig", "signature"];

/// `key` is a secret after one of these.
const SECRET_KEY_OF: [&str; 18] = [
    "api",
    "access",
    "secret",
    "private",
    "auth",
    "signing",
    "encryption",
    "master",
    "session",
    "service",
    "client",
    "account",
    "shared",
    "storage",
    "license",
    "admin",
    "deploy",
    "app",
];

/// A word that makes the name speak of the secret (its length, its place), not hold it.
const ABOUT: [&str; 76] = [
    "count",
    "counts",
    "id",
    "ids",
    "name",
    "names",
    "length",
    "len",
    "size",
    "type",
    "types",
    "limit",
    "limits",
    "url",
    "uri",
    "endpoint",
    "file",
    "filename",
    "path",
    "dir",
    "usage",
    "used",
    "expiry",
    "expires",
    "expiration",
    "ttl",
    "hint",
    "policy",
    "version",
    "format",
    "field",
    "fields",
    "prefix",
    "suffix",
    "header",
    "method",
    "scope",
    "status",
    "budget",
    "cost",
    "price",
    "rate",
    "per",
    "max",
    "min",
    "total",
    "input",
    "output",
    "prompt",
    "completion",
    "cached",
    "reasoning",
    "public",
    "pub",
    "index",
    "hash",
    "regex",
    "pattern",
    "cache",
    "etag",
    "partition",
    "sort",
    "primary",
    "foreign",
    "routing",
    "idempotency",
    "sha",
    "md5",
    "sha256",
    "digest",
    "checksum",
    "commit",
    "map",
    "bucket",
    "object",
    "locale",
];

/// Words before `token` that make it a place in a list, or a part of a text.
const HARMLESS_TOKEN: [&str; 14] = [
    "page",
    "next",
    "sync",
    "continuation",
    "pagination",
    "stop",
    "eos",
    "bos",
    "pad",
    "unk",
    "special",
    "start",
    "end",
    "first",
];

/// Attributes of OpenClaw's own whose names only sound like secrets: a session's name, a sort of token.
fn is_openclaws(name: &str) -> bool {
    name.strip_prefix("openclaw.").is_some_and(|name| name == "token" || is_session_key(name))
}

/// Whether this names a session key. OpenClaw's are names (`agent:main:main`); elsewhere they are keys.
pub(super) fn is_session_key(name: &str) -> bool {
    let mut last = words(name).into_iter().rev();
    matches!((last.next(), last.next()), (Some(key), Some(session))
        if key.eq_ignore_ascii_case("key") && session.eq_ignore_ascii_case("session"))
}

/// What the name says, or `None` where it says nothing.
pub(super) fn hint(name: &str) -> Option<Hint> {
    if !name.is_ascii() || name.len() > 128 || is_openclaws(name) {
        return None;
    }
    let words = words(name);
    let last = words.last()?;
    let is = |word: &str, list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(word));
    let has = |list: &[&str]| words.iter().any(|word| is(word, list));
    if has(&PHONE) || is(name, &["tel", "wa_id"]) {
        return Some(Hint::Phone);
    }
    if has(&ABOUT) && !is(name, &["id_token", "idToken"]) {
        return None;
    }
    if is(last, &["token", "tokens"]) && has(&HARMLESS_TOKEN) {
        return None;
    }
    if words.len() == 1 && is(last, &["pass", "pw"]) {
        // Alone, these have other meanings: a test passes.
        return Some(Hint::Weak);
    }
    let names_secret =
        has(&SECRET) || words.windows(2).any(|pair| is(pair[1], &["key"]) && is(pair[0], &SECRET_KEY_OF));
    if names_secret {
        return Some(Hint::Secret);
    }
    has(&WEAK).then_some(Hint::Weak)
}

/// The words of a name.
fn words(name: &str) -> Vec<&str> {
    let mut words = Vec::with_capacity(8);
    let bytes = name.as_bytes();
    let mut start = 0;
    for (at, b) in bytes.iter().copied().enumerate() {
        if !b.is_ascii_alphanumeric() {
            words.extend((start < at).then(|| &name[start..at]));
            start = at + 1;
            continue;
        }
        let before = at.checked_sub(1).map_or(b'_', |before| bytes[before]);
        let next_is_small = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        let starts_word = b.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && next_is_small));
        if starts_word && start < at {
            words.push(&name[start..at]);
            start = at;
        }
    }
    words.extend((start < bytes.len()).then(|| &name[start..]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in [
            "password",
            "DB_PASSWORD",
            "apiKey",
            "API_KEY",
            "x_api_key",
            "apikey",
            "client_secret",
            "clientSecret",
            "authorization",
            "Authorization",
            "access_token",
            "botToken",
            "AWS_SECRET_ACCESS_KEY",
            "token",
            "Set-Cookie",
            "private_key",
            "APIKey",
            "openai.api_key",
            "id_token",
            "TWILIO_AUTH_TOKEN",
        ] {
            assert_eq!(hint(name), Some(Hint::Secret), "{name}");
        }
        assert_eq!(hint("phoneNumber"), Some(Hint::Phone));
        assert_eq!(hint("key"), Some(Hint::Weak));
    }

    #[test]
    fn counts_names_and_other_words_are_left_alone() {
        for name in [
            "max_tokens",
            "input_tokens",
            "gen_ai.usage.output_tokens",
            "token_count",
            "monkey",
            "author",
            "keyboard",
            "secret_name",
            "password_policy",
            "nextPageToken",
            "token_type",
            "public_key",
            "tokenizer",
            "passed",
            "",
            "-",
            "total_tokens",
            "secretId",
            "tokens_per_second",
            "openclaw.token",
            "openclaw.session_key",
            "openclaw.sessionKey",
            "openclaw.run.parent_session_key",
        ] {
            assert_eq!(hint(name), None, "{name}");
        }
        assert_eq!(hint("session_key"), Some(Hint::Secret));
        assert_eq!(hint("openclaw.api_token"), Some(Hint::Secret));
    }
}
