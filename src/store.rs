//! `openclaw-trace store`: care of the database file by hand.

use std::fmt::Write as _;
use std::path::Path;

use sinks::sqlite_store::care::{self, CareError};

use crate::cli::Failure;
use crate::progress::Bar;
use crate::text;

type Done = Result<String, Failure>;

impl From<CareError> for Failure {
    fn from(error: CareError) -> Self {
        Self::failed(error.to_string())
    }
}

/// `openclaw-trace store check`: fails where the file is damaged, and says what to do.
pub(crate) fn check(db: &Path) -> Done {
    let bar = Bar::new("checking");
    let checked = care::check(db, &bar.told());
    bar.end();
    let checked = checked?;
    if checked.problems.is_empty() {
        let (events, bytes) = (text::count(checked.events), text::bytes(checked.bytes));
        return Ok(format!("{}: whole; {events} events, {bytes}\n", db.display()));
    }
    let mut message = format!("{}: damaged\n", db.display());
    for problem in &checked.problems {
        // SQLite's words may hold what stands in the file.
        for line in problem.lines() {
            let _ = writeln!(message, "  {}", text::line(line, 200));
        }
    }
    let db = db.display();
    let _ = write!(
        message,
        "Save what can be read, with openclaw-trace stopped: `openclaw-trace export --db {db} --output saved.ndjson`, or, where that \
         fails, `sqlite3 {db} .recover`. Then move the file and its -wal and -shm away and start openclaw-trace: it begins a new one."
    );
    Err(Failure::failed(message))
}

/// `openclaw-trace store vacuum`.
pub(crate) fn vacuum(db: &Path) -> Done {
    let bar = Bar::new("vacuuming");
    let done = care::vacuum(db, &bar.told());
    bar.end();
    let done = done?;
    Ok(format!("{}: {} before, {} now\n", db.display(), text::bytes(done.before), text::bytes(done.after)))
}

/// `openclaw-trace store backup FILE`.
pub(crate) fn backup(db: &Path, to: &Path, force: bool) -> Done {
    let bar = Bar::new("copying");
    let bytes = care::backup(db, to, force, &bar.told());
    bar.end();
    Ok(format!("{}: {} copied from {}\n", to.display(), text::bytes(bytes?), db.display()))
}
