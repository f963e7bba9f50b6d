//! The program as a child process.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::sleep;

use crate::setup::Setup;

/// Longer than a start takes on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The program, running. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Sidecar {
    child: Child,
    setup: Setup,
    log_from: u64,
    /// Where events are taken.
    pub(crate) ingest: SocketAddr,
    /// Where probes are answered.
    pub(crate) api: SocketAddr,
    peak_kib: Arc<AtomicU64>,
    watching: Arc<AtomicBool>,
}

impl Sidecar {
    /// Starts it, and waits until it listens or has ended.
    ///
    /// # Errors
    /// Its status and its log, where it ended before it listened.
    ///
    /// # Panics
    /// Where the rig itself cannot go on: no process can be made, or this one does neither.
    pub(crate) async fn start(setup: &Setup, receiver: &str) -> Result<Self, (ExitStatus, String)> {
        let config = setup.folder.join("faults.toml");
        std::fs::write(&config, setup.toml(receiver)).expect("the configuration can be written");
        let log = OpenOptions::new().create(true).append(true).open(setup.log()).expect("the log can be opened");
        let log_from = log.metadata().map_or(0, |meta| meta.len());
        let mut words = setup.wrapper.iter().map(String::as_str);
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&setup.bin);
                command
            }
            None => Command::new(&setup.bin),
        };
        command.env_clear().current_dir(&setup.folder).arg("--config").arg(config);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{} cannot be started: {error}", setup.bin.display()));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sidecar = Self {
            peak_kib: Arc::new(AtomicU64::new(0)),
            watching: Arc::new(AtomicBool::new(true)),
            child,
            setup: setup.clone(),
            log_from,
            ingest: nowhere,
            api: nowhere,
        };
        sidecar.watch_memory();
        let began = Instant::now();
        loop {
            // Asked first: what it wrote before its end is then in the log for sure.
            let ended = sidecar.ended();
            let log = sidecar.log();
            if let (Some(ingest), Some(api)) = (address(&log, "ingest listening"), address(&log, "api listening")) {
                (sidecar.ingest, sidecar.api) = (ingest, api);
                return Ok(sidecar);
            }
            if let Some(status) = ended {
                return Err((status, log));
            }
            assert!(began.elapsed() < START, "neither up nor ended after {START:?}:\n{log}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it said since it was started.
    #[must_use]
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.setup.log()).unwrap_or_default();
        let from = usize::try_from(self.log_from).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Its process.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; one that has ended does not mind.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Its status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child's state can be asked for")
    }

    /// Waits for its end; `None` where it does not come.
    pub(crate) async fn end(&mut self, within: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if began.elapsed() > within {
                return None;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The most anonymous memory that was seen, in KiB.
    #[must_use]
    pub(crate) fn peak_kib(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed)
    }

    /// A thread that looks every few milliseconds: the peak that the kernel keeps (`VmHWM`) counts
    /// file pages too, which cost nothing under pressure.
    fn watch_memory(&self) {
        let (pid, peak, watching) = (self.pid(), Arc::clone(&self.peak_kib), Arc::clone(&self.watching));
        std::thread::spawn(move || {
            while watching.load(Ordering::Relaxed)
                && let Some(now) = anonymous_kib(pid)
            {
                peak.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.watching.store(false, Ordering::Relaxed);
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How it ended, in words.
#[must_use]
pub(crate) fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

fn address(log: &str, message: &str) -> Option<SocketAddr> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == message)
        .and_then(|line| line["address"].as_str()?.parse().ok())
}

fn anonymous_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
