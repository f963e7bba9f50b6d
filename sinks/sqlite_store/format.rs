//! How events are written for others: one after the other into anything that takes bytes.

use std::borrow::Cow;
use std::io::Write;

use engine::{Event, Json, Kind, Status};

use crate::told::Told;

/// How an export is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Each line the JSON that `POST /v1/events` takes: a round trip loses nothing.
    #[default]
    Ndjson,
    /// A table for spreadsheets: RFC 4180, the first record names the columns.
    Csv,
    /// Each line a request of OTLP/JSON: what any OpenTelemetry collector takes (`crate::otlp`).
    Otlp,
}

/// The columns of CSV.
const COLUMNS: [&str; 19] = [
    "trace_id",
    "kind",
    "timestamp",
    "duration_ms",
    "status",
    "error",
    "session_id",
    "run_id",
    "agent_id",
    "span_id",
    "parent_span_id",
    "name",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "cost_usd",
    "input",
    "output",
    "attributes",
];

/// Writes events in one format.
pub struct EventWriter<W: Write> {
    to: To<W>,
}

enum To<W: Write> {
    Lines(W),
    Requests(W),
    Table(Box<csv::Writer<W>>),
}

impl<W: Write> EventWriter<W> {
    /// Begins: of a table the names of the columns are written.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn new(format: Format, out: W) -> std::io::Result<Self> {
        let mut writer = Self::further(format, out);
        if let To::Table(table) = &mut writer.to {
            table.write_record(COLUMNS).map_err(of_output)?;
        }
        Ok(writer)
    }

    /// Goes on where another one ended: a table's columns have been named.
    pub fn further(format: Format, out: W) -> Self {
        let to = match format {
            Format::Ndjson => To::Lines(out),
            Format::Csv => To::Table(Box::new(table(out))),
            Format::Otlp => To::Requests(out),
        };
        Self { to }
    }

    /// Writes some events.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, events: &[Event]) -> std::io::Result<()> {
        match &mut self.to {
            To::Lines(out) => events.iter().try_for_each(|event| writeln!(out, "{}", event.to_json())),
            To::Table(table) => events.iter().try_for_each(|event| {
                table.write_record(cells(event).iter().map(|cell| cell.as_bytes())).map_err(of_output)
            }),
            To::Requests(out) => crate::otlp::lines(events, out),
        }
    }

    /// Writes what waits in buffers.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.to {
            To::Lines(out) | To::Requests(out) => out.flush(),
            To::Table(table) => table.flush(),
        }
    }
}

fn table<W: Write>(out: W) -> csv::Writer<W> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out)
}

/// The output's own error, by which callers tell a reader that has gone.
fn of_output(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn cells(event: &Event) -> [Cow<'_, str>; COLUMNS.len()] {
    fn text(text: &Option<String>) -> Cow<'_, str> {
        inert(text.as_deref().unwrap_or_default())
    }
    fn json(body: &Option<Json>) -> Cow<'_, str> {
        inert(body.as_ref().map_or("", Json::as_str))
    }
    let number = |number: Option<f64>| Cow::Owned(number.map(|number| number.to_string()).unwrap_or_default());
    // A turn's sum (`usage`) repeats what its calls tell: in a column that people add up it would count twice.
    let told = if event.kind == Kind::LLM_CALL { Told::by(event) } else { Told::default() };
    [
        Cow::Owned(event.trace_id.to_string()),
        Cow::Borrowed(event.kind.as_str()),
        Cow::Owned(event.timestamp.to_string()),
        number(event.duration_ms),
        Cow::Borrowed(match event.status {
            None => "",
            Some(Status::Ok) => "ok",
            Some(Status::Error) => "error",
        }),
        text(&event.error),
        text(&event.session_id),
        text(&event.run_id),
        text(&event.agent_id),
        text(&event.span_id),
        text(&event.parent_span_id),
        text(&event.name),
        number(told.input),
        number(told.cached),
        number(told.output),
        number(told.cost_usd),
        json(&event.input),
        json(&event.output),
        json(&event.attributes),
    ]
}

/// Text that a spreadsheet takes for text. What begins like a formula would be one, and could send the table's
/// other cells to whoever wrote the text: an apostrophe before it says that it is text. (OWASP, CSV injection;
/// the full-width signs are formulas in East Asian settings.)
fn inert(text: &str) -> Cow<'_, str> {
    let first = text.chars().next();
    if matches!(first, Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(format: Format, events: &[Event]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = EventWriter::new(format, &mut out).unwrap();
        writer.write(events).unwrap();
        writer.flush().unwrap();
        drop(writer);
        out
    }

    fn table(events: &[Event]) -> Vec<Vec<String>> {
        let bytes = written(Format::Csv, events);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_table_has_its_columns_tokens_and_cost_and_ends_lines_as_the_rfc_says() {
        let mut event = Event::from_json(
            r#"{"kind":"llm_call","timestamp":"2026-11-24T12:00:00Z","name":"m, \"1\"","attributes":{"gen_ai.usage.input_tokens":12,"cost_usd":0.25}}"#,
        )
        .unwrap();
        let rows = table(&[event.clone()]);
        assert_eq!(rows[0], COLUMNS);
        assert_eq!((rows[1][11].as_str(), rows[1][12].as_str(), rows[1][15].as_str()), ("m, \"1\"", "12", "0.25"));
        let text = String::from_utf8(written(Format::Csv, &[event.clone()])).unwrap();
        assert!(text.starts_with("trace_id,kind,") && text.ends_with("}\"\r\n"), "{text}");
        assert!(text.contains(r#""m, ""1""""#), "{text}");
        event.kind = Kind::USAGE;
        assert_eq!(table(&[event])[1][12], "");
        assert_eq!(table(&[]).len(), 1);
        let mut rest = Vec::new();
        EventWriter::further(Format::Csv, &mut rest).write(&[Event::new(Kind::LOG)]).unwrap();
        assert_eq!(String::from_utf8(rest).unwrap().matches("\r\n").count(), 1, "no head in the middle");
    }

    #[test]
    fn lines_are_what_the_ingest_takes() {
        let event = Event::from_json(r#"{"kind":"log","name":"=1"}"#).unwrap();
        let line = format!("{}\n", event.to_json());
        assert_eq!(written(Format::Ndjson, &[event]), line.into_bytes());
        assert!(written(Format::Ndjson, &[]).is_empty());
    }

    #[test]
    fn no_text_is_a_formula() {
        for (text, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            let mut event = Event::new(Kind::LOG);
            event.name = Some(text.to_owned());
            assert_eq!(table(&[event])[1][11], expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_a_table(text in any::<String>()) {
            let mut event = Event::new(Kind::LOG);
            event.error = Some(text.clone());
            let cell = table(&[event])[1][5].clone();
            prop_assert_eq!(cell.strip_prefix('\'').filter(|rest| *rest == text).unwrap_or(&cell), text.as_str());
        }
    }
}
