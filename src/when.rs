//! Times as people give them: a moment, or so long ago.

use std::str::FromStr;

use engine::Timestamp;

const NANOS: i64 = 1_000_000_000;

/// A time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(Timestamp);

impl When {
    /// In nanoseconds since 1970.
    pub(crate) fn nanos(self) -> i64 {
        self.0.as_nanos()
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, Timestamp::now()).map(Self)
    }
}

/// Reads RFC 3339, Unix milliseconds, or a time back from `now`: `90s`, `15m`, `6h`, `7d`, `2w`.
fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || {
        "is no time: give one back from now (15m, 6h, 7d), RFC 3339 (2026-11-24T12:00:00Z) or Unix milliseconds"
            .to_owned()
    };
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1_000_000).map(Timestamp::from_nanos).ok_or_else(wrong);
    }
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 7 * 86_400,
        _ => return text.parse().map_err(|_| wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let back = i64::from(count).checked_mul(unit * NANOS);
    back.and_then(|back| now.as_nanos().checked_sub(back)).map(Timestamp::from_nanos).ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("15m", "2026-11-24T11:45:00Z"),
            ("90s", "2026-11-24T11:58:30Z"),
            ("6h", "2026-11-24T06:00:00Z"),
            ("7d", "2026-11-17T12:00:00Z"),
            ("2w", "2026-11-10T12:00:00Z"),
            ("2026-11-24T13:00:00+01:00", "2026-11-24T12:00:00Z"),
            ("1764000000123", "2025-11-24T16:00:00.123Z"),
            ("0s", "2026-11-24T12:00:00Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "m", "-5m", "5x", "yesterday", "1.5h", "99999999999999999999", "4000000000w", "9223372036854775807", "5µ"] {
            assert!(parse(text, now).unwrap_err().contains("15m"), "{text}");
        }
    }
}
