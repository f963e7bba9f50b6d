//! A client of an ingest port such as our own: sends events by `POST /v1/events`, and reads what became of each.
//!
//! It sends once, and says whether sending again has a chance; how often and how long is the caller's business.

use std::time::Duration;

use engine::Event;
use engine::config::Secret;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::delivery::{Compression, Endpoint, Http, Reply, Request, Transport as _, bearer, excerpt};

/// A body of more bytes is compressed. A port takes 1 MiB, and more once it is inflated.
const PLAIN: usize = 256 * 1024;

/// Longest answer that is read, plus so much for each event.
const ANSWER: usize = 64 * 1024;
const ANSWER_PER_EVENT: usize = 512;

/// What became of the events of one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// The port has them, but for those that it rejects.
    Taken(Taken),
    /// Not now: sending again has a chance, after `wait` if it said so.
    Later {
        /// What the port asked for.
        wait: Option<Duration>,
        /// Why, for people.
        why: String,
    },
    /// Not these: one of them, or their number, is the reason.
    Refused(String),
    /// Nothing at all, whatever is sent: the token, the address or the port is wrong.
    Denied(String),
    /// No answer came.
    Unheard(String),
}

/// What a port says of events that it read.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Taken {
    /// Those that are safe now.
    pub accepted: usize,
    /// How many of them were there before.
    pub duplicates: usize,
    /// Those that it will not take.
    pub rejected: Vec<Rejected>,
}

/// An event that the port will not take.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Why, for people.
    pub error: String,
}

/// See the module's description.
pub struct IngestClient {
    endpoint: Endpoint,
    token: Secret,
    http: Http,
}

impl IngestClient {
    /// A client of the port at this address; where it names no path, `/v1/events` is meant.
    ///
    /// # Errors
    /// What is wrong with the address or the token, without repeating either.
    pub fn new(address: &str, token: Secret, timeout: Duration) -> Result<Self, String> {
        let endpoint = Endpoint::parse(address)?.or_path("/v1/events");
        if !token.is_empty() && bearer(&token).is_none() {
            return Err("the token holds a character that no HTTP header can carry, such as a line break".to_owned());
        }
        Ok(Self { endpoint, token, http: Http::new(None, timeout) })
    }

    /// Whether a token would travel where others can read it.
    #[must_use]
    pub fn exposes_token(&self) -> bool {
        self.endpoint.is_exposed() && !self.token.is_empty()
    }

    /// Sends these events as one request.
    pub async fn send(&mut self, events: &[Event]) -> Answered {
        let mut body = Vec::new();
        for event in events {
            body.extend_from_slice(event.to_json().as_bytes());
            body.push(b'\n');
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(bearer) = bearer(&self.token) {
            headers.insert(AUTHORIZATION, bearer);
        }
        if body.len() > PLAIN {
            match Compression::Zstd.encode(body.len(), |out| out.write_all(&body)) {
                Ok(packed) => body = packed,
                Err(error) => return Answered::Refused(format!("cannot be compressed: {error}")),
            }
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        }
        let max_answer = ANSWER + ANSWER_PER_EVENT * events.len();
        match self.http.post(Request { endpoint: self.endpoint.clone(), headers, body, max_answer }).await {
            Ok(reply) => judge(&reply, events.len()),
            Err(why) => Answered::Unheard(why),
        }
    }
}

impl std::fmt::Display for IngestClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.endpoint.fmt(f)
    }
}

fn judge(reply: &Reply, events: usize) -> Answered {
    let status = reply.status;
    // A whole answer speaks of every event: anything else is somebody else's page.
    let taken = serde_json::from_slice(&reply.body)
        .ok()
        .filter(|taken: &Taken| taken.accepted + taken.rejected.len() == events && taken.duplicates <= taken.accepted)
        .filter(|taken| taken.rejected.iter().all(|rejected| rejected.index < events));
    let why = || format!("{status}: {}", said(reply));
    match (status, taken) {
        (200 | 202 | 400, Some(taken)) => Answered::Taken(taken),
        (200..300, _) => Answered::Denied(format!("{status}, but no answer of an ingest port; is the address right?")),
        (400 | 413 | 422, _) => Answered::Refused(why()),
        (408 | 425 | 429 | 500..600, _) => Answered::Later { wait: reply.retry_after, why: why() },
        (401, _) => Answered::Denied(format!("{}; the token is missing or wrong", why())),
        _ => Answered::Denied(why()),
    }
}

/// The port's own words, within bounds.
fn said(reply: &Reply) -> String {
    #[derive(Deserialize)]
    struct Said {
        error: String,
    }
    let told = serde_json::from_slice::<Said>(&reply.body).map(|said| said.error);
    let text = excerpt(&told.unwrap_or_else(|_| String::from_utf8_lossy(&reply.body).into_owned()));
    match (&reply.location, text.is_empty()) {
        (Some(host), _) => format!("redirects to {host}, which is not followed"),
        (None, true) => "no reason given".to_owned(),
        (None, false) => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(status: u16, body: &str) -> Answered {
        judge(&Reply { status, body: body.into(), retry_after: Some(Duration::from_secs(7)), ..Reply::default() }, 2)
    }

    #[test]
    fn an_answer_counts_only_where_it_speaks_of_every_event() {
        let both = Taken { accepted: 2, duplicates: 1, rejected: vec![] };
        for status in [200, 202] {
            assert_eq!(answered(status, r#"{"accepted":2,"duplicates":1,"rejected":[],"trace_ids":["a","b"]}"#), {
                Answered::Taken(Taken { rejected: vec![], ..both })
            });
        }
        let body = r#"{"accepted":1,"duplicates":0,"rejected":[{"index":1,"error":"kind is missing"}]}"#;
        let Answered::Taken(taken) = answered(200, body) else { panic!("not taken") };
        assert_eq!((taken.accepted, taken.rejected[0].index), (1, 1));
        for body in ["", "{}", "<html>", r#"{"accepted":1}"#, r#"{"accepted":1,"rejected":[{"index":2,"error":"x"}]}"#]
        {
            assert!(matches!(answered(200, body), Answered::Denied(_)), "{body}");
        }
    }

    #[test]
    fn each_status_says_whether_sending_again_has_a_chance() {
        let body = r#"{"error":"because"}"#;
        for status in [408, 429, 500, 503] {
            let why = format!("{status}: because");
            assert_eq!(answered(status, body), Answered::Later { wait: Some(Duration::from_secs(7)), why });
        }
        for status in [400, 413, 422] {
            assert_eq!(answered(status, body), Answered::Refused(format!("{status}: because")));
        }
        for status in [301, 401, 403, 404, 415] {
            assert!(matches!(answered(status, body), Answered::Denied(why) if why.contains("because")), "{status}");
        }
    }

    #[test]
    fn an_address_without_a_path_means_the_events() {
        let client =
            |address| IngestClient::new(address, Secret::default(), Duration::from_secs(1)).map(|c| c.to_string());
        assert_eq!(client("http://127.0.0.1:9090").unwrap(), "http://127.0.0.1:9090/v1/events");
        assert_eq!(client("https://x.example/in").unwrap(), "https://x.example/in");
        assert!(client("127.0.0.1:9090").is_err());
        let secret = Secret::new("a\nb");
        assert!(IngestClient::new("http://x/", secret, Duration::from_secs(1)).is_err_and(|why| !why.contains("a\nb")));
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_without_a_panic(status in 0u16..1000, body in prop::collection::vec(any::<u8>(), 0..200)) {
            judge(&Reply { status, body, ..Reply::default() }, 3);
        }
    }
}
