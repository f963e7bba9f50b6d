//! The body of a push:
//!
//! ```json
//! {"agent_id":"…","batch_id":"…","sent_at":"…","traces":[…],"metrics":[…]}
//! ```
//!
//! Events are written one by one into the encoder, so that beside the page read from the outbox
//! only the compressed body is in memory. `batch_id` is computed from the events, so that the same
//! events sent again carry the same key. Sizes are measured before, so that a body never exceeds
//! `max_body`.

use std::io::{self, Write};

use engine::json::push_escaped;
use engine::{Cursor, Event, Kind, Timestamp, TraceId, Unsent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    pub(super) fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::None => None,
        }
    }
}

/// A batch, ready to be sent. The events themselves are no longer held.
#[derive(Debug)]
pub(super) struct Parcel {
    /// What it carries, in order of arrival.
    pub(super) ids: Vec<TraceId>,
    /// Their places in the outbox.
    pub(super) cursors: Vec<Cursor>,
    /// Identity of the batch.
    pub(super) batch_id: String,
    /// The body, compressed.
    pub(super) body: Vec<u8>,
    /// Its length before compression.
    pub(super) plain_bytes: usize,
}

/// What became of a page of the outbox.
#[derive(Debug)]
pub(super) enum Packed {
    /// Nothing was there.
    Empty,
    /// Its first event can never be sent.
    Unsendable { cursor: Cursor, trace_id: TraceId, reason: String },
    /// As many of its first events as fit.
    Parcel(Parcel),
}

/// Writes parcels.
#[derive(Debug)]
pub(super) struct Packer {
    /// The agent's id, as a JSON string.
    agent_id: String,
    compression: Compression,
    /// Most bytes of a body, before compression.
    max_body: usize,
}

impl Packer {
    pub(super) fn new(agent_id: &str, compression: Compression, max_body: usize) -> Self {
        let mut quoted = String::new();
        push_escaped(&mut quoted, agent_id);
        Self { agent_id: quoted, compression, max_body }
    }

    /// Bytes of a body without its events.
    pub(super) fn envelope_bytes(&self) -> usize {
        self.head(&batch_id(&self.agent_id, &[]), Timestamp::from_nanos(0)).len() + MIDDLE.len() + END.len()
    }

    /// Takes as many of the first events as fit `max_body`, and no more than `soft_limit` where
    /// that is less; a single event may exceed the soft limit.
    ///
    /// # Errors
    /// When the encoder fails, which no event can cause.
    pub(super) fn pack(&self, page: &[Unsent], soft_limit: usize, now: Timestamp) -> io::Result<Packed> {
        let limit = self.max_body.min(soft_limit);
        let envelope = self.envelope_bytes();
        let mut total = envelope;
        let mut count = 0;
        for unsent in page {
            let measured = measure(&unsent.event);
            // One more for the comma.
            let after = measured.as_ref().map_or(usize::MAX, |bytes| total + bytes + 1);
            if after > limit && count > 0 {
                break;
            }
            let reason = match measured {
                Err(error) => format!("cannot be written as JSON: {error}"),
                Ok(_) if after > self.max_body => format!(
                    "{} bytes as JSON, more than a body of {} bytes (max_body) can hold",
                    after - envelope - 1,
                    self.max_body
                ),
                Ok(_) => {
                    total = after;
                    count += 1;
                    continue;
                }
            };
            return Ok(Packed::Unsendable { cursor: unsent.cursor, trace_id: unsent.event.trace_id, reason });
        }
        if count == 0 {
            return Ok(Packed::Empty);
        }
        let events = &page[..count];
        let ids: Vec<TraceId> = events.iter().map(|unsent| unsent.event.trace_id).collect();
        let cursors = events.iter().map(|unsent| unsent.cursor).collect();
        let batch_id = batch_id(&self.agent_id, &ids);
        // The last event of each array has no comma.
        let metrics = events.iter().filter(|unsent| is_metric(unsent)).count();
        let plain_bytes = total - usize::from(metrics > 0) - usize::from(metrics < count);
        let body = self.encode(events, &self.head(&batch_id, now), plain_bytes)?;
        Ok(Packed::Parcel(Parcel { ids, cursors, batch_id, body, plain_bytes }))
    }

    fn head(&self, batch_id: &str, now: Timestamp) -> String {
        // Always three decimals, so that the length of the head is known before.
        let sent_at =
            jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!(r#"{{"agent_id":{},"batch_id":"{batch_id}","sent_at":"{sent_at:.3}","traces":["#, self.agent_id)
    }

    fn encode(&self, events: &[Unsent], head: &str, plain_bytes: usize) -> io::Result<Vec<u8>> {
        match self.compression {
            Compression::None => {
                let mut out = Vec::with_capacity(plain_bytes);
                write_body(&mut out, events, head)?;
                Ok(out)
            }
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                write_body(&mut encoder, events, head)?;
                encoder.finish()
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                // Sizes the encoder's tables by what comes rather than by what might.
                encoder.set_pledged_src_size(Some(plain_bytes as u64))?;
                write_body(&mut encoder, events, head)?;
                encoder.finish()
            }
        }
    }
}

