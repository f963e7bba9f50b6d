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

use engine::config::Secret;
use engine::json::push_escaped;
use engine::{Kind, Timestamp, TraceId, Unsent};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::delivery::{self, Compression, Endpoint, Fit, Packed, Parcel, Request, batch_id, fit, json_bytes};

/// Longest answer that is read, plus [`ANSWER_BYTES_PER_EVENT`] for each event sent: an answer may
/// have an entry for each.
const MAX_ANSWER: usize = 64 * 1024;
const ANSWER_BYTES_PER_EVENT: usize = 256;

/// Writes parcels.
#[derive(Debug)]
pub(super) struct Packer {
    endpoint: Endpoint,
    /// Of every request.
    headers: HeaderMap,
    /// The agent's id, as a JSON string.
    agent_id: String,
    compression: Compression,
    /// Most bytes of a body, before compression.
    max_body: usize,
}

impl Packer {
    pub(super) fn new(
        endpoint: Endpoint,
        token: &Secret,
        agent_id: &str,
        compression: Compression,
        max_body: usize,
    ) -> Self {
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, json.clone()), (ACCEPT, json)]);
        if let Some(encoding) = compression.content_encoding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        if let Some(bearer) = delivery::bearer(token) {
            headers.insert(AUTHORIZATION, bearer);
        }
        let mut quoted = String::new();
        push_escaped(&mut quoted, agent_id);
        Self { endpoint, headers, agent_id: quoted, compression, max_body }
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
        // One more for the comma.
        let measure = |event: &_| json_bytes(event).map(|bytes| bytes + 1);
        let (count, total) = match fit(page, self.envelope_bytes(), soft_limit, self.max_body, measure) {
            Fit::Events { count: 0, .. } => return Ok(Packed::Empty),
            Fit::Events { count, bytes } => (count, bytes),
            Fit::Unsendable { cursor, trace_id, reason } => {
                return Ok(Packed::Unsendable { cursor, trace_id, reason });
            }
        };
        let events = &page[..count];
        let ids: Vec<TraceId> = events.iter().map(|unsent| unsent.event.trace_id).collect();
        let cursors = events.iter().map(|unsent| unsent.cursor).collect();
        let batch_id = batch_id(&self.agent_id, &ids);
        // The last event of each array has no comma.
        let metrics = events.iter().filter(|unsent| is_metric(unsent)).count();
        let plain_bytes = total - usize::from(metrics > 0) - usize::from(metrics < count);
        let head = self.head(&batch_id, now);
        let body = self.compression.encode(plain_bytes, |out| write_body(out, events, &head))?;
        let mut headers = self.headers.clone();
        if let Ok(key) = HeaderValue::from_str(&batch_id) {
            headers.insert("idempotency-key", key);
        }
        let max_answer = MAX_ANSWER + ANSWER_BYTES_PER_EVENT * count;
        let request = Request { endpoint: self.endpoint.clone(), headers, body, max_answer };
        Ok(Packed::Parcels(vec![Parcel { ids, cursors, batch_id, request, plain_bytes }]))
    }

    fn head(&self, batch_id: &str, now: Timestamp) -> String {
        // Always three decimals, so that the length of the head is known before.
        let sent_at =
            jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!(r#"{{"agent_id":{},"batch_id":"{batch_id}","sent_at":"{sent_at:.3}","traces":["#, self.agent_id)
    }
}

const MIDDLE: &str = r#"],"metrics":["#;
const END: &str = "]}";

fn write_body(mut out: &mut dyn Write, events: &[Unsent], head: &str) -> io::Result<()> {
    out.write_all(head.as_bytes())?;
    write_list(&mut out, events.iter().filter(|unsent| !is_metric(unsent)))?;
    out.write_all(MIDDLE.as_bytes())?;
    write_list(&mut out, events.iter().filter(|unsent| is_metric(unsent)))?;
    out.write_all(END.as_bytes())
}

fn write_list<'a>(out: &mut impl Write, events: impl Iterator<Item = &'a Unsent>) -> io::Result<()> {
    for (index, unsent) in events.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, &*unsent.event)?;
    }
    Ok(())
}

fn is_metric(unsent: &Unsent) -> bool {
    unsent.event.kind == Kind::METRIC
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::{Cursor, Event, Json};
    use proptest::prelude::*;
    use std::io::Read;

    fn page(texts: &[String]) -> Vec<Unsent> {
        let event = |(index, text): (usize, &String)| {
            let mut event = Event::new(if text.len() % 3 == 0 { Kind::METRIC } else { Kind::LOG });
            event.name = Some(text.clone());
            event.input = Some(Json::from_value(text).unwrap());
            Unsent { cursor: index as Cursor + 1, event: event.into() }
        };
        texts.iter().enumerate().map(event).collect()
    }

    fn packer(agent_id: &str, compression: Compression, max_body: usize) -> Packer {
        let endpoint = Endpoint::parse("https://api.example.com/").unwrap();
        Packer::new(endpoint, &Secret::default(), agent_id, compression, max_body)
    }

    fn parcel(packed: Packed) -> Parcel {
        let Packed::Parcels(mut parcels) = packed else { panic!("{packed:?}") };
        parcels.pop().unwrap()
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
        let written = packer("agent", Compression::None, 10_000);
        let id = |page: &[Unsent]| parcel(written.pack(page, 10_000, Timestamp::now()).unwrap()).batch_id;
        assert_eq!(id(&page), id(&page));
        assert_ne!(id(&page), id(&page[..1]));
        assert_eq!(id(&page).as_bytes()[14], b'8');
    }

    #[test]
    fn an_event_too_large_alone_is_unsendable_and_one_over_the_soft_limit_goes_alone() {
        let page = page(&["x".repeat(900), "y".into()]);
        let written = packer("agent", Compression::None, 1000);
        let packed = written.pack(&page, 1000, Timestamp::now()).unwrap();
        assert!(matches!(packed, Packed::Unsendable { cursor: 1, .. }), "{packed:?}");
        let written = packer("agent", Compression::None, 10_000);
        assert_eq!(parcel(written.pack(&page, 100, Timestamp::now()).unwrap()).ids.len(), 1);
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
                let written = packer(&agent, compression, max_body);
                let packed = written.pack(&page, usize::MAX, Timestamp::now()).unwrap();
                if matches!(packed, Packed::Unsendable { .. }) {
                    continue;
                }
                let parcel = parcel(packed);
                let body = plain(compression, &parcel.request.body);
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
