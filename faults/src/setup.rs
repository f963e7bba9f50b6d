//! How the program is started: its settings, and what stands around it.

use std::path::{Path, PathBuf};

/// What a fault may change before the first start.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) bin: PathBuf,
    /// Where everything of the run is.
    pub(crate) folder: PathBuf,
    /// Where the database is; in `folder` unless a fault says otherwise.
    pub(crate) data: PathBuf,
    /// A command line that ends by running what follows it, as the same process.
    pub(crate) wrapper: Vec<String>,
    /// `normal` or `full`.
    pub(crate) synchronous: &'static str,
    /// `stored` or `queued`.
    pub(crate) acknowledge: &'static str,
    /// The store's budget.
    pub(crate) max_bytes: &'static str,
    /// The free space that the store leaves.
    pub(crate) disk_reserve: &'static str,
    /// How long the store waits for a lock.
    pub(crate) busy_timeout: &'static str,
    /// How long the push waits for an answer.
    pub(crate) push_timeout: &'static str,
}

impl Setup {
    /// The usual one.
    #[must_use]
    pub(crate) fn new(bin: &Path, folder: &Path) -> Self {
        Self {
            bin: bin.to_owned(),
            folder: folder.to_owned(),
            data: folder.to_owned(),
            wrapper: Vec::new(),
            synchronous: "normal",
            acknowledge: "stored",
            max_bytes: "4GiB",
            disk_reserve: "0",
            busy_timeout: "10s",
            push_timeout: "5s",
        }
    }

    /// The database.
    #[must_use]
    pub(crate) fn db(&self) -> PathBuf {
        self.data.join("trace.db")
    }

    /// A file beside the database: `-wal`, `-shm`.
    #[must_use]
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.data.join(format!("trace.db{suffix}"))
    }

    /// The log.
    #[must_use]
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("sidecar.log")
    }

    /// The configuration: the usual graph, with a push that does not wait long.
    #[must_use]
    pub(crate) fn toml(&self, receiver: &str) -> String {
        format!(
            r#"[runtime]
log_level = "info"
log_format = "json"

[api]
bind = "127.0.0.1:0"

[sources.http]
type = "http_ingest"
bind = "127.0.0.1:0"
acknowledge = "{acknowledge}"

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
path = "{db}"
max_bytes = "{max_bytes}"
disk_reserve = "{disk_reserve}"
synchronous = "{synchronous}"
busy_timeout = "{busy_timeout}"
checkpoint_interval = "500ms"

[sinks.push]
type = "augmi_push"
inputs = ["store"]
endpoint = "{receiver}"
agent_id = "faults"
interval = "250ms"
batch_events = 200
timeout = "{push_timeout}"
base_delay = "50ms"
max_delay = "500ms"
breaker_cooldown = "500ms"
"#,
            acknowledge = self.acknowledge,
            db = self.db().display(),
            max_bytes = self.max_bytes,
            disk_reserve = self.disk_reserve,
            synchronous = self.synchronous,
            busy_timeout = self.busy_timeout,
            push_timeout = self.push_timeout,
        )
    }
}
