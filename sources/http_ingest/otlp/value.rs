//! Attributes: OTLP's `AnyValue` and `KeyValue`, as JSON.

use std::borrow::Cow;

use engine::json::{Members, push_escaped, quoted};

use super::wire::{Malformed, Message};

/// Deeper values are refused: no reader downstream has to recurse deeper.
pub(crate) const MAX_DEPTH: usize = 16;

/// The most bytes of JSON that one value may become. Control characters take six bytes there for one,
/// so a body within its bounds could become several times the memory budget.
pub(crate) const MAX_VALUE: usize = 4 * 1024 * 1024;

/// The most bytes of JSON that the attributes of one span, record or point may become, without what is
/// its input and output. Less than a value, since a text that grows is held twice while it does.
const MAX_ATTRIBUTES: usize = 1024 * 1024;

/// More than the bounds above.
pub(crate) const TOO_LARGE: Malformed =
    Malformed("its attributes are larger than 1 MiB as JSON, or its input or output than 4 MiB");

/// A value; what is no scalar is JSON already.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Arrays, key-value lists; bytes as a base64 string.
    Json(String),
}

impl<'a> Value<'a> {
    /// Reads an `AnyValue`.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::read_at(bytes, 0)
    }

    fn read_at(bytes: &'a [u8], depth: usize) -> Result<Self, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("a value is nested too deep"));
        }
        let mut value = Self::Null;
        let mut message = Message::new(bytes);
        while let Some((number, field)) = message.next()? {
            value = match number {
                1 => Self::Text(field.text()),
                2 => Self::Bool(field.integer() != 0),
                3 => Self::Int(field.integer().cast_signed()),
                4 => Self::Double(field.double()),
                5 => Self::Json(array(field.bytes(), depth)?),
                6 => Self::Json(object(field.bytes(), depth)?),
                7 => Self::Json(quoted(&data_encoding::BASE64.encode(field.bytes()))),
                _ => continue,
            };
        }
        Ok(value)
    }

    /// Appends it as JSON. JSON has no NaN and no infinity: they become strings, as in OTLP's JSON.
    fn push_json(&self, out: &mut String) {
        use std::fmt::Write as _;
        let _ = match self {
            Self::Null => out.write_str("null"),
            Self::Text(text) => {
                push_escaped(out, text);
                Ok(())
            }
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Double(value) => {
                push_number(out, *value);
                Ok(())
            }
            Self::Json(text) => out.write_str(text),
        };
    }

    /// An upper bound of the bytes that [`Value::push_json`] appends.
    fn json_len(&self) -> usize {
        match self {
            Self::Text(text) => {
                let long = text.bytes().filter(|byte| *byte < 0x20).count();
                let quoted = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
                text.len() + 5 * long + quoted + 2
            }
            Self::Json(text) => text.len(),
            _ => 32,
        }
    }

    /// Appends it as JSON, unless `out` would become too large.
    ///
    /// # Errors
    /// [`TOO_LARGE`].
    pub(crate) fn push_bounded(&self, out: &mut String) -> Result<(), Malformed> {
        if out.len() + self.json_len() > MAX_VALUE {
            return Err(TOO_LARGE);
        }
        self.push_json(out);
        Ok(())
    }

    /// As text, where it is text and not empty.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        }
    }
}

/// Appends a number; one that JSON cannot write becomes a string.
pub(crate) fn push_number(out: &mut String, value: f64) {
    use std::fmt::Write as _;
    // Whole numbers without ".0": a client's 3 comes back as 3.
    let _ = if value.is_finite() {
        if value.fract() == 0.0 && value.abs() < 1e15 { write!(out, "{value:.0}") } else { write!(out, "{value:?}") }
    } else if value.is_nan() {
        out.write_str("\"NaN\"")
    } else {
        write!(out, "\"{}Infinity\"", if value < 0.0 { "-" } else { "" })
    };
}

fn array(bytes: &[u8], depth: usize) -> Result<String, Malformed> {
    let mut out = String::from("[");
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if number == 1 {
            comma(&mut out);
            Value::read_at(field.bytes(), depth + 1)?.push_bounded(&mut out)?;
        }
    }
    out.push(']');
    Ok(out)
}

fn object(bytes: &[u8], depth: usize) -> Result<String, Malformed> {
    let mut out = String::from("{");
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if number == 1 {
            let (key, value) = key_value_at(field.bytes(), depth + 1)?;
            comma(&mut out);
            push_escaped(&mut out, &key);
            out.push(':');
            value.push_bounded(&mut out)?;
        }
    }
    out.push('}');
    Ok(out)
}

fn comma(out: &mut String) {
    if out.len() > 1 {
        out.push(',');
    }
}

/// Reads a `KeyValue`.
pub(crate) fn key_value(bytes: &[u8]) -> Result<(Cow<'_, str>, Value<'_>), Malformed> {
    key_value_at(bytes, 0)
}

fn key_value_at(bytes: &[u8], depth: usize) -> Result<(Cow<'_, str>, Value<'_>), Malformed> {
    let (mut key, mut value) = (Cow::Borrowed(""), Value::Null);
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => key = field.text(),
            2 => value = Value::read_at(field.bytes(), depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Attributes that are being written, within [`MAX_ATTRIBUTES`].
#[derive(Debug, Default)]
pub(crate) struct Object {
    members: Members,
    too_large: bool,
}

impl Object {
    /// Adds a member.
    pub(crate) fn add(&mut self, key: &str, value: &Value<'_>) {
        if self.members.as_str().len() + 6 * key.len() + value.json_len() > MAX_ATTRIBUTES {
            self.too_large = true;
            return;
        }
        match value {
            Value::Text(text) => self.members.add_text(key, text),
            Value::Json(json) => self.members.add(key, json),
            scalar => {
                let mut json = String::new();
                scalar.push_json(&mut json);
                self.members.add(key, &json);
            }
        }
    }

    /// Adds a text.
    pub(crate) fn add_text(&mut self, key: &str, text: &str) {
        self.add(key, &Value::Text(Cow::Borrowed(text)));
    }

    /// Adds a number.
    pub(crate) fn add_number(&mut self, key: &str, number: f64) {
        self.add(key, &Value::Double(number));
    }

    /// Adds what is JSON already.
    pub(crate) fn add_json(&mut self, key: &str, json: String) {
        self.add(key, &Value::Json(json));
    }

    /// Adds the members of another.
    pub(crate) fn add_all(&mut self, members: &str) {
        self.members.add_members(members);
    }

    /// The members, without braces.
    pub(crate) fn members(&self) -> &str {
        self.members.as_str()
    }

    /// The object, or nothing where it has no member.
    ///
    /// # Errors
    /// [`TOO_LARGE`], where a member was left out for that.
    pub(crate) fn finish(self) -> Result<Option<engine::Json>, Malformed> {
        if self.too_large {
            return Err(TOO_LARGE);
        }
        // Every member was written as JSON, at most as deep as `MAX_DEPTH`.
        Ok((!self.members.is_empty()).then(|| self.members.finish().ok()).flatten())
    }
}
