//! What the black-box tests share: the built program as a child process, a small HTTP client, a look
//! into the database, a receiver of pushes, and events.

// Each test file is a program of its own and uses a part of this, by names as short as can be.
#![allow(dead_code, unused_imports, unreachable_pub)]

mod capture;
mod event;
mod http;
mod receiver;
mod sidecar;
mod store;

use std::time::{Duration, Instant};

pub use capture::{Capture, FOLDERS, captures, told};
pub use event::{array, event, id_of, marked, ndjson};
pub use http::{Answer, Client, Request, get, post};
pub use receiver::{Behaviour, Pushed, Receiver};
pub use sidecar::{Home, Memory, Output, Setup, Sidecar};
pub use store::{Stored, integrity, open, stored, stored_ids};

/// How long a condition may take to come true before a test gives up: far longer than it takes on
/// a busy machine, so that it fails only where the condition never comes true.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; `what` says in the failure what was waited for.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
