//! The full screen on a terminal of its own, which `script` makes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::{Home, Request, eventually, post};

/// The program on a terminal, and what it has written there.
struct Screen {
    script: Child,
    written: Arc<Mutex<String>>,
}

impl Screen {
    fn of(home: &Home) -> Self {
        let program = env!("CARGO_BIN_EXE_openclaw-trace");
        let command = format!("stty rows 40 cols 140; exec {program} top --db {}", home.db().display());
        let mut script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut out = script.stdout.take().unwrap();
        let written = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { script, written }
    }

    async fn shows(&self, text: &str) {
        eventually(&format!("{text} is shown"), async || self.written.lock().unwrap().contains(text)).await;
    }
}

async fn with_a_run(home: &Home) {
    let sidecar = home.setup().keep_forever().start().await;
    let event = json!({"kind": "tool_call", "name": "exec", "run_id": "run-1", "status": "error", "error": "ENOENT"});
    assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    sidecar.stop().await;
}

/// Whether a `top` of this test's database lives.
fn lives(home: &Home) -> bool {
    let db = home.db().display().to_string();
    let commands = std::fs::read_dir("/proc").unwrap().flatten();
    let mut commands = commands.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    commands.any(|command| command.starts_with(env!("CARGO_BIN_EXE_openclaw-trace")) && command.contains(&db))
}

#[tokio::test]
async fn top_shows_the_store_opens_a_run_and_leaves_the_terminal_as_it_was() {
    let home = Home::new();
    with_a_run(&home).await;
    let mut screen = Screen::of(&home);
    screen.shows("run-1").await;
    screen.shows("ENOENT").await;
    let mut keys = screen.script.stdin.take().unwrap();
    keys.write_all(b"\r").unwrap();
    screen.shows("PgDn").await;
    keys.write_all(b"q").unwrap();
    screen.shows("Enter").await;
    keys.write_all(b"q").unwrap();
    eventually("top ends", async || screen.script.try_wait().unwrap().is_some()).await;
    assert!(screen.script.wait().unwrap().success());
    // The other screen is left, and the cursor is there again.
    for sequence in ["\u{1b}[?1049h", "\u{1b}[?1049l", "\u{1b}[?25h"] {
        screen.shows(sequence).await;
    }
}

#[tokio::test]
async fn top_ends_with_its_terminal() {
    let home = Home::new();
    with_a_run(&home).await;
    let mut screen = Screen::of(&home);
    screen.shows("run-1").await;
    assert!(lives(&home));
    screen.script.kill().unwrap();
    screen.script.wait().unwrap();
    eventually("top ends", async || !lives(&home)).await;
}
