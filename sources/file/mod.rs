//! `file`: events from NDJSON in a file, or from standard input.
//!
//! Each line is the very JSON that `POST /v1/events` takes: what `export` and the sink `file` write. What holds:
//! 1. Every line is read once and in order. Where the name leads to another file (it was rotated or replaced),
//!    the one that is open is read to its end, then the other from its start. A file that was cut or written
//!    anew in place is read from its start.
//! 2. The position moves on only when the events before it are stored. A batch that is refused or fails is sent
//!    again with the same ids, and no further line is read meanwhile: nothing is dropped, the file is the buffer.
//! 3. The position is kept in the transaction of the events before it, so that a crash neither loses nor doubles
//!    any. An event that names no `trace_id` also gets one from its file, line and place: it stays single where
//!    a file is begun anew by mistake, and where no sink behind this source keeps events, so that each start
//!    reads from the beginning.
//! 4. A line that is no event is counted, said with its number, and skipped; the others are kept.
//! 5. Memory is bounded whatever is read: one line of at most `max_line`, 64 KiB read ahead, one batch.
//! 6. Gzip and zstd are told by their first bytes (`sources/ndjson`).
//!
//! With `follow = false`, and at the end of standard input, the source ends; the process does when its last
//! source has. What cannot be read to its end is said, and the process does not end with 0.
//!
//! Reading is done on a blocking thread, so that a slow disk or an idle pipe delays nothing else.

mod counts;
mod follow;
mod opened;
mod pipe;
mod position;
mod rejected;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Size, Time};
use engine::{BuildContext, Holds, OpenError, Outlet, Problem, Problems, Source, SourceConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::delivery::{Checkpoint, Stopped, deliver, last_kept};
use counts::Counts;
use follow::{Follower, Gathered, Limits, Next};
use pipe::Pipe;
use position::Position;
use rejected::Rejected;

const MIN_LINE: u64 = 4 * 1024;
/// A line is in memory twice while it becomes an event; the whole program has 20 MB.
const MAX_LINE: u64 = 4 * 1024 * 1024;
/// The most events of a batch.
const BATCH_EVENTS: usize = 500;
/// The most bytes of a batch.
const BATCH_BYTES: usize = 256 * 1024;
/// How long a stop waits for lines that have been read from a pipe.
const GRACE: Duration = Duration::from_millis(100);

/// Reads events from a file of NDJSON, or from standard input.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The file, plain or packed with gzip or zstd; `-` is standard input.
    pub path: PathBuf,
    /// Whether to go on waiting for more at the file's end. Standard input is read to its end in any case.
    #[serde(default = "follow")]
    pub follow: bool,
    /// Time between two looks at the file; at least 100 ms.
    #[serde(default = "poll_interval")]
    pub poll_interval: Time,
    /// The longest line that is taken; 4 KiB to 4 MiB. A longer one is skipped.
    #[serde(default = "max_line")]
    pub max_line: Size,
}

fn follow() -> bool {
    true
}

fn poll_interval() -> Time {
    Time::seconds(1)
}

fn max_line() -> Size {
    Size::mib(1)
}

