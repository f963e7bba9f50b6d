//! An event as a person reads it in one line: for `tail`, `show` and the sink `console`.

use std::fmt::Write as _;

use engine::{Event, Kind, Status};

use crate::text::{self, Style};
use crate::told::Told;

/// An event in one line, with at most `most` characters of each text.
#[must_use]
pub fn describe(event: &Event, most: usize, style: Style) -> String {
    let told = Told::by(event);
    let mut line = style.bold(event.kind.as_str());
    let name = event.name.as_deref().or(told.span_name.as_deref()).filter(|name| *name != event.kind.as_str());
    if let Some(name) = name {
        let _ = write!(line, " {}", text::line(name, 60));
    }
    if let Some(millis) = event.duration_ms {
        let _ = write!(line, "  {}", style.faint(&text::duration(millis)));
    }
    if event.kind == Kind::LLM_CALL
        && let (Some(input), Some(output)) = (told.input, told.output)
    {
        let _ = write!(line, "  {input:.0} → {output:.0} tokens");
        match (told.cost_usd, told.source.as_deref()) {
            (Some(cost), _) => drop(write!(line, "  {}", text::money(cost))),
            (None, Some("unpriced")) => line.push_str("  no price"),
            _ => {}
        }
    }
    if event.status == Some(Status::Error) {
        let why = event.error.as_deref().unwrap_or("error");
        let _ = write!(line, "  {}", style.bad(&text::line(why, most)));
    }
    let is_body = event.kind == Kind::TOOL_CALL || event.kind == Kind::LLM_CALL || event.kind == Kind::LOG;
    if is_body || event.kind.as_str() == "message" {
        let bodies =
            [&event.input, &event.output].map(|body| body.as_ref().map(|json| text::line(json.as_str(), most)));
        match bodies {
            // A model's input is its whole history.
            [_, Some(output)] if event.kind == Kind::LLM_CALL => drop(write!(line, "  {}", style.faint(&output))),
            [Some(input), Some(output)] => drop(write!(line, "  {} → {}", style.faint(&input), style.faint(&output))),
            [Some(one), None] | [None, Some(one)] => drop(write!(line, "  {}", style.faint(&one))),
            _ => {}
        }
    }
    line
}
