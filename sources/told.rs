//! What OpenClaw tells in the text of its log lines: `… runId=2ccec3f4 sessionId=s1 trigger=user`.

/// What stands behind `name` (`runId=`) in a text, where it stands as a word of its own; nothing where the
/// value is empty or none.
pub(crate) fn after(text: &str, name: &str) -> Option<String> {
    let in_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let (at, _) = text.match_indices(name).find(|(at, _)| !text[..*at].ends_with(in_id))?;
    let value = &text[at + name.len()..];
    let value = &value[..value.find(|c| !in_id(c)).unwrap_or(value.len())];
    // The end of a sentence is no part of it.
    let value = value.trim_end_matches(['.', ':']);
    (!matches!(value, "" | "undefined" | "null")).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_a_text_where_it_is_named() {
        let found = |text: &str| after(text, "runId=");
        assert_eq!(found("run failed runId=2ccec3f4-7835 after 3 s").as_deref(), Some("2ccec3f4-7835"));
        assert_eq!(found("(parentRunId=1 xrunId=2, runId=3).").as_deref(), Some("3"));
        assert_eq!(found("orphan. runId=809b-1 sessionId=l9660, trigger=user").as_deref(), Some("809b-1"));
        assert_eq!(after("orphan. runId=809b-1 sessionId=l9660, trigger=user", "sessionId=").as_deref(), Some("l9660"));
        for none in ["no run", "é runId=é", "runId=undefined x", "runId=null", "runId="] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