impl SourceConfig for FileSource {
    const TYPE: &'static str = "file";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        let mut problems = Problems::new();
        if self.path.as_os_str().is_empty() {
            problems.push(Problem::new("path", "is empty; name a file, or - for standard input"));
        }
        if self.poll_interval.0 < Duration::from_millis(100) {
            problems.push(Problem::new("poll_interval", "must be at least 100ms: each look costs CPU"));
        }
        if !(MIN_LINE..=MAX_LINE).contains(&self.max_line.0) {
            problems.push(Problem::new("max_line", "must be 4KiB to 4MiB"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // Half of what may be in flight at most: a file can wait, what the agent sends cannot.
        let limits = Limits {
            line: usize::try_from(self.max_line.0).unwrap_or(usize::MAX),
            events: BATCH_EVENTS.min(cx.in_flight.0 / 2).max(1),
            bytes: BATCH_BYTES.min(cx.in_flight.1 / 2).max(1),
        };
        Ok(Box::new(Reading { name: cx.name.clone(), config: self, limits, counts: Counts::new(cx) }))
    }
}

struct Reading {
    name: String,
    config: FileSource,
    limits: Limits,
    counts: Counts,
}

#[async_trait]
impl Source for Reading {
    fn holds(&self) -> Holds {
        if self.is_stdin() { Holds::Only(vec!["Stdin".to_owned()]) } else { Holds::NOTHING }
    }

    async fn open(&mut self) -> Result<(), OpenError> {
        let path = &self.config.path;
        // One that is followed may come later.
        if self.config.follow || self.is_stdin() {
            return Ok(());
        }
        opened::open(path).map(drop).map_err(|error| {
            OpenError(format!("cannot read {}: {error} (key sources.{}.path)", path.display(), self.name))
        })
    }

    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        if let Err(why) = self.read(&outlet, &shutdown).await {
            tracing::error!(component = self.name, "{why}");
            outlet.give_up(format!("sources.{}: {why}", self.name));
        }
    }
}

/// What is read from.
enum Input {
    File(Box<Follower>),
    Pipe(Box<Pipe>),
}

impl Input {
    fn gather(&mut self) -> Gathered {
        match self {
            Self::File(follower) => follower.gather(),
            Self::Pipe(pipe) => pipe.gather(),
        }
    }
}

impl Reading {
    fn is_stdin(&self) -> bool {
        self.config.path == Path::new("-")
    }

    /// Reads to the end, or until it is time to stop.
    ///
    /// # Errors
    /// Why it could not be read to its end.
    async fn read(&self, to: &dyn Checkpoint, shutdown: &CancellationToken) -> Result<(), String> {
        let Some(mut input) = self.input(to, shutdown).await else { return Ok(()) };
        let mut kept = None;
        while !shutdown.is_cancelled() {
            let gathering = tokio::task::spawn_blocking(move || {
                let gathered = input.gather();
                (input, gathered)
            });
            let Some(joined) = self.joined(gathering, shutdown).await else { return Ok(()) };
            let gathered;
            (input, gathered) = joined.map_err(|error| format!("reading failed: {error}"))?;
            let Gathered { events, position, next } = gathered;
            // Skipped lines alone move the position on at the end, so that they are not said again.
            let ends = matches!(next, Next::Done | Next::Failed(_));
            let moved = position != kept && (ends || !events.is_empty());
            if (moved || !events.is_empty())
                && !deliver(to, events, position.as_ref().map(Position::to_text), shutdown, &self.counts.delivered)
                    .await
            {
                return Ok(());
            }
            if moved {
                kept = position;
            }
            match next {
                Next::More => {}
                Next::Wait => tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(self.config.poll_interval.0) => {}
                },
                Next::Done => return Ok(()),
                Next::Failed(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// What the reading thread read. `None`: it is time to stop, and the thread waits for a pipe.
    async fn joined<T>(
        &self,
        mut gathering: tokio::task::JoinHandle<T>,
        shutdown: &CancellationToken,
    ) -> Option<Result<T, tokio::task::JoinError>> {
        if !self.is_stdin() {
            return Some(gathering.await);
        }
        tokio::select! {
            biased;
            joined = &mut gathering => Some(joined),
            () = shutdown.cancelled() => tokio::time::timeout(GRACE, gathering).await.ok(),
        }
    }

    /// Where to read; `None`: it is time to stop.
    async fn input(&self, to: &dyn Checkpoint, shutdown: &CancellationToken) -> Option<Input> {
        let file = self.config.path.display().to_string();
        let rejected = Rejected::new(self.name.clone(), file.clone(), self.counts.rejected.clone());
        if self.is_stdin() {
            return Some(Input::Pipe(Box::new(Pipe::new(self.limits, self.counts.clone(), rejected))));
        }
        let kept = match last_kept(to, &self.name, self.config.poll_interval.0, shutdown).await {
            Ok(kept) => kept,
            Err(Stopped) => return None,
        };
        let position = kept.as_deref().and_then(Position::from_text);
        if kept.is_some() && position.is_none() {
            tracing::warn!(component = self.name, file, "the position that was kept cannot be read; starting anew");
        }
        let (path, follow) = (self.config.path.clone(), self.config.follow);
        let follower = Follower::new(path, follow, self.limits, self.counts.clone(), rejected, position);
        Some(Input::File(Box::new(follower)))
    }
}
