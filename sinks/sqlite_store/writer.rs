//! The one thread that writes.
//!
//! It takes commands in order and, between them, looks after the file: checkpoints, retention, the
//! volume's free space, whether the file is still there. A piece of upkeep is small, so that a write
//! never waits long behind it; what is left is done after the next command.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use engine::{Batch, BuildContext, Losses, Refusal, RefusalKind, Timestamp};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::counts::Counts;
use super::retention::{self, Budget};
use super::schema::{self, FileError};
use super::space::{self, Identity, Volume};
use super::transaction::{self, Change};
use super::{SqliteStore, Synchronous, damage, full_text, rollup};
use crate::volume::no_space;

const WAL_WARN: u64 = 10 * 1024 * 1024;
const WAL_LIMIT: u64 = 50 * 1024 * 1024;

/// How often a batch that must be kept is tried again, and a closed gate looked at.
const AGAIN: Duration = Duration::from_millis(500);

/// How long events wait for the rollup where nothing else is to do, and where writes come without a pause.
const FOLD_SOON: Duration = Duration::from_millis(500);
const FOLD_AT_LAST: Duration = Duration::from_secs(2);

/// How often retention is looked at while writes come, in bytes written.
const LOOK_AFTER: usize = 1024 * 1024;

/// What the thread is asked to do.
pub(super) enum Command {
    /// Store these batches and answer each.
    Write(Vec<Batch>, oneshot::Sender<()>),
    /// Change what the outbox says.
    Change(Change, oneshot::Sender<Result<(), String>>),
    /// The outbox's reader met damage in this file.
    Damaged(Identity, String),
    /// Finish, close the file, end.
    Close(oneshot::Sender<Result<(), String>>),
}

/// The writing connection and all that belongs to it.
pub(super) struct Writer {
    path: PathBuf,
    synchronous: Synchronous,
    full_text: bool,
    busy_timeout: Duration,
    budget: Budget,
    checkpoint_interval: Duration,
    retention_interval: Duration,
    drain_timeout: Duration,
    connection: Connection,
    losses: Losses,
    volume: Volume,
    gate: watch::Sender<Option<Refusal>>,
    counts: Counts,
    /// Acknowledged batches that could not be written yet.
    held: Vec<Batch>,
    next_checkpoint: Instant,
    next_retention: Instant,
    /// When the rollup is gone on with; `None` where it has folded all.
    next_fold: Option<Instant>,
    last_fold: Instant,
    fold_failed: bool,
    written: usize,
    wal_warned: bool,
    unsent_warned: bool,
    /// When a failed write may be said again, and how many were not.
    next_said: Option<Instant>,
    unsaid: u64,
}

