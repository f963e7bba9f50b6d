//! P4: nothing reaches the store or the receiver unredacted, and redaction sees a text before it is
//! cut: a secret across the limit is not kept in half.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::{Behaviour, Client, Home, Receiver, Request, array, event, eventually, get, marked, post, stored};

/// The default limit of a text, in bytes.
const LIMIT: usize = 4096;
/// The default limit of a field, in bytes.
const FIELD_LIMIT: usize = 64 << 10;

/// Makes secrets of known forms. They exist only while the test runs.
struct Secrets {
    random: StdRng,
    made: Vec<String>,
}

impl Secrets {
    fn new() -> Self {
        Self { random: StdRng::seed_from_u64(7), made: Vec::new() }
    }

    /// The random part of a secret, which is remembered.
    fn part(&mut self, letters: &[u8], length: usize) -> String {
        let part: String =
            (0..length).map(|_| char::from(letters[self.random.random_range(0..letters.len())])).collect();
        self.made.push(part.clone());
        part
    }

    /// A secret of each form.
    fn each(&mut self) -> Vec<String> {
        let alnum = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let upper = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let hex = b"0123456789abcdef";
        vec![
            format!("sk-ant-api03-{}", self.part(alnum, 80)),
            format!("sk-proj-{}", self.part(alnum, 64)),
            format!("ghp_{}", self.part(alnum, 36)),
            format!("AKIA{}", self.part(upper, 16)),
            format!("glpat-{}", self.part(alnum, 24)),
            format!("Authorization: Bearer {}", self.part(alnum, 48)),
            format!("https://user:{}@db.example/x", self.part(alnum, 32)),
            format!("api_key={}", self.part(hex, 40)),
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n{}\n-----END PRIVATE KEY-----",
                self.part(alnum, 64),
                self.part(alnum, 64)
            ),
        ]
    }

    /// Fails where any piece of a secret is in `text`.
    fn assert_absent(&self, text: &[u8], place: &str) {
        // Half a secret is a leak too: its beginning, its middle, its end.
        let pieces: HashSet<&[u8]> = (self.made.iter().map(String::as_bytes))
            .flat_map(|secret| [0, secret.len() / 2 - 5, secret.len() - 10].map(|at| &secret[at..at + 10]))
            .collect();
        // Nearly every place is passed by after two bytes: there are megabytes to look through.
        let mut beginnings = vec![false; 1 << 16];
        let beginning = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
        pieces.iter().for_each(|piece| beginnings[beginning(piece)] = true);
        for window in text.windows(10) {
            let leaked = beginnings[beginning(window)] && pieces.contains(window);
            assert!(!leaked, "{} of a secret is in {place}", String::from_utf8_lossy(window));
        }
    }
}

/// `secret` inside ordinary words, beginning at byte `start`.
fn around(secret: &str, start: usize) -> String {
    let mut text = "lorem ipsum ".repeat(start / 12 + 1);
    text.truncate(start.saturating_sub(1));
    format!("{text} {secret} and so on {}", "dolor sit amet ".repeat(40))
}

