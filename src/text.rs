//! Text for people's terminals: hostile text shown as text, numbers as people read them.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use engine::Timestamp;

/// What may be shown of `text` in one line: control characters and what turns the direction of writing are
/// escaped, so that a stored text cannot drive the terminal; at most `most` characters.
pub(crate) fn line(text: &str, most: usize) -> String {
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
pub(crate) fn duration(millis: f64) -> String {
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

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 call`, `12 calls`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `$0.0135`: four places, more where it is less than that.
pub(crate) fn money(dollars: f64) -> String {
    if dollars != 0.0 && dollars.abs() < 0.0001 { format!("${dollars:.6}") } else { format!("${dollars:.4}") }
}

/// `12.3 MiB`.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// `12.3/256.0 MiB`: both in the unit of the whole.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn bytes_of(used: u64, all: u64) -> String {
    let whole = bytes(all);
    let unit = whole.rsplit(' ').next().unwrap_or_default();
    let size = match unit {
        "bytes" => return format!("{used}/{whole}"),
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => 1024.0 * 1024.0 * 1024.0 * 1024.0,
    };
    format!("{:.1}/{whole}", used as f64 / size)
}

/// `12`, `12.3k`, `4.5M`: a number where there is little room.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn short(number: u64) -> String {
    match number {
        0..10_000 => count(number),
        10_000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
        _ => format!("{:.1}G", number as f64 / 1e9),
    }
}

/// `3 s ago`, `5 m ago`, `2 d ago`; what is to come is now.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_nanos().saturating_sub(at.as_nanos()).max(0) / 1_000_000_000;
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} m ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// `2026-11-24 18:50:08` in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// How things are marked in a terminal; nothing where there is none, or `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// For standard output.
    pub(crate) fn of_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: std::io::stdout().is_terminal() && !unwanted }
    }

    /// No marks at all.
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    fn mark(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.mark("1", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.mark("2", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
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
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [5.0, 999.0, 1500.0, 65_000.0, 7_260_000.0].map(duration),
            ["5 ms", "999 ms", "1.5 s", "1 m 05 s", "2 h 01 m"]
        );
        assert_eq!([0, 1023, 1536, 256 << 20].map(bytes), ["0 bytes", "1023 bytes", "1.5 KiB", "256.0 MiB"]);
        assert_eq!(
            [(5, 10), (1 << 20, 256 << 20)].map(|(used, all)| bytes_of(used, all)),
            ["5/10 bytes", "1.0/256.0 MiB"]
        );
        assert_eq!([9_999, 12_345, 4_500_000].map(short), ["9,999", "12.3k", "4.5M"]);
        let second = |second: i64| Timestamp::from_nanos(second * 1_000_000_000);
        assert_eq!(
            [100, 99, 40, -500, -200_000].map(|at| ago(second(at), second(100))),
            ["now", "1 s ago", "1 m ago", "10 m ago", "2 d ago"]
        );
        assert_eq!([0.0, 0.0135, 0.000_012].map(money), ["$0.0000", "$0.0135", "$0.000012"]);
    }
}
