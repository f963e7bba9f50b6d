//! How many secrets are found, and how much that is none is touched.
//!
//! Every secret is made here, from the shapes and with a seeded generator, and set into the texts
//! that an agent's events are full of: shell, JSON, environment files, addresses, YAML, logs, Markdown,
//! code. The clean corpus holds what scanners stumble over: hashes, UUIDs, base64, versions, paths,
//! code that speaks of tokens. `cargo test accuracy -- --nocapture` prints the table.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};

use super::rules::{TOKENS, VENDORS};
use super::shape::Shape;
use super::{Redact, Redactor};
use crate::testing::context;

const PER_SHAPE: usize = 12;

/// Where a secret stands, `KEY` its name and `VALUE` itself.
const NAMED: [&str; 16] = [
    "export KEY=\"VALUE\"",
    "KEY=VALUE\nDEBUG=1",
    "{\"KEY\": \"VALUE\", \"debug\": true}",
    "{\\\"KEY\\\":\\\"VALUE\\\",\\\"n\\\":1}",
    "KEY: VALUE\nother: x",
    "  KEY: 'VALUE'  # from the console",
    "const KEY = 'VALUE';",
    "let KEY = \"VALUE\".to_string();",
    "https://api.example.com/v1?KEY=VALUE&limit=10",
    "2026-11-24T12:00:00Z INFO starting with KEY=VALUE retries=3",
    "docker run -e KEY=VALUE -p 80:80 image:latest",
    "fly secrets set KEY=VALUE --app demo",
    "| `KEY` | `VALUE` |",
    "config.set(\"KEY\", \"VALUE\")",
    "[service]\nKEY = VALUE\n",
    "%7B%22KEY%22%3A%22VALUE%22%7D",
];

const ALONE: [&str; 10] = [
    "curl -H \"Authorization: Bearer VALUE\" https://api.example.com/v1/models",
    "Error: 401 invalid key VALUE provided. Check your settings.",
    "my key is VALUE, please use it",
    "- token: `VALUE`",
    "client = Client(VALUE)",
    "<td>VALUE</td>",
    "[\"VALUE\",\"x\"]",
    "echo VALUE | docker login --password-stdin",
    "VALUE",
    "(VALUE)",
];

