//! Seeing through escapes: `\u0073`, `\/`, `%3D`, at any depth of backslashes.

/// A text with its escapes undone, and for each of its bytes the place that it came from.
pub(super) struct Decoded {
    pub(super) text: String,
    /// For byte `i` of `text`: where its source begins; one more entry for the end.
    pub(super) from: Vec<usize>,
}

/// `None` where there is nothing to undo.
pub(super) fn decode(text: &str) -> Option<Decoded> {
    if !text.contains(['\\', '%']) {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = Decoded { text: String::with_capacity(text.len()), from: Vec::with_capacity(text.len() + 1) };
    let (mut at, mut changed) = (0, false);
    while at < text.len() {
        let (c, end) = match bytes[at] {
            b'\\' => escape(text, at),
            b'%' => percent(bytes, at),
            _ => None,
        }
        .inspect(|_| changed = true)
        .unwrap_or_else(|| {
            let c = text[at..].chars().next().unwrap_or('\u{fffd}');
            (c, at + c.len_utf8())
        });
        out.text.push(c);
        out.from.resize(out.text.len(), at);
        at = end;
    }
    out.from.push(text.len());
    changed.then_some(out)
}

fn escape(text: &str, at: usize) -> Option<(char, usize)> {
    let after = at + text[at..].bytes().take_while(|byte| *byte == b'\\').count();
    match text.as_bytes().get(after)? {
        b'u' => {
            let code = u32::from_str_radix(text.get(after + 1..after + 5)?, 16).ok()?;
            Some((char::from_u32(code)?, after + 5))
        }
        b'/' => Some(('/', after + 1)),
        b'"' => Some(('"', after + 1)),
        b'n' | b'r' => Some(('\n', after + 1)),
        b't' => Some(('\t', after + 1)),
        _ => None,
    }
}

fn percent(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let code = hex(bytes.get(at + 1)?)? * 16 + hex(bytes.get(at + 2)?)?;
    // Beyond ASCII it is a part of a character; nothing that is searched for has those.
    (code < 0x80).then(|| char::from_u32(code).map(|c| (c, at + 3))).flatten()
}
