//! Text for people's terminals: hostile text shown as text, numbers and times as people read them.

use std::fmt::Write as _;
use std::io::IsTerminal;

use engine::Timestamp;

/// What may be shown of `text` in one line: control characters and what turns the direction of writing are
/// escaped, so that a stored text cannot drive the terminal; at most `most` characters.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || is_direction(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Bidirectional controls, with which a text can be shown as another.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// `850 ms`, `12.3 s`, `4 m 05 s`.
#[must_use]
pub fn duration(millis: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = (millis / 1000.0) as u64;
    if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else if seconds < 60 {
        format!("{:.1} s", millis / 1000.0)
    } else if seconds < 3600 {
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60)
    }
}

/// `$0.0135`: four places, more where it is less than that.
#[must_use]
pub fn money(dollars: f64) -> String {
    if dollars != 0.0 && dollars.abs() < 0.0001 { format!("${dollars:.6}") } else { format!("${dollars:.4}") }
}

/// `2026-11-24 18:50:08` in UTC.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// How things are marked in a terminal; nothing where there is none, or `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    on: bool,
}

impl Style {
    /// For standard output.
    #[must_use]
    pub fn of_output() -> Self {
        Self::of(&std::io::stdout())
    }

    /// For a stream that may be a terminal.
    #[must_use]
    pub fn of(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: stream.is_terminal() && !unwanted }
    }

    /// No marks at all.
    #[must_use]
    pub fn plain() -> Self {
        Self { on: false }
    }

    fn mark(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What matters most.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.mark("1", text)
    }

    /// What matters least.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.mark("2", text)
    }

    /// What went wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.mark("31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_text_cannot_drive_the_terminal() {
        assert_eq!(line("a\x1b[31mred\x07\nb\u{202e}c", 100), "a\\u{1b}[31mred\\u{7} b\\u{202e}c");
        assert_eq!(line("äöü", 2), "äö…");
    }

    #[test]
    fn times_and_money_read_as_people_write_them() {
        assert_eq!(
            [5.0, 999.0, 1500.0, 65_000.0, 7_260_000.0].map(duration),
            ["5 ms", "999 ms", "1.5 s", "1 m 05 s", "2 h 01 m"]
        );
        assert_eq!([0.0, 0.0135, 0.000_012].map(money), ["$0.0000", "$0.0135", "$0.000012"]);
    }
}
