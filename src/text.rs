//! Text for people's terminals: numbers as people read them. How a text and a time are shown stands with the sinks,
//! one of which shows events too.

use engine::Timestamp;
pub(crate) use sinks::text::{Style, duration, line, moment, money};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
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
    }
}
