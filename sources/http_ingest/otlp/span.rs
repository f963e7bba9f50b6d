//! A span, as an event.

use std::borrow::Cow;

use engine::json::push_escaped;
use engine::{Event, Json, Status, Timestamp};

use super::names::{self, Sort, Told};
use super::origin::Origin;
use super::value::{Object, Value, key_value};
use super::wire::{Malformed, Message};

/// The attributes that become fields of the event; each is kept once, in its field.
#[derive(Default)]
struct Picked {
    operation: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    tool: Option<String>,
    channel: Option<String>,
    session: Option<String>,
    session_key: Option<String>,
    run: Option<String>,
    agent: Option<String>,
    outcome: Option<String>,
    error: Option<String>,
    input: Option<String>,
    output: Option<String>,
    /// Content told a second time under another name: kept only where it differs.
    mirrors: Vec<(Body, String, String)>,
    /// OpenClaw's own counts: input without cache, output, cache read, cache written.
    tokens: [Option<i64>; 4],
    told: Told,
}

/// A body of the event.
#[derive(Clone, Copy)]
enum Body {
    Input,
    Output,
}

/// Reads the attributes of a span or log record: picks what becomes a field, writes the rest.
#[derive(Default)]
pub(super) struct Attributes {
    rest: Object,
    picked: Picked,
    /// Attributes under a former name: they are written at the end, where the present one was not sent.
    former: Vec<(&'static str, Value<'static>)>,
    present: Vec<&'static str>,
}

impl Attributes {
    /// Takes one `KeyValue`.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (key, value) = key_value(bytes)?;
        if let Some(present) = names::present(&key) {
            // One of each former name is enough; a second one is a repeat.
            if self.former.len() < 16 {
                self.former.push((present, owned(value)));
            }
            return Ok(());
        }
        self.take_present(&key, value)
    }

    fn take_present(&mut self, key: &str, value: Value<'_>) -> Result<(), Malformed> {
        let p = &mut self.picked;
        // What becomes `input` and `output` is not kept a second time.
        let body = match key {
            "gen_ai.input.messages" | "gen_ai.tool.call.arguments" => Some(&mut p.input),
            "gen_ai.output.messages" | "gen_ai.tool.call.result" => Some(&mut p.output),
            _ => None,
        };
        let mirror = match key {
            "openclaw.content.input_messages" | "openclaw.content.tool_input" | "input.value" => Some(Body::Input),
            "openclaw.content.output_messages" | "openclaw.content.tool_output" | "output.value" => Some(Body::Output),
            _ => None,
        };
        if let Some(body) = mirror
            && p.mirrors.len() < 8
        {
            p.mirrors.push((body, key.to_owned(), as_json(value)?));
            return Ok(());
        }
        if let Some(body) = body {
            *body = Some(as_json(value)?);
            if let Some(name) = BODIES.iter().find(|name| **name == key) {
                self.present.push(name);
            }
            return Ok(());
        }
        let field = match key {
            "gen_ai.operation.name" => Some(&mut p.operation),
            "gen_ai.provider.name" => Some(&mut p.provider),
            "gen_ai.request.model" => Some(&mut p.model),
            "gen_ai.response.model" | "openclaw.model" if p.model.is_none() => Some(&mut p.model),
            "gen_ai.tool.name" => Some(&mut p.tool),
            "openclaw.toolName" if p.tool.is_none() => Some(&mut p.tool),
            "openclaw.channel" => Some(&mut p.channel),
            "gen_ai.conversation.id" => Some(&mut p.session),
            "session.id" | "openclaw.sessionId" | "openclaw.session.id" | "openclaw.session_id"
                if p.session.is_none() =>
            {
                Some(&mut p.session)
            }
            "openclaw.sessionKey" | "openclaw.session_key" | "openclaw.session.key" => Some(&mut p.session_key),
            "openclaw.runId" | "openclaw.run_id" | "openclaw.run.id" => Some(&mut p.run),
            "gen_ai.agent.id" => Some(&mut p.agent),
            "openclaw.agent" | "openclaw.agentId" | "openclaw.agent_id" if p.agent.is_none() => Some(&mut p.agent),
            "openclaw.outcome" => Some(&mut p.outcome),
            "openclaw.error" | "exception.message" => Some(&mut p.error),
            "error.type" | "openclaw.errorCategory" if p.error.is_none() => Some(&mut p.error),
            _ => None,
        };
        if let Some(field) = field
            && let Value::Text(text) = &value
            && !text.is_empty()
        {
            *field = Some(text.clone().into_owned());
        }
        p.told.call |= key.starts_with("openclaw.model_call.");
        if let Some(kept) = key.strip_prefix("openclaw.tokens.") {
            p.told.sum = true;
            let at = ["input", "output", "cache_read", "cache_write"].iter().position(|name| *name == kept);
            if let (Some(at), Value::Int(count)) = (at, &value) {
                p.tokens[at] = Some(*count);
            }
        }
        if let Some(name) = PRESENT.iter().find(|name| **name == key) {
            self.present.push(name);
        }
        match (&value, key) {
            (Value::Text(name), "gen_ai.provider.name") => self.rest.add_text(key, names::provider(name)),
            _ => self.rest.add(key, &value),
        }
        Ok(())
    }

    fn settle_former(&mut self) -> Result<(), Malformed> {
        for (present, value) in std::mem::take(&mut self.former) {
            if !self.present.contains(&present) {
                self.take_present(present, value)?;
            }
        }
        Ok(())
    }

    /// Content that only a mirror told becomes the field; what differs from the field stays an
    /// attribute.
    fn settle_mirrors(&mut self) {
        for (body, key, json) in std::mem::take(&mut self.picked.mirrors) {
            let field = match body {
                Body::Input => &mut self.picked.input,
                Body::Output => &mut self.picked.output,
            };
            match field {
                None => *field = Some(json),
                Some(told) if *told == json => {}
                Some(_) => self.rest.add_json(&key, json),
            }
        }
    }

    /// OpenClaw's own counts under the general names, where only they were sent. Its input is
    /// without the cached part; the conventions' is with it.
    fn settle_tokens(&mut self) {
        let [input, output, read, written] = self.picked.tokens;
        if !self.picked.told.sum || self.present.iter().any(|name| name.starts_with("gen_ai.usage.")) {
            return;
        }
        let whole = input.map(|input| input.saturating_add(read.unwrap_or(0)).saturating_add(written.unwrap_or(0)));
        let counts = [
            ("gen_ai.usage.input_tokens", whole),
            ("gen_ai.usage.output_tokens", output),
            ("gen_ai.usage.cache_read.input_tokens", read),
            ("gen_ai.usage.cache_creation.input_tokens", written),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                self.rest.add(name, &Value::Int(count));
            }
        }
    }
}

