//! A gateway with its file of tokens, and sidecars that push to it.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Home, Request, Setup, Sidecar, eventually};

/// A gateway's home: the configuration that ships, and who may push.
pub struct Fleet {
    pub home: Home,
}

/// A token, and the line by which a gateway knows it.
#[derive(Debug, Clone)]
pub struct Token {
    pub token: String,
    pub line: String,
}

/// Makes a token by the command that people use.
pub fn token(agent: &str, org: Option<&str>) -> Token {
    let home = Home::new();
    let setup = home.bare().arg("token").arg("--agent").arg(agent);
    let made = org.map_or(setup.clone(), |org| setup.arg("--org").arg(org)).output();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let line = made.stderr.lines().last().expect("a line for the file").to_owned();
    Token { token: made.stdout.trim_end().to_owned(), line }
}

impl Fleet {
    pub fn new(tokens: &[&Token]) -> Self {
        let fleet = Self { home: Home::new() };
        fleet.write(tokens);
        fleet
    }

    pub fn tokens_file(&self) -> PathBuf {
        self.home.path("tokens")
    }

    /// Writes the file anew, as its comment in the configuration says: beside it, and then in its place.
    pub fn write(&self, tokens: &[&Token]) {
        let text: String = tokens.iter().map(|token| format!("{}\n", token.line)).collect();
        self.write_text(&format!("# tokens\n{text}"));
    }

    pub fn write_text(&self, text: &str) {
        let beside = self.home.path("tokens.new");
        std::fs::write(&beside, text).expect("the tokens can be written");
        std::fs::rename(beside, self.tokens_file()).expect("the tokens take their place");
    }

    /// The gateway to start.
    pub fn setup(&self) -> Setup {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fleet-gateway.toml");
        self.home
            .bare()
            .arg("--config")
            .arg(file)
            .set("runtime.log_format", "json")
            .set("api.bind", "127.0.0.1:0")
            .set("sources.ingest.bind", "127.0.0.1:0")
            .set("sources.ingest.tokens_file", self.tokens_file().to_str().expect("a path of ours"))
            // The events are looked at where they are: in a store of the gateway's own.
            .set("sinks.fleet.enabled", "false")
            .set("sinks.store.enabled", "true")
            .set("sinks.store.path", self.home.db().to_str().expect("a path of ours"))
            // Commits of thousands of tests' events need not reach the disk.
            .set("sinks.store.synchronous", "normal")
    }

    /// What the gateway would hand on: every event it has kept, as JSON.
    pub fn exported(&self) -> Vec<Value> {
        let export = self.home.bare().arg("export").arg("--db").arg(self.home.db()).output();
        assert_eq!(export.code, Some(0), "{}", export.stderr);
        export.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

/// Sends SIGHUP and waits until the log has this one time more.
pub async fn hang_up(gateway: &Sidecar, said: &str) {
    let before = gateway.log().matches(said).count();
    gateway.signal(Signal::HUP);
    eventually(said, async || gateway.log().matches(said).count() > before).await;
}

/// A sidecar that pushes there, soon and again and again.
pub fn sidecar(home: &Home, endpoint: &str, agent: &str, token: &Token) -> Setup {
    home.setup()
        .more(&format!(
            r#"
[sinks.push]
type = "augmi_push"
inputs = ["store"]
endpoint = "{endpoint}"
agent_id = "{agent}"
interval = "50ms"
batch_events = 500
timeout = "20s"
max_tries = 2
base_delay = "10ms"
max_delay = "2s"
breaker_cooldown = "50ms"
"#
        ))
        .env("TRACE_PUSH_TOKEN", &token.token)
}

/// A batch as a sidecar writes it, and the request that carries it.
pub fn batch(agent: &str, events: &[Value]) -> Value {
    json!({
        "agent_id": agent, "batch_id": Uuid::now_v7().to_string(), "sent_at": "2026-11-24T12:00:00.123Z", "traces": events, "metrics": [],
    })
}

pub fn push(batch: &Value, token: &Token) -> Request {
    Request::new("POST", "/v1/batches")
        .header("content-type", "application/json")
        .header("idempotency-key", batch["batch_id"].as_str().unwrap_or_default())
        .header("authorization", &format!("Bearer {}", token.token))
        .body(batch.to_string())
}
