//! Who sent it: OTLP's `Resource` and `InstrumentationScope`.

use super::value::{Object, key_value};
use super::wire::{Malformed, Message};

/// The attributes of a resource that each of its events keeps. The rest (command line with the
/// user's message, paths, versions of the runtime) says nothing about the event and would be the
/// larger half of it.
const KEPT: [&str; 5] = ["service.name", "service.version", "service.instance.id", "host.name", "process.pid"];

/// A resource and a scope, as far as events need them.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// The kept attributes, as members of a JSON object.
    pub(super) members: String,
    /// Tells one sender from another.
    pub(super) identity: [u8; 16],
    /// Whose it is, where agents are told apart; else empty.
    pub(super) realm: String,
}

impl Origin {
    /// Reads a `Resource` of `realm`.
    pub(super) fn read(bytes: &[u8], realm: &str) -> Result<Self, Malformed> {
        let mut kept = Object::default();
        let mut all = Vec::new();
        let mut message = Message::new(bytes);
        while let Some((number, field)) = message.next()? {
            if number != 1 {
                continue;
            }
            let (key, value) = key_value(field.bytes())?;
            if KEPT.contains(&&*key) {
                kept.add(&key, &value);
            }
            // Short names for long lists: only the identity is wanted of them.
            let mut text = String::new();
            value.push_bounded(&mut text)?;
            all.push(engine::identity::digest(&[key.as_bytes(), text.as_bytes()]));
        }
        // The order of attributes means nothing.
        all.sort_unstable();
        let mut identity = engine::identity::digest(&[&all.concat()]);
        if !realm.is_empty() {
            identity = engine::identity::digest(&[&identity, realm.as_bytes()]);
        }
        Ok(Self { members: kept.members().to_owned(), identity, realm: realm.to_owned() })
    }
}

/// Field `wanted` of a message: the bytes of the last one, as protobuf has it.
pub(super) fn field(bytes: &[u8], wanted: u64) -> Result<&[u8], Malformed> {
    let mut found: &[u8] = &[];
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if number == wanted {
            found = field.bytes();
        }
    }
    Ok(found)
}
