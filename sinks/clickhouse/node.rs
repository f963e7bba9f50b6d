//! One endpoint, and how it is asked. User and password travel as headers, never in an address.

use std::fmt;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use tokio::time::Instant;

use super::dialect::Dialect;
use crate::delivery::{Compression, Endpoint, Request};

/// Longest answer that is read: a list of columns is the longest.
const MAX_ANSWER: usize = 64 * 1024;

pub(super) const USER: HeaderName = HeaderName::from_static("x-clickhouse-user");
pub(super) const KEY: HeaderName = HeaderName::from_static("x-clickhouse-key");

/// See the module's description. Prints as its address.
#[derive(Debug)]
pub(super) struct Node {
    endpoint: Endpoint,
    /// Who asks.
    headers: HeaderMap,
    /// Known once its tables were seen to be as they must be; unknown again after it failed.
    pub(super) ready: Option<Dialect>,
    /// When to look at it though it is not in use, so that it gets its replica. `None`: it has it.
    pub(super) look: Option<Instant>,
}

impl Node {
    pub(super) fn new(endpoint: Endpoint, headers: HeaderMap) -> Self {
        Self { endpoint, headers, ready: None, look: Some(Instant::now()) }
    }

    /// A statement without rows. Those for a whole cluster do not wait for nodes that are down.
    pub(super) fn statement(&self, sql: &str) -> Request {
        let cluster =
            [("distributed_ddl_task_timeout", "8"), ("distributed_ddl_output_mode", "null_status_on_timeout")];
        let parameters = if sql.contains(" ON CLUSTER ") { &cluster[..] } else { &[] };
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Request {
            endpoint: self.endpoint.with_query(parameters.iter().copied()),
            headers,
            body: sql.as_bytes().to_vec(),
            max_answer: MAX_ANSWER,
        }
    }

    /// An insert of `body`, with these parameters.
    pub(super) fn insert(&self, parameters: &[(&str, &str)], body: Vec<u8>, compression: Compression) -> Request {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if let Some(encoding) = compression.content_encoding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let endpoint = self.endpoint.with_query(parameters.iter().copied());
        Request { endpoint, headers, body, max_answer: MAX_ANSWER }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}
