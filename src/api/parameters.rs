//! The parameters of a question, checked against the table of endpoints.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use engine::Timestamp;
use sinks::sqlite_store::Cursor;

use super::endpoints::{Endpoint, Form, Parameter};

/// Bytes of a parameter: no id is longer, and no text that is looked for need be.
const MOST_BYTES: usize = 256;

/// A question's parameters; all that is wrong with them is said at once.
pub(super) struct Parameters {
    known: Vec<&'static Parameter>,
    given: Vec<(String, String)>,
}

/// A parameter's value, checked.
#[derive(Debug)]
enum Value {
    Text(String),
    Texts(Vec<String>),
    Time(i64),
    Number(i64),
    Cursor(Cursor),
}

impl Parameters {
    /// Checks what is given against what the endpoint knows.
    ///
    /// # Errors
    /// Everything that is wrong, for the client.
    pub(super) fn check(endpoint: &'static Endpoint, given: Vec<(String, String)>) -> Result<Self, String> {
        let parameters = Self { known: endpoint.parameters().collect(), given };
        let mut wrong = Vec::new();
        for (at, (name, value)) in parameters.given.iter().enumerate() {
            let Some(known) = parameters.known.iter().find(|known| known.name == name) else {
                let names: Vec<_> = parameters.known.iter().map(|known| known.name).collect();
                let names =
                    if names.is_empty() { "none is known".to_owned() } else { format!("known: {}", names.join(", ")) };
                wrong.push(format!("unknown parameter {}; {names}", shown(name)));
                continue;
            };
            if parameters.given[..at].iter().any(|(other, _)| other == name) {
                wrong.push(format!("{name} is given twice"));
            } else if let Err(why) = read(known.form, value) {
                wrong.push(format!("{name} {why}"));
            }
        }
        if wrong.is_empty() { Ok(parameters) } else { Err(wrong.join("; ")) }
    }

    fn get(&self, name: &str) -> Option<Value> {
        debug_assert!(self.known.iter().any(|known| known.name == name), "{name} is not in the table");
        let known = self.known.iter().find(|known| known.name == name)?;
        let (_, value) = self.given.iter().find(|(given, _)| given == name)?;
        read(known.form, value).ok()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::Texts(texts)) => texts,
            _ => Vec::new(),
        }
    }

    /// In nanoseconds since 1970.
    pub(super) fn time(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Time(nanos)) => Some(nanos),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        let default = self.known.iter().find(|known| known.name == name).and_then(|known| match known.form {
            Form::Number { default, .. } => default,
            _ => None,
        });
        match self.get(name) {
            Some(Value::Number(number)) => Some(number),
            _ => default,
        }
    }

    pub(super) fn cursor(&self, name: &str) -> Option<Cursor> {
        match self.get(name) {
            Some(Value::Cursor(cursor)) => Some(cursor),
            _ => None,
        }
    }
}

fn read(form: Form, text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Err("is empty; leave it out".to_owned());
    }
    if text.len() > MOST_BYTES {
        return Err(format!("is longer than {MOST_BYTES} bytes"));
    }
    match form {
        Form::Text => Ok(Value::Text(text.to_owned())),
        Form::Texts => Ok(Value::Texts(text.split(',').map(|part| part.trim().to_owned()).collect())),
        Form::OneOf(values) if values.contains(&text) => Ok(Value::Text(text.to_owned())),
        Form::OneOf(values) => Err(format!("is {}; it may be: {}", shown(text), values.join(", "))),
        Form::Time => time(text, Timestamp::now()).map(Value::Time),
        Form::Number { least, most, .. } => match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Value::Number(number)),
            _ => Err(format!("is {}; it may be a whole number from {least} to {most}", shown(text))),
        },
        Form::Cursor => Cursor::from_str(text).map(Value::Cursor).map_err(str::to_owned),
    }
}

/// A moment: RFC 3339, Unix milliseconds, or a time back from `now`. In nanoseconds since 1970.
///
/// # Errors
/// What it may be.
pub(crate) fn time(text: &str, now: Timestamp) -> Result<i64, String> {
    let wrong = || format!("is {}; it may be RFC 3339, Unix milliseconds, or a time back: 15m, 6h, 7d", shown(text));
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let seconds = match &text[digits..] {
        // A plain number, with its sign for whoever asks about the time before 1970.
        "" => return text.parse::<i64>().ok().and_then(|ms| ms.checked_mul(1_000_000)).ok_or_else(wrong),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return text.parse::<Timestamp>().map(Timestamp::as_nanos).map_err(|_| wrong()),
    };
    let back = text[..digits].parse::<i64>().ok().and_then(|count| count.checked_mul(seconds * 1_000_000_000));
    back.and_then(|back| now.as_nanos().checked_sub(back)).ok_or_else(wrong)
}

/// What was given, for a message: quoted, and not longer than anybody wants to read.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(60).collect();
    format!("{text:?}")
}

/// The pairs of a query string; one that cannot be read is the client's fault.
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = String;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        pairs.map(|Query(pairs)| Self(pairs)).map_err(|error| format!("the query string cannot be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_number_or_a_way_back() {
        let now = Timestamp::from_nanos(1_000_000_000_000_000_000);
        let ago = |seconds: i64| now.as_nanos() - seconds * 1_000_000_000;
        for (text, wanted) in [
            ("15m", ago(900)),
            ("6h", ago(21_600)),
            ("2w", ago(14 * 86_400)),
            ("1700000000123", 1_700_000_000_123_000_000),
            ("2026-11-24T18:50:08Z", 1_795_546_208_000_000_000),
        ] {
            assert_eq!(time(text, now), Ok(wanted), "{text}");
        }
        for text in ["", "h", "1y", "yesterday", "99999999999999999999", "999999999999w", "ü"] {
            assert!(time(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let endpoint = super::super::endpoints::ENDPOINTS.iter().find(|one| one.path == "/api/v1/events");
        let given = [("limit", "0"), ("form", "x"), ("status", "bad"), ("status", "ok"), ("from", "noon"), ("run", "")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let Err(said) = Parameters::check(endpoint.expect("is in the table"), given) else { panic!("taken") };
        for part in
            ["limit", "unknown parameter \"form\"", "it may be: ok, error", "given twice", "from", "run is empty"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