impl Writer {
    /// Opens the file; one that is damaged is set aside first.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn open(
        path: PathBuf,
        config: &SqliteStore,
        cx: &BuildContext,
        gate: watch::Sender<Option<Refusal>>,
        counts: Counts,
    ) -> Result<Self, FileError> {
        let connection = open_or_set_aside(&path, config.synchronous, config.busy_timeout.0, config.full_text)?;
        let now = Instant::now();
        Ok(Self {
            volume: Volume::new(&path, config.disk_reserve.0),
            losses: cx.losses.clone(),
            synchronous: config.synchronous,
            full_text: config.full_text,
            busy_timeout: config.busy_timeout.0,
            budget: Budget { days: config.retention_days, bytes: config.max_bytes.0 },
            checkpoint_interval: config.checkpoint_interval.0,
            retention_interval: config.retention_interval.0,
            drain_timeout: cx.drain_timeout,
            connection,
            path,
            gate,
            counts,
            held: Vec::new(),
            next_checkpoint: now + config.checkpoint_interval.0,
            next_retention: now,
            next_fold: Some(now),
            last_fold: now,
            fold_failed: false,
            written: 0,
            wal_warned: false,
            unsent_warned: false,
            next_said: None,
            unsaid: 0,
        })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(self) -> std::io::Result<Sender<Command>> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || self.run(&receiver))?;
        Ok(sender)
    }

    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let command = commands.try_recv().or_else(|_| {
                // Nobody waits: time for the sums.
                self.fold();
                commands.recv_timeout(self.until_upkeep())
            });
            match command {
                Ok(Command::Write(batches, done)) => {
                    self.take(batches);
                    // The sink may have been cut short by the drain's end; the batches are answered.
                    let _ = done.send(());
                }
                Ok(Command::Change(change, done)) => {
                    let changed = transaction::change(&mut self.connection, &change);
                    if let Err(error) = &changed {
                        self.look_for_damage(error);
                    }
                    let _ = done.send(changed.map_err(|error| format!("cannot change the store: {error}")));
                }
                Ok(Command::Damaged(file, error)) => {
                    // Only of the file that is ours now: the one that was set aside is known to be damaged.
                    // And a reader's word alone replaces no database: every page is looked at first.
                    if space::identity(&self.path) == Some(file)
                        && let Err(found) = schema::check_all(&self.connection)
                    {
                        tracing::error!(%error, "a reader met damage");
                        self.look_for_damage(&found);
                    }
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
        let next = self.next_checkpoint.min(self.next_retention);
        let next = self.next_fold.map_or(next, |fold| next.min(fold)).saturating_duration_since(Instant::now());
        if soon { next.min(AGAIN) } else { next }
    }

    /// Writes the batches, and answers each of them.
    fn take(&mut self, batches: Vec<Batch>) {
        self.check_file();
        if !self.volume.has_room() {
            let refusal = no_space("the volume's reserve is reached");
            if self.gate.send_replace(Some(refusal.clone())).is_none() {
                tracing::error!(path = %self.path.display(), "the volume's reserve is reached: nothing is stored until there is room");
            }
            self.give_back(batches, &refusal);
            return;
        }
        let error = match self.commit(&batches) {
            Ok(duplicates) => return self.confirm(batches, &duplicates),
            Err(error) => error,
        };
        if damage::is_damage(&error) {
            self.replace_damaged(&error.to_string());
            match self.commit(&batches) {
                Ok(duplicates) => self.confirm(batches, &duplicates),
                Err(error) => self.fail(batches, &error),
            }
        } else if damage::is_passing(&error) || batches.len() == 1 {
            self.fail(batches, &error);
        } else {
            // Something in one of them: the others must not fail with it.
            for batch in batches {
                match self.commit(std::slice::from_ref(&batch)) {
                    Ok(duplicates) => self.confirm(vec![batch], &duplicates),
                    Err(error) => self.fail(vec![batch], &error),
                }
            }
        }
    }

    /// One transaction for all of them; answers each one's duplicates.
    fn commit(&mut self, batches: &[Batch]) -> rusqlite::Result<Vec<usize>> {
        let timer = self.counts.commits.start_timer();
        let duplicates = transaction::store(&mut self.connection, batches)?;
        timer.observe_duration();
        Ok(duplicates)
    }

    fn confirm(&mut self, batches: Vec<Batch>, duplicates: &[usize]) {
        for (batch, duplicates) in batches.into_iter().zip(duplicates) {
            self.counts.events.inc_by((batch.len() - duplicates) as u64);
            self.counts.duplicates.inc_by(*duplicates as u64);
            self.written += batch.size_bytes();
            batch.confirm(*duplicates);
        }
        self.next_fold = self.next_fold.or_else(|| Some(Instant::now() + FOLD_SOON));
        if self.written >= LOOK_AFTER {
            self.written = 0;
            self.next_retention = Instant::now();
        }
    }

    fn fail(&mut self, batches: Vec<Batch>, error: &rusqlite::Error) {
        self.counts.failures.inc();
        self.say_failure(error, batches.len());
        let refusal = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                let refusal = no_space("the disk is full");
                self.gate.send_replace(Some(refusal.clone()));
                refusal
            }
            Some(rusqlite::ErrorCode::DatabaseBusy) => {
                Refusal::new(RefusalKind::Failed, "the database is held by another process; send again", AGAIN)
            }
            _ => Refusal::new(RefusalKind::Failed, "the events could not be stored; send them again", AGAIN),
        };
        self.give_back(batches, &refusal);
    }

    /// A disk that fails does so many times a second; the log is told once in a while, with how often.
    fn say_failure(&mut self, error: &rusqlite::Error, batches: usize) {
        let now = Instant::now();
        if self.next_said.is_some_and(|at| now < at) {
            self.unsaid += 1;
            return;
        }
        // SQLite's extended code names the call: 778 is a write, 1034 a sync.
        let code = error.sqlite_error().map(|error| error.extended_code);
        let unsaid = std::mem::take(&mut self.unsaid);
        tracing::warn!(%error, code, batches, unsaid, "a write failed; its clients are told to send again (said once in 30 s)");
        self.next_said = Some(now + Duration::from_secs(30));
    }

    /// Fails the batches, but for those whose clients were told "queued".
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
        if !self.held.is_empty() && self.volume.has_room() {
            let held = std::mem::take(&mut self.held);
            self.take(held);
        }
        if self.gate.borrow().is_some() && self.volume.has_room() {
            tracing::warn!("there is room on the volume again; events are taken");
            self.gate.send_replace(None);
        }
        let now = Instant::now();
        if now >= self.last_fold + FOLD_AT_LAST {
            self.fold();
        }
        if now >= self.next_retention {
            self.next_retention = now + self.retention_interval;
            self.retain();
        }
        if now >= self.next_checkpoint {
            self.next_checkpoint = now + self.checkpoint_interval;
            self.check_file();
            self.checkpoint();
        }
    }

    /// Sums up some of what is new, if it is time.
    fn fold(&mut self) {
        let now = Instant::now();
        if self.next_fold.is_none_or(|at| now < at) {
            return;
        }
        self.last_fold = now;
        let folded = rollup::step(&mut self.connection, self.budget.days, Timestamp::now());
        let indexed = if self.full_text { full_text::step(&mut self.connection) } else { Ok(false) };
        match folded.and_then(|step| Ok((step, indexed?))) {
            Ok((step, more)) => {
                self.fold_failed = false;
                self.next_fold = (step.more || more).then_some(now);
                self.counts.folded.inc_by(step.folded as u64);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.fold_failed, true) {
                    tracing::warn!(%error, "the sums for the dashboard could not be made; tried again");
                }
                self.next_fold = Some(now + Duration::from_secs(10));
                self.look_for_damage(&error);
            }
        }
    }

    fn retain(&mut self) {
        // A step of one is as large as a step of the other, so what is deleted never waits for long.
        if !self.fold_failed {
            self.next_fold = self.next_fold.map(|_| Instant::now());
        }
        self.fold();
        // Room is worth more than sums.
        let until = if self.fold_failed { i64::MAX } else { rollup::cursor(&self.connection).unwrap_or(i64::MAX) };
        match rollup::forget(&mut self.connection, self.budget.days, Timestamp::now()) {
            Ok(true) => self.next_retention = Instant::now(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "old sums could not be deleted; it is tried again");
                self.look_for_damage(&error);
            }
        }
        match retention::step(&mut self.connection, self.budget, until, Timestamp::now()) {
            Ok(step) => {
                self.counts.deleted.inc_by(step.deleted as u64);
                self.counts.deleted_unsent.inc_by(step.unsent as u64);
                if step.unsent > 0 && !std::mem::replace(&mut self.unsent_warned, true) {
                    tracing::info!("retention deletes events that were never pushed (said once)");
                }
                if step.more {
                    self.next_retention = Instant::now();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "retention failed; it is tried again");
                self.look_for_damage(&error);
            }
        }
        if let Ok(bytes) = space::used_bytes(&self.connection) {
            self.counts.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let wal = space::wal_bytes(&self.path);
        self.counts.wal.set(i64::try_from(wal).unwrap_or(i64::MAX));
        if wal > WAL_LIMIT {
            self.next_checkpoint = Instant::now();
        }
    }

    /// Moves the log into the database. Without waiting for readers, unless the log is far too long.
    fn checkpoint(&mut self) {
        let before = space::wal_bytes(&self.path);
        let mode = if before > WAL_LIMIT { "TRUNCATE" } else { "PASSIVE" };
        let done = self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(0));
        if let Err(error) = done {
            tracing::warn!(%error, "the checkpoint failed; it is tried again");
            self.look_for_damage(&error);
        }
        if before > WAL_WARN {
            if !std::mem::replace(&mut self.wal_warned, true) {
                tracing::warn!(
                    bytes = before,
                    "the write-ahead log is long: is another process reading the database for long?"
                );
            }
        } else {
            self.wal_warned = false;
        }
    }

    /// A file that was deleted or replaced under us takes what is written to nowhere.
    fn check_file(&mut self) {
        if self.volume.is_same_file() {
            return;
        }
        tracing::error!(path = %self.path.display(), "the database file was deleted or replaced while running; a new one is begun");
        self.reopen();
    }

    /// Damage that upkeep meets, and no write: left alone, the budget would end there.
    fn look_for_damage(&mut self, error: &rusqlite::Error) {
        if damage::is_damage(error) {
            self.replace_damaged(&error.to_string());
        }
    }

    fn replace_damaged(&mut self, error: &str) {
        tracing::error!(path = %self.path.display(), %error, "the database is damaged; it is set aside and a new one begun");
        // Closed first: SQLite must not write to a file that is renamed.
        if let Ok(memory) = Connection::open_in_memory() {
            drop(std::mem::replace(&mut self.connection, memory));
        }
        if let Err(error) = damage::set_aside(&self.path) {
            tracing::error!(%error, "the damaged database could not be renamed");
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        match open_or_set_aside(&self.path, self.synchronous, self.busy_timeout, self.full_text) {
            Ok(connection) => {
                self.connection = connection;
                self.next_fold = Some(Instant::now());
                self.volume.opened();
                self.losses.add();
            }
            // Writes fail and are answered so; the next one tries again.
            Err(error) => tracing::error!(%error, "the database cannot be opened"),
        }
    }

    /// Writes what is held, moves the log into the file and closes it.
    fn close(mut self) -> Result<(), String> {
        let until = Instant::now() + self.drain_timeout.mul_f64(0.8);
        // A lock must not eat all of the time that is left.
        let _ = self.connection.busy_timeout(self.busy_timeout.min(self.drain_timeout / 4));
        while !self.held.is_empty() && Instant::now() < until {
            let held = std::mem::take(&mut self.held);
            self.take(held);
            if !self.held.is_empty() {
                std::thread::sleep(AGAIN.min(self.drain_timeout / 10));
            }
        }
        // For whoever reads the file afterwards; what is not done in a moment the next start does.
        let moment = until.min(Instant::now() + Duration::from_secs(1));
        while self.next_fold.is_some() && !self.fold_failed && Instant::now() < moment {
            self.next_fold = Some(Instant::now());
            self.fold();
        }
        let lost: usize = self.held.iter().map(Batch::len).sum();
        self.held.clear();
        let checkpoint = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            // What is in the log is as safe as what is in the file; the next start moves it.
            tracing::warn!(%error, "the last checkpoint failed; the next start does it");
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the database did not close cleanly");
        }
        if lost > 0 { Err(format!("{lost} acknowledged events could not be stored")) } else { Ok(()) }
    }
}

fn open_or_set_aside(
    path: &std::path::Path,
    synchronous: Synchronous,
    busy: Duration,
    full_text: bool,
) -> Result<Connection, FileError> {
    let open = || schema::open(path, synchronous, busy, full_text);
    let error = match open() {
        Err(error) if error.is_damage() => error,
        opened => return opened,
    };
    let aside = damage::set_aside(path).map_err(|error| FileError::Io { path: path.to_owned(), error })?;
    tracing::error!(
        %error,
        aside = %aside.display(),
        "the database is damaged: it was set aside and a new one begun; `sqlite3 FILE .recover` may save what is in it"
    );
    open()
}