fn redactor() -> Redactor {
    Redactor::new(Redact::default(), &context()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Whether a piece of the secret as long as an attacker could use is still there.
fn leaks(clean: &str, secret: &str) -> bool {
    let piece = secret.len().min(12).max(secret.len() / 2);
    secret.as_bytes().windows(piece).any(|part| std::str::from_utf8(part).is_ok_and(|part| clean.contains(part)))
}

#[derive(Default)]
struct Tally {
    planted: usize,
    found: usize,
    missed: Vec<String>,
}

#[derive(Default)]
struct Table(BTreeMap<String, Tally>);

impl Table {
    fn plant(&mut self, redactor: &Redactor, rule: &str, secret: &str, text: &str) {
        let clean = redactor.text(text).unwrap_or_else(|| text.to_owned());
        let tally = self.0.entry(rule.to_owned()).or_default();
        tally.planted += 1;
        if leaks(&clean, secret) {
            tally.missed.push(text.to_owned());
        } else {
            tally.found += 1;
        }
    }
}

fn secrets(redactor: &Redactor, rng: &mut StdRng) -> Table {
    let mut table = Table::default();
    for rule in TOKENS {
        for shape in rule.shapes {
            let shape = Shape::parse(shape).unwrap();
            for _ in 0..PER_SHAPE {
                let secret = shape.generate(rng);
                let name = ["API_KEY", "SERVICE_TOKEN", "apiKey", "value"].choose(rng).unwrap();
                let templates = if rng.random() { &NAMED[..] } else { &ALONE[..] };
                let text = templates.choose(rng).unwrap().replace("KEY", name).replace("VALUE", &secret);
                table.plant(redactor, rule.name, &secret, &text);
            }
        }
    }
    for rule in VENDORS {
        for word in rule.words {
            for text in rule.shapes {
                let (text, tail) = match text.strip_prefix("client:") {
                    Some(shape) => (shape, "client_id"),
                    None => (*text, "api"),
                };
                let shape = Shape::parse(text).unwrap();
                for _ in 0..PER_SHAPE {
                    let secret = shape.generate(rng);
                    let name = format!("{word}_{tail}");
                    let name = if rng.random() { name.to_uppercase() } else { name };
                    let template = NAMED.iter().filter(|t| !t.starts_with('|')).collect::<Vec<_>>();
                    let text = template.choose(rng).unwrap().replace("KEY", &name).replace("VALUE", &secret);
                    table.plant(redactor, rule.name, &secret, &text);
                }
            }
        }
    }
    coded(redactor, rng, &mut table);
    table
}

fn random(rng: &mut StdRng, alphabet: &str, length: usize) -> String {
    let alphabet = alphabet.as_bytes();
    (0..length).map(|_| char::from(*alphabet.choose(rng).unwrap())).collect()
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BASE64: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
const HEX: &str = "0123456789abcdef";
const DIGITS: &str = "0123456789";

/// The rules that have code of their own.
fn coded(redactor: &Redactor, rng: &mut StdRng, table: &mut Table) {
    for _ in 0..120 {
        let password = format!("{}{}", random(rng, LETTERS, 6), random(rng, "0123456789!#*", 4));
        let scheme = ["postgres", "mysql", "redis", "amqp", "mongodb+srv", "https", "ftp"].choose(rng).unwrap();
        let text =
            ["DATABASE_URL=URL", "connecting to URL failed", "{\"url\":\"URL\"}", "url: 'URL'"].choose(rng).unwrap();
        let url = format!("{scheme}://app:{password}@db.internal:5432/main");
        table.plant(redactor, "url_password", &password, &text.replace("URL", &url));

        let name = ["DB_PASSWORD", "password", "client_secret", "AWS_SECRET_ACCESS_KEY", "authToken", "apiKey"];
        let secret = random(rng, BASE64, 40);
        let text = NAMED.choose(rng).unwrap();
        if !text.starts_with('|') && !text.starts_with('%') {
            let text = text.replace("KEY", name.choose(rng).unwrap()).replace("VALUE", &secret);
            table.plant(redactor, "named_secret", &secret, &text);
        }
        let text =
            ["password: VALUE", "PASSWORD=VALUE", "{\"password\":\"VALUE\"}", "mysql --password VALUE", "pwd='VALUE'"];
        table.plant(redactor, "named_secret", &password, &text.choose(rng).unwrap().replace("VALUE", &password));

        let part = |rng: &mut StdRng, length| random(rng, ALNUM, length);
        let jwt = format!("eyJ{}.eyJ{}.{}", part(rng, 33), part(rng, 80), part(rng, 43));
        table.plant(redactor, "jwt", &jwt, &ALONE.choose(rng).unwrap().replace("VALUE", &jwt));

        let bearer = part(rng, 32);
        let text =
            ["Authorization: Bearer VALUE", "-H 'Authorization: Bearer VALUE'", "\"authorization\":\"Bearer VALUE\""];
        table.plant(redactor, "bearer_token", &bearer, &text.choose(rng).unwrap().replace("VALUE", &bearer));

        let user = format!("curl -s -u 'admin:{password}' https://host/x");
        table.plant(redactor, "curl_user", &password, &user);

        let body: String = (0..8).map(|_| random(rng, BASE64, 64) + "\n").collect();
        let kind = ["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "].choose(rng).unwrap();
        let pem = format!("-----BEGIN {kind}PRIVATE {0}-----\n{body}-----END {kind}PRIVATE {0}-----", "KEY");
        let pem = if rng.random() { pem } else { pem.replace('\n', "\\n") };
        table.plant(redactor, "private_key", body.lines().nth(3).unwrap(), &format!("{{\"k\": \"{pem}\"}}"));

        let discord = format!("M{}.{}.{}", random(rng, ALNUM, 23), random(rng, ALNUM, 6), random(rng, ALNUM, 38));
        table.plant(redactor, "discord_bot_token", &discord, &ALONE.choose(rng).unwrap().replace("VALUE", &discord));

        let data = random(rng, ALNUM, 24);
        let yaml = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\ndata:\n  conf: {data}\n  b: eA==\n");
        table.plant(redactor, "kubernetes_secret", &data, &yaml);

        personal(redactor, rng, table);
    }
}

const MENTIONS: [&str; 6] =
    ["contact: VALUE", "reach me at VALUE.", "{\"value\":\"VALUE\"}", "From VALUE, today", "name,VALUE,1", "* VALUE"];

fn personal(redactor: &Redactor, rng: &mut StdRng, table: &mut Table) {
    let mut plant = |rng: &mut StdRng, rule: &str, value: String| {
        let text = MENTIONS.choose(rng).unwrap().replace("VALUE", &value);
        table.plant(redactor, rule, &value, &text);
    };
    let mail = format!("{}.{}@{}.org", random(rng, LETTERS, 5), random(rng, LETTERS, 6), random(rng, "abcdefgh", 7));
    plant(rng, "email", mail);

    let mut digits = format!("{}{}", ["4", "51", "2221", "6011"].choose(rng).unwrap(), random(rng, DIGITS, 15));
    digits.truncate(15);
    let check = (0..10).find(|check| super::personal::tests_luhn(&format!("{digits}{check}"))).unwrap();
    let card = format!("{digits}{check}");
    let grouped = card.as_bytes().chunks(4).map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>();
    let card = match rng.random_range(0..3) {
        0 => card,
        1 => grouped.join(" "),
        _ => grouped.join("-"),
    };
    plant(rng, "card", card);

    let account = random(rng, DIGITS, 18);
    // D = 13, E = 14; the check digits make the whole 1 modulo 97.
    let rest = format!("{account}131400").bytes().fold(0u64, |rest, b| (rest * 10 + u64::from(b - b'0')) % 97);
    plant(rng, "iban", format!("DE{:02}{account}", 98 - rest));

    let phone = match rng.random_range(0..4) {
        0 => format!("+1{}{}", rng.random_range(2..=9), random(rng, DIGITS, 9)),
        1 => format!("+44 7{} {}", random(rng, DIGITS, 3), random(rng, DIGITS, 6)),
        2 => format!("+49 30 {}", random(rng, DIGITS, 8)),
        _ => format!("({}12) {}55-{}", rng.random_range(2..=9), rng.random_range(2..=9), random(rng, DIGITS, 4)),
    };
    plant(rng, "phone", phone);
}

/// Texts without secrets that look as if they had some.
fn clean_corpus(rng: &mut StdRng) -> Vec<String> {
    const FIXED: [&str; 40] = [
        "The quick brown fox jumps over the lazy dog; see section 4.2.1 for details.",
        "fn token(&self) -> Result<Token, Error> { self.tokens.next().ok_or(Error::Eof) }",
        "const password = document.getElementById('password').value;",
        "password: z.string().min(8), token: z.string().optional()",
        "if (user.password === hash(input)) { return next_token(state); }",
        "api_key = os.environ[\"API_KEY\"]",
        "apiKey: process.env.OPENAI_API_KEY,",
        "export API_KEY=${API_KEY}",
        "secret: {{ .Values.secret }}",
        "Authorization: Bearer <token>",
        "Authorization: Bearer $TOKEN",
        "max_tokens: 4096, input_tokens: 1523, output_tokens=87",
        "usage: {\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}",
        "def authenticate(username: str, password: str) -> bool:",
        "SELECT id, key, token_count FROM sessions WHERE key = ? AND token IS NOT NULL",
        "primary_key: id, foreign_key: user_id, partition_key=region",
        "https://docs.example.com/guide/authentication#api-keys",
        "git clone git@github.com:openclaw/openclaw.git",
        "npm install react@18.2.0 @types/node@20.11.5",
        "Compiling regex-automata v0.4.19, tokio v1.48.0, serde v1.0.228",
        "postgres://localhost:5432/app and redis://cache:6379/0",
        "risk-adjusted task-based disk-usage sk-learn scikit-learn",
        "public key: see the keyring; the monkey pressed a key",
        "Please enter your password: then press enter to continue.",
        "token=token, secret=secret, key=key",
        "The token is invalid. The password is required. The key is missing.",
        "/usr/lib/x86_64-linux-gnu/libssl.so.3 and ~/.ssh/known_hosts",
        "C:\\Users\\agent\\AppData\\Local\\Temp\\build-1234",
        "10.0.0.1:8080 -> 192.168.1.20:443 in 12.5ms",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234",
        "[2026-11-24 12:00:00.123] worker-3 processed 1,234,567 rows in 3.2 s",
        "Cargo.lock: checksum = \"SUM\"",
        "<div class=\"token-list\" data-key=\"row-12\">Tokens</div>",
        "import { getToken, setPassword } from './auth/token';",
        "lat=48.858370, lon=2.294481; +48.8584, +2.2945",
        "call ticket 555-1234 or see RFC 7519 and ISO 8601:2019",
        "error[E0271]: type mismatch resolving `<T as Trait>::Key == u32`",
        "data:image/png;base64,B64",
        "sha256:HEX64 layers/sha256/HEX64",
        "auth: required, api: v2, access: public, credentials: include",
    ];
    let mut corpus = Vec::new();
    for _ in 0..25 {
        for text in FIXED {
            corpus.push(
                text.replace("SUM", &random(rng, HEX, 64))
                    .replace("B64", &random(rng, BASE64, 200))
                    .replace("HEX64", &random(rng, HEX, 64)),
            );
        }
        for _ in 0..10 {
            let hex = |rng: &mut StdRng, n| random(rng, HEX, n);
            let uuid = format!("{}-{}-4{}-a{}-{}", hex(rng, 8), hex(rng, 4), hex(rng, 3), hex(rng, 3), hex(rng, 12));
            corpus.push(format!("run {uuid} finished; session_id={uuid}"));
            corpus.push(format!("commit {} (HEAD -> main)", hex(rng, 40)));
            corpus.push(format!("index {}..{} 100644", hex(rng, 7), hex(rng, 7)));
            corpus.push(format!("md5 {}  file.tar.gz", hex(rng, 32)));
            corpus.push(format!("ETag: \"{}\"", hex(rng, 32)));
            corpus.push(format!("{{\"id\":\"msg_{}\",\"type\":\"message\"}}", random(rng, ALNUM, 24)));
            corpus.push(format!("{{\"tool_call_id\":\"toolu_{}\"}}", random(rng, ALNUM, 24)));
            corpus.push(format!("{{\"id\":\"chatcmpl-{}\",\"object\":\"chat.completion\"}}", random(rng, ALNUM, 29)));
            corpus.push(random(rng, BASE64, 300));
            corpus.push(format!("\"integrity\": \"sha512-{}==\"", random(rng, BASE64, 86)));
            corpus.push(format!(
                "ts={} seq={}",
                1_700_000_000_000u64 + rng.random_range(0..90_000_000_000),
                rng.random_range(0..99999)
            ));
            corpus.push(format!("at {}ns", 1_700_000_000_000_000_000u64 + rng.random_range(0..90_000_000_000_000_000)));
            corpus.push(format!("discord:channel:1{}", random(rng, DIGITS, 18)));
            corpus.push(format!("telegram:group:-100{}", random(rng, DIGITS, 10)));
            corpus.push(format!(
                "order #{} total ${}.{:02}",
                rng.random_range(10_000_000..99_999_999),
                rng.random_range(1..9999),
                rng.random_range(0..99)
            ));
            corpus.push(format!(
                "v{}.{}.{}-rc.{}+build.{}",
                rng.random_range(0..20),
                rng.random_range(0..99),
                rng.random_range(0..99),
                rng.random_range(1..9),
                hex(rng, 7)
            ));
            corpus.push(format!("0x{} 0x{}", hex(rng, 16), hex(rng, 8)));
            corpus.push(format!(
                "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}+01:00",
                rng.random_range(1..13),
                rng.random_range(1..29),
                rng.random_range(0..24),
                rng.random_range(0..60),
                rng.random_range(0..60),
                rng.random_range(0..1000)
            ));
            corpus.push(format!("http://cdn.example.com/assets/app.{}.js?v={}", hex(rng, 20), hex(rng, 8)));
            corpus.push(format!(
                "/tmp/build-{}/target/debug/deps/libserde-{}.rlib",
                random(rng, ALNUM, 8),
                hex(rng, 16)
            ));
        }
    }
    // And the source of this crate, line by line: code that speaks of little else.
    for source in [
        include_str!("keys.rs"),
        include_str!("scan.rs"),
        include_str!("mod.rs"),
        include_str!("../dedupe.rs"),
        include_str!("../truncate.rs"),
    ] {
        corpus.extend(source.lines().filter(|line| line.len() > 10).map(str::to_owned));
    }
    corpus
}

#[test]
fn ninety_nine_of_a_hundred_secrets_are_found_and_clean_text_stays() {
    let redactor = redactor();
    let mut rng = StdRng::seed_from_u64(20_261_124);
    let table = secrets(&redactor, &mut rng);
    let (mut planted, mut found) = (0, 0);
    let mut weak = vec![];
    println!("{:<28} {:>8} {:>8} {:>8}", "rule", "planted", "found", "recall");
    for (rule, tally) in &table.0 {
        let recall = tally.found as f64 / tally.planted as f64;
        println!("{rule:<28} {:>8} {:>8} {:>7.1}%", tally.planted, tally.found, 100.0 * recall);
        for text in tally.missed.iter().take(2) {
            println!("    missed: {text}");
        }
        planted += tally.planted;
        found += tally.found;
        if recall < 0.9 {
            weak.push(rule.clone());
        }
    }
    let recall = found as f64 / planted as f64;
    println!("{:<28} {planted:>8} {found:>8} {:>7.2}%", "all", 100.0 * recall);

    let corpus = clean_corpus(&mut rng);
    let mut touched = 0;
    for text in &corpus {
        if let Some(clean) = redactor.text(text) {
            touched += 1;
            println!("    touched: {text}\n         to: {clean}");
        }
    }
    let share = touched as f64 / corpus.len() as f64;
    println!("clean texts {}, touched {touched}: {:.2}%", corpus.len(), 100.0 * share);
    assert!(recall >= 0.99, "recall {recall}");
    assert!(weak.is_empty(), "below 90 %: {weak:?}");
    assert!(share <= 0.02, "touched {share}");
}
