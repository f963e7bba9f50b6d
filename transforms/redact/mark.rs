//! The mark that stands where something was: `[redacted:RULE]`, or with a short keyed hash
//! `[redacted:RULE:1a2b3c4d]`.
//!
//! Without the key nobody can try telephone numbers until the hash fits. The key outlives a restart
//! in a file beside the database, since an id must be replaced by the same mark tomorrow.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use engine::config::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

pub(super) const START: &str = "[redacted:";

const KEY_FILE: &str = "openclaw-trace.key";

/// Whether the text as a whole is a mark.
pub(super) fn is_mark(text: &str) -> bool {
    text.starts_with(START) && text.ends_with(']')
}

pub(super) struct Marker {
    hash: bool,
    given: Secret,
    file: PathBuf,
    key: OnceLock<Vec<u8>>,
}

impl Marker {
    pub(super) fn new(hash: bool, given: Secret, file: Option<PathBuf>) -> Self {
        let file = file.unwrap_or_else(|| {
            let folder = if Path::new("/data").is_dir() { "/data" } else { "." };
            Path::new(folder).join(KEY_FILE)
        });
        Self { hash, given, file, key: OnceLock::new() }
    }

    /// The mark for `secret`. An id's mark always has the hash.
    pub(super) fn mark(&self, rule: &str, secret: &str, is_id: bool) -> String {
        if !self.hash && !is_id {
            return format!("{START}{rule}]");
        }
        let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(self.key()) else { return format!("{START}{rule}]") };
        hmac.update(secret.as_bytes());
        let hash = hmac.finalize().into_bytes();
        format!("{START}{rule}:{:02x}{:02x}{:02x}{:02x}]", hash[0], hash[1], hash[2], hash[3])
    }

    fn key(&self) -> &[u8] {
        self.key.get_or_init(|| {
            if !self.given.is_empty() {
                return self.given.reveal().as_bytes().to_vec();
            }
            kept_key(&self.file).unwrap_or_else(|error| {
                tracing::warn!(
                    file = %self.file.display(), %error,
                    "the key of redacted ids cannot be kept: after a restart they get other marks (key hash_key, or key_file)"
                );
                random_key().unwrap_or_default()
            })
        })
    }
}

fn random_key() -> std::io::Result<Vec<u8>> {
    let mut key = vec![0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

fn kept_key(file: &Path) -> std::io::Result<Vec<u8>> {
    match std::fs::File::open(file) {
        Ok(open) => {
            let mut key = Vec::new();
            open.take(4096).read_to_end(&mut key)?;
            if key.len() < 16 {
                return Err(std::io::Error::other("the file holds fewer than 16 bytes"));
            }
            Ok(key)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = random_key()?;
            let mut made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            made.write_all(&key)?;
            made.sync_all()?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}
