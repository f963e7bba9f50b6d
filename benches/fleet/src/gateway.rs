//! The gateway: the real binary with the shipped configuration, its ports and files of this run.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use data_encoding::HEXLOWER;
use engine::TraceId;
use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::agent;
use crate::options::Options;

/// What a process has taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// At its peak.
    pub(crate) memory_kib: u64,
    pub(crate) cpu_seconds: f64,
}

/// See the module's description.
pub(crate) struct Gateway {
    bin: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    ingest: SocketAddr,
    api: SocketAddr,
    tokens: Vec<String>,
    running: Option<Child>,
    client: reqwest::Client,
    /// By status, of processes that have ended and of the one that runs.
    requests_before: BTreeMap<String, u64>,
    requests_now: BTreeMap<String, u64>,
}

impl Gateway {
    /// Makes its files.
    pub(crate) fn new(options: &Options, folder: &Path) -> Result<Self, String> {
        let tokens: Vec<String> = (0..options.agents).map(|_| format!("{:032x}", fastrand::u128(..))).collect();
        let lines: String = tokens
            .iter()
            .enumerate()
            .map(|(number, token)| {
                format!("{} {} acme\n", HEXLOWER.encode(&Sha256::digest(token)), agent::name(number))
            })
            .collect();
        std::fs::write(folder.join("tokens"), lines).map_err(|error| format!("tokens: {error}"))?;
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build();
        Ok(Self {
            bin: options.bin.clone(),
            config: options.config.clone(),
            folder: folder.to_owned(),
            ingest: free_port()?,
            api: free_port()?,
            tokens,
            running: None,
            client: client.map_err(|error| error.to_string())?,
            requests_before: BTreeMap::new(),
            requests_now: BTreeMap::new(),
        })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}/v1/batches", self.ingest)
    }

    pub(crate) fn token(&self, number: usize) -> &str {
        &self.tokens[number]
    }

    fn database(&self) -> PathBuf {
        self.folder.join("fleet.db")
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        let log = std::fs::File::create(self.folder.join("log")).map_err(|error| error.to_string())?;
        let child = Command::new(&self.bin)
            .arg("--config")
            .arg(&self.config)
            .env_clear()
            .env("GATEWAY_TOKENS", self.folder.join("tokens"))
            .env("GATEWAY_DB", self.database())
            .env("TRACE_SOURCES__INGEST__BIND", self.ingest.to_string())
            .env("TRACE_API__BIND", self.api.to_string())
            // A store of its own in ClickHouse's place: what is measured is the gateway.
            .env("TRACE_SINKS__FLEET__ENABLED", "false")
            .env("TRACE_SINKS__STORE__ENABLED", "true")
            .env("TRACE_SINKS__STORE__DISK_RESERVE", "16MiB")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}; build it with cargo build --release", self.bin.display()))?;
        self.running = Some(child);
        for _ in 0..200 {
            let ready = self.client.get(format!("http://{}/readyz", self.api)).send().await;
            if ready.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(format!("the gateway does not become ready:\n{log}"))
    }

    /// Batches that it has been sent, over all of its lives.
    pub(crate) async fn requests(&mut self) -> u64 {
        let asked = self.client.get(format!("http://{}/metrics", self.api)).send().await;
        if let Ok(answer) = asked
            && let Ok(text) = answer.text().await
        {
            let counts = text.lines().filter(|line| line.starts_with("openclaw_trace_ingest_requests_total{"));
            let by_status = counts.filter_map(|line| {
                let status = line.split_once("status=\"")?.1.split('"').next()?;
                Some((status.to_owned(), line.rsplit(' ').next()?.parse().ok()?))
            });
            self.requests_now = by_status.collect();
        }
        self.statuses().values().sum()
    }

    /// Batches by the status that answered them, over all of its lives.
    pub(crate) fn statuses(&self) -> BTreeMap<String, u64> {
        let mut all = self.requests_before.clone();
        for (status, count) in &self.requests_now {
            *all.entry(status.clone()).or_default() += count;
        }
        all
    }

    /// What it has taken so far.
    fn cost(&self) -> Cost {
        let Some(id) = self.running.as_ref().and_then(Child::id) else { return Cost::default() };
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let memory_kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        // User and system time are the 14th and 15th field, in hundredths of a second on Linux.
        let stat = read("stat");
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |field: usize| after_name.split_whitespace().nth(field).and_then(|text| text.parse::<f64>().ok());
        let cpu_seconds = (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0;
        Cost { memory_kib, cpu_seconds }
    }

    /// Ends it at once; answers what it took.
    pub(crate) async fn kill(&mut self) -> Result<Cost, String> {
        self.requests().await;
        let cost = self.cost();
        if let Some(mut child) = self.running.take() {
            child.kill().await.map_err(|error| error.to_string())?;
        }
        self.requests_before = self.statuses();
        self.requests_now.clear();
        Ok(cost)
    }

    /// Ends it in order; answers what it took.
    pub(crate) async fn stop(&mut self) -> Result<Cost, String> {
        let cost = self.cost();
        let Some(mut child) = self.running.take() else { return Ok(cost) };
        let id = child.id().ok_or("the gateway has ended by itself")?;
        // A signal without a dependency of its own.
        let sent = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await;
        sent.map_err(|error| format!("kill: {error}"))?;
        let ended = child.wait().await.map_err(|error| error.to_string())?;
        if !ended.success() {
            return Err(format!("the gateway ended with {ended}"));
        }
        Ok(cost)
    }

    /// How many events were confirmed, and how many of them its store does not have, or has twice.
    pub(crate) fn look_for(&self, confirmed: impl Iterator<Item = TraceId>) -> Result<(usize, usize), String> {
        let mut export = std::process::Command::new(&self.bin)
            .args(["export", "--db"])
            .arg(self.database())
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut there = HashSet::new();
        let mut doubled = 0;
        for line in BufReader::new(export.stdout.take().ok_or("no output")?).lines() {
            let line = line.map_err(|error| error.to_string())?;
            let id = line.split_once(r#""trace_id":""#).and_then(|(_, rest)| rest.get(..36)?.parse::<TraceId>().ok());
            doubled += usize::from(!there.insert(id.ok_or_else(|| format!("no trace_id in {line:.80}"))?));
        }
        export.wait().map_err(|error| error.to_string())?;
        let (mut count, mut missing) = (0, doubled);
        for id in confirmed {
            count += 1;
            missing += usize::from(!there.contains(&id));
        }
        Ok((count, missing))
    }
}

fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}
