//! The one thread that writes.
//!
//! It takes commands in order and, between them, looks after the files: rotation by age, compressing, batches that
//! must be kept and could not be written yet. A piece of that is small, so that a write never waits long behind it.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use engine::{Batch, BuildContext, Losses, Refusal, RefusalKind};
use tokio::sync::{oneshot, watch};

use super::FileSink;
use super::counts::Counts;
use super::current::{Current, Found, Repaired};
use super::names::Names;
use super::shelf::{Bounds, Shelf};
use crate::sqlite_store::Synchronous;
use crate::volume::{Reserve, folder, free, no_space};

/// How often a batch that must be kept is tried again, and a closed gate looked at.
const AGAIN: Duration = Duration::from_millis(500);

/// The longest wait for a command, after which the files are looked after.
const IDLE: Duration = Duration::from_secs(60);

/// So many bytes are compressed between two commands, or as many as were written if that is more: so a file is
/// compressed before the next one is full.
const PACKED_AT_ONCE: u64 = 256 * 1024;

/// A longer line is rare; its memory is given back.
const LINE: usize = 64 * 1024;

/// Failures are said once in this time.
const SAID: Duration = Duration::from_secs(30);

/// What the thread is asked to do.
pub(super) enum Command {
    /// Write these batches and answer each.
    Write(Vec<Batch>, oneshot::Sender<()>),
    /// Finish, close the file, end.
    Close(oneshot::Sender<Result<(), String>>),
}

/// The file that is written and all that belongs to it.
pub(super) struct Writer {
    name: String,
    names: Names,
    bounds: Bounds,
    max_age: Option<Duration>,
    sync: bool,
    drain_timeout: Duration,
    /// Nothing only while it could not be opened again.
    current: Option<Current>,
    shelf: Shelf,
    reserve: Reserve,
    gate: watch::Sender<Option<Refusal>>,
    losses: Losses,
    counts: Counts,
    /// The line that is being written.
    line: Vec<u8>,
    /// Acknowledged batches that could not be written yet.
    held: Vec<Batch>,
    /// When a failure may be said again, and how many were not.
    next_said: Option<Instant>,
    unsaid: u64,
    /// That there is room again, since a failure was said last.
    said_again: bool,
    rotation_failed: bool,
}

