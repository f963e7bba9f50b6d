//! Messages, written in either of OTLP's two forms.
//!
//! The mapping (`span`, `log`, `metric`) says once what a message holds, as calls of a [`Writer`]; the writer makes
//! protobuf or JSON of it at once. That sequence of calls is the one form between an event and the two encodings:
//! no tree is built of an event, so memory is the text that is written. The rules of the JSON form are OTLP's
//! ("JSON Protobuf Encoding"): names in lower camel case, 64-bit integers as strings, enums as numbers, ids in hex.
//!
//! Lengths in protobuf are as short as can be: a message that turns out longer than 127 bytes is moved to make room for
//! its length. Padded lengths would spare that, but not every reader of protobuf takes them.

use engine::json::push_escaped;

/// A field of a message: its name in JSON and its number in protobuf.
pub(super) type Field = (&'static str, u32);

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Writes one message, or a list of them.
#[derive(Debug)]
pub(super) struct Writer {
    form: Form,
    out: Vec<u8>,
}

// Wire types of protobuf.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;

impl Writer {
    pub(super) fn new(form: Form) -> Self {
        Self { form, out: Vec::new() }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// What was written since the last [`Writer::clear`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Begins anew, in the same memory.
    pub(super) fn clear(&mut self) {
        self.out.clear();
    }

    /// A string.
    pub(super) fn text(&mut self, field: Field, text: &str) {
        match self.form {
            Form::Protobuf => self.length_delimited(field.1, text.as_bytes()),
            Form::Json => {
                self.name(field.0);
                self.push_text(text);
            }
        }
    }

    /// An id: bytes, in JSON as hex.
    pub(super) fn id(&mut self, field: Field, id: &[u8]) {
        match self.form {
            Form::Protobuf => self.length_delimited(field.1, id),
            Form::Json => {
                self.name(field.0);
                self.push_text(&super::ids::hex(id));
            }
        }
    }

    /// An enum or a `uint32`.
    pub(super) fn number(&mut self, field: Field, value: u32) {
        match self.form {
            Form::Protobuf => {
                self.key(field.1, VARINT);
                self.varint(value.into());
            }
            Form::Json => self.literal(field.0, &value.to_string()),
        }
    }

    /// A `bool`.
    pub(super) fn flag(&mut self, field: Field, value: bool) {
        match self.form {
            Form::Protobuf => {
                self.key(field.1, VARINT);
                self.varint(value.into());
            }
            Form::Json => self.literal(field.0, if value { "true" } else { "false" }),
        }
    }

    /// An `int64`.
    pub(super) fn integer(&mut self, field: Field, value: i64) {
        match self.form {
            Form::Protobuf => {
                self.key(field.1, VARINT);
                self.varint(value.cast_unsigned());
            }
            Form::Json => self.literal(field.0, &format!("\"{value}\"")),
        }
    }

    /// A `fixed64`: a time, or a count.
    pub(super) fn fixed64(&mut self, field: Field, value: u64) {
        match self.form {
            Form::Protobuf => {
                self.key(field.1, FIXED64);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Form::Json => self.literal(field.0, &format!("\"{value}\"")),
        }
    }

    /// An `sfixed64`.
    pub(super) fn signed_fixed64(&mut self, field: Field, value: i64) {
        match self.form {
            Form::Protobuf => self.fixed64(field, value.cast_unsigned()),
            Form::Json => self.integer(field, value),
        }
    }

    /// A `double`.
    pub(super) fn double(&mut self, field: Field, value: f64) {
        match self.form {
            Form::Protobuf => self.fixed64(field, value.to_bits()),
            Form::Json => self.literal(field.0, &double(value)),
        }
    }

    /// A list of `fixed64`, packed.
    pub(super) fn fixed64s(&mut self, field: Field, values: &[u64]) {
        match self.form {
            Form::Protobuf => self.packed(field.1, values.iter().copied()),
            Form::Json => self.literals(field.0, values.iter().map(|value| format!("\"{value}\""))),
        }
    }

    /// A list of `double`, packed.
    pub(super) fn doubles(&mut self, field: Field, values: &[f64]) {
        match self.form {
            Form::Protobuf => self.packed(field.1, values.iter().map(|value| value.to_bits())),
            Form::Json => self.literals(field.0, values.iter().map(|value| double(*value))),
        }
    }

    /// A message inside this one.
    pub(super) fn message<T>(&mut self, field: Field, inside: impl FnOnce(&mut Self) -> T) -> T {
        if self.form == Form::Json {
            self.name(field.0);
        }
        self.item(field, inside)
    }

    /// A list of messages: `inside` writes each by [`Writer::item`], with the same field.
    pub(super) fn list<T>(&mut self, field: Field, inside: impl FnOnce(&mut Self) -> T) -> T {
        if self.form == Form::Protobuf {
            return inside(self);
        }
        self.name(field.0);
        self.out.push(b'[');
        let answer = inside(self);
        self.out.push(b']');
        answer
    }

    /// One message of a list.
    pub(super) fn item<T>(&mut self, field: Field, inside: impl FnOnce(&mut Self) -> T) -> T {
        if self.form == Form::Json {
            self.comma();
            self.out.push(b'{');
            let answer = inside(self);
            self.out.push(b'}');
            return answer;
        }
        self.key(field.1, LENGTH);
        // Most messages are short enough for a length of one byte.
        let place = self.out.len();
        self.out.push(0);
        let answer = inside(self);
        let length = self.out.len() - place - 1;
        let written = Varint::of(length as u64);
        match written.bytes() {
            [one] => self.out[place] = *one,
            more => drop(self.out.splice(place..=place, more.iter().copied())),
        }
        answer
    }

    fn key(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }

    fn varint(&mut self, value: u64) {
        self.out.extend_from_slice(Varint::of(value).bytes());
    }

    fn length_delimited(&mut self, number: u32, bytes: &[u8]) {
        self.key(number, LENGTH);
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn packed(&mut self, number: u32, values: impl ExactSizeIterator<Item = u64>) {
        if values.len() == 0 {
            return;
        }
        self.key(number, LENGTH);
        self.varint(values.len() as u64 * 8);
        for value in values {
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// The comma before a further member or element.
    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn literal(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn literals(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.literal(name, &format!("[{}]", values.collect::<Vec<_>>().join(",")));
    }

    fn push_text(&mut self, text: &str) {
        let mut quoted = String::with_capacity(text.len() + 2);
        push_escaped(&mut quoted, text);
        self.out.extend_from_slice(quoted.as_bytes());
    }
}

/// A number in JSON: the shortest text that reads back as the same double.
fn double(value: f64) -> String {
    if value.is_finite() {
        format!("{value:?}")
    } else if value.is_nan() {
        "\"NaN\"".to_owned()
    } else {
        format!("\"{}Infinity\"", if value < 0.0 { "-" } else { "" })
    }
}

/// A number in base 128, least first: at most ten bytes.
struct Varint {
    bytes: [u8; 10],
    length: usize,
}

impl Varint {
    fn of(mut value: u64) -> Self {
        let (mut bytes, mut length) = ([0; 10], 1);
        while value >= 0x80 {
            bytes[length - 1] = (value & 0x7f) as u8 | 0x80;
            value >>= 7;
            length += 1;
        }
        bytes[length - 1] = (value & 0x7f) as u8;
        Self { bytes, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The key and the length that stand before a message of so many bytes, in protobuf.
pub(super) fn head(field: Field, length: usize) -> Vec<u8> {
    let mut writer = Writer::new(Form::Protobuf);
    writer.key(field.1, LENGTH);
    writer.varint(length as u64);
    writer.out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Writer)) -> (Vec<u8>, String) {
        let [protobuf, json] = [Form::Protobuf, Form::Json].map(|form| {
            let mut writer = Writer::new(form);
            write(&mut writer);
            writer.bytes().to_vec()
        });
        (protobuf, String::from_utf8(json).unwrap())
    }

    #[test]
    fn each_type_has_its_two_forms() {
        let (protobuf, json) = both(|out| {
            out.text(("a", 1), "é\"");
            out.id(("b", 2), &[0xab, 1]);
            out.number(("c", 3), 300);
            out.flag(("d", 4), true);
            out.integer(("e", 5), -1);
            out.fixed64(("f", 6), 5);
            out.double(("g", 7), 1.0);
            out.doubles(("h", 8), &[0.5, f64::INFINITY]);
            out.fixed64s(("i", 9), &[]);
        });
        let expected = r#""a":"é\"","b":"ab01","c":300,"d":true,"e":"-1","f":"5","g":1.0,"h":[0.5,"Infinity"],"i":[]"#;
        assert_eq!(json, expected);
        let mut bytes = vec![0x0a, 3, 0xc3, 0xa9, b'"', 0x12, 2, 0xab, 1, 0x18, 0xac, 2, 0x20, 1, 0x28];
        bytes.extend([0xff; 9]);
        bytes.extend([1, 0x31, 5, 0, 0, 0, 0, 0, 0, 0, 0x39]);
        bytes.extend(1.0f64.to_le_bytes());
        bytes.extend([0x42, 16]);
        bytes.extend(0.5f64.to_le_bytes());
        bytes.extend(f64::INFINITY.to_le_bytes());
        assert_eq!(protobuf, bytes);
    }

    #[test]
    fn messages_nest_and_a_long_one_gets_its_length_in_two_bytes() {
        let text = "x".repeat(200);
        let (protobuf, json) = both(|out| {
            out.message(("m", 1), |out| {
                out.list(("l", 2), |out| {
                    out.item(("l", 2), |_| ());
                    out.item(("l", 2), |out| out.text(("t", 1), &text));
                });
                out.number(("n", 3), 0);
            });
        });
        assert_eq!(json, format!(r#""m":{{"l":[{{}},{{"t":"{text}"}}],"n":0}}"#));
        let mut expected = vec![0x0a, 0xd2, 1, 0x12, 0, 0x12, 0xcb, 1, 0x0a, 0xc8, 1];
        expected.extend(text.as_bytes());
        expected.extend([0x18, 0]);
        assert_eq!(protobuf, expected);
        assert_eq!(head(("m", 1), 210), [0x0a, 0xd2, 1]);
    }
}
