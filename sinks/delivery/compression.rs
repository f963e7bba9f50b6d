//! Writing a body, compressed, without holding it plain.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Window of the zstd encoder, as a power of two: 256 KiB. The default of level 3 would hold 2 MiB.
const ZSTD_WINDOW_LOG: u32 = 18;

/// How the body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// `Content-Encoding: zstd` (RFC 8878), level 3.
    #[default]
    Zstd,
    /// `Content-Encoding: gzip`.
    Gzip,
    /// As it is.
    None,
}

impl Compression {
    /// The value of `Content-Encoding`.
    pub(crate) fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::None => None,
        }
    }

    /// What `write` writes, `plain_bytes` of it, compressed.
    ///
    /// # Errors
    /// What `write` or the encoder fails with.
    pub(crate) fn encode(
        self,
        plain_bytes: usize,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        match self {
            Self::None => {
                let mut out = Vec::with_capacity(plain_bytes);
                write(&mut out)?;
                Ok(out)
            }
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                write(&mut encoder)?;
                encoder.finish()
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                // Sizes the encoder's tables by what comes rather than by what might.
                encoder.set_pledged_src_size(Some(plain_bytes as u64))?;
                write(&mut encoder)?;
                encoder.finish()
            }
        }
    }
}