impl Writer {
    /// Opens the file, and looks at what there is from an earlier start.
    ///
    /// # Errors
    /// The system's, and those of [`Current::open`].
    pub(super) fn open(
        names: Names,
        config: &FileSink,
        cx: &BuildContext,
        gate: watch::Sender<Option<Refusal>>,
        counts: Counts,
    ) -> io::Result<Self> {
        // First the file: who has its lock has the others too.
        let current = open(&names, &cx.name)?;
        let bounds = Bounds { file: config.max_size.0, files: config.keep, total: config.max_total.0 };
        let shelf = Shelf::new(names.clone(), bounds, config.compression, counts.clone())?;
        let writer = Self {
            name: cx.name.clone(),
            bounds,
            max_age: config.max_age.map(|age| age.0),
            sync: config.synchronous == Synchronous::Full,
            drain_timeout: cx.drain_timeout,
            current: Some(current),
            shelf,
            reserve: Reserve::new(&names.path, config.disk_reserve.0),
            names,
            gate,
            losses: cx.losses.clone(),
            counts,
            line: Vec::new(),
            held: Vec::new(),
            next_said: None,
            unsaid: 0,
            said_again: false,
            rotation_failed: false,
        };
        writer.sync_folder()?;
        writer.gauge();
        Ok(writer)
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(self) -> io::Result<Sender<Command>> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("file".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || self.run(&receiver))?;
        Ok(sender)
    }

    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let command = commands.try_recv().or_else(|_| {
                // Nobody waits.
                self.shelf.pack(PACKED_AT_ONCE);
                self.gauge();
                commands.recv_timeout(self.until_upkeep())
            });
            match command {
                Ok(Command::Write(batches, done)) => {
                    let bytes: usize = batches.iter().map(Batch::size_bytes).sum();
                    self.take(batches);
                    // The sink may have been cut short by the drain's end; the batches are answered.
                    let _ = done.send(());
                    self.shelf.pack(PACKED_AT_ONCE.max(bytes as u64));
                }
                Ok(Command::Close(done)) => {
                    let _ = done.send(self.close());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.close();
                    return;
                }
            }
            self.upkeep();
        }
    }

    fn until_upkeep(&self) -> Duration {
        let soon = !self.held.is_empty() || self.gate.borrow().is_some();
        let mut next = if soon { AGAIN } else { IDLE };
        if let Some(at) = self.shelf.pack_at() {
            next = next.min(at.saturating_duration_since(Instant::now()));
        }
        if let Some(left) = self.age_left() {
            next = next.min(left.max(Duration::from_millis(10)));
        }
        next
    }

    /// Writes the batches, and answers each of them.
    fn take(&mut self, batches: Vec<Batch>) {
        if !self.reserve.is_free() {
            let refusal = no_space("the volume's reserve is reached");
            if self.gate.send_replace(Some(refusal.clone())).is_none() {
                tracing::warn!(component = self.name, "{refusal}");
                self.said_again = false;
            }
            self.give_back(batches, &refusal);
            return;
        }
        self.check_file();
        if self.is_old() {
            self.rotate();
        }
        // Written, and not safe yet.
        let mut written = Vec::new();
        let mut rest = batches.into_iter();
        while let Some(batch) = rest.next() {
            if let Err(error) = self.add(&batch, &mut written) {
                written.push(batch);
                written.extend(rest);
                self.fail(written, &error);
                return;
            }
            written.push(batch);
        }
        if let Err(error) = self.settle(&mut written) {
            self.fail(written, &error);
        }
    }

    /// Writes a batch, each line into a new file where it does not fit into this one. A batch that fails behind that
    /// place leaves whole lines of events that are sent again: rather twice than never.
    fn add(&mut self, batch: &Batch, written: &mut Vec<Batch>) -> io::Result<()> {
        let mut line = std::mem::take(&mut self.line);
        for event in batch.iter() {
            line.clear();
            serde_json::to_writer(&mut line, event)?;
            line.push(b'\n');
            let len = self.current()?.len();
            if len > 0 && len + line.len() as u64 > self.bounds.file {
                self.settle(written)?;
                self.rotate();
            }
            self.current()?.append(&line)?;
        }
        line.shrink_to(LINE);
        self.line = line;
        Ok(())
    }

    /// Makes safe what was written, and confirms it.
    fn settle(&mut self, written: &mut Vec<Batch>) -> io::Result<()> {
        let sync = self.sync;
        self.current()?.settle(sync)?;
        for batch in written.drain(..) {
            self.counts.events.inc_by(batch.len() as u64);
            batch.confirm(0);
        }
        Ok(())
    }

    /// The open file; opens it where that failed before.
    fn current(&mut self) -> io::Result<&mut Current> {
        if self.current.is_none() {
            let current = open(&self.names, &self.name)?;
            self.sync_folder()?;
            self.current = Some(current);
        }
        self.current.as_mut().ok_or_else(|| io::Error::other("the file is not open"))
    }

    /// Gives the file the name that it keeps. Where that fails, it is written on.
    fn rotate(&mut self) {
        // Half a line must not be kept for good.
        let mended = self.current.as_mut().map_or(Ok(()), Current::mend);
        match mended.and_then(|()| self.shelf.take(self.sync)) {
            Ok(()) => self.rotation_failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.rotation_failed, true) {
                    tracing::warn!(component = self.name, %error, "the file cannot be rotated; it grows on (said once)");
                }
                return;
            }
        }
        self.current = None;
        if let Err(error) = self.shelf.prune(0) {
            tracing::warn!(component = self.name, %error, "old files cannot be deleted; tried again at the next rotation");
        }
        // So that the name is there and is ours; where that fails, the next write says so.
        let _ = self.current();
    }

    /// What was written goes nowhere where the file has lost its name.
    fn check_file(&mut self) {
        let Some(current) = &self.current else { return };
        let (component, path) = (&self.name, self.names.path.display());
        match current.look(&self.names.path) {
            Found::Same => return,
            Found::Renamed => {
                tracing::warn!(component, %path, "the file was renamed by somebody else; a new one is begun")
            }
            Found::Changed => {
                tracing::error!(component, %path, "the file was changed by somebody else; going on at its end");
                self.losses.add();
            }
            Found::Deleted => {
                tracing::error!(component, %path, "the file was deleted while running; a new one is begun");
                self.losses.add();
            }
        }
        self.current = None;
    }

    /// Takes back what is not safe, and fails the batches, but for those whose clients were told "queued".
    fn fail(&mut self, batches: Vec<Batch>, error: &io::Error) {
        self.counts.failures.inc();
        if let Some(Err(error)) = self.current.as_mut().map(Current::cut_back) {
            tracing::error!(component = self.name, %error, "a write that failed cannot be taken back; tried again before the next");
        }
        self.say_failure(error, batches.len());
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let refusal = if full {
            let refusal = no_space("the disk is full");
            self.gate.send_replace(Some(refusal.clone()));
            refusal
        } else {
            Refusal::new(RefusalKind::Failed, "the events could not be written; send them again", AGAIN)
        };
        self.give_back(batches, &refusal);
    }

    /// A disk that fails does so many times a second; the log is told once in a while, with how often.
    fn say_failure(&mut self, error: &io::Error, batches: usize) {
        let now = Instant::now();
        if self.next_said.is_some_and(|at| now < at) {
            self.unsaid += 1;
            return;
        }
        let (component, unsaid) = (&self.name, std::mem::take(&mut self.unsaid));
        tracing::warn!(component, %error, batches, unsaid, "a write failed; its clients are told to send again (said once in 30 s)");
        self.next_said = Some(now + SAID);
        self.said_again = false;
    }

    fn give_back(&mut self, batches: Vec<Batch>, refusal: &Refusal) {
        for batch in batches {
            if batch.is_acknowledged() {
                self.held.push(batch);
            } else {
                batch.fail(refusal.clone());
            }
        }
    }

    fn upkeep(&mut self) {
        let is_shut = self.gate.borrow().is_some();
        if (is_shut || !self.held.is_empty()) && self.has_room() {
            let held = std::mem::take(&mut self.held);
            if !held.is_empty() {
                self.take(held);
            }
            if is_shut && self.held.is_empty() {
                self.gate.send_replace(None);
                if !std::mem::replace(&mut self.said_again, true) {
                    tracing::warn!(component = self.name, "events are taken again");
                }
            }
        }
        if self.is_old() {
            self.check_file();
            if self.current.as_ref().is_some_and(|current| current.len() > 0) {
                self.rotate();
            }
        }
        self.gauge();
    }

    /// Whether a write has a chance.
    fn has_room(&mut self) -> bool {
        self.reserve.is_free() && free(&self.names.path).is_none_or(|free| free > 0)
    }

    /// How long the file may still be written; `None`: as long as it is not full.
    fn age_left(&self) -> Option<Duration> {
        let began = self.current.as_ref()?.began()?;
        // A clock that went back makes it young.
        let age = SystemTime::now().duration_since(began).unwrap_or_default();
        Some(self.max_age?.saturating_sub(age))
    }

    fn is_old(&self) -> bool {
        self.age_left().is_some_and(|left| left.is_zero())
    }

    fn gauge(&self) {
        let bytes = self.shelf.bytes() + self.current.as_ref().map_or(0, Current::len);
        self.counts.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Makes safe that a new file has its name.
    fn sync_folder(&self) -> io::Result<()> {
        if self.sync { std::fs::File::open(folder(&self.names.path))?.sync_all() } else { Ok(()) }
    }

    /// Writes what is held, and closes the file.
    fn close(mut self) -> Result<(), String> {
        let until = Instant::now() + self.drain_timeout.mul_f64(0.8);
        while !self.held.is_empty() && Instant::now() < until {
            let held = std::mem::take(&mut self.held);
            self.take(held);
            if !self.held.is_empty() {
                std::thread::sleep(AGAIN.min(self.drain_timeout / 10));
            }
        }
        let lost: usize = self.held.iter().map(Batch::len).sum();
        self.held.clear();
        if let Some(Err(error)) = self.current.as_ref().map(Current::sync) {
            // What was confirmed outlives the process, which is all that was promised; with `full` it was synced before.
            tracing::warn!(component = self.name, %error, "the file could not be synced to the disk");
        }
        if lost > 0 { Err(format!("{lost} acknowledged events could not be written")) } else { Ok(()) }
    }
}

fn open(names: &Names, component: &str) -> io::Result<Current> {
    let path = names.path.display();
    let (current, repaired) = Current::open(&names.path)?;
    match repaired {
        Repaired::Not => {}
        Repaired::Ended => tracing::warn!(component, %path, "the last line had no end; it was given one"),
        Repaired::Cut(bytes) => {
            tracing::warn!(component, %path, bytes, "the last line was not whole; it was cut off (it had not been acknowledged)");
        }
    }
    Ok(current)
}
