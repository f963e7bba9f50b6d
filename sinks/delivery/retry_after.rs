//! The `Retry-After` header (RFC 9110, 10.2.3): whole seconds, or a date in one of HTTP's three forms.

use std::time::{Duration, SystemTime};

/// A receiver may not silence the push for longer than this: the header is then a mistake.
pub(super) const MAX: Duration = Duration::from_secs(3600);

/// How long the receiver asks to be left alone, at most [`MAX`]; `None` when it cannot be read.
/// A date that is past reads as no wait.
pub(super) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than u64 holds is still a wish to be left alone for long.
        return Some(value.parse().map_or(MAX, Duration::from_secs).min(MAX));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default().min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str, now: u64) -> Option<u64> {
        parse(text, SystemTime::UNIX_EPOCH + Duration::from_secs(now)).map(|wait| wait.as_secs())
    }

    #[test]
    fn reads_seconds_and_all_three_forms_of_a_date() {
        assert_eq!(at("120", 0), Some(120));
        assert_eq!(at(" 7 ", 0), Some(7));
        // 1994-11-06T08:49:37Z is 784111777.
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_747), Some(30));
        assert_eq!(at("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_747), Some(30));
        assert_eq!(at("Sun Nov  6 08:49:37 1994", 784_111_747), Some(30));
    }

    #[test]
    fn a_past_date_is_no_wait_and_a_long_wait_is_cut() {
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT", 1_800_000_000), Some(0));
        assert_eq!(at("86400", 0), Some(3600));
        assert_eq!(at("99999999999999999999999999", 0), Some(3600));
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT", 0), Some(3600));
    }

    #[test]
    fn what_is_neither_reads_as_nothing() {
        for text in ["", "soon", "-5", "1.5", "+3", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(at(text, 0), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_within_bounds_or_not_at_all(text in any::<String>(), now in 0u64..4_000_000_000) {
            if let Some(wait) = parse(&text, SystemTime::UNIX_EPOCH + Duration::from_secs(now)) {
                prop_assert!(wait <= MAX);
            }
        }

        #[test]
        fn any_date_that_is_formatted_is_read(seconds in 0u64..3600) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            let text = httpdate::fmt_http_date(now + Duration::from_secs(seconds));
            prop_assert_eq!(parse(&text, now), Some(Duration::from_secs(seconds)));
        }
    }
}
