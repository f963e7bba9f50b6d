//! The flat forms that Augmi's agents send: a model call to `/v1/traces`, an error to `/v1/errors`.
//!
//! Each is rewritten, field by field, as the event that `/v1/events` takes, and read as one: what a
//! flat form does not know is kept as an attribute, as there.

use std::borrow::Cow;
use std::fmt;

use engine::json::Members;
use engine::{Event, EventError};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A model call.
    Trace,
    /// An error.
    Error,
}

/// Where a flat field goes: a field of the event, or an attribute.
#[derive(Clone, Copy)]
enum To {
    Field(&'static str),
    Attribute(&'static str),
}

use To::{Attribute, Field};

const TRACE: &[(&str, To)] = &[
    ("input_text", Field("input")),
    ("output_text", Field("output")),
    ("latency_ms", Field("duration_ms")),
    ("provider", Attribute("gen_ai.provider.name")),
    ("model", Attribute("gen_ai.request.model")),
    ("prompt_tokens", Attribute("gen_ai.usage.input_tokens")),
    ("completion_tokens", Attribute("gen_ai.usage.output_tokens")),
    ("error_type", Attribute("error.type")),
    ("error_message", Field("error")),
];
const ERROR: &[(&str, To)] = &[
    ("message", Field("error")),
    ("error_type", Attribute("error.type")),
    ("stack_trace", Attribute("exception.stacktrace")),
];

/// Names that the event has too and that mean the same in it.
const SAME: [&str; 10] = [
    "timestamp",
    "duration_ms",
    "session_id",
    "run_id",
    "agent_id",
    "span_id",
    "parent_span_id",
    "input",
    "output",
    "error",
];

/// More fields than this are refused, as in an event.
const MAX_FIELDS: usize = 96;

impl Form {
    fn table(self) -> &'static [(&'static str, To)] {
        match self {
            Self::Trace => TRACE,
            Self::Error => ERROR,
        }
    }

    /// Reads one flat object.
    ///
    /// # Errors
    /// What does not fit, by the flat form's own name for it.
    pub(super) fn read(self, text: &str) -> Result<Event, String> {
        if !text.trim_start().starts_with('{') {
            return Err("must be a JSON object".to_owned());
        }
        let members: Sent<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let find = |name: &str| members.0.iter().find(|(key, _)| key == name).map(|(_, raw)| raw.get());
        let as_text = |name: &str| find(name).and_then(|raw| serde_json::from_str::<Cow<'_, str>>(raw).ok());
        let known = self.table().iter().map(|(name, _)| *name);
        if !known.chain(["status", "severity", "total_tokens", "cost_usd"]).any(|name| find(name).is_some()) {
            let names = self.table().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(format!("has none of the fields that belong here ({names}); other events go to /v1/events"));
        }
        let failed = self == Self::Error
            || find("error_type").is_some_and(|raw| raw != "\"\"")
            || as_text("status").is_some_and(|status| !matches!(&*status, "ok" | "success" | "completed" | "200"));
        let mut fields = Members::default();
        let mut attributes = Members::default();
        fields.add("kind", if self == Self::Trace { "\"llm_call\"" } else { "\"error\"" });
        fields.add("status", if failed { "\"error\"" } else { "\"ok\"" });
        let name = as_text(if self == Self::Trace { "model" } else { "error_type" });
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            fields.add_text("name", &name);
        }
        // A trace id that is a UUID is the event's identity; another one is kept as it came.
        if let Some(id) = as_text("trace_id") {
            match id.parse::<engine::TraceId>() {
                Ok(id) => fields.add_text("trace_id", &id.to_string()),
                Err(_) => attributes.add_text("client.trace_id", &id),
            }
        }
        for (key, raw) in &members.0 {
            let to = self.table().iter().find(|(name, _)| name == key).map(|(_, to)| *to);
            match to {
                Some(Field(field)) => fields.add(field, raw.get()),
                Some(Attribute(attribute)) => attributes.add(attribute, raw.get()),
                None if SAME.contains(&&**key) => fields.add(key, raw.get()),
                None if matches!(&**key, "status" | "kind" | "name" | "trace_id" | "attributes") => {}
                None if key == "metadata" && raw.get().starts_with('{') => {
                    attributes.add_object(raw.get());
                }
                None => attributes.add(key, raw.get()),
            }
        }
        if let Some(raw) = find("attributes").filter(|raw| raw.starts_with('{')) {
            attributes.add_object(raw);
        }
        fields.add("attributes", &attributes.into_text());
        Event::from_json(&fields.into_text()).map_err(|error| self.in_own_words(&error))
    }

