//! `gateway_log`: what the gateway says in its own log, as events.
//!
//! OpenClaw's gateway writes JSON lines to a file of its own, also when no exporter and no plugin is
//! set up: failed runs, channels that come and go, configuration that is changed. This source follows
//! that file. The lines of the levels and subsystems that are asked for become events of kind `log`
//! (`error` for the levels error and fatal); the others cost their reading.
//!
//! What holds:
//! 1. Every line is read once and in order: to the end of a file, then on in the next, over the change
//!    of the date, over any number of days that were missed, and over archives (`.1.log`). A file that
//!    was cut or replaced is read from its start. The files are OpenClaw's: it deletes what was not
//!    written for 24 hours, and what it deleted before it was read is gone.
//! 2. The position moves on only when the events before it are stored. A batch that is refused or fails
//!    is sent again with the same ids, and no further line is read meanwhile: the log is the buffer.
//! 3. An event's `trace_id` comes from the line and its place. So a line that is read again, after a
//!    crash between the store and the position, is a duplicate that the store knows.
//! 4. A line without its newline waits until it is complete, or until its file is left.
//! 5. What is no JSON object is counted and skipped; a line longer than `max_line` gives what its end
//!    says. Memory is bounded whatever the file holds: one line, 64 KiB read ahead, one batch.
//! 6. A poll looks at the open file and at the folder's time; it reads nothing when nothing came.
//!
//! The position is kept with the events, in the same transaction (`sources/delivery.rs`). Where no sink behind
//! this source keeps events, each start is a first one.
//!
//! Files are read on a blocking thread, so that a slow disk delays nothing else.

mod counts;
mod directory;
mod event;
mod follow;
mod level;
mod lines;
mod name;
mod position;
mod record;
#[cfg(test)]
mod run_test;
mod tail;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use engine::config::{Size, Time};
use engine::event::MAX_ID_BYTES;
use engine::{BuildContext, Holds, Outlet, Problem, Problems, Source, SourceConfig, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use counts::Counts;
use directory::Directory;
use event::Taken;
use follow::{Follower, Limits, Start};
pub use level::Level;
use name::Pattern;
use position::Position;

use crate::delivery::{Checkpoint, Stopped, deliver, last_kept};

/// A shorter line could not hold what OpenClaw writes around a text.
const MIN_LINE: u64 = 4 * 1024;
/// A line is in memory twice while it becomes an event; the whole program has 20 MB.
const MAX_LINE: u64 = 1024 * 1024;
/// The most events of a batch.
const BATCH_EVENTS: usize = 500;
/// The most bytes of a batch.
const BATCH_BYTES: usize = 256 * 1024;
/// Each is compared with every line.
const MAX_SUBSYSTEMS: usize = 64;

/// Follows the log file of OpenClaw's gateway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayLog {
    /// The folder of the log files. OpenClaw writes to `/tmp/openclaw`, and to `openclaw-UID` in the
    /// folder for temporary files where that one is not safe, unless its setting `logging.file` says
    /// otherwise.
    pub directory: PathBuf,
    /// The name of the log files, with `YYYY-MM-DD` for the date. With a profile OpenClaw writes
    /// `openclaw-PROFILE-YYYY-MM-DD.log`; a name without a date is one file that goes on. Archives
    /// (`.1` to `.5` before `.log`) belong to it.
    pub file: String,
    /// Time between two looks at the log; at least 100 ms.
    pub poll_interval: Time,
    /// The levels of which every line is taken.
    pub levels: Vec<Level>,
    /// The subsystems, with those below them, of which every line of level info or above is taken:
    /// `gateway/channels` is also `gateway/channels/telegram`. Loggers with a module or a plugin for a
    /// name are found by that.
    pub subsystems: Vec<String>,
    /// The longest line that is read whole; 4 KiB to 1 MiB. Of a longer one the end is read, which has
    /// level, time and message, and not the structured fields.
    pub max_line: Size,
    /// Whether the very first start begins with the oldest file that is there, and not at the end of
    /// the newest. Later starts go on where the last one stopped.
    pub from_start: bool,
    /// The `agent_id` of the events; if it is empty, that of the line.
    pub agent_id: Option<String>,
}

impl Default for GatewayLog {
    fn default() -> Self {
        Self {
            directory: "/tmp/openclaw".into(),
            file: "openclaw-YYYY-MM-DD.log".into(),
            poll_interval: Time::seconds(2),
            levels: vec![Level::Warn, Level::Error, Level::Fatal],
            subsystems: ["channels", "config", "gateway/channels", "gateway/reload"].map(Into::into).into(),
            max_line: Size(256 * 1024),
            from_start: false,
            agent_id: None,
        }
    }
}

