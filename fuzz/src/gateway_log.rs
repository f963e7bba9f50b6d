//! The lines of OpenClaw's own log.

#[path = "../../sources/gateway_log/event.rs"]
mod event;
#[path = "../../sources/gateway_log/level.rs"]
mod level;
#[path = "../../sources/gateway_log/lines.rs"]
mod lines;
#[path = "../../sources/gateway_log/name.rs"]
mod name;
#[path = "../../sources/gateway_log/position.rs"]
mod position;
#[path = "../../sources/gateway_log/record.rs"]
mod record;

use event::{Place, Taken};
use level::Level;
use lines::LineBuffer;
use record::Record;

/// Lines of a file, of which long ones are cut; its first line is also tried as a file's name, a
/// pattern and a stored position.
pub fn gateway_log(data: &[u8]) {
    let (choice, data) = crate::choice(data);
    let max = 64 << (choice % 8);
    let taken = Taken {
        levels: vec![Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal],
        subsystems: vec!["gateway".to_owned()],
        agent_id: None,
    };
    let mut buffer = LineBuffer::new(max);
    let mut offset = 0;
    for line in data.split(|byte| *byte == b'\n') {
        line.chunks(1 + usize::from(choice >> 3)).for_each(|piece| buffer.push(piece));
        let kept = buffer.line();
        assert_eq!(kept.len, line.len() as u64);
        assert!(line.ends_with(kept.bytes) && (kept.is_cut() || kept.bytes == line));
        if let Some(record) = Record::read(kept) {
            let beginning = position::Beginning::of(data, true);
            let place = Place { file: "openclaw-2026-11-25.log", beginning: beginning.as_ref(), offset };
            let event = taken.event(place, kept, &record);
            assert!(event.attributes.is_some(), "the line's fields are no JSON: {record:?}");
            crate::assert_round_trip(&event);
            assert_eq!(taken.event(place, kept, &record).trace_id, event.trace_id);
            let _ = taken.takes(&record);
        }
        buffer.clear();
        offset += line.len() as u64 + 1;
    }
    let first = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(first) {
        if let Ok(pattern) = name::Pattern::parse(text) {
            // What is of a family was written under a name of that family.
            // A date behind the last dot is not seen as one, so it says nothing here.
            let stem = text.rfind('.').filter(|at| *at > 0).map_or(text, |dot| &text[..dot]);
            let date = if stem.contains("YYYY-MM-DD") { "2026-11-25" } else { "" };
            let written = pattern.written_as(date);
            assert!(pattern.part(&written).is_some(), "{text:?} writes {written:?} and does not know it");
        }
        if let Ok(pattern) = name::Pattern::parse("openclaw-YYYY-MM-DD.log") {
            let _ = pattern.part(text);
        }
        if let Some(position) = position::Position::from_text(text) {
            assert_eq!(position::Position::from_text(&position.to_text()), Some(position));
        }
    }
}
