//! The built program as a child process.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, eventually, get};

/// The program under test: the product, or, in the tests of `faults/vfs`, the product on a disk that fails.
const PROGRAM: Option<&str> = match option_env!("CARGO_BIN_EXE_faulty") {
    Some(faulty) => Some(faulty),
    None => option_env!("CARGO_BIN_EXE_openclaw-trace"),
};

/// A directory of one test's own: the database, the configuration, and where the program is started.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("openclaw-trace-").tempdir().expect("a temporary directory can be made"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn db(&self) -> PathBuf {
        self.path("trace.db")
    }

    /// A program to start: the usual pipeline, on free ports, with its database here.
    pub fn setup(&self) -> Setup {
        let db = self.db();
        let config = format!(
            r#"
[runtime]
log_level = "info"
log_format = "json"

[api]
bind = "127.0.0.1:0"

[sources.http]
type = "http_ingest"
bind = "127.0.0.1:0"

[transforms.dedupe]
type = "dedupe"
inputs = ["http"]

[transforms.assemble]
type = "assemble"
inputs = ["dedupe"]

[transforms.redact]
type = "redact"
inputs = ["assemble"]

[transforms.truncate]
type = "truncate"
inputs = ["redact"]

[sinks.store]
type = "sqlite_store"
inputs = ["truncate"]
path = "{}"
"#,
            db.display()
        );
        Setup { home: self.0.path().to_owned(), config: Some(config), ..Setup::default() }
    }

    /// A program to start with nothing but what the test says: no file, no argument.
    pub fn bare(&self) -> Setup {
        Setup { home: self.0.path().to_owned(), ..Setup::default() }
    }
}

/// How the program is to be started. Its environment holds only what is set here.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    home: PathBuf,
    config: Option<String>,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    deaf_after: Option<String>,
    stdin: Option<Vec<u8>>,
    under: Vec<OsString>,
}

impl Setup {
    /// What a command reads from its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Started by another program, which is given it as its last arguments.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(OsString::from).collect();
        self
    }

    /// Deletes nothing for its age: what was recorded grows older than any retention.
    pub fn keep_forever(self) -> Self {
        self.set("sinks.store.retention_days", "0")
    }

    /// Stops reading the log, and closes its pipe, after a line that holds `text`.
    pub fn deaf_after(mut self, text: &str) -> Self {
        self.deaf_after = Some(text.to_owned());
        self
    }

    /// More text for the configuration file.
    pub fn more(mut self, text: &str) -> Self {
        self.config.get_or_insert_default().push_str(text);
        self
    }

    /// One key, over the file.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.arg("--set").arg(format!("{key}={value}"))
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self) -> Command {
        let program = OsString::from(PROGRAM.expect("cargo names the program that a test is about"));
        let mut words = self.under.iter().chain([&program]);
        let mut command = Command::new(words.next().expect("there is a program"));
        command.args(words);
        command.env_clear().current_dir(&self.home).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(config) = &self.config {
            let file = self.home.join("test.toml");
            std::fs::write(&file, config).expect("the configuration can be written");
            command.arg("--config").arg(file);
        }
        command.args(&self.args);
        command
    }

    /// Runs a command that ends by itself.
    pub fn output(&self) -> Output {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().expect("the program can be started");
        let (stdin, bytes) = (child.stdin.take(), self.stdin.clone());
        // Of its own, so that a program that writes before it has read all does not wait for ever.
        let feeding = std::thread::spawn(move || {
            if let (Some(mut stdin), Some(bytes)) = (stdin, bytes) {
                // A program that does not read to the end is no failure here.
                let _ = stdin.write_all(&bytes);
            }
        });
        let output = child.wait_with_output().expect("the program's end can be waited for");
        feeding.join().expect("the feeding thread ends");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the program and waits until it takes events.
    pub async fn start(&self) -> Sidecar {
        let mut sidecar = self.spawn();
        assert!(sidecar.started().await, "ended at the start:\n{}", sidecar.log());
        sidecar
    }

    /// Starts the program and waits for nothing.
    pub fn spawn(&self) -> Sidecar {
        let mut child =
            self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        let deaf_after = self.deaf_after.clone();
        let reader = std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|read| read > 0) {
                lines.lock().unwrap().push_str(&line);
                // Returning closes the pipe: from here on nobody hears the program.
                if deaf_after.as_ref().is_some_and(|last| line.contains(last)) {
                    return;
                }
                line.clear();
            }
        });

        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Sidecar { child, log, reader: Some(reader), ingest: nowhere, api: nowhere }
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The running program. Killed when dropped.
pub struct Sidecar {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
    pub ingest: SocketAddr,
    pub api: SocketAddr,
}

impl Sidecar {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program can be signalled");
    }

    /// Waits until it takes events; `false` where it ends before that.
    pub async fn started(&mut self) -> bool {
        let start = Instant::now();
        loop {
            let addresses = (self.address("ingest listening"), self.address("api listening"));
            if let (Some(ingest), Some(api)) = addresses {
                self.ingest = ingest;
                self.api = api;
                return true;
            }
            if self.ended().is_some() {
                return false;
            }
            assert!(start.elapsed() < PATIENCE, "not started after {PATIENCE:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the program's state can be asked for")
    }

    /// Waits for the end, and for the last of its log. `None` where a signal ended it.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                if let Some(reader) = self.reader.take() {
                    reader.join().expect("the log is read to its end");
                }
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "still running after {PATIENCE:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An orderly stop, which must end well.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let code = self.exit_code().await;
        assert_eq!(code, Some(0), "an orderly stop:\n{}", self.log());
    }

    /// Waits until so many events are admitted and not yet done with, by its own word.
    pub async fn in_flight(&self, events: usize) {
        let end = format!(" {events}");
        eventually("the events are in flight", async || {
            let metrics = get(self.api, "/metrics").await.text();
            metrics.lines().any(|line| line.starts_with("openclaw_trace_in_flight_events") && line.ends_with(&end))
        })
        .await;
    }

    /// What it wrote to its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Resident memory that is not backed by files, now, in KiB.
    pub fn anonymous_kib(&self) -> u64 {
        anonymous_kib(self.pid()).expect("the program is running")
    }

    /// Watches the memory until the value is asked for its peak.
    pub fn watch_memory(&self) -> Memory {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (pid, seen, stopped) = (self.pid(), Arc::clone(&peak), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(now) = anonymous_kib(pid) else { return };
                seen.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Memory { peak, stop }
    }

    /// The address in the log line with this message.
    fn address(&self, message: &str) -> Option<SocketAddr> {
        let log = self.log();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["message"] == message)
            .and_then(|line| line["address"].as_str()?.parse().ok())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", self.log());
        }
    }
}

/// A watch over a process's memory.
pub struct Memory {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Memory {
    /// The most that was seen, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Fails where the budget of 20 MB was not kept.
    pub fn assert_within_budget(&self) {
        let peak = self.peak_kib();
        assert!(peak > 0, "no memory reading was taken");
        assert!(peak * 1024 < 20_000_000, "RssAnon reached {peak} KiB; the budget is 20 MB");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn anonymous_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
