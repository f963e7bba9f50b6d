//! What travels beside OTLP's own fields, so that the event can be made again from them.
//!
//! | attribute | holds |
//! |---|---|
//! | `openclaw_trace.event.id`, `.kind` | the event's `trace_id` and `kind`; they say that it is an event of ours |
//! | `.fields` | where a field of the event stands: `name=gen_ai.request.model`; `span_id=`: it has none, though OTLP's field is filled |
//! | `.added` | attributes that the conventions want and the event did not have |
//! | `.name`, `.run_id`, `.timestamp`, `.duration_ms`, … | a field that nothing else holds exactly |
//! | `.attributes` | the event's attributes as text, where another text would be made of the ones that are written |
//!
//! The reader (`sources/http_ingest/otlp/restore.rs`) knows this table and nothing of the names of the conventions: of two
//! versions each reads what the other wrote.

use std::borrow::Cow;

use engine::json::quoted;
use engine::{Event, Json, Status};

use super::own::{CARRIED, Own, double_attribute, integer_attribute, text_attribute, texts_attribute};
use super::write::{Field, Writer};

/// The attributes of one event, being written.
pub(super) struct Attributes<'w, 'e> {
    out: &'w mut Writer,
    list: Field,
    event: &'e Event,
    own: &'e Own<'e>,
    added: Vec<&'static str>,
    fields: Vec<String>,
}

impl<'w, 'e> Attributes<'w, 'e> {
    /// Begins with the event's own.
    pub(super) fn begin(out: &'w mut Writer, list: Field, event: &'e Event, own: &'e Own<'e>) -> Self {
        let same = own.write(out, list);
        let mut attributes = Self { out, list, event, own, added: Vec::new(), fields: Vec::new() };
        if !same {
            attributes.carry("attributes", own.text);
        }
        attributes
    }

    /// An attribute that the conventions want. What the event tells itself stays as it is.
    pub(super) fn want(&mut self, key: &'static str, text: &str) {
        if self.own.raw(key).is_none() {
            text_attribute(self.out, self.list, key, text);
            self.added.push(key);
        }
    }

    /// A field of the event that has a name in the conventions.
    pub(super) fn field(&mut self, field: &'static str, key: &'static str, value: Option<&str>) {
        let Some(value) = value else { return };
        match self.own.raw(key) {
            None => self.want(key, value),
            Some(_) if self.own.told(key).as_deref() == Some(value) => {}
            Some(_) => return self.carry(field, Some(value)),
        }
        self.fields.push(format!("{field}={key}"));
    }

    /// That the event has no such field, though OTLP's is filled.
    pub(super) fn has_no(&mut self, field: &'static str) {
        self.fields.push(format!("{field}="));
    }

    /// A field of the event that nothing else holds exactly.
    pub(super) fn carry(&mut self, field: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            text_attribute(self.out, self.list, &format!("{CARRIED}{field}"), value);
        }
    }

    pub(super) fn carry_timestamp(&mut self) {
        let nanos = self.event.timestamp.as_nanos();
        integer_attribute(self.out, self.list, &format!("{CARRIED}timestamp"), nanos);
    }

    pub(super) fn carry_duration(&mut self) {
        if let Some(millis) = self.event.duration_ms {
            double_attribute(self.out, self.list, &format!("{CARRIED}duration_ms"), millis);
        }
    }

    pub(super) fn carry_status(&mut self) {
        self.carry("status", status(self.event));
    }

    /// Ends with what says that this is an event.
    pub(super) fn end(mut self) {
        self.carry("id", Some(&self.event.trace_id.to_string()));
        self.carry("kind", Some(self.event.kind.as_str()));
        if !self.fields.is_empty() {
            texts_attribute(self.out, self.list, &format!("{CARRIED}fields"), &self.fields);
        }
        if !self.added.is_empty() {
            texts_attribute(self.out, self.list, &format!("{CARRIED}added"), &self.added);
        }
    }
}

fn status(event: &Event) -> Option<&'static str> {
    event.status.map(|status| match status {
        Status::Ok => "ok",
        Status::Error => "error",
    })
}

/// The whole event, where nothing of OTLP's own holds any of it.
pub(super) fn whole(out: &mut Writer, list: Field, event: &Event) {
    let own = Own::none();
    let mut carried = Attributes { out, list, event, own: &own, added: Vec::new(), fields: Vec::new() };
    carried.carry_timestamp();
    carried.carry_duration();
    carried.carry_status();
    let texts = [
        ("error", &event.error),
        ("session_id", &event.session_id),
        ("run_id", &event.run_id),
        ("agent_id", &event.agent_id),
        ("span_id", &event.span_id),
        ("parent_span_id", &event.parent_span_id),
        ("name", &event.name),
    ];
    for (field, text) in texts {
        carried.carry(field, text.as_deref());
    }
    for (field, body) in [("input", &event.input), ("output", &event.output)] {
        carried.carry(field, body.as_ref().map(content).as_deref());
    }
    carried.carry("attributes", event.attributes.as_ref().map(Json::as_str));
    carried.end();
}

/// Only that it belongs to an event that is told whole elsewhere in the request.
pub(super) fn part(out: &mut Writer, list: Field, event: &Event) {
    text_attribute(out, list, &format!("{CARRIED}id"), &event.trace_id.to_string());
}

/// An input or output as the text that stands for it: a string as itself, anything else as JSON. A string that could be
/// taken for JSON is told as JSON too, with its quotes; so is one that was written in an unusual way.
pub(super) fn content(body: &Json) -> Cow<'_, str> {
    let raw = body.as_str();
    match super::parts::text(raw) {
        Some(text) if Json::parse(&text).is_err() && quoted(&text) == raw => text,
        _ => Cow::Borrowed(raw),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_string_stands_for_itself_unless_it_could_be_taken_for_json() {
        for (body, expected) in [
            (r#""hello""#, "hello"),
            (r#""two\nlines""#, "two\nlines"),
            (r#""""#, ""),
            (r#""5""#, r#""5""#),
            (r#""[1]""#, r#""[1]""#),
            (r#"" true ""#, r#"" true ""#),
            (r#""\u0041""#, r#""\u0041""#),
            (r#"{"a": 1.0}"#, r#"{"a": 1.0}"#),
            ("12", "12"),
        ] {
            assert_eq!(content(&Json::parse(body).unwrap()), expected, "{body}");
        }
    }
}
