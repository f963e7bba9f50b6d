//! JSON kept as text.
//!
//! An event's `input`, `output` and `attributes` are arbitrary JSON. A parsed tree of hostile
//! JSON can be sixteen times its text (`[0,0,0,…]`), which no budget in bytes would survive, so
//! the engine keeps valid JSON as text and walks its tokens where a transform needs them.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Nesting beyond this is refused: no reader downstream has to recurse deeper.
pub const MAX_DEPTH: usize = 128;

/// Valid JSON text, at most [`MAX_DEPTH`] levels deep.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not taken as [`Json`].
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("not valid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// One string met by [`Json::rewrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// An object's key.
    Key,
    /// A string value; `key` is the nearest object key above it, unescaped, if there is one.
    Value {
        /// The nearest enclosing object key.
        key: Option<&'a str>,
    },
}

impl Json {
    /// Takes a text after checking it.
    ///
    /// # Errors
    /// [`JsonError`] when it is not JSON or too deep.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Self::from_raw(raw)
    }

    /// Takes text that serde_json has already checked; copies it, so that nothing keeps the
    /// buffer it was read from.
    ///
    /// # Errors
    /// [`JsonError::TooDeep`].
    pub fn from_raw(raw: &RawValue) -> Result<Self, JsonError> {
        if depth(raw.get()) > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        Ok(Self(raw.get().into()))
    }

    /// Any serialisable value.
    ///
    /// # Errors
    /// When the value cannot be written as JSON (a map with keys that are no strings).
    pub fn from_value<T: serde::Serialize>(value: &T) -> Result<Self, JsonError> {
        let text = serde_json::to_string(value)?;
        if depth(&text) > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length of the text in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: JSON text has at least one byte. Here because clippy asks for it beside `len`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the text is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    /// Walks every string, keys included, in document order, and lets `f` replace it.
    ///
    /// `f` gets the place and the unescaped string (a lone surrogate reads as U+FFFD) and answers
    /// `None` to leave it as it is. Returns the new text, or `None` when nothing was replaced.
    pub fn rewrite(&self, mut f: impl FnMut(Place<'_>, &str) -> Option<String>) -> Option<Self> {
        let text: &str = &self.0;
        let bytes = text.as_bytes();
        let mut out: Option<String> = None;
        let mut copied = 0;
        // One entry for each open container: the key in force inside it.
        let mut keys: Vec<Option<String>> = vec![None];
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'{' | b'[' => {
                    let inherited = keys.last().cloned().flatten();
                    keys.push(inherited);
                    at += 1;
                }
                b'}' | b']' => {
                    keys.pop();
                    at += 1;
                }
                b'"' => {
                    let end = string_end(bytes, at);
                    let content = unescape(&text[at + 1..end - 1]);
                    let is_key = is_key(bytes, end);
                    let place =
                        if is_key { Place::Key } else { Place::Value { key: keys.last().and_then(|k| k.as_deref()) } };
                    let replacement = f(place, &content);
                    if is_key && let Some(slot) = keys.last_mut() {
                        // The key as it was sent: a rule on key names must not be fooled by
                        // what another rule made of the key.
                        *slot = Some(content.into_owned());
                    }
                    if let Some(new) = replacement {
                        let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
                        out.push_str(&text[copied..at]);
                        push_escaped(out, &new);
                        copied = end;
                    }
                    at = end;
                }
                _ => at += 1,
            }
        }
        let mut out = out?;
        out.push_str(&text[copied..]);
        Some(Self(out.into()))
    }
}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Index just past the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A string is a key exactly when a colon follows it.
fn is_key(bytes: &[u8], mut at: usize) -> bool {
    while at < bytes.len() && bytes[at].is_ascii_whitespace() {
        at += 1;
    }
    bytes.get(at) == Some(&b':')
}

fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut now, mut deepest) = (0, 0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
                at += 1;
            }
            b'}' | b']' => {
                now -= 1;
                at += 1;
            }
            b'"' => at = string_end(bytes, at),
            _ => at += 1,
        }
    }
    deepest
}

/// The members of a JSON object, being written. Empty, it takes no memory.
#[derive(Debug, Clone, Default)]
pub struct Members(String);

impl Members {
    /// Those of an object.
    #[must_use]
    pub fn of(object: &Json) -> Self {
        let mut members = Self::default();
        members.add_object(object.as_str());
        members
    }

    /// Adds a member; `json` is JSON text already. A name that is there is not looked for: of two, readers
    /// take the last.
    pub fn add(&mut self, name: &str, json: &str) {
        self.separate();
        push_escaped(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(json);
    }

    /// Adds a member that is a text.
    pub fn add_text(&mut self, name: &str, text: &str) {
        self.separate();
        push_escaped(&mut self.0, name);
        self.0.push(':');
        push_escaped(&mut self.0, text);
    }

    /// Adds the members of an object, given as JSON text.
    pub fn add_object(&mut self, object: &str) {
        let object = object.trim();
        self.add_members(object.get(1..object.len().saturating_sub(1)).unwrap_or_default().trim());
    }

    /// Adds members that were written before ([`Members::as_str`]).
    pub fn add_members(&mut self, members: &str) {
        if !members.is_empty() {
            self.separate();
            self.0.push_str(members);
        }
    }

    /// The members, without braces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object.
    ///
    /// # Errors
    /// [`JsonError`], where what was added as JSON is none, or too deep.
    pub fn finish(self) -> Result<Json, JsonError> {
        Json::parse(&self.into_text())
    }

    /// The object as text, as far as what was added as JSON is JSON.
    #[must_use]
    pub fn into_text(mut self) -> String {
        self.0.insert(0, '{');
        self.0.push('}');
        self.0
    }

    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
    }
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub fn push_escaped(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                use std::fmt::Write as _;
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `text` as a JSON string with its quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_escaped(&mut out, text);
    out
}

/// The text that the inside of a JSON string stands for. A lone surrogate, which JSON text may
/// hold and UTF-8 may not, becomes U+FFFD.
#[must_use]
pub fn unescape(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        let escape = rest.as_bytes().get(slash + 1).copied().unwrap_or(b'\\');
        let mut used = slash + 2;
        match escape {
            b'n' => out.push('\n'),
            b't' => out.push('\t'),
            b'r' => out.push('\r'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let unit = hex4(rest, slash + 2);
                used = slash + 6;
                let low = (0xD800..0xDC00)
                    .contains(&unit)
                    .then(|| rest.get(used..used + 2).filter(|s| *s == "\\u").map(|_| hex4(rest, used + 2)))
                    .flatten()
                    .filter(|low| (0xDC00..0xE000).contains(low));
                if let Some(low) = low {
                    used += 6;
                    let scalar = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                    out.push(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
                } else {
                    out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
            other => out.push(char::from(other)),
        }
        rest = rest.get(used..).unwrap_or("");
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn hex4(text: &str, at: usize) -> u32 {
    text.get(at..at + 4).and_then(|h| u32::from_str_radix(h, 16).ok()).unwrap_or(0xFFFD)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_string_is_met_with_its_nearest_key() {
        let json = Json::parse(r#"{"a":["x",{"b":"y"}],"c": "z\n"}"#).unwrap();
        let mut seen = vec![];
        let unchanged = json.rewrite(|place, text| {
            seen.push(format!("{place:?} {text}"));
            None
        });
        assert!(unchanged.is_none());
        assert_eq!(
            seen,
            [
                "Key a",
                "Value { key: Some(\"a\") } x",
                "Key b",
                "Value { key: Some(\"b\") } y",
                "Key c",
                "Value { key: Some(\"c\") } z\n"
            ]
        );
    }

    #[test]
    fn behind_a_closed_container_the_key_around_it_is_in_force_again() {
        let json = Json::parse(r#"{"password":[{"user":"x"},["y"],"z"],"b":"w"}"#).unwrap();
        let mut seen = vec![];
        json.rewrite(|place, text| {
            if let Place::Value { key } = place {
                seen.push(format!("{}: {text}", key.unwrap_or_default()));
            }
            None
        });
        assert_eq!(seen, ["user: x", "password: y", "password: z", "b: w"]);
    }

    #[test]
    fn the_greatest_depth_is_taken_and_one_more_is_not() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [MAX_DEPTH, MAX_DEPTH + 1] {
            let value: serde_json::Value =
                (1..depth).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
            assert_eq!(Json::parse(&nested(depth)).is_ok(), depth == MAX_DEPTH);
            assert_eq!(Json::from_value(&value).is_ok(), depth == MAX_DEPTH);
        }
        assert!(!Json::parse("1").unwrap().is_empty());
    }

    #[test]
    fn members_are_joined_whatever_they_come_from() {
        let mut members = Members::of(&Json::parse(" { } ").unwrap());
        assert!(members.is_empty());
        members.add("a", "[1]");
        members.add_text("b\"", "x\n");
        members.add_object(r#"{ "c": {} }"#);
        members.add_object("{}");
        members.add_members(r#""d":null"#);
        assert_eq!(members.finish().unwrap().as_str(), r#"{"a":[1],"b\"":"x\n","c": {},"d":null}"#);
    }

    #[test]
    fn deep_json_is_refused_not_recursed_into() {
        let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(Json::parse(&text), Err(JsonError::TooDeep)));
    }

    #[test]
    fn a_key_is_a_key_whatever_space_stands_before_its_colon() {
        let json = Json::parse("{\"password\" \t\r\n: \"x\",\"b\":\"y\" }").unwrap();
        let mut seen = vec![];
        json.rewrite(|place, text| {
            seen.push(format!("{place:?} {text}"));
            None
        });
        assert_eq!(
            seen,
            ["Key password", "Value { key: Some(\"password\") } x", "Key b", "Value { key: Some(\"b\") } y"]
        );
        // A string at the very end has nothing behind it.
        assert!(Json::parse("\"z\"").unwrap().rewrite(|place, _| Some(format!("{place:?}"))).is_some());
    }

    #[test]
    fn depth_is_how_deep_and_not_how_many() {
        let wide = format!("[{}[]]", "[{}],".repeat(1000));
        assert!(Json::parse(&wide).is_ok());
    }

    #[test]
    fn every_control_character_is_escaped() {
        let all: String = (0..=0x20).filter_map(char::from_u32).collect();
        let mut quoted = String::new();
        push_escaped(&mut quoted, &all);
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), all);
        assert_eq!(unescape(&quoted[1..quoted.len() - 1]), all);
        assert!(quoted.ends_with(" \""), "a space is none: {quoted}");
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        assert_eq!(unescape(r"a\ud800b\ude00\ud83d\ude00"), "a\u{fffd}b\u{fffd}😀");
        let behind = "what stands behind a pair is not lost, however long it is";
        assert_eq!(unescape(&format!(r"\ud83d\ude00{behind}")), format!("😀{behind}"));
    }

    proptest! {
        #[test]
        fn escape_then_unescape_is_identity(text in any::<String>()) {
            let mut quoted = String::new();
            push_escaped(&mut quoted, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text.clone());
            prop_assert_eq!(unescape(&quoted[1..quoted.len() - 1]).into_owned(), text);
        }

        #[test]
        fn rewriting_every_string_to_itself_keeps_the_meaning(texts in prop::collection::vec(any::<String>(), 0..8)) {
            let json = Json::from_value(&texts).unwrap();
            let again = json.rewrite(|_, text| Some(text.to_owned())).unwrap_or(json);
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(again.as_str()).unwrap(), texts);
        }
    }
}
