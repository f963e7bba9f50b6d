//! Identities made of what an event is, so that the same thing told twice is one event.

use sha2::{Digest as _, Sha256};
use uuid::Builder;

use crate::TraceId;

impl TraceId {
    /// The identity that the same parts always give: SHA-256 over the parts with their lengths, in
    /// the form of a UUID version 8 (RFC 9562: custom).
    #[must_use]
    pub fn derived(parts: &[&[u8]]) -> Self {
        Self::from_bytes(Builder::from_custom_bytes(digest(parts)).into_uuid().into_bytes())
    }
}

/// The first 16 bytes of the SHA-256 over the parts and their lengths.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_identity_and_other_cuts_another() {
        assert_eq!(TraceId::derived(&[b"ab", b"c"]), TraceId::derived(&[b"ab", b"c"]));
        assert_ne!(TraceId::derived(&[b"ab", b"c"]), TraceId::derived(&[b"a", b"bc"]));
        assert_eq!(TraceId::derived(&[b"x"]).to_string().as_bytes()[14], b'8');
    }
}
