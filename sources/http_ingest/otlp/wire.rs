//! Protocol Buffers' wire format, read in place.
//!
//! A message is walked field by field over the bytes that it came in; nothing is built of it. That is
//! what keeps memory in bounds: two bytes of a hostile body are an empty span, which a decoder that
//! builds structs makes a hundred times as large (`docs/decisions.md` has the figures).

use std::borrow::Cow;

/// The bytes are no message: where, and what about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// One field's value. A field's number says what it means, its type only how it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field<'a> {
    /// Integers, booleans, enums.
    Varint(u64),
    /// `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// Strings, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// `fixed32` and what else is of no use here.
    Other,
}

impl<'a> Field<'a> {
    /// The bytes of a string, message or packed list; nothing for a number.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// A string; what is no UTF-8 in it is replaced.
    pub(crate) fn text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// An integer, however it was written.
    pub(crate) fn integer(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Bytes(_) | Self::Other => 0,
        }
    }

    /// A `double`.
    pub(crate) fn double(self) -> f64 {
        f64::from_bits(self.integer())
    }
}

/// The fields of a message, in the order they were written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// Over these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next field: its number and value.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Field::Fixed64(u64::from_le_bytes(bytes.try_into().map_err(|_| Malformed("a number is cut short"))?))
            }
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Field::Other
            }
            _ => return Err(Malformed("a field has a type that protobuf 3 does not know")),
        };
        match key >> 3 {
            0 => Err(Malformed("a field has the number 0")),
            number => Ok(Some((number, value))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return Err(Malformed("a field is longer than what is left of its message"));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a number has no end"))
    }
}

/// The numbers of a list of `fixed64` or `double`, packed or one of an unpacked list.
pub(crate) fn fixed64s(field: Field<'_>) -> impl Iterator<Item = u64> + '_ {
    let single = match field {
        Field::Fixed64(value) => Some(value),
        _ => None,
    };
    let packed = field.bytes().chunks_exact(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        u64::from_le_bytes(bytes)
    });
    single.into_iter().chain(packed)
}

/// Writes messages. Lengths are written in five bytes and filled in afterwards, so that a nested
/// message needs no buffer of its own.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    pub(crate) fn key(&mut self, number: u64, wire_type: u64) {
        self.varint(number << 3 | wire_type);
    }

    pub(crate) fn integer(&mut self, number: u64, value: u64) {
        self.key(number, 0);
        self.varint(value);
    }

    pub(crate) fn fixed64(&mut self, number: u64, value: u64) {
        self.key(number, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.key(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Begins a nested message; [`Writer::end`] takes what this answers.
    pub(crate) fn begin(&mut self, number: u64) -> usize {
        self.key(number, 2);
        self.0.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0]);
        self.0.len()
    }

    pub(crate) fn end(&mut self, begun: usize) {
        let mut length = self.0.len() - begun;
        for byte in &mut self.0[begun - 5..begun] {
            *byte |= (length & 0x7f) as u8;
            length >>= 7;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Writer::default();
        out.integer(1, 300);
        out.fixed64(2, 2.5f64.to_bits());
        let nested = out.begin(3);
        out.bytes(4, b"text");
        out.end(nested);
        let mut read = Message::new(&out.0);
        assert_eq!(read.next().unwrap(), Some((1, Field::Varint(300))));
        let (number, value) = read.next().unwrap().unwrap();
        assert_eq!((number, value.double().to_bits()), (2, 2.5f64.to_bits()));
        let (number, nested) = read.next().unwrap().unwrap();
        assert_eq!(number, 3);
        assert_eq!(Message::new(nested.bytes()).next().unwrap(), Some((4, Field::Bytes(b"text"))));
        assert_eq!(read.next().unwrap(), None);
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        assert!(Message::new(&[0x0a, 5, 1]).next().is_err());
        assert!(Message::new(&[0x09, 1]).next().is_err());
        assert!(Message::new(&[0xff; 11]).next().is_err());
        assert!(Message::new(&[0x0b]).next().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut message = Message::new(&bytes);
            while let Ok(Some((_, field))) = message.next() {
                let _ = (field.text(), field.integer(), fixed64s(field).count());
            }
        }
    }
}