    fn in_own_words(self, error: &EventError) -> String {
        if let EventError::Field { field, problem } = error
            && let Some((name, _)) = self.table().iter().find(|(_, to)| matches!(to, Field(to) if to == field))
        {
            return format!("{name} {problem}");
        }
        error.to_string()
    }
}

/// The members of an object, `null` ones left out.
struct Sent<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Sent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Sent<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sent<'de>, A::Error> {
                use serde::de::Error as _;
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let raw: &'de RawValue = map.next_value()?;
                    if members.len() == MAX_FIELDS {
                        return Err(A::Error::custom(format_args!("more than {MAX_FIELDS} fields")));
                    }
                    if members.iter().any(|(other, _)| *other == key) {
                        return Err(A::Error::custom(format_args!("{key} is given twice")));
                    }
                    if raw.get() != "null" {
                        members.push((key, raw));
                    }
                }
                Ok(Sent(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::Status;

    #[test]
    fn a_model_call_becomes_the_event_that_it_is() {
        let text = r#"{"provider":"anthropic","model":"claude-x","input_text":"hi","output_text":"ho","prompt_tokens":12,
            "completion_tokens":3,"total_tokens":15,"cost_usd":0.0021,"latency_ms":840,"status":"success","session_id":"s1",
            "error_type":null}"#;
        let event = Form::Trace.read(text).unwrap();
        assert_eq!((event.kind.as_str(), event.status), ("llm_call", Some(Status::Ok)));
        assert_eq!((event.name.as_deref(), event.duration_ms), (Some("claude-x"), Some(840.0)));
        assert_eq!(event.input.unwrap().as_str(), "\"hi\"");
        let attributes: serde_json::Value = serde_json::from_str(event.attributes.unwrap().as_str()).unwrap();
        assert_eq!(attributes["gen_ai.usage.input_tokens"], 12);
        assert_eq!(attributes["gen_ai.provider.name"], "anthropic");
        assert_eq!(attributes["cost_usd"], 0.0021);
        assert_eq!(attributes["total_tokens"], 15);
    }

    #[test]
    fn an_error_keeps_its_stack_and_its_metadata() {
        let text = r#"{"error_type":"crash","message":"boom","stack_trace":"at x","severity":"critical","metadata":{"pid":7}}"#;
        let event = Form::Error.read(text).unwrap();
        assert_eq!((event.kind.as_str(), event.status), ("error", Some(Status::Error)));
        assert_eq!((event.error.as_deref(), event.name.as_deref()), (Some("boom"), Some("crash")));
        let attributes: serde_json::Value = serde_json::from_str(event.attributes.unwrap().as_str()).unwrap();
        assert_eq!(attributes["exception.stacktrace"], "at x");
        assert_eq!((&attributes["pid"], &attributes["severity"]), (&7.into(), &"critical".into()));
    }

    #[test]
    fn errors_use_the_words_of_the_flat_form() {
        assert!(Form::Trace.read(r#"{"model":"m","latency_ms":"soon"}"#).unwrap_err().starts_with("latency_ms must"));
        assert!(Form::Error.read(r#"{"message":5}"#).unwrap_err().starts_with("message must"));
        assert!(Form::Trace.read(r#"{"kind":"log"}"#).unwrap_err().contains("/v1/events"));
        assert_eq!(Form::Error.read("[]").unwrap_err(), "must be a JSON object");
    }

    #[test]
    fn a_failed_call_is_told_by_its_status_or_its_error() {
        assert_eq!(Form::Trace.read(r#"{"model":"m","status":"error"}"#).unwrap().status, Some(Status::Error));
        assert_eq!(Form::Trace.read(r#"{"model":"m","error_type":"timeout"}"#).unwrap().status, Some(Status::Error));
        assert_eq!(Form::Trace.read(r#"{"model":"m"}"#).unwrap().status, Some(Status::Ok));
    }
}
