//! Compresses a rotated file, piece by piece, so that a write never waits long behind it.
//!
//! What is written to `NAME.zst.partial` becomes `NAME.zst` once it is whole and on the disk, and only then is
//! `NAME` deleted. Killed at any moment it leaves `NAME`, or both: the next start deletes what is partial, and of
//! both the one that is not compressed, where the other says that it holds as many bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::volume::folder;

/// As much is read at once.
const CHUNK: usize = 64 * 1024;

/// What `zstd` does by itself.
const LEVEL: i32 = 3;

/// 1 MiB: the window is memory, here and for who reads it.
const WINDOW_LOG: u32 = 20;

/// One file that is being compressed.
pub(super) struct Pack {
    from: File,
    to: Option<zstd::Encoder<'static, File>>,
    bytes: u64,
    plain: PathBuf,
    partial: PathBuf,
    packed: PathBuf,
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({})", self.plain.display())
    }
}

impl Pack {
    /// Begins with `plain`. `None`: it was done before, and only what is left of that was to do.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin(plain: PathBuf, partial: PathBuf, packed: PathBuf) -> io::Result<Option<Self>> {
        let from = File::open(&plain)?;
        let bytes = from.metadata()?.len();
        match holds(&packed, bytes)? {
            Some(true) => {
                std::fs::remove_file(&plain)?;
                return Ok(None);
            }
            Some(false) => {
                let what = format!("{} is there already, and is of another file", packed.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            None => {}
        }
        let to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        let mut to = zstd::Encoder::new(to, LEVEL)?;
        to.window_log(WINDOW_LOG)?;
        to.include_checksum(true)?;
        to.set_pledged_src_size(Some(bytes))?;
        Ok(Some(Self { from, to: Some(to), bytes, plain, partial, packed }))
    }

    /// Compresses at least so many bytes more. `true`: done.
    ///
    /// # Errors
    /// The system's; what is partial is gone then, and nothing else.
    pub(super) fn step(&mut self, bytes: u64) -> io::Result<bool> {
        let Some(to) = &mut self.to else { return Ok(true) };
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        while done < bytes {
            let read = self.from.read(&mut chunk)?;
            if read == 0 {
                return self.finish().map(|()| true);
            }
            to.write_all(&chunk[..read])?;
            done += read as u64;
        }
        Ok(false)
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(to) = self.to.take() else { return Ok(()) };
        // Fails where it did not come to as many bytes as it began with.
        let file = to.finish()?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&self.partial, &self.packed)?;
        File::open(folder(&self.packed))?.sync_all()?;
        if holds(&self.packed, self.bytes)? != Some(true) {
            return Err(io::Error::other("what was compressed does not read as it was written"));
        }
        std::fs::remove_file(&self.plain)
    }
}

impl Drop for Pack {
    /// Cut short: the next one begins anew.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Whether a compressed file says that it holds so many bytes; `None` where there is none. It has its name only once it is
/// whole.
fn holds(packed: &Path, bytes: u64) -> io::Result<Option<bool>> {
    let file = match File::open(packed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut head = Vec::new();
    // A frame's header is 18 bytes at most (RFC 8878, 3.1.1.1).
    (&file).take(18).read_to_end(&mut head)?;
    Ok(Some(matches!(zstd::zstd_safe::get_frame_content_size(&head), Ok(Some(told)) if told == bytes)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(text: &[u8]) -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            std::fs::write(files.path("a"), text).unwrap();
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn begin(&self) -> Option<Pack> {
            Pack::begin(self.path("a"), self.path("a.zst.partial"), self.path("a.zst")).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn text() -> Vec<u8> {
        (0..30_000).flat_map(|at: u32| format!("{{\"n\":{at}}}\n").into_bytes()).collect()
    }

    #[test]
    fn a_file_is_compressed_in_pieces_and_reads_as_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let files = Files::new(&text());
        let mut pack = files.begin().unwrap();
        let mut steps = 1;
        while !pack.step(1).unwrap() {
            assert_eq!(files.names(), ["a", "a.zst.partial"]);
            steps += 1;
        }
        drop(pack);
        assert!(steps > 4);
        assert_eq!(files.names(), ["a.zst"]);
        assert_eq!(zstd::decode_all(File::open(files.path("a.zst")).unwrap()).unwrap(), text());
        assert_eq!(std::fs::metadata(files.path("a.zst")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_cut_short_leaves_the_file_as_it_was() {
        let files = Files::new(&text());
        let mut pack = files.begin().unwrap();
        assert!(!pack.step(1).unwrap());
        drop(pack);
        assert_eq!(files.names(), ["a"]);
    }

    #[test]
    fn a_stop_between_the_new_name_and_the_deletion_doubles_nothing_and_a_file_of_another_size_is_not_trusted() {
        let files = Files::new(&text());
        assert!(files.begin().unwrap().step(u64::MAX).unwrap());
        std::fs::write(files.path("a"), text()).unwrap();
        assert!(files.begin().is_none());
        assert_eq!(files.names(), ["a.zst"]);
        // Not as many bytes: neither is touched.
        std::fs::write(files.path("a"), &text()[..1000]).unwrap();
        let error = Pack::begin(files.path("a"), files.path("a.zst.partial"), files.path("a.zst")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(files.names(), ["a", "a.zst"]);
    }
}