const MIDDLE: &str = r#"],"metrics":["#;
const END: &str = "]}";

fn write_body(out: &mut impl Write, events: &[Unsent], head: &str) -> io::Result<()> {
    out.write_all(head.as_bytes())?;
    write_list(out, events.iter().filter(|unsent| !is_metric(unsent)))?;
    out.write_all(MIDDLE.as_bytes())?;
    write_list(out, events.iter().filter(|unsent| is_metric(unsent)))?;
    out.write_all(END.as_bytes())
}

fn write_list<'a>(out: &mut impl Write, events: impl Iterator<Item = &'a Unsent>) -> io::Result<()> {
    for (index, unsent) in events.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, &unsent.event)?;
    }
    Ok(())
}

fn is_metric(unsent: &Unsent) -> bool {
    unsent.event.kind == Kind::METRIC
}

/// Length of the event's JSON.
fn measure(event: &Event) -> serde_json::Result<usize> {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, event)?;
    Ok(count.0)
}

/// A UUID (version 8) of the agent and these events in this order.
fn batch_id(agent_id: &str, ids: &[TraceId]) -> String {
    let mut hash = Sha256::new_with_prefix(agent_id);
    for id in ids {
        hash.update(id.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::Json;
    use proptest::prelude::*;
    use std::io::Read;

    fn page(texts: &[String]) -> Vec<Unsent> {
        let event = |(index, text): (usize, &String)| {
            let mut event = Event::new(if text.len() % 3 == 0 { Kind::METRIC } else { Kind::LOG });
            event.name = Some(text.clone());
            event.input = Some(Json::from_value(text).unwrap());
            Unsent { cursor: index as Cursor + 1, event }
        };
        texts.iter().enumerate().map(event).collect()
    }

    fn parcel(packed: Packed) -> Parcel {
        let Packed::Parcel(parcel) = packed else { panic!("{packed:?}") };
        parcel
    }

    fn plain(compression: Compression, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::None => out.extend_from_slice(body),
            Compression::Gzip => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap()),
            Compression::Zstd => out = zstd::stream::decode_all(body).unwrap(),
        }
        out
    }

    #[test]
    fn the_same_events_have_the_same_batch_id_and_others_another() {
        let page = page(&["a".into(), "b".into()]);
        let packer = Packer::new("agent", Compression::None, 10_000);
        let id = |page: &[Unsent]| parcel(packer.pack(page, 10_000, Timestamp::now()).unwrap()).batch_id;
        assert_eq!(id(&page), id(&page));
        assert_ne!(id(&page), id(&page[..1]));
        assert_eq!(id(&page).as_bytes()[14], b'8');
    }

    #[test]
    fn an_event_too_large_alone_is_unsendable_and_one_over_the_soft_limit_goes_alone() {
        let page = page(&["x".repeat(900), "y".into()]);
        let packer = Packer::new("agent", Compression::None, 1000);
        let packed = packer.pack(&page, 1000, Timestamp::now()).unwrap();
        assert!(matches!(packed, Packed::Unsendable { cursor: 1, .. }), "{packed:?}");
        let packer = Packer::new("agent", Compression::None, 10_000);
        assert_eq!(parcel(packer.pack(&page, 100, Timestamp::now()).unwrap()).ids.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_body_is_as_long_as_measured_within_its_limit_and_reads_back(
            texts in prop::collection::vec(any::<String>(), 1..12),
            agent in any::<String>(),
            max_body in 2000usize..6000,
        ) {
            let page = page(&texts);
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let packer = Packer::new(&agent, compression, max_body);
                let Packed::Parcel(parcel) = packer.pack(&page, usize::MAX, Timestamp::now()).unwrap() else { continue };
                let body = plain(compression, &parcel.body);
                prop_assert_eq!(body.len(), parcel.plain_bytes);
                prop_assert!(body.len() <= max_body);
                let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
                prop_assert_eq!(&read["agent_id"], &agent);
                let mut names = Vec::new();
                for list in ["traces", "metrics"] {
                    for event in read[list].as_array().unwrap() {
                        prop_assert_eq!(event["kind"] == "metric", list == "metrics");
                        names.push(event["trace_id"].as_str().unwrap().parse::<TraceId>().unwrap());
                    }
                }
                names.sort();
                let mut ids = parcel.ids.clone();
                ids.sort();
                prop_assert_eq!(names, ids);
            }
        }
    }
}
