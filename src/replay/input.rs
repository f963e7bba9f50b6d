//! The lines of all files, one after the other.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engine::Event;
use sources::ndjson::Lines;

use crate::cli::Failure;
use crate::progress::Bar;
use crate::text;

/// The longest line that is taken: what an ingest port takes of one body.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// Where a line stands.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    file: Rc<str>,
    line: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What comes next.
pub(crate) enum Next {
    /// An event.
    Event(Box<Event>, Mark),
    /// A line that is none, and why.
    Rejected(Mark, String),
    /// Nothing for now: what was read should not wait for what comes.
    Pause,
    /// Nothing any more.
    End,
}

/// All files.
pub(crate) struct Input {
    waiting: std::vec::IntoIter<PathBuf>,
    open: Option<Open>,
    /// Bytes that were read, as they stand in the files.
    done: Rc<Cell<u64>>,
    /// Bytes of all files; nothing where one of them is a pipe.
    all: Option<u64>,
}

struct Open {
    name: Rc<str>,
    lines: Lines<Counted>,
    is_pipe: bool,
}

/// Counts what is read.
struct Counted(File, Rc<Cell<u64>>);

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

impl Input {
    /// Looks at all files, so that one that is missing is known before any is sent.
    pub(crate) fn open(files: Vec<PathBuf>) -> Result<Self, Failure> {
        let mut all = Some(0);
        for path in &files {
            if is_stdin(path) {
                if io::stdin().is_terminal() {
                    let message = "name a file, or pipe events in: openclaw-trace export | openclaw-trace replay";
                    return Err(Failure { code: 2, message: message.to_owned() });
                }
                all = None;
                continue;
            }
            let stat = File::open(path).and_then(|file| file.metadata()).map_err(|error| cannot(path, &error))?;
            if stat.is_dir() {
                return Err(cannot(path, &io::ErrorKind::IsADirectory.into()));
            }
            all = all.filter(|_| stat.is_file()).map(|all| all + stat.len());
        }
        Ok(Self { waiting: files.into_iter(), open: None, done: Rc::default(), all })
    }

    /// A bar, where there is an end to be seen.
    pub(crate) fn bar(&self) -> Option<(Bar, u64)> {
        self.all.map(|all| (Bar::new("replaying"), all))
    }

    /// Bytes that were read.
    pub(crate) fn done(&self) -> u64 {
        self.done.get()
    }

    /// The next line. `may_wait`: nobody waits for what was read before.
    ///
    /// # Errors
    /// Why a file cannot be read to its end.
    pub(crate) fn next(&mut self, may_wait: bool) -> Result<Next, String> {
        loop {
            let Some(open) = &mut self.open else {
                match self.waiting.next() {
                    None => return Ok(Next::End),
                    Some(path) => self.open = Some(self.begin(&path)?),
                }
                continue;
            };
            if open.is_pipe && !may_wait && !open.lines.has_line() {
                return Ok(Next::Pause);
            }
            let more = open.lines.advance().map_err(|error| format!("cannot read {}: {error}", open.name))?;
            if !more && !open.lines.finish() {
                self.open = None;
                continue;
            }
            let mark = Mark { file: Rc::clone(&open.name), line: open.lines.place().number };
            // The same text is the same events wherever it stands; what comes out of a pipe comes once.
            match open.lines.event((!open.is_pipe).then_some(b"")) {
                Ok(Some(event)) => return Ok(Next::Event(Box::new(event), mark)),
                Ok(None) => {}
                Err(why) => return Ok(Next::Rejected(mark, why)),
            }
        }
    }

    fn begin(&self, path: &Path) -> Result<Open, String> {
        let (file, name) = if is_stdin(path) {
            (io::stdin().as_fd().try_clone_to_owned().map(File::from), "standard input".to_owned())
        } else {
            (File::open(path), text::line(&path.display().to_string(), 200))
        };
        let file = file.map_err(|error| format!("cannot read {name}: {error}"))?;
        let is_pipe = !file.metadata().is_ok_and(|stat| stat.is_file());
        let lines = Lines::new(Counted(file, Rc::clone(&self.done)), MAX_LINE);
        Ok(Open { name: name.into(), lines, is_pipe })
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {error}", path.display()))
}
