//! What a server can do, by its version.
//!
//! Two dialects, and each is tested against a real server: `Modern`, from 22.3 on, the oldest release that has all that is
//! used here; and `Old` for everything before, which is what 18.16 (Debian's) takes. One row of an event is the same
//! bytes in both, so that nothing about a batch depends on who takes it.

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Nanoseconds, codecs, TTL, `ON CLUSTER`, tokens for deduplication.
    Modern,
    /// Plain types, whole seconds, no TTL; blocks are recognised by their bytes alone.
    Old,
}

impl Dialect {
    /// The dialect of a server that answers this to `SELECT version()`; `None` where it is no version, so no ClickHouse.
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut parts = version.trim().split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(if (major, minor) >= (22, 3) { Self::Modern } else { Self::Old })
    }

    /// Settings of every insert, as parts of a query string. What a user's profile says must not weaken what an answer
    /// means: an insert that is only queued is not kept, and a repeat must be recognised.
    pub(super) fn insert_settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Modern => &[
                ("wait_end_of_query", "1"),
                ("insert_deduplicate", "1"),
                ("async_insert", "0"),
                ("insert_distributed_sync", "1"),
                ("input_format_parallel_parsing", "0"),
                ("input_format_skip_unknown_fields", "0"),
            ],
            Self::Old => &[("wait_end_of_query", "1"), ("insert_deduplicate", "1"), ("insert_distributed_sync", "1")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_says_the_dialect_and_what_is_no_version_says_none() {
        for (version, dialect) in [
            ("18.16.1\n", Some(Dialect::Old)),
            ("22.2.3.5", Some(Dialect::Old)),
            ("22.3.2.1", Some(Dialect::Modern)),
            ("26.9.2.1", Some(Dialect::Modern)),
            ("25.8.1.3994.altinitystable", Some(Dialect::Modern)),
            ("<html>", None),
            ("", None),
            ("Ok.", None),
        ] {
            assert_eq!(Dialect::of(version), dialect, "{version}");
        }
    }
}
