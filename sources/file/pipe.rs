//! Standard input, read to its end.
//!
//! A pipe gives what has come and then blocks. So a batch ends where reading on might block: an event is never
//! held back until the next one comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::time::Duration;

use super::counts::Counts;
use super::follow::{Gathered, Limits, Next};
use super::rejected::Rejected;
use crate::ndjson::Lines;

/// How often a standard input that does not wait is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Reads standard input.
#[derive(Debug)]
pub(super) struct Pipe<R: Read = Stdin> {
    limits: Limits,
    counts: Counts,
    rejected: Rejected,
    lines: Lines<R>,
}

/// Standard input, without the buffer that the standard library puts before it.
#[derive(Debug, Default)]
pub(super) struct Stdin(Option<File>);

impl Read for Stdin {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.0 {
            Some(file) => file,
            none => none.insert(io::stdin().as_fd().try_clone_to_owned()?.into()),
        };
        loop {
            match file.read(out) {
                // Who shares it may have made it so that it does not wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOOK),
                read => return read,
            }
        }
    }
}

impl Pipe {
    pub(super) fn new(limits: Limits, counts: Counts, rejected: Rejected) -> Self {
        Self::of(Stdin::default(), limits, counts, rejected)
    }
}

impl<R: Read> Pipe<R> {
    pub(super) fn of(input: R, limits: Limits, counts: Counts, rejected: Rejected) -> Self {
        Self { lines: Lines::new(input, limits.line), limits, counts, rejected }
    }

    /// Reads on. Blocks while nothing comes.
    pub(super) fn gather(&mut self) -> Gathered {
        let mut gathered = Gathered { events: Vec::new(), position: None, next: Next::More };
        let mut bytes = 0;
        while gathered.events.len() < self.limits.events && bytes < self.limits.bytes {
            if !gathered.events.is_empty() && !self.lines.has_line() {
                return gathered;
            }
            match self.lines.advance() {
                Ok(true) => {}
                Ok(false) if self.lines.finish() => {}
                Ok(false) => {
                    gathered.next = Next::Done;
                    break;
                }
                Err(error) => {
                    gathered.next = Next::Failed(format!("cannot read standard input: {error}"));
                    break;
                }
            }
            match self.lines.event(None) {
                Ok(Some(event)) => {
                    bytes += event.size_bytes();
                    gathered.events.push(event);
                }
                Ok(None) => {}
                Err(why) => self.rejected.line(self.lines.place().number, &why),
            }
            self.counts.read.inc();
        }
        if gathered.next != Next::More {
            let (lines, rejected) = (self.lines.behind().number - 1, self.rejected.end());
            tracing::info!(lines, rejected, "standard input was read to its end");
        }
        gathered
    }
}
