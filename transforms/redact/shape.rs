//! What a secret looks like, in one line: a small language, and its matcher.
//!
//! `ghp_{a:36..}` is the literal `ghp_` and then 36 or more letters or digits. A class in braces is a
//! letter, and how many: `{d:4}`, `{w:20..40}`, `{w:20..}`.
//!
//! | class | bytes | class | bytes |
//! |---|---|---|---|
//! | `d` | digits | `x` | hex digits |
//! | `a` | letters, digits | `w` | `a`, `_`, `-` |
//! | `u` | capitals, digits | `b` | `a`, `+`, `/` |
//! | `l` | small letters, digits | `q` | `w`, `=`, `.`, `~` |
//! | `s` | `b`, `_`, `-`, `%`, `=`, `.`: anything a token can hold | | |
//!
//! Matching is greedy and never goes back, so a failed attempt costs at most the length of the
//! shape: this is why there are no regular expressions among the built-in rules. They would cost
//! megabytes once compiled, and seconds on a text made to be slow.
//!
//! A shape is tried where its longest literal, the *anchor*, was found: what stands before the anchor
//! is matched backwards.

/// A parsed shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    before: Vec<Part>,
    anchor: &'static str,
    after: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(&'static str),
    Run { class: u8, min: usize, max: usize },
}

impl Shape {
    /// Reads a shape. They are constants of the tables beside this file, and a test reads them all;
    /// `None` is a mistake in one of them.
    pub(super) fn parse(text: &'static str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('{') {
                let (run, after) = inside.split_once('}')?;
                let (class, count) = run.split_once(':')?;
                let (min, max) = match count.split_once("..") {
                    None => (count.parse().ok()?, count.parse().ok()?),
                    Some((min, "")) => (min.parse().ok()?, usize::MAX),
                    Some((min, max)) => (min.parse().ok()?, max.parse().ok()?),
                };
                let class = *class.as_bytes().first().filter(|c| b"daulxwbqs".contains(c))?;
                parts.push(Part::Run { class, min, max });
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                parts.push(Part::Literal(&rest[..end]));
                rest = &rest[end..];
            }
        }
        let anchor = parts
            .iter()
            .enumerate()
            .filter_map(|(at, part)| if let Part::Literal(text) = part { Some((text.len(), at)) } else { None })
            .max();
        let Some((_, at)) = anchor else {
            // Without a literal there is nothing to search for; used after an assignment only.
            return Some(Self { before: Vec::new(), anchor: "", after: parts });
        };
        let Part::Literal(anchor) = parts[at] else { return None };
        let after = parts.split_off(at + 1);
        parts.pop();
        Some(Self { before: parts, anchor, after })
    }

    /// The literal to search for.
    pub(super) fn anchor(&self) -> &'static str {
        self.anchor
    }

    /// Where the shape lies if its anchor was found at `at` (in letters of either case). A run
    /// without an upper bound is followed for a while only; [`Shape::extend`] gives its end.
    pub(super) fn match_anchor(&self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        if !text[at..].starts_with(self.anchor.as_bytes()) {
            return None;
        }
        let mut start = at;
        for part in self.before.iter().rev() {
            start = match part {
                Part::Literal(literal) => text[..start].ends_with(literal.as_bytes()).then(|| start - literal.len())?,
                Part::Run { class, min, max } => {
                    let run = text[..start].iter().rev().take(*max).take_while(|b| is_in(*class, **b)).count();
                    (run >= *min).then(|| start - run)?
                }
            };
        }
        let end = self.match_rest(text, at + self.anchor.len())?;
        Some((start, end))
    }

    /// Where the shape ends if it starts at `at`.
    pub(super) fn match_at(&self, text: &[u8], at: usize) -> Option<usize> {
        let mut end = at;
        for part in &self.before {
            end = part.match_at(text, end)?;
        }
        if !text[end..].starts_with(self.anchor.as_bytes()) {
            return None;
        }
        self.match_rest(text, end + self.anchor.len())
    }

    /// The end of the open run that ends a match at `end`.
    pub(super) fn extend(&self, text: &[u8], end: usize) -> usize {
        match self.after.last() {
            Some(Part::Run { class, max: usize::MAX, .. }) => {
                end + text[end..].iter().take_while(|b| is_in(*class, **b)).count()
            }
            _ => end,
        }
    }

    fn match_rest(&self, text: &[u8], at: usize) -> Option<usize> {
        let mut end = at;
        for part in &self.after {
            end = part.match_at(text, end)?;
        }
        // A token of a fixed length inside a longer word is another thing.
        if let Some(Part::Run { class, max, .. }) = self.after.last()
            && *max != usize::MAX
            && text.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || (b"_-".contains(b) && is_in(*class, *b)))
        {
            return None;
        }
        Some(end)
    }

    /// A text of this shape, for tests: secrets are made when a test runs, so none stands in the
    /// repository.
    #[cfg(test)]
    pub(super) fn generate(&self, rng: &mut impl rand::Rng) -> String {
        let mut out = String::new();
        for part in self.before.iter().chain([&Part::Literal(self.anchor)]).chain(&self.after) {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Run { class, min, max } => {
                    let longest = if *max == usize::MAX { min + 8 } else { *max };
                    let bytes: Vec<u8> = (0u8..128).filter(|b| is_in(*class, *b) && !b"=.%~".contains(b)).collect();
                    for _ in 0..rng.random_range(*min..=longest) {
                        out.push(char::from(bytes[rng.random_range(0..bytes.len())]));
                    }
                }
            }
        }
        out
    }
}

