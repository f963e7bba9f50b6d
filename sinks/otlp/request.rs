//! Events as requests.
//!
//! A request holds one list for each agent, since the agent is part of the resource. It is written event by event into
//! whatever takes bytes, such as an encoder, so that beside the events only one of them is in memory as OTLP. In
//! protobuf a list's length stands before it: each event is written twice then, first to be measured.

use std::io::{self, Write};

use engine::Event;

use super::own::{Own, text_attribute};
use super::write::{Field, Form, Writer, head};
use super::{Deltas, Dialect, Signal, write};

/// Events that one line of an export holds.
const IN_LINE: usize = 200;

pub(super) const SPANS: Field = ("spans", 2);
pub(super) const RECORDS: Field = ("logRecords", 2);

const RESOURCE: Field = ("resource", 1);
const ATTRIBUTES: Field = ("attributes", 1);
const SCOPE: Field = ("scope", 1);
const NAME: Field = ("name", 1);
const VERSION: Field = ("version", 2);

/// A request's lists, from without to within.
struct Lists {
    resources: Field,
    scopes: Field,
    items: Field,
}

impl Signal {
    fn lists(self) -> Lists {
        let (resources, scopes, items) = match self {
            Self::Traces => ("resourceSpans", "scopeSpans", SPANS),
            Self::Logs => ("resourceLogs", "scopeLogs", RECORDS),
            Self::Metrics => ("resourceMetrics", "scopeMetrics", super::metric::METRICS),
        };
        Lists { resources: (resources, 1), scopes: (scopes, 2), items }
    }
}

/// Who sends: the attributes of OTLP's resource.
#[derive(Debug, Clone)]
pub struct Resource {
    attributes: Vec<(String, String)>,
}

impl Default for Resource {
    fn default() -> Self {
        Self::with([])
    }
}

impl Resource {
    /// These attributes, over the usual ones: `service.name`, and what software tells. An event's agent is its
    /// `service.instance.id`.
    #[must_use]
    pub fn with(attributes: impl IntoIterator<Item = (String, String)>) -> Self {
        let usual = [
            ("service.name", "openclaw"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "openclaw-trace"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        let mut all: Vec<_> = usual.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        for (key, text) in attributes {
            all.retain(|(known, _)| *known != key);
            all.push((key, text));
        }
        Self { attributes: all }
    }

    fn write(&self, out: &mut Writer, agent: Option<&str>) {
        const INSTANCE: &str = "service.instance.id";
        out.message(RESOURCE, |out| {
            out.list(ATTRIBUTES, |out| {
                for (key, text) in self.attributes.iter().filter(|(key, _)| agent.is_none() || key != INSTANCE) {
                    text_attribute(out, ATTRIBUTES, key, text);
                }
                if let Some(agent) = agent {
                    text_attribute(out, ATTRIBUTES, INSTANCE, agent);
                }
            });
        });
    }
}

/// Events of one signal that will be one request.
#[derive(Debug)]
pub struct Packet<'e> {
    dialect: Dialect,
    signal: Signal,
    groups: Vec<Group<'e>>,
}

/// Those of one agent.
#[derive(Debug)]
struct Group<'e> {
    /// What stands before the list of its events: resource and scope.
    resource: Vec<u8>,
    scope: Vec<u8>,
    events: Vec<&'e Event>,
    /// Bytes of the events.
    bytes: usize,
}

