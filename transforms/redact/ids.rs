//! Keyed hashes: how equal secrets stay recognisable as equal without being known.
//!
//! A hash of a telephone number can be undone by trying all numbers; with a key (HMAC-SHA256) only
//! by who has the key. The key is `hash_key` or, where none is set, one that is made when the process
//! starts and never leaves it. Then equal secrets have equal hashes within one run of the process, and
//! an id that holds a telephone number groups events up to a restart only.

use engine::config::Secret;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// The first bytes of a keyed hash.
pub(super) type Mark = [u8; 8];

/// Makes marks.
#[derive(Clone)]
pub(super) struct Marker(Hmac<Sha256>);

impl Marker {
    /// With the key that is set, else with one made now.
    pub(super) fn new(key: &Secret) -> Self {
        let key: [u8; 32] = if key.is_empty() { random_key() } else { Sha256::digest(key.reveal()).into() };
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key);
        Self(Hmac::new(&block.into()))
    }

    /// The mark of a secret.
    pub(super) fn mark(&self, secret: &[u8]) -> Mark {
        let mut mac = self.0.clone();
        mac.update(secret);
        let mut mark = Mark::default();
        mark.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        mark
    }
}

/// 32 bytes from the keys that the standard library takes from the operating system for its maps.
/// They hold 128 random bits, and SipHash gives none of them away.
fn random_key() -> [u8; 32] {
    use std::hash::{BuildHasher as _, RandomState};
    let state = RandomState::new();
    let mut seed = Sha256::new();
    for part in 0..8u8 {
        seed.update(state.hash_one(part).to_le_bytes());
    }
    seed.finalize().into()
}

/// Names of attributes that hold the same ids as the event's own fields, so that both are treated
/// alike and still match.
const ID_NAMES: [&str; 22] = [
    "gen_ai.conversation.id",
    "session.id",
    "session_id",
    "sessionId",
    "session_key",
    "sessionKey",
    "run_id",
    "runId",
    "agent_id",
    "agentId",
    "conversation_id",
    "conversationId",
    "chat_id",
    "chatId",
    "thread_id",
    "threadId",
    "user_id",
    "userId",
    "user.id",
    "enduser.id",
    "gen_ai.agent.id",
    "peer_id",
];

/// Whether the value of this key is an id.
pub(super) fn is_id_name(key: &str) -> bool {
    ID_NAMES.contains(&key)
}

/// Whether a number in this id is a telephone number: the id names a channel that addresses people
/// by it.
pub(super) fn speaks_of_phones(id: &str) -> bool {
    let id = id.to_ascii_lowercase();
    ["whatsapp", "signal", "sms", "imessage", "phone", "tel:", "msisdn"].iter().any(|channel| id.contains(channel))
}
