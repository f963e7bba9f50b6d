//! What the owner adds: rules of their own, and what must be left alone.

use engine::Problem;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// A rule of one's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomRule {
    /// What the marker and the metric call it: `[a-z0-9-]{1,40}`, and not the name of a built-in rule.
    pub name: String,
    /// A regular expression (syntax of the Rust crate `regex`). What it matches is replaced; where it
    /// has a group named `secret`, only that group.
    pub pattern: String,
}

/// The most memory that one pattern may take once compiled. A pattern that needs more is refused:
/// the whole program has 20 MB.
const MAX_COMPILED_BYTES: usize = 256 << 10;

pub(super) struct Custom {
    pub(super) name: String,
    regex: Regex,
    has_group: bool,
}

impl Custom {
    pub(super) fn build(rule: &CustomRule, key: &str, taken: &[&str]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let name = &rule.name;
        let fits = (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !fits {
            problems.push(Problem::new(format!("{key}.name"), format!("{name:?} must be 1 to 40 of a-z, 0-9 and '_'")));
        }
        if taken.contains(&name.as_str()) {
            problems.push(Problem::new(
                format!("{key}.name"),
                format!("{name:?} is taken by another rule; choose another"),
            ));
        }
        match compile(&rule.pattern, &format!("{key}.pattern")) {
            Ok(regex) if problems.is_empty() => {
                let has_group = regex.capture_names().flatten().any(|group| group == "secret");
                Ok(Self { name: name.clone(), regex, has_group })
            }
            Ok(_) => Err(problems),
            Err(problem) => {
                problems.push(problem);
                Err(problems)
            }
        }
    }

    /// Reports each match.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(usize, usize)) {
        if self.has_group {
            for captures in self.regex.captures_iter(text) {
                if let Some(group) = captures.name("secret") {
                    found(group.start(), group.end());
                }
            }
        } else {
            self.regex.find_iter(text).for_each(|whole| found(whole.start(), whole.end()));
        }
    }
}

/// What is not redacted although a rule matches.
#[derive(Default)]
pub(super) struct Allow {
    literals: Vec<String>,
    patterns: Vec<Regex>,
}

impl Allow {
    pub(super) fn build(literals: Vec<String>, patterns: &[String]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut compiled = Vec::new();
        for (at, pattern) in patterns.iter().enumerate() {
            match compile(pattern, &format!("allow_patterns[{at}]")) {
                Ok(regex) => compiled.push(regex),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self { literals, patterns: compiled }) } else { Err(problems) }
    }

    pub(super) fn allows(&self, found: &[u8]) -> bool {
        if self.literals.is_empty() && self.patterns.is_empty() {
            return false;
        }
        let Ok(found) = std::str::from_utf8(found) else { return false };
        self.literals.iter().any(|literal| literal == found)
            || self.patterns.iter().any(|pattern| pattern.find(found).is_some_and(|whole| whole.len() == found.len()))
    }
}

fn compile(pattern: &str, key: &str) -> Result<Regex, Problem> {
    let built = RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).dfa_size_limit(MAX_COMPILED_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Problem::new(
            key,
            format!(
                "takes more than {MAX_COMPILED_BYTES} bytes once compiled; use smaller repetitions, \
                 or (?-u) where only ASCII matters"
            ),
        ),
        other => Problem::new(key, format!("is not a regular expression: {}", one_line(&other.to_string()))),
    })
}

/// The crate's message is a drawing of several lines with a caret under the place; this is the same
/// in one line: `unclosed group at character 4`.
fn one_line(drawing: &str) -> String {
    let what = drawing.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(drawing);
    let caret = drawing.lines().find_map(|line| line.find('^').filter(|_| line.trim_matches([' ', '^']).is_empty()));
    match caret {
        // The drawing is indented by four.
        Some(column) => format!("{what} at character {}", column.saturating_sub(3)),
        None => what.to_owned(),
    }
}
