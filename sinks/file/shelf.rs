//! The rotated files: what is renamed, compressed and, beyond the bounds, deleted.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Compression;
use super::counts::Counts;
use super::names::{Form, Names, Rotated, Stamp};
use super::pack::Pack;
use crate::volume::folder;

/// How long compressing is left alone after it failed.
const AGAIN: Duration = Duration::from_secs(60);

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of the file that is written.
    pub(super) file: u64,
    /// Rotated files; 0: as many as fit.
    pub(super) files: usize,
    /// Bytes of all files.
    pub(super) total: u64,
}

/// The rotated files of one sink.
#[derive(Debug)]
pub(super) struct Shelf {
    names: Names,
    bounds: Bounds,
    compression: Compression,
    counts: Counts,
    /// The last name that was given.
    last: Option<Stamp>,
    /// Bytes of them.
    bytes: u64,
    packing: Option<Pack>,
    /// When the next one may be compressed; `None`: none is left.
    next_pack: Option<Instant>,
    /// Those that cannot be compressed.
    left_alone: Vec<Stamp>,
    said: bool,
}

impl Shelf {
    /// Takes what there is from an earlier start.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn new(names: Names, bounds: Bounds, compression: Compression, counts: Counts) -> io::Result<Self> {
        let mut shelf = Self {
            names,
            bounds,
            compression,
            counts,
            last: None,
            bytes: 0,
            packing: None,
            next_pack: Some(Instant::now()),
            left_alone: Vec::new(),
            said: false,
        };
        for file in shelf.names.list()? {
            shelf.last = shelf.last.max(Some(file.stamp));
            if file.form == Form::Partial {
                std::fs::remove_file(&file.path)?;
            }
        }
        shelf.prune(0)?;
        Ok(shelf)
    }

    /// Bytes of the rotated files, as far as was seen.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Renames the file that is written. Its name is free then.
    ///
    /// # Errors
    /// The system's; the file has its name still.
    pub(super) fn take(&mut self, sync: bool) -> io::Result<()> {
        let path = self.names.path.clone();
        loop {
            let stamp = Stamp::after(self.last, Timestamp::now());
            self.last = Some(stamp);
            match rename_new(&path, &self.names.rotated(stamp)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => break done?,
            }
        }
        if sync {
            File::open(folder(&path))?.sync_all()?;
        }
        self.counts.rotations.inc();
        self.next_pack = self.next_pack.or_else(|| Some(Instant::now()));
        Ok(())
    }

    /// Deletes the oldest files beyond the bounds, where the file that is written may be as large as it may, and so
    /// many bytes more will be needed.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn prune(&mut self, more: u64) -> io::Result<()> {
        let files: Vec<Rotated> = self.names.list()?.into_iter().filter(|file| file.form != Form::Partial).collect();
        let mut count = files.len();
        self.bytes = files.iter().map(|file| file.bytes).sum();
        for file in files {
            let room = self.bytes.saturating_add(self.bounds.file).saturating_add(more) <= self.bounds.total;
            if room && (self.bounds.files == 0 || count <= self.bounds.files) {
                break;
            }
            std::fs::remove_file(&file.path)?;
            tracing::debug!(file = %file.path.display(), bytes = file.bytes, "the oldest file was deleted for the bounds");
            self.counts.deleted.inc();
            self.bytes -= file.bytes;
            count -= 1;
        }
        Ok(())
    }

    /// When there is something to compress; `None`: nothing is left.
    pub(super) fn pack_at(&self) -> Option<Instant> {
        self.next_pack.filter(|_| self.compression == Compression::Zstd)
    }

    /// Compresses so many bytes more, if it is time. Says what fails; it is tried again later.
    pub(super) fn pack(&mut self, bytes: u64) {
        if self.pack_at().is_none_or(|at| Instant::now() < at) {
            return;
        }
        match self.pack_on(bytes) {
            Ok(()) => self.said = false,
            Err(error) => {
                self.packing = None;
                self.next_pack = Some(Instant::now() + AGAIN);
                if !std::mem::replace(&mut self.said, true) {
                    tracing::warn!(%error, "a rotated file could not be compressed; it stays as it is and is tried again (said once)");
                }
            }
        }
    }

    fn pack_on(&mut self, bytes: u64) -> io::Result<()> {
        let Some(packing) = &mut self.packing else { return self.pack_next() };
        if packing.step(bytes)? {
            self.packing = None;
            // It is smaller by now.
            self.prune(0)?;
        }
        Ok(())
    }

    fn pack_next(&mut self) -> io::Result<()> {
        let wanted = |file: &Rotated| file.form == Form::Plain && !self.left_alone.contains(&file.stamp);
        let Some(file) = self.names.list()?.into_iter().find(wanted) else {
            self.next_pack = None;
            return Ok(());
        };
        // Until it is deleted it is there twice.
        self.prune(file.bytes)?;
        let (partial, packed) = (self.names.partial(file.stamp), self.names.packed(file.stamp));
        match Pack::begin(file.path, partial, packed) {
            Ok(pack) => self.packing = pack,
            // It made room itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    self.left_alone.push(file.stamp);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Renames, but not over a file that is there.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it; the names are ours, and so is the file by its lock.
        Err(Errno::INVAL | Errno::NOSYS) if !to.exists() => std::fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        done => Ok(done?),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use engine::BuildContext;

    use super::*;

    #[test]
    fn what_is_being_compressed_is_within_the_bound_too() {
        const SIZE: usize = 64 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let names = Names::of(&folder.path().join("events.ndjson")).unwrap();
        // Left by a stop, as many as there may be; and a file that is full.
        let noise = |_| std::iter::repeat_with(|| fastrand::digit(16) as u8).take(SIZE).collect::<Vec<u8>>();
        let files: Vec<Vec<u8>> = (0..3).map(noise).collect();
        let mut last = None;
        for file in &files {
            let stamp = Stamp::after(last, Timestamp::now());
            last = Some(stamp);
            std::fs::write(names.rotated(stamp), file).unwrap();
        }
        std::fs::write(&names.path, vec![b'x'; SIZE]).unwrap();
        let total = 4 * SIZE as u64;
        let bounds = Bounds { file: SIZE as u64, files: 0, total };
        let counts = Counts::new(&BuildContext::new("files"));
        let mut shelf = Shelf::new(names.clone(), bounds, Compression::Zstd, counts.clone()).unwrap();
        assert_eq!((names.list().unwrap().len(), counts.deleted.get()), (3, 0), "they fit as they are");
        while shelf.pack_at().is_some() {
            shelf.pack(1);
            let entries = std::fs::read_dir(folder.path()).unwrap();
            let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
            assert!(bytes <= total, "{bytes}");
        }
        let kept = names.list().unwrap();
        assert!(kept.iter().all(|file| file.form == Form::Packed));
        assert_eq!((kept.len() as u64, counts.deleted.get()), (2, 1), "the oldest made room");
        let unpacked = zstd::decode_all(File::open(&kept[1].path).unwrap()).unwrap();
        assert!(unpacked == files[2]);
    }
}
