//! `openclaw-trace export`: stored events as lines or as a table, to standard output or a file.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use sinks::sqlite_store::{Condition, Format, export as write};

use crate::cli::Failure;
use crate::progress::Bar;
use crate::text;

/// Writes the events that are such.
pub(crate) fn export(
    db: &Path,
    condition: &Condition,
    format: Format,
    output: Option<&Path>,
) -> Result<String, Failure> {
    let Some(path) = output else {
        let mut out = BufWriter::new(std::io::stdout().lock());
        // Lines on the screen are progress enough, and a bar would stand between them.
        let bar = if std::io::stdout().is_terminal() { None } else { Some(Bar::new("exporting")) };
        return match written(db, condition, format, &mut out, bar) {
            // `openclaw-trace export | head` is no failure.
            Err(error) if error.is_broken_pipe() => Ok(String::new()),
            done => Ok(done.map(|_| String::new())?),
        };
    };
    // Looked at first: a file is not emptied for a database that is not there.
    if !db.is_file() {
        return Err(sinks::sqlite_store::ReadError::Missing(db.to_owned()).into());
    }
    let file = private(db, path)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}; choose another file", path.display())))?;
    let count = written(db, condition, format, &mut BufWriter::new(file), Some(Bar::new("exporting")))?;
    Ok(format!("{} written\n", text::counted(count, "event")))
}

/// A file that only its owner reads: it holds what an agent said. Never the database itself.
fn private(db: &Path, path: &Path) -> std::io::Result<File> {
    let is_database = match (std::fs::metadata(db), std::fs::metadata(path)) {
        (Ok(db), Ok(path)) => (db.dev(), db.ino()) == (path.dev(), path.ino()),
        _ => false,
    };
    if is_database {
        return Err(std::io::Error::other("it is the database itself"));
    }
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn written(
    db: &Path,
    condition: &Condition,
    format: Format,
    out: &mut dyn Write,
    bar: Option<Bar>,
) -> Result<u64, sinks::sqlite_store::ReadError> {
    let done = write(db, condition, format, out, &mut |done, all| {
        if let Some(bar) = &bar {
            bar.at(done, all);
        }
    });
    if let Some(bar) = bar {
        bar.end();
    }
    done
}
