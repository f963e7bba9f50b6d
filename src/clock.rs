//! A clock that cannot be right: a machine that starts without one counts from 1970 until it is told.

use engine::Timestamp;

/// 2020-01-01: no such program was there before.
const EARLIEST: i64 = 1_577_836_800 * 1_000_000_000;

/// What to say of the time, where it cannot be right.
pub(crate) fn doubt(now: Timestamp) -> Option<String> {
    (now.as_nanos() < EARLIEST).then(|| {
        format!(
            "the clock says {now}, which cannot be: set it. Until then events without a time get that one, and \
             certificates of receivers count as not yet valid; what is taken is kept, and pushed once the clock is right"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_2020_is_doubted_and_a_later_one_is_not() {
        let said = doubt(Timestamp::from_nanos(5_000_000_000)).expect("a line");
        assert!(said.starts_with("the clock says 1970-01-01T00:00:05Z, which cannot be: set it."), "{said}");
        assert!(doubt(Timestamp::from_nanos(EARLIEST - 1)).is_some());
        assert!(doubt(Timestamp::from_nanos(EARLIEST)).is_none());
        assert!(doubt(Timestamp::now()).is_none());
    }
}
