//! A page of events as requests: one for each signal.

use std::collections::BTreeMap;
use std::io;

use engine::{Event, TraceId, Unsent};
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::delivery::{Compression, Endpoint, Fit, Packed, Parcel, Request, batch_id, fit};
use crate::otlp::{Deltas, Dialect, Form, Packet, Resource, Signal};

/// Longest answer that is read: one that says how many were rejected, and why.
const MAX_ANSWER: usize = 64 * 1024;

/// Where each signal goes; what has no place is not sent.
#[derive(Debug, Clone)]
pub(super) struct Targets(BTreeMap<Signal, Endpoint>);

impl Targets {
    pub(super) fn new(targets: impl IntoIterator<Item = (Signal, Endpoint)>) -> Self {
        Self(targets.into_iter().collect())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.values()
    }

    /// For people; `None` where nothing goes anywhere.
    pub(super) fn receiver(&self) -> Option<String> {
        let all: Vec<String> = self.all().map(Endpoint::to_string).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// Writes requests.
pub(super) struct Packer {
    targets: Targets,
    /// Of every request.
    headers: HeaderMap,
    resource: Resource,
    dialect: Dialect,
    compression: Compression,
    max_body: usize,
    /// The signals of the requests written last, each by the first event that it holds.
    written: Vec<(TraceId, Signal)>,
}

impl Packer {
    pub(super) fn new(
        targets: Targets,
        headers: &HeaderMap,
        resource: Resource,
        deltas: Deltas,
        compression: Compression,
        max_body: usize,
    ) -> Self {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        let mut all = HeaderMap::from_iter([(CONTENT_TYPE, protobuf.clone()), (ACCEPT, protobuf)]);
        if let Some(encoding) = compression.content_encoding() {
            all.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        all.extend(headers.clone());
        let dialect = Dialect { form: Form::Protobuf, deltas };
        Self { targets, headers: all, resource, dialect, compression, max_body, written: Vec::new() }
    }

    /// As what the request travelled that held these.
    pub(super) fn signal_of(&self, sent: &[TraceId]) -> Option<Signal> {
        let first = sent.first()?;
        self.written.iter().find(|(known, _)| known == first).map(|(_, signal)| *signal)
    }

    /// Takes as many of the first events as fit `limit`, all requests together.
    pub(super) fn pack(&mut self, page: &[Unsent], limit: usize) -> io::Result<Packed> {
        let wanted = |event: &Event| self.targets.0.contains_key(&Signal::of(event));
        let unwanted: Vec<TraceId> = page
            .iter()
            .map(|unsent| &unsent.event)
            .filter(|event| !wanted(event))
            .map(|event| event.trace_id)
            .collect();
        if !unwanted.is_empty() {
            return Ok(Packed::Unwanted(unwanted));
        }
        let count = match fit(page, 0, limit, self.max_body, |event| Ok(self.alone(event))) {
            Fit::Events { count: 0, .. } => return Ok(Packed::Empty),
            Fit::Events { count, .. } => count,
            Fit::Unsendable { cursor, trace_id, reason } => {
                return Ok(Packed::Unsendable { cursor, trace_id, reason });
            }
        };
        let mut parcels = Vec::new();
        let mut written = Vec::new();
        for (signal, endpoint) in &self.targets.0 {
            let of_signal: Vec<&Unsent> =
                page[..count].iter().filter(|unsent| Signal::of(&unsent.event) == *signal).collect();
            let ids: Vec<TraceId> = of_signal.iter().map(|unsent| unsent.event.trace_id).collect();
            let Some(first) = ids.first() else { continue };
            written.push((*first, *signal));
            let events = of_signal.iter().map(|unsent| &*unsent.event);
            let packet = Packet::new(self.dialect, *signal, &self.resource, events);
            let plain_bytes = packet.bytes();
            let body = self.compression.encode(plain_bytes, |out| packet.write(out))?;
            let headers = self.headers.clone();
            parcels.push(Parcel {
                cursors: of_signal.iter().map(|unsent| unsent.cursor).collect(),
                batch_id: batch_id(signal.path(), &ids),
                request: Request { endpoint: endpoint.clone(), headers, body, max_answer: MAX_ANSWER },
                plain_bytes,
                ids,
            });
        }
        self.written = written;
        Ok(Packed::Parcels(parcels))
    }

    /// Bytes of a request with this event alone: what it adds to one that it shares is less.
    fn alone(&self, event: &Event) -> usize {
        Packet::new(self.dialect, Signal::of(event), &self.resource, [event]).bytes()
    }
}