const BODIES: [&str; 2] = ["gen_ai.input.messages", "gen_ai.output.messages"];

/// Present names that have a former one, or tell that tokens were counted.
const PRESENT: [&str; 8] = [
    "gen_ai.provider.name",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.response.finish_reasons",
    "gen_ai.output.type",
];

fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Int(value),
        Value::Double(value) => Value::Double(value),
        Value::Json(value) => Value::Json(value),
    }
}

/// Content comes as JSON inside a string: it is kept as the JSON that it is.
fn as_json(value: Value<'_>) -> Result<String, Malformed> {
    if let Value::Text(text) = &value
        && text.trim_start().starts_with(['{', '['])
        && Json::parse(text).is_ok()
    {
        return Ok(text.trim().to_owned());
    }
    let mut out = String::new();
    value.push_bounded(&mut out)?;
    Ok(out)
}

/// The fields of a span but its attributes.
#[derive(Default)]
struct Span<'a> {
    trace: &'a [u8],
    id: &'a [u8],
    parent: &'a [u8],
    name: Cow<'a, str>,
    kind: u64,
    start: u64,
    end: u64,
    code: u64,
    message: Cow<'a, str>,
}

/// Reads a `Span`.
///
/// # Errors
/// What makes it no span: the client is told, and the others are kept.
pub(super) fn event(bytes: &[u8], origin: &Origin, scope: &str) -> Result<Event, Malformed> {
    let mut span = Span::default();
    let mut attributes = Attributes::default();
    let (mut events, mut links) = (String::new(), String::new());
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => span.trace = field.bytes(),
            2 => span.id = field.bytes(),
            4 => span.parent = field.bytes(),
            5 => span.name = field.text(),
            6 => span.kind = field.integer(),
            7 => span.start = field.integer(),
            8 => span.end = field.integer(),
            9 => attributes.take(field.bytes())?,
            11 => push_event(&mut events, field.bytes(), &mut attributes)?,
            13 => push_link(&mut links, field.bytes())?,
            15 => {
                let mut status = Message::new(field.bytes());
                while let Some((number, field)) = status.next()? {
                    match number {
                        2 => span.message = field.text(),
                        3 => span.code = field.integer(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    check_id(span.trace, 16, "a span has no trace id of 16 bytes")?;
    check_id(span.id, 8, "a span has no span id of 8 bytes")?;
    attributes.settle_former()?;
    attributes.settle_mirrors();
    attributes.settle_tokens();
    for (name, list) in [("otel.span.events", &events), ("otel.span.links", &links)] {
        if !list.is_empty() {
            attributes.rest.add_json(name, format!("[{list}]"));
        }
    }
    span.into_event(attributes, origin, scope)
}

impl Span<'_> {
    fn into_event(self, attributes: Attributes, origin: &Origin, scope: &str) -> Result<Event, Malformed> {
        let Attributes { mut rest, picked: p, .. } = attributes;
        let sort = Sort::of(&self.name, p.operation.as_deref(), p.told);
        let mut event = Event::new(sort.kind());
        // Two spans of OpenClaw may bear the same ids (exec and the harness above it do): the name
        // tells them apart. Sent again, a span has the same name.
        event.trace_id = engine::TraceId::derived(&[b"span", self.trace, self.id, self.name.as_bytes()]);
        if !origin.realm.is_empty() {
            event.trace_id = engine::TraceId::derived(&[event.trace_id.as_bytes(), origin.realm.as_bytes()]);
        }
        let start = if self.start == 0 { self.end } else { self.start };
        event.timestamp = timestamp(start)?;
        event.duration_ms = Some(millis(self.end.saturating_sub(start)));
        event.span_id = Some(hex(self.id));
        event.parent_span_id = self.parent.iter().any(|byte| *byte != 0).then(|| hex(self.parent));
        let trace = hex(self.trace);
        if p.run.is_some() {
            rest.add_text("otel.trace_id", &trace);
        }
        event.run_id = Some(p.run.filter(|run| run.len() <= engine::event::MAX_ID_BYTES).unwrap_or(trace));
        event.session_id = p.session.or(p.session_key).filter(|id| id.len() <= engine::event::MAX_ID_BYTES);
        event.agent_id = p.agent.filter(|id| id.len() <= engine::event::MAX_ID_BYTES);
        event.name = match sort {
            Sort::ModelCall | Sort::Usage => p.model,
            Sort::ToolCall => p.tool,
            Sort::Other("message" | "session" | "webhook") => p.channel,
            Sort::Other(_) => None,
        }
        .or_else(|| Some(self.name.clone().into_owned()));
        let failed = self.code == 2 || matches!(p.outcome.as_deref(), Some("error" | "failed" | "timeout"));
        if sort.kind().as_str() != "gateway" {
            event.status = Some(if failed { Status::Error } else { Status::Ok });
        } else if !self.message.is_empty() {
            // The gateway's own warnings come as failed spans. They are no failure of the agent.
            rest.add_text("otel.status.description", &self.message);
        }
        if failed && event.status.is_some() {
            // "Error" is what a span says that has nothing to say.
            let said = Some(self.message.into_owned()).filter(|text| !text.is_empty() && text != "Error");
            event.error = said.or(p.error).or_else(|| Some("error".to_owned()));
        }
        event.input = p.input.and_then(|json| Json::parse(&json).ok());
        event.output = p.output.and_then(|json| Json::parse(&json).ok());
        rest.add_text("otel.span.name", &self.name);
        if let Some(kind) = ["internal", "server", "client", "producer", "consumer"]
            .get(usize::try_from(self.kind).unwrap_or(0).wrapping_sub(1))
            .filter(|kind| **kind != "internal")
        {
            rest.add_text("otel.span.kind", kind);
        }
        add_origin(&mut rest, origin, scope);
        event.attributes = rest.finish()?;
        Ok(event)
    }
}

pub(super) fn add_origin(rest: &mut Object, origin: &Origin, scope: &str) {
    rest.add_all(&origin.members);
    if !scope.is_empty() {
        rest.add_text("otel.scope.name", scope);
    }
}

fn check_id(id: &[u8], length: usize, problem: &'static str) -> Result<(), Malformed> {
    if id.len() == length && id.iter().any(|byte| *byte != 0) { Ok(()) } else { Err(Malformed(problem)) }
}

/// An event of a span: `{"name":…,"time":…,"attributes":{…}}`. An exception also says what failed.
fn push_event(out: &mut String, bytes: &[u8], attributes: &mut Attributes) -> Result<(), Malformed> {
    let (mut time, mut name, mut inner) = (0, Cow::Borrowed(""), Object::default());
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => time = field.integer(),
            2 => name = field.text(),
            3 => {
                let (key, value) = key_value(field.bytes())?;
                inner.add(&key, &value);
                if key == "exception.message" && attributes.picked.error.is_none() {
                    attributes.picked.error = value.into_text();
                }
            }
            _ => {}
        }
    }
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str("{\"name\":");
    push_escaped(out, &name);
    out.push_str(&format!(",\"time\":\"{}\",\"attributes\":{{{}}}}}", timestamp(time)?, inner.members()));
    Ok(())
}

fn push_link(out: &mut String, bytes: &[u8]) -> Result<(), Malformed> {
    let (mut trace, mut span): (&[u8], &[u8]) = (&[], &[]);
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => trace = field.bytes(),
            2 => span = field.bytes(),
            _ => {}
        }
    }
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(&format!("{{\"trace_id\":\"{}\",\"span_id\":\"{}\"}}", hex(trace), hex(span)));
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&bytes[..bytes.len().min(16)])
}

pub(super) fn timestamp(nanos: u64) -> Result<Timestamp, Malformed> {
    i64::try_from(nanos).map(Timestamp::from_nanos).map_err(|_| Malformed("a time is outside the years 1678 to 2262"))
}

/// Nanoseconds as milliseconds.
#[allow(clippy::cast_precision_loss)]
pub(super) fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
