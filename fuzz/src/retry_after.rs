//! The header `Retry-After` of the receiver.

#[path = "../../sinks/delivery/retry_after.rs"]
mod header;

use std::time::{Duration, SystemTime};

/// The first four bytes are the time now.
pub fn retry_after(data: &[u8]) {
    let Some((now, value)) = data.split_first_chunk() else { return };
    let Ok(value) = std::str::from_utf8(value) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u32::from_le_bytes(*now).into());
    if let Some(wait) = header::parse(value, now) {
        assert!(wait <= header::MAX, "{wait:?}");
    }
}
