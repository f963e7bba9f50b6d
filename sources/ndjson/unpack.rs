//! Gzip, zstd, or neither: told by the first bytes of what is read.

use std::fmt;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Largest zstd window that is taken, as a power of two: 8 MiB, which is what `zstd` needs up to level 19. It is
/// memory of ours.
const WINDOW_LOG: u32 = 23;

/// How a text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Not at all.
    Plain,
    /// Gzip, one member or several.
    Gzip,
    /// Zstd, one frame or several.
    Zstd,
}

impl Packing {
    /// By the first bytes; `None` while more of them are needed.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        for (magic, packing) in [(GZIP, Self::Gzip), (ZSTD, Self::Zstd)] {
            let known = first.len().min(magic.len());
            if first[..known] == magic[..known] {
                return (known == magic.len()).then_some(packing);
            }
        }
        Some(Self::Plain)
    }
}

/// What was looked at, and what follows.
type Again<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads a text, however it is packed.
pub(super) struct Unpack<R: Read> {
    state: State<R>,
}

enum State<R: Read> {
    /// So much was read, and how it is packed is not known yet. Nothing of `R` only while that changes.
    Unknown(Vec<u8>, Option<R>),
    Plain(Again<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Again<R>>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Again<R>>>>),
}

impl<R: Read> fmt::Debug for Unpack<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Unknown(..) => "Unpack(unknown)",
            State::Plain(_) => "Unpack(plain)",
            State::Gzip(_) => "Unpack(gzip)",
            State::Zstd(_) => "Unpack(zstd)",
        })
    }
}

impl<R: Read> Unpack<R> {
    pub(super) fn new(input: R) -> Self {
        Self { state: State::Unknown(Vec::new(), Some(input)) }
    }

    /// What is known to be a text, from somewhere in its middle.
    pub(super) fn plain(input: R) -> Self {
        Self { state: State::Plain(Cursor::new(Vec::new()).chain(input)) }
    }

    /// What is left where nothing follows: too few bytes to be packed.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        match &mut self.state {
            State::Unknown(first, _) => std::mem::take(first),
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, packing: Packing) -> io::Result<()> {
        let State::Unknown(first, input) = &mut self.state else { return Ok(()) };
        let Some(input) = input.take() else { return Err(io::Error::other("how it is packed cannot be told")) };
        let again = Cursor::new(std::mem::take(first)).chain(input);
        self.state = match packing {
            Packing::Plain => State::Plain(again),
            Packing::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(BufReader::new(again)))),
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(BufReader::new(again))?;
                decoder.window_log_max(WINDOW_LOG)?;
                State::Zstd(Box::new(decoder))
            }
        };
        Ok(())
    }
}

impl<R: Read> Read for Unpack<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::Plain(input) => return input.read(out),
                State::Gzip(input) => return input.read(out).map_err(broken),
                State::Zstd(input) => return input.read(out).map_err(broken),
                State::Unknown(first, input) => {
                    let mut more = [0; ZSTD.len()];
                    let read = match input {
                        Some(input) => input.read(&mut more[first.len()..])?,
                        None => 0,
                    };
                    if read == 0 {
                        return Ok(0);
                    }
                    first.extend_from_slice(&more[first.len()..][..read]);
                    if let Some(packing) = Packing::of(first) {
                        self.begin(packing)?;
                    }
                }
            }
        }
    }
}

/// The libraries' own words name neither the place nor what to do.
fn broken(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted => error,
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "it is compressed, and ends in the middle; is all of it there?")
        }
        _ if error.raw_os_error().is_some() => error,
        _ => io::Error::new(error.kind(), format!("it is compressed, and cannot be unpacked: {error}")),
    }
}