impl GatewayLog {
    fn problems(&self) -> Problems {
        let mut problems = Problems::new();
        if !self.directory.is_absolute() {
            problems.push(Problem::new("directory", format!("must be an absolute path, not {:?}", self.directory)));
        }
        if let Err(problem) = Pattern::parse(&self.file) {
            problems.push(Problem::new("file", problem));
        }
        if self.poll_interval.0 < Duration::from_millis(100) {
            problems.push(Problem::new("poll_interval", "must be at least 100ms: each look costs CPU"));
        }
        if self.levels.is_empty() && self.subsystems.is_empty() {
            problems.push(Problem::new("levels", "name at least one level or subsystem, or nothing would be taken"));
        }
        if self.subsystems.len() > MAX_SUBSYSTEMS {
            problems.push(Problem::new("subsystems", format!("at most {MAX_SUBSYSTEMS} can be named")));
        }
        if self.subsystems.iter().any(|name| name.trim().is_empty() || name.ends_with('/')) {
            problems.push(Problem::new("subsystems", "a name is neither empty nor ends with '/'; remove it"));
        }
        if !(MIN_LINE..=MAX_LINE).contains(&self.max_line.0) {
            problems.push(Problem::new("max_line", "must be 4KiB to 1MiB"));
        }
        if self.agent_id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
            problems.push(Problem::new("agent_id", format!("must be at most {MAX_ID_BYTES} bytes")));
        }
        problems
    }
}

impl SourceConfig for GatewayLog {
    const TYPE: &'static str = "gateway_log";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, Problems> {
        let problems = self.problems();
        let (Ok(pattern), Ok(line), true) =
            (Pattern::parse(&self.file), usize::try_from(self.max_line.0), problems.is_empty())
        else {
            return Err(problems);
        };
        // Half of what may be in flight at most: a log can wait, what the agent sends cannot.
        let limits = Limits {
            line,
            events: BATCH_EVENTS.min(cx.in_flight.0 / 2).max(1),
            bytes: BATCH_BYTES.min(cx.in_flight.1 / 2).max(1),
        };
        let counts = Counts::new(cx);
        Ok(Box::new(Following { name: cx.name.clone(), config: self, pattern, limits, counts, now: Timestamp::now }))
    }
}

struct Following {
    name: String,
    config: GatewayLog,
    pattern: Pattern,
    limits: Limits,
    counts: Counts,
    now: fn() -> Timestamp,
}

#[async_trait]
impl Source for Following {
    fn holds(&self) -> Holds {
        Holds::NOTHING
    }

    async fn run(self: Box<Self>, outlet: Outlet, shutdown: CancellationToken) {
        self.follow(&outlet, shutdown).await;
    }
}

impl Following {
    async fn follow(&self, to: &dyn Checkpoint, shutdown: CancellationToken) {
        let Some(mut start) = self.start(to, &shutdown).await else { return };
        let mut reading = None;
        while !shutdown.is_cancelled() {
            let began = reading.take().ok_or_else(|| (self.follower(), start.clone()));
            let gathering = tokio::task::spawn_blocking(move || {
                let mut at_start = None;
                let mut follower = began.unwrap_or_else(|(mut follower, start)| {
                    at_start = follower.start(&start);
                    follower
                });
                let gathered = follower.gather();
                (follower, gathered, at_start)
            });
            let idle = match gathering.await {
                Ok((follower, gathered, at_start)) => {
                    if let (Start::End, Some(position)) = (&start, &at_start)
                        && !deliver(to, Vec::new(), Some(position.to_text()), &shutdown, &self.counts.delivered).await
                    {
                        // The place of the very first start: what is written from now on is not lost to
                        // a crash before its first event is stored.
                        return;
                    }
                    start = at_start.map_or(start, Start::At);
                    reading = Some(follower);
                    if let (false, Some(position)) = (gathered.events.is_empty(), gathered.position) {
                        let kept = Some(position.to_text());
                        if !deliver(to, gathered.events, kept, &shutdown, &self.counts.delivered).await {
                            return;
                        }
                        start = Start::At(position);
                    }
                    gathered.idle
                }
                Err(error) => {
                    tracing::warn!(component = self.name, %error, "reading the log failed; going on where it was safe");
                    true
                }
            };
            if idle {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(self.config.poll_interval.0) => {}
                }
            }
        }
    }

    /// Where to begin; `None`: it is time to stop.
    async fn start(&self, to: &dyn Checkpoint, shutdown: &CancellationToken) -> Option<Start> {
        let kept = match last_kept(to, &self.name, self.config.poll_interval.0, shutdown).await {
            Ok(kept) => kept,
            Err(Stopped) => return None,
        };
        let first = if self.config.from_start { Start::Oldest } else { Start::End };
        let Some(kept) = kept else { return Some(first) };
        match Position::from_text(&kept) {
            Some(position) => Some(Start::At(position)),
            None => {
                tracing::warn!(
                    component = self.name,
                    "the position in the log that was kept cannot be read; starting anew"
                );
                Some(first)
            }
        }
    }

    fn follower(&self) -> Follower {
        let taken = Taken {
            levels: self.config.levels.clone(),
            subsystems: self.config.subsystems.clone(),
            agent_id: self.config.agent_id.clone().filter(|id| !id.is_empty()),
        };
        let directory = Directory::new(self.config.directory.clone(), self.pattern.clone(), self.now);
        Follower::new(directory, taken, self.limits, self.counts.clone())
    }
}
