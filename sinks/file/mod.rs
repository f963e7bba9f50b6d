//! `file`: keeps events as NDJSON, one a line, in files that are rotated.
//!
//! Each line is the very JSON that `POST /v1/events` takes and `export` writes. What it promises:
//!
//! 1. A batch is confirmed only after its lines are written: `kill -9` loses none. With `synchronous = "full"`
//!    they are synced to the disk first, and a power loss takes none either. All batches that wait share one sync.
//! 2. The file is whole lines, always. A write that fails (a full disk) is taken back to the last line that is
//!    safe, its batches fail, and it goes on by itself when there is room. A line that a killed process left half
//!    is cut off at the next start: nobody was told that it is kept.
//! 3. The disk does not fill: a file is rotated at `max_size` or `max_age`; all files together, what is being
//!    compressed among them, take at most `max_total` bytes, for which the oldest are deleted; below
//!    `disk_reserve` nothing is taken.
//! 4. Rotated files have names that sort by time; no file is ever overwritten (`names.rs`).
//! 5. A rotated file is compressed in the background. An unclean stop neither loses nor doubles one (`pack.rs`).
//! 6. A batch whose client was already told "queued" is tried again until the sink closes.
//! 7. Two never write one file: it is locked. A file that holds anything else is not touched.
//!
//! It has no index: an event that is sent again after a lost answer may stand in it twice, with one `trace_id`;
//! `dedupe` before it drops most of them, and whoever reads them into a store gets one.
//!
//! One thread writes (`writer.rs`).

mod counts;
mod current;
mod names;
mod pack;
mod shelf;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod writer;

use std::path::PathBuf;

use async_trait::async_trait;
use engine::config::{Size, Time};
use engine::plugin::AnySink;
use engine::{Batch, BuildContext, Holds, OpenError, Problem, Problems, Refusal, Sink, SinkConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::sqlite_store::Synchronous;
use counts::Counts;
use names::Names;
use writer::{Command, Writer};

/// A smaller file would be rotated all the time.
const MIN_SIZE: Size = Size(64 * 1024);

/// What becomes of rotated files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// They stay as they are.
    None,
    /// They are compressed with zstd.
    Zstd,
}

/// Writes events to files of NDJSON that are rotated.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSink {
    /// The file that is written. Rotated ones stand beside it, with the time of that in their names: `events.ndjson`
    /// becomes `events-20261125T120000.123Z.ndjson`.
    pub path: PathBuf,
    /// Size at which a file is rotated; at least 64KiB.
    #[serde(default = "max_size")]
    pub max_size: Size,
    /// Time after its first event at which a file is rotated; left out: by size alone.
    #[serde(default)]
    pub max_age: Option<Time>,
    /// Most rotated files that are kept; the oldest are deleted. 0: as many as `max_total` lets.
    #[serde(default)]
    pub keep: usize,
    /// Most bytes of all files together; beyond it the oldest rotated ones are deleted.
    #[serde(default = "max_total")]
    pub max_total: Size,
    /// Compression of rotated files: `none` or `zstd`.
    #[serde(default = "compression")]
    pub compression: Compression,
    /// `normal`: safe against a killed process; `full`: against a power loss too, and slower.
    #[serde(default = "synchronous")]
    pub synchronous: Synchronous,
    /// Free space to leave on the volume; below it nothing is taken (503).
    #[serde(default = "disk_reserve")]
    pub disk_reserve: Size,
}

fn max_size() -> Size {
    Size::mib(16)
}

fn max_total() -> Size {
    Size::mib(128)
}

fn compression() -> Compression {
    Compression::None
}

fn synchronous() -> Synchronous {
    Synchronous::Normal
}

fn disk_reserve() -> Size {
    Size::mib(32)
}

impl SinkConfig for FileSink {
    const TYPE: &'static str = "file";

    fn build(self, cx: &BuildContext) -> Result<AnySink, Problems> {
        let mut problems = Problems::new();
        let names = Names::of(&self.path);
        if names.is_none() {
            problems.push(Problem::new("path", "must end with the name of a file, such as /data/events.ndjson"));
        }
        if self.max_size < MIN_SIZE {
            problems.push(Problem::new("max_size", format!("must be at least {MIN_SIZE}")));
        }
        if self.max_age.is_some_and(|age| age.0.is_zero()) {
            problems.push(Problem::new("max_age", "must be more than 0; leave it out to rotate by size alone"));
        }
        // One that is written, one that was, and what it is compressed to.
        let files = if self.compression == Compression::Zstd { 3 } else { 2 };
        if self.max_total.0 < self.max_size.0.saturating_mul(files) {
            let least = Size(self.max_size.0.saturating_mul(files));
            problems.push(Problem::new("max_total", format!("must be at least {files} times max_size ({least})")));
        }
        match names {
            Some(names) if problems.is_empty() => {
                let counts = Counts::new(cx);
                Ok(AnySink::Stream(Box::new(Files { config: self, names, cx: cx.clone(), counts, open: None })))
            }
            _ => Err(problems),
        }
    }
}

struct Files {
    config: FileSink,
    names: Names,
    cx: BuildContext,
    counts: Counts,
    open: Option<Open>,
}

struct Open {
    commands: std::sync::mpsc::Sender<Command>,
    gate: watch::Receiver<Option<Refusal>>,
}

#[async_trait]
impl Sink for Files {
    fn holds(&self) -> Holds {
        Holds::file(&self.config.path)
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let (gate_sender, gate) = watch::channel(None);
        let (config, cx, counts) = (&self.config, &self.cx, self.counts.clone());
        let cannot = |what: &str, error: std::io::Error| {
            let (path, name) = (self.config.path.display(), &self.cx.name);
            OpenError(format!("cannot {what} {path}: {error}; choose another place (key sinks.{name}.path)"))
        };
        let writer = Writer::open(self.names.clone(), config, cx, gate_sender, counts)
            .map_err(|error| cannot("write", error))?;
        let commands = writer.start().map_err(|error| cannot("start the thread that writes", error))?;
        tracing::info!(component = self.cx.name, path = %self.config.path.display(), "events are written to a file");
        self.open = Some(Open { commands, gate });
        Ok(())
    }

    async fn write(&mut self, batches: Vec<Batch>) {
        let Some(open) = &self.open else { return };
        let (done, written) = oneshot::channel();
        // Where the thread is gone the batches are dropped with the command, which fails them.
        if open.commands.send(Command::Write(batches, done)).is_ok() {
            let _ = written.await;
        }
    }

    fn gate(&self) -> Option<watch::Receiver<Option<Refusal>>> {
        self.open.as_ref().map(|open| open.gate.clone())
    }

    async fn close(&mut self) -> Result<(), OpenError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let (done, closed) = oneshot::channel();
        let gone = || OpenError("the thread of the file ended before it was closed".to_owned());
        open.commands.send(Command::Close(done)).map_err(|_| gone())?;
        closed.await.map_err(|_| gone())?.map_err(OpenError)
    }
}