impl<'e> Packet<'e> {
    /// Puts events of one signal together; the order within each agent stays.
    #[must_use]
    pub fn new(
        dialect: Dialect,
        signal: Signal,
        resource: &Resource,
        events: impl IntoIterator<Item = &'e Event>,
    ) -> Self {
        let mut groups: Vec<(Option<&str>, Group<'e>)> = Vec::new();
        let mut scratch = Writer::new(dialect.form);
        for event in events {
            let agent = event.agent_id.as_deref();
            // The same agent as before is the common case; a batch of a fleet has some hundreds.
            let at = groups.iter().rposition(|(known, _)| *known == agent).unwrap_or_else(|| {
                groups.push((agent, Group::new(dialect.form, resource, agent)));
                groups.len() - 1
            });
            let group = &mut groups[at].1;
            group.bytes += piece(&mut scratch, signal, dialect.deltas, event, group.events.is_empty());
            group.events.push(event);
        }
        Self { dialect, signal, groups: groups.into_iter().map(|(_, group)| group).collect() }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lists = self.signal.lists();
        match self.dialect.form {
            Form::Protobuf => self.groups.iter().map(|group| group.whole(&lists)).sum(),
            Form::Json => {
                let events: usize = self.groups.iter().map(|group| group.bytes).sum();
                let frames: usize = self.groups.iter().map(|group| group.frame(&lists).len() + END.len()).sum();
                events + frames + opening(&lists).len() + self.groups.len().saturating_sub(1) + CLOSING.len()
            }
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let lists = self.signal.lists();
        let mut scratch = Writer::new(self.dialect.form);
        if self.dialect.form == Form::Json {
            out.write_all(opening(&lists).as_bytes())?;
        }
        for (at, group) in self.groups.iter().enumerate() {
            match self.dialect.form {
                Form::Protobuf => out.write_all(&group.opened(&lists))?,
                Form::Json => {
                    out.write_all(if at == 0 { b"" } else { b"," })?;
                    out.write_all(group.frame(&lists).as_bytes())?;
                }
            }
            for (at, event) in group.events.iter().enumerate() {
                piece(&mut scratch, self.signal, self.dialect.deltas, event, at == 0);
                if self.dialect.form == Form::Json && at > 0 {
                    out.write_all(b",")?;
                }
                out.write_all(scratch.bytes())?;
            }
            if self.dialect.form == Form::Json {
                out.write_all(END.as_bytes())?;
            }
        }
        if self.dialect.form == Form::Json {
            out.write_all(CLOSING.as_bytes())?;
        }
        Ok(())
    }
}

/// What ends a group in JSON, and the request.
const END: &str = "]}]}";
const CLOSING: &str = "]}";

fn opening(lists: &Lists) -> String {
    format!("{{\"{}\":[", lists.resources.0)
}

/// Writes one event into `scratch`; answers how many bytes it adds to its list.
fn piece(scratch: &mut Writer, signal: Signal, deltas: Deltas, event: &Event, first: bool) -> usize {
    scratch.clear();
    write(scratch, event, &Own::of(event), signal, deltas);
    let comma = usize::from(scratch.form() == Form::Json && !first);
    scratch.bytes().len() + comma
}

impl Group<'_> {
    fn new(form: Form, resource: &Resource, agent: Option<&str>) -> Self {
        let written = |write: &dyn Fn(&mut Writer)| {
            let mut out = Writer::new(form);
            write(&mut out);
            out.bytes().to_vec()
        };
        Self {
            resource: written(&|out| resource.write(out, agent)),
            scope: written(&|out| {
                out.message(SCOPE, |out| {
                    out.text(NAME, "openclaw-trace");
                    out.text(VERSION, env!("CARGO_PKG_VERSION"));
                });
            }),
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// In protobuf: all of it that stands before its events.
    fn opened(&self, lists: &Lists) -> Vec<u8> {
        let scoped = self.scope.len() + self.bytes;
        let scopes = head(lists.scopes, scoped);
        let inner = self.resource.len() + scopes.len() + scoped;
        [&head(lists.resources, inner)[..], &self.resource, &scopes, &self.scope].concat()
    }

    fn whole(&self, lists: &Lists) -> usize {
        self.opened(lists).len() + self.bytes
    }

    /// The same in JSON.
    fn frame(&self, lists: &Lists) -> String {
        let [resource, scope] = [&self.resource, &self.scope].map(|bytes| String::from_utf8_lossy(bytes));
        format!("{{{resource},\"{}\":[{{{scope},\"{}\":[", lists.scopes.0, lists.items.0)
    }
}

/// Writes events as lines, each a request in JSON: of the spans, of the log records, of the metrics.
///
/// # Errors
/// When `out` takes no more.
pub fn lines(events: &[Event], out: &mut dyn Write) -> io::Result<()> {
    let resource = Resource::default();
    let dialect = Dialect { form: Form::Json, deltas: Deltas::Sum };
    for events in events.chunks(IN_LINE) {
        for signal in Signal::ALL {
            let of_signal: Vec<_> = events.iter().filter(|event| Signal::of(event) == signal).collect();
            if !of_signal.is_empty() {
                Packet::new(dialect, signal, &resource, of_signal).write(out)?;
                out.write_all(b"\n")?;
            }
        }
    }
    Ok(())
}