/// The text in every place of an event that holds text.
fn in_every_place(text: &str) -> Vec<Value> {
    let with = |field: &str, value: Value| {
        let mut event = event();
        event[field] = value;
        event
    };
    vec![
        with("error", json!(text)),
        with("name", json!(text)),
        with("input", json!(text)),
        with("input", json!({"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]})),
        with("output", json!([1, null, {"stdout": text}])),
        with("attributes", json!({"gen_ai.tool.call.result": text})),
        with("attributes", json!({text: "a key"})),
        with("input", json!({"deep": {text: {"within": 1}}})),
        // JSON inside a string, as tools send it.
        with("output", json!(json!({"inner": text}).to_string())),
        // A field that nobody knows becomes an attribute.
        with("note", json!(text)),
    ]
}

#[tokio::test]
async fn a_secret_across_the_cut_reaches_neither_the_store_nor_the_receiver() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let push = format!(
        "\n[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nendpoint = \"{}\"\ninterval = \"100ms\"\n",
        receiver.url()
    );
    let sidecar = home.setup().more(&push).set("runtime.log_level", "trace").start().await;
    let mut secrets = Secrets::new();
    let mut events = Vec::new();
    // From wholly before the limit to wholly behind it, with the limit at every part of the secret.
    for before in [70, 45, 30, 20, 12, 1] {
        for secret in secrets.each() {
            events.extend(in_every_place(&around(&secret, LIMIT - before)));
        }
    }
    // Across the limit of a field: many short texts, each with its secret.
    for _ in 0..3 {
        let mut texts = Vec::new();
        while texts.iter().map(String::len).sum::<usize>() < FIELD_LIMIT + 4000 {
            texts.extend(secrets.each());
        }
        let mut event = event();
        event["output"] = json!(texts);
        events.push(event);
    }
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    for batch in events.chunks(40) {
        let answer = client.send(&Request::events(array(batch))).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["accepted"], batch.len());
    }
    eventually("everything is pushed", async || receiver.kept().len() == events.len()).await;

    for file in ["trace.db", "trace.db-wal"] {
        let bytes = std::fs::read(home.path(file)).unwrap();
        secrets.assert_absent(&bytes, file);
    }
    for pushed in receiver.pushed() {
        secrets.assert_absent(pushed.body.to_string().as_bytes(), "a push");
    }
    secrets.assert_absent(&get(sidecar.api, "/metrics").await.body, "the metrics");
    secrets.assert_absent(sidecar.log().as_bytes(), "the log");
    sidecar.stop().await;
    let kept = stored(&home.db());
    assert_eq!(kept.len(), events.len());
    let texts: Vec<String> = kept
        .iter()
        .flat_map(|event| [&event.error, &event.name, &event.input, &event.output, &event.attributes])
        .flatten()
        .cloned()
        .collect();
    assert!(texts.iter().any(|text| text.contains("lorem ipsum")), "the words around a secret are kept");
    assert!(texts.iter().any(|text| text.contains("[redacted:openai_key")), "and what it was is said");
    assert!(texts.iter().all(|text| text.len() <= FIELD_LIMIT + 1024), "a field is within its limit");
    let longest = kept.iter().filter_map(|event| event.error.as_ref()).map(String::len).max().unwrap();
    assert!((LIMIT / 2..=LIMIT + 256).contains(&longest), "an error text is cut at its limit: {longest}");
}

#[tokio::test]
async fn a_value_under_a_telling_key_goes_whole_whatever_it_looks_like() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let mut secrets = Secrets::new();
    let letters = b"abcdefghijklmnopqrstuvwxyz";
    for key in ["password", "api_key", "apiKey", "client_secret", "Authorization", "access_token", "private_key"] {
        for length in [12, 40, LIMIT + 1000] {
            let mut event = event();
            event["input"] = json!({"config": {key: secrets.part(letters, length)}});
            event["attributes"] = json!({key: secrets.part(letters, length)});
            let answer = post(sidecar.ingest, &Request::events(event.to_string())).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    sidecar.stop().await;
    let bytes = std::fs::read(home.db()).unwrap();
    secrets.assert_absent(&bytes, "the database");
}

#[tokio::test]
async fn a_long_text_is_cut_at_a_character_and_says_what_it_was() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    // Characters of 2, 3 and 4 bytes, so that the limit falls inside one of them.
    for unit in ["é", "語", "😀"] {
        let mut event = event();
        event["output"] = json!(format!("x{}", unit.repeat(3000)));
        let answer = post(sidecar.ingest, &Request::events(event.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    sidecar.stop().await;
    for (event, bytes) in stored(&home.db()).iter().zip([6001, 9001, 12001]) {
        let output: String = serde_json::from_str(event.output.as_ref().unwrap()).unwrap();
        assert!(!output.contains('\u{fffd}'), "no character is cut in two");
        assert!(output.len() <= LIMIT + 200 && output.len() > LIMIT - 200, "{}", output.len());
        assert!(output.contains(&bytes.to_string()), "the original length is told: {}", &output[output.len() - 120..]);
    }
}

#[tokio::test]
async fn an_id_made_of_a_telephone_number_is_replaced_and_still_groups() {
    let home = Home::new();
    let sidecar = home.setup().set("transforms.redact.hash_key", "a key of this test").start().await;
    for number in ["+15552013344", "+15552013344", "+15552015566"] {
        let mut event = marked(number);
        event["attributes"] = json!({});
        event["session_id"] = json!(format!("agent:main:whatsapp:{number}"));
        assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    }
    sidecar.stop().await;
    let db = support::open(&home.db());
    let mut query = db.prepare("SELECT session_id FROM events ORDER BY id").unwrap();
    let ids: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(ids.iter().all(|id| !id.contains("555201")), "{ids:?}");
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}