impl Part {
    fn match_at(&self, text: &[u8], at: usize) -> Option<usize> {
        match self {
            Self::Literal(literal) => text[at..].starts_with(literal.as_bytes()).then_some(at + literal.len()),
            Self::Run { class, min, max } => {
                // Enough to judge by; without this, a text made of nothing but anchors would have
                // its whole length followed from each.
                let most = if *max == usize::MAX { (*min).max(128) } else { *max };
                let run = text[at..].iter().take(most).take_while(|b| is_in(*class, **b)).count();
                (run >= *min).then_some(at + run)
            }
        }
    }
}

fn is_in(class: u8, b: u8) -> bool {
    match class {
        b'd' => b.is_ascii_digit(),
        b'x' => b.is_ascii_hexdigit(),
        b'u' => b.is_ascii_digit() || b.is_ascii_uppercase(),
        b'l' => b.is_ascii_digit() || b.is_ascii_lowercase(),
        b'a' => b.is_ascii_alphanumeric(),
        b'w' => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'),
        b'b' => b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'),
        b'q' => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'=' | b'.' | b'~'),
        _ => b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'_' | b'-' | b'%' | b'=' | b'.'),
    }
}

/// Shannon entropy of the bytes, in bits a byte: 0 for one byte repeated, 4 for random hex, near 6
/// for random base64 of some length.
pub(super) fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for b in text {
        counts[usize::from(*b)] += 1;
    }
    #[allow(clippy::cast_precision_loss)]
    let length = text.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_matches_around_its_anchor() {
        let shape = Shape::parse("{d:5..9}:AA{w:4}").unwrap();
        assert_eq!(shape.anchor(), ":AA");
        let text = b"bot1234567:AAb_-9 ";
        assert_eq!(shape.match_anchor(text, 10), Some((3, 17)));
        assert_eq!(shape.match_anchor(b"bot12:AAb_-9", 5), None);
        assert_eq!(shape.match_anchor(b"12345:AAb_-9x", 5), None);
    }

    #[test]
    fn entropy_tells_words_from_noise() {
        assert!(entropy(b"aaaaaaaaaaaa") < 0.1);
        assert!(entropy(b"0f1e2d3c4b5a69788796a5b4c3d2e1f0") > 3.5);
    }
}
