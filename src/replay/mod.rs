//! `openclaw-trace replay`: events from files, sent to a running instance or put into a database.
//!
//! What holds:
//! 1. Every line is sent, or said with its file, its number and why not. Where any was not, the exit code is 1.
//! 2. Nothing is doubled: an event keeps its `trace_id`, and one that names none gets that of its line and place
//!    (`sources::ndjson`), so the same file replayed again is known to the store.
//! 3. An instance that refuses for now (429, 503) or is away is waited for, as long as it asks for, and at most
//!    `--patience` without an event that was taken.
//! 4. Memory is bounded: one batch, and one line of at most 4 MiB.

mod input;
mod sender;
mod tally;
mod target;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::config::{Inputs, Secret, Time};
use engine::{Event, Registry};

use crate::cli::Failure;
use input::{Input, Mark};
use sender::{Sender, Sent};
use tally::Tally;
use target::Target;

/// Events of a batch: a part of what may be in flight, so that others find room beside it.
const BATCH_EVENTS: usize = 200;
/// Bytes of a batch; an event that is larger goes alone.
const BATCH_BYTES: usize = 256 * 1024;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    /// Files; `-` is standard input.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) to: Option<String>,
    pub(crate) db: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    /// Events a second.
    pub(crate) rate: Option<f64>,
    pub(crate) original_pace: bool,
    pub(crate) dry_run: bool,
    pub(crate) patience: Time,
}

/// Reads and sends everything, and says in the end what became of it.
pub(crate) fn replay(request: Request, inputs: &Inputs, registry: &Registry) -> Result<String, Failure> {
    let mut input = Input::open(request.files.clone())?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    tokio.block_on(async {
        let target = if request.dry_run { Target::Nothing } else { Target::open(&request, inputs, registry).await? };
        let mut tally = Tally::new(input.bar());
        let mut sender = Sender::new(target, request.patience.0);
        let mut pace = Pace::new(&request);
        let ended = send_all(&mut input, &mut sender, &mut tally, &mut pace).await;
        let closed = sender.close().await;
        tally.end();
        let summary = tally.summary(request.files.len(), request.dry_run);
        match ended.and(closed) {
            Err(why) => Err(Failure::failed(format!("{why}\n{summary}"))),
            Ok(()) if tally.is_whole() => Ok(summary + "\n"),
            Ok(()) => Err(Failure::failed(summary)),
        }
    })
}

/// # Errors
/// Why it did not come to the end.
async fn send_all(input: &mut Input, sender: &mut Sender, tally: &mut Tally, pace: &mut Pace) -> Result<(), String> {
    let mut batch: Vec<(Event, Mark)> = Vec::new();
    let mut bytes = 0;
    loop {
        let next = match input.next(batch.is_empty()) {
            // What was whole before it is sent all the same.
            Err(why) => {
                flush(&mut batch, sender, tally, pace).await?;
                return Err(why);
            }
            Ok(next) => next,
        };
        let (event, mark) = match next {
            input::Next::Event(event, mark) => (*event, mark),
            input::Next::Rejected(mark, why) => {
                tally.rejected(&mark.to_string(), &why);
                continue;
            }
            input::Next::Pause => {
                flush(&mut batch, sender, tally, pace).await?;
                bytes = 0;
                continue;
            }
            input::Next::End => return flush(&mut batch, sender, tally, pace).await,
        };
        if let Some(due) = pace.due(&event).filter(|due| *due > Instant::now()) {
            flush(&mut batch, sender, tally, pace).await?;
            bytes = 0;
            tokio::time::sleep_until(due.into()).await;
        }
        let size = event.size_bytes();
        if !batch.is_empty() && (bytes + size > BATCH_BYTES || batch.len() >= pace.batch) {
            flush(&mut batch, sender, tally, pace).await?;
            bytes = 0;
        }
        bytes += size;
        batch.push((event, mark));
        tally.read(input.done());
    }
}

/// # Errors
/// Why nothing more can be sent.
async fn flush(
    batch: &mut Vec<(Event, Mark)>,
    sender: &mut Sender,
    tally: &mut Tally,
    pace: &mut Pace,
) -> Result<(), String> {
    if batch.is_empty() {
        return Ok(());
    }
    pace.wait(batch.len()).await;
    for Sent { taken, rejected } in sender.send(std::mem::take(batch)).await? {
        tally.taken(&taken);
        for (mark, why) in rejected {
            tally.rejected(&mark.to_string(), &why);
        }
    }
    Ok(())
}

/// When what is sent.
struct Pace {
    began: Instant,
    /// Events a second.
    rate: Option<f64>,
    sent: usize,
    /// Events of a batch.
    batch: usize,
    original: bool,
    /// When the first event was, in nanoseconds since 1970.
    first: Option<i64>,
}

impl Pace {
    fn new(request: &Request) -> Self {
        // Four batches a second, so that a low rate comes evenly.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let batch = request.rate.map_or(BATCH_EVENTS, |rate| ((rate / 4.0) as usize).clamp(1, BATCH_EVENTS));
        let original = request.original_pace;
        Self { began: Instant::now(), rate: request.rate, sent: 0, batch, original, first: None }
    }

    /// Waits until so many more may be sent.
    async fn wait(&mut self, events: usize) {
        if let Some(rate) = self.rate {
            #[allow(clippy::cast_precision_loss)]
            let due = self.began + Duration::from_secs_f64(self.sent as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
        }
        self.sent += events;
    }

    /// When an event comes that keeps its distance from the first.
    fn due(&mut self, event: &Event) -> Option<Instant> {
        if !self.original {
            return None;
        }
        let at = event.timestamp.as_nanos();
        let first = *self.first.get_or_insert(at);
        let after = Duration::from_nanos(u64::try_from(at.saturating_sub(first)).unwrap_or(0));
        self.began.checked_add(after)
    }
}

/// The token of a file: its text without the line's end.
fn token_of(file: &std::path::Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure {
        code: 2,
        message: format!("cannot read {}: {error} (--token-file)", file.display()),
    })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
