//! Redacting twice is redacting once: a gateway redacts again what its sidecars have redacted, and must not find in
//! their markers, or beside them, what was not there.
//!
//! Events are made of what redaction looks at: tokens made now, names of secrets, addresses, numbers, markers, real and
//! forged, escapes and quotes; as texts, as ids, as keys and values of JSON, and as JSON inside a string.

#![allow(clippy::unwrap_used)]

use engine::json::Json;
use engine::{Event, Transform, TransformConfig};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng};

use super::Redact;
use super::rules::TOKENS;
use super::shape::Shape;
use crate::testing::{batch, context, event};

const NAMES: [&str; 30] = [
    "password",
    "token",
    "api_key",
    "apiKey",
    "x-api-key",
    "key",
    "auth",
    "session_key",
    "sessionKey",
    "Cookie",
    "phone",
    "whatsapp",
    "user_id",
    "session_id",
    "gen_ai.conversation.id",
    "peer_id",
    "secret",
    "DB_PASSWORD",
    "access",
    "note",
    "url",
    "id",
    "public_key",
    "bearer",
    "credentials",
    "client_secret",
    "pin",
    "signal",
    "ticket",
    "dsn",
];

const PIECES: [&str; 44] = [
    "jo@example.org",
    "a@b.co",
    "1@b.co",
    "+15552234567",
    "15552234567",
    "(555) 223-4567",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
    "203.0.113.9",
    "2001:db8::17",
    "postgres://bob:p4ssw0rd@db:5432/x",
    "https://x.example/?key=abcd1234",
    "Basic dXNlcjpwYXNz",
    "Bearer ",
    "curl -u bob:p4ssw0rd",
    "hunter2",
    "correct horse",
    "TICKET-123456",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "agent:main:main",
    "agent:main:whatsapp:dm:+15552234567",
    "signal:15552234567",
    "[redacted:email]",
    "[redacted:openai_key:1a2b3c4d]",
    "[redacted:phone:1a2b3c4d5e6f7a8b]",
    "[redacted:",
    "[redacted:nothing]",
    "[redacted:named_secret]",
    "kind: Secret\ndata:\n  a: YWJjZGVm\n",
    "-----BEGIN PRIVATE ",
    "é",
    "\\u00e9",
    "%20",
    "\\n",
    "\\\"",
    "0123456789abcdef0123456789abcdef",
    "/data/notes.md",
    "process.env.X",
    "machine h login u password v",
    "is ",
    "${TOKEN}",
    "***",
    "1,",
    "--password ",
];

const SIGNS: [&str; 16] = ["", "", "", " ", "=", ": ", ":", "\"", "'", ", ", "\n", "/", "?", "&", " is ", "_"];

/// Makes texts.
struct Maker(StdRng);

impl Maker {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.0).unwrap()
    }

    /// A token of some rule, made now.
    fn token(&mut self) -> String {
        let rule = TOKENS.choose(&mut self.0).unwrap();
        Shape::parse(rule.shapes.choose(&mut self.0).unwrap()).unwrap().generate(&mut self.0)
    }

    fn piece(&mut self) -> String {
        match self.0.random_range(0..10) {
            0 => self.token(),
            1..4 => self.one(&NAMES).to_owned(),
            4 => format!("\"{}\": \"{}\"", self.one(&NAMES), self.one(&PIECES)),
            _ => self.one(&PIECES).to_owned(),
        }
    }

    fn text(&mut self) -> String {
        let pieces = self.0.random_range(0..6);
        (0..pieces).map(|_| self.piece() + self.one(&SIGNS)).collect()
    }

    fn key(&mut self) -> String {
        if self.0.random() { self.one(&NAMES).to_owned() } else { self.text() }
    }

    fn json(&mut self, depth: usize) -> serde_json::Value {
        match self.0.random_range(0..if depth == 0 { 3 } else { 6 }) {
            0..2 => self.text().into(),
            2 => self.0.random_range(0..1_000_000_000_u64).into(),
            3 => (0..self.0.random_range(0..4)).map(|_| self.json(depth - 1)).collect(),
            4 => self.json(depth - 1).to_string().into(),
            _ => {
                let members = self.0.random_range(0..4);
                let members = (0..members).map(|_| (self.key(), self.json(depth - 1)));
                serde_json::Value::Object(members.collect())
            }
        }
    }

    fn event(&mut self) -> Event {
        let mut event = event();
        let id = |maker: &mut Self| Some(maker.text().chars().take(80).collect());
        event.error = Some(self.text());
        event.name = Some(self.text());
        event.session_id = id(self);
        event.run_id = id(self);
        event.agent_id = id(self);
        event.span_id = id(self);
        event.input = Json::from_value(&self.json(4)).ok();
        event.output = Json::from_value(&self.json(4)).ok();
        let members: serde_json::Map<_, _> = (0..4).map(|_| (self.key(), self.json(2))).collect();
        event.attributes = Json::from_value(&members).ok();
        event
    }

    /// Settings of an owner: what is left out, what is added.
    fn config(&mut self) -> Redact {
        let mut config =
            serde_json::json!({"hash": self.0.random::<bool>(), "hash_key": self.0.random::<u64>().to_string()});
        if self.0.random() {
            config["rules"] = serde_json::json!([
                {"name": "ticket", "pattern": "TICKET-[0-9]{6,}"}, {"name": "secret_note", "pattern": "no(?P<secret>te)"},
            ]);
            config["keys"] = serde_json::json!(["pin", "note"]);
            config["enable"] = serde_json::json!(["ip"]);
        }
        if self.0.random_range(0..4) == 0 {
            config["disable"] = serde_json::json!(["id", "email"]);
            config["allow"] = serde_json::json!(["hunter2"]);
        }
        serde_json::from_value(config).unwrap()
    }
}

fn apply(transform: &dyn Transform, event: Event) -> Event {
    let (mut batch, _receipt) = batch(vec![event]);
    transform.apply(&mut batch);
    batch.iter().next().unwrap().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn what_is_redacted_stays_as_it_is_when_it_is_redacted_again(seed in any::<u64>()) {
        let mut maker = Maker(StdRng::seed_from_u64(seed));
        let config = maker.config();
        let sent = maker.event();
        let redact = config.clone().build(&context()).unwrap();
        let once = apply(&*redact, sent.clone());
        let twice = apply(&*redact, once.clone());
        prop_assert_eq!(twice.to_json(), once.to_json(), "from {}", sent.to_json());
        // By a gateway with the same rules and a key of its own.
        let gateway = Redact { hash_key: engine::config::Secret::default(), ..config }.build(&context()).unwrap();
        prop_assert_eq!(apply(&*gateway, once.clone()), once);
    }
}
