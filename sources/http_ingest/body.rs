//! Reading a body without trusting it.
//!
//! Three bounds hold at once: its own size on the wire, its own size once inflated, and the bytes of
//! all bodies being read together. Room is taken before bytes are, so that many clients (or one zip
//! bomb) cannot cost more memory than the budget says; a request that finds no room is told 429.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use engine::{Admission, Credits};
use http_body_util::BodyExt as _;

use super::HttpIngest;
use super::answer::Answer;

/// Room is taken in steps of this many bytes where the size is not told beforehand.
const STEP: usize = 64 * 1024;

/// Largest zstd window taken, as a power of two: the 8 MiB that a client may count on (RFC 9659, and
/// what a streaming encoder uses from level 17 on). No more of it is touched than a body fills.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A whole body, inflated, and the room it takes.
pub(super) struct Text {
    bytes: Vec<u8>,
    room: Room,
}

impl std::ops::Deref for Text {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Room in the budget of bodies being read.
struct Room {
    budget: Admission,
    held: Vec<Credits>,
    bytes: usize,
    /// The whole budget: what a step must not go beyond, or the largest body never fits.
    most: usize,
}

impl Room {
    fn new(budget: &Admission, config: &HttpIngest) -> Self {
        let most = usize::try_from(config.max_inflated.0).unwrap_or(usize::MAX);
        Self { budget: budget.clone(), held: Vec::new(), bytes: 0, most }
    }

    /// Makes sure that `bytes` in all are held.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Answer> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let more = (bytes - self.bytes).max(STEP.min(self.most.saturating_sub(self.bytes)));
        let Some(credits) = self.budget.try_acquire(0, more) else {
            let message = "too many request bodies at once; send it again later";
            return Err(Answer::later(StatusCode::TOO_MANY_REQUESTS, message, Duration::from_secs(1)));
        };
        self.held.push(credits);
        self.bytes += more;
        Ok(())
    }
}

enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Self, Answer> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.to_str().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Answer::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Encoding is not one that is taken: gzip, zstd or none",
            )),
        }
    }
}

/// Reads the body whole, inflated.
///
/// # Errors
/// The answer for the client: 408, 413, 415, 429 or 400.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    config: &HttpIngest,
    reading: &Admission,
) -> Result<Text, Answer> {
    let coding = match Coding::of(headers) {
        Ok(coding) => coding,
        Err(answer) => {
            discard(body, config).await;
            return Err(answer);
        }
    };
    let wire = tokio::time::timeout(config.body_timeout.0, read_wire(headers, body, config, reading))
        .await
        .map_err(|_| Answer::error(StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time"))??;
    match coding {
        Coding::Identity => Ok(wire),
        Coding::Gzip => inflate(flate2::read::MultiGzDecoder::new(&wire.bytes[..]), config, wire.room),
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(&wire.bytes[..]).map_err(|_| broken())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| broken())?;
            inflate(decoder, config, wire.room)
        }
    }
}

async fn read_wire(
    headers: &HeaderMap,
    mut body: Body,
    config: &HttpIngest,
    reading: &Admission,
) -> Result<Text, Answer> {
    let most = usize::try_from(config.max_body.0).unwrap_or(usize::MAX);
    let told = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    let too_large = || {
        let message = format!("the body is larger than {most} bytes; send fewer events at once, or compress it");
        Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message)
    };
    let mut room = Room::new(reading, config);
    let start = match told {
        Some(length) if length > most => Err(too_large()),
        Some(length) => room.grow_to(length),
        None => Ok(()),
    };
    if let Err(answer) = start {
        discard(body, config).await;
        return Err(answer);
    }
    let mut bytes = Vec::with_capacity(told.unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Answer::error(StatusCode::BAD_REQUEST, "the body ended before its end; send it again"))?;
        let Ok(data) = frame.into_data() else { continue };
        let problem = if bytes.len() + data.len() > most {
            Some(too_large())
        } else {
            room.grow_to(bytes.len() + data.len()).err()
        };
        if let Some(answer) = problem {
            drop((bytes, room));
            discard(body, config).await;
            return Err(answer);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Text { bytes, room })
}

/// Inflates into at most `max_inflated` bytes. `room` already holds what the compressed body takes.
fn inflate(mut decoder: impl std::io::Read, config: &HttpIngest, mut room: Room) -> Result<Text, Answer> {
    let most = usize::try_from(config.max_inflated.0).unwrap_or(usize::MAX);
    let compressed = room.bytes;
    let mut bytes = Vec::new();
    loop {
        let step = STEP.min(most.saturating_sub(bytes.len()) + 1);
        // The compressed body is part of the budget's largest body, not on top of it: were it on
        // top, the largest legal body could never be read.
        room.grow_to((bytes.len() + step).min(most).max(compressed))?;
        bytes.reserve_exact(step);
        let got = decoder.by_ref().take(step as u64).read_to_end(&mut bytes).map_err(|_| broken())?;
        if bytes.len() > most {
            let message = format!("the body inflates to more than {most} bytes; send fewer events at once");
            return Err(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message));
        }
        if got < step {
            return Ok(Text { bytes, room });
        }
    }
}

fn broken() -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, "the body is not what its Content-Encoding says, or ends too early")
}

/// Reads on without keeping anything, within the same bounds, so that a client that writes before
/// it reads gets its answer rather than a reset connection.
pub(super) async fn discard(mut body: Body, config: &HttpIngest) {
    let mut left = config.max_body.0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            if length > left {
                return;
            }
            left -= length;
        }
    };
    // Whether it ended or not, the answer is the same.
    let _ = tokio::time::timeout(config.body_timeout.0, reading).await;
}
