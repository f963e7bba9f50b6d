//! Searching one text.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::decode::decode;
use super::mark;
use super::patterns::{PATTERNS, Pattern};
use super::prefixes::PREFIXES;

/// A place in a text, and the rule that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: String,
}

/// The names of all built-in rules.
pub(super) fn rule_names() -> Vec<&'static str> {
    let mut names: Vec<_> = PREFIXES.iter().map(|rule| rule.0).chain(PATTERNS.iter().map(|rule| rule.name)).collect();
    names.dedup();
    names
}

/// Values that stand for a secret without being one.
pub(super) fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let first = lower.as_bytes().first().copied().unwrap_or(b' ');
    lower.bytes().all(|byte| byte == first)
        || ["$", "<", "{{", "%", "[redacted", "process.env", "os.environ", "env."]
            .iter()
            .any(|start| lower.starts_with(start))
        || ["null", "none", "undefined", "true", "false", "changeme", "example", "redacted", "secret", "password"]
            .contains(&lower.as_str())
        || lower.starts_with("your") && lower.contains(['-', '_'])
}

/// Bits of Shannon entropy per character.
#[allow(clippy::cast_precision_loss)]
pub(super) fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let total = text.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total).map(|p| -p * p.log2()).sum()
}

/// Whether an object's key says that its value is a secret. Counts of tokens are none: they are
/// numbers, and their keys end in "tokens".
pub(super) fn names_a_secret(key: &str) -> bool {
    const ENDS: [&str; 22] = [
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "apikey",
        "authorization",
        "cookie",
        "privatekey",
        "accesskey",
        "secretkey",
        "accountkey",
        "signingkey",
        "encryptionkey",
        "credential",
        "credentials",
        "clientsecret",
        "authtoken",
        "connectionstring",
        "webhookurl",
        "sessionkeysecret",
    ];
    // Long texts used as keys are texts, and searched as such.
    key.len() <= 64 && {
        let plain: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        ENDS.iter().any(|end| plain.ends_with(end))
    }
}

pub(super) struct Scanner {
    /// Finds prefixes; the pattern's number leads to the rule.
    prefixes: AhoCorasick,
    prefix_rules: Vec<(usize, usize)>,
    /// Finds the words of patterns.
    words: AhoCorasick,
    word_patterns: Vec<usize>,
    patterns: Vec<(&'static Pattern, OnceLock<Option<Regex>>)>,
    allow: Vec<Regex>,
    own: Vec<(String, Regex)>,
}

impl Scanner {
    pub(super) fn new(disable: &[String], ip: bool, allow: Vec<Regex>, own: Vec<(String, Regex)>) -> Self {
        let wanted = |name: &str| !disable.iter().any(|unwanted| unwanted == name);
        let (mut starts, mut prefix_rules) = (Vec::new(), Vec::new());
        for (rule, (name, prefixes, _, _)) in PREFIXES.iter().enumerate().filter(|(_, rule)| wanted(rule.0)) {
            let _ = name;
            for prefix in *prefixes {
                starts.push(*prefix);
                prefix_rules.push((rule, prefix.len()));
            }
        }
        let patterns: Vec<_> = PATTERNS
            .iter()
            .filter(|pattern| wanted(pattern.name) && (ip || !pattern.optional))
            .map(|pattern| (pattern, OnceLock::new()))
            .collect();
        let (mut words, mut word_patterns) = (Vec::new(), Vec::new());
        for (at, (pattern, _)) in patterns.iter().enumerate() {
            for word in pattern.words.iter().filter(|word| word.len() > 1) {
                words.push(*word);
                word_patterns.push(at);
            }
        }
        Self {
            prefixes: automaton(&starts, false, MatchKind::LeftmostLongest),
            prefix_rules,
            words: automaton(&words, true, MatchKind::Standard),
            word_patterns,
            patterns,
            allow,
            own,
        }
    }

    /// All that is to be replaced, in order, without overlaps.
    pub(super) fn find(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        self.search(text, &mut found);
        if let Some(decoded) = decode(text) {
            let before = found.len();
            self.search(&decoded.text, &mut found);
            for finding in &mut found[before..] {
                finding.start = decoded.from[finding.start];
                finding.end = decoded.from[finding.end];
            }
        }
        if !found.is_empty() {
            self.settle(text, &mut found);
        }
        found
    }

    fn search(&self, text: &str, found: &mut Vec<Finding>) {
        self.search_prefixes(text, found);
        let mut wanted = vec![false; self.patterns.len()];
        let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
        for word in self.words.find_overlapping_iter(text) {
            wanted[self.word_patterns[word.pattern().as_usize()]] = true;
        }
        for (at, (pattern, _)) in self.patterns.iter().enumerate() {
            let by_digit =
                pattern.words.is_empty() || pattern.words[0].len() == 1 && text.len() >= 50 && text.contains('.');
            wanted[at] |= by_digit && has_digit && pattern.words.first() != Some(&"@")
                || pattern.words.first() == Some(&"@") && text.contains('@');
        }
        for ((pattern, compiled), _) in self.patterns.iter().zip(&wanted).filter(|(_, wanted)| **wanted) {
            let regex = compiled.get_or_init(|| Regex::new(pattern.pattern).ok());
            let Some(regex) = regex else { continue };
            each(regex, text, |start, end| {
                if (pattern.check)(&text[start..end]) {
                    found.push(Finding { start, end, rule: pattern.name.to_owned() });
                }
            });
        }
        for (name, regex) in &self.own {
            each(regex, text, |start, end| found.push(Finding { start, end, rule: name.clone() }));
        }
    }

    fn search_prefixes(&self, text: &str, found: &mut Vec<Finding>) {
        let bytes = text.as_bytes();
        for start in self.prefixes.find_iter(text) {
            let (rule, length) = self.prefix_rules[start.pattern().as_usize()];
            let (name, _, set, least) = PREFIXES[rule];
            let inside_word = start.start() > 0 && bytes[start.start() - 1].is_ascii_alphanumeric();
            if inside_word {
                continue;
            }
            let body = start.start() + length;
            let count = bytes[body..].iter().take_while(|byte| set.has(**byte)).count();
            let secret = &text[body..body + count];
            let secret = secret.trim_end_matches(['.', ',', '=', '-']);
            if secret.len() >= least && entropy(secret) >= 2.5 {
                // `=` at the end belongs to base64, and did not count only against the length.
                found.push(Finding { start: start.start(), end: body + secret.len(), rule: name.to_owned() });
            }
        }
    }

    /// Sorts, joins what overlaps, leaves out what is allowed and what is a mark already.
    fn settle(&self, text: &str, found: &mut Vec<Finding>) {
        let marks: Vec<(usize, usize)> = text
            .match_indices(mark::START)
            .map(|(start, _)| (start, text[start..].find(']').map_or(text.len(), |end| start + end + 1)))
            .collect();
        found.retain(|finding| {
            let secret = &text[finding.start..finding.end];
            !marks.iter().any(|(start, end)| finding.start < *end && *start < finding.end)
                && !self.allow.iter().any(|allow| allow.is_match(secret))
        });
        // The earlier wins; of two that begin together, the longer, since it says more.
        found.sort_by_key(|finding| (finding.start, usize::MAX - finding.end));
        let mut settled: Vec<Finding> = Vec::with_capacity(found.len());
        for finding in found.drain(..) {
            match settled.last_mut() {
                Some(last) if finding.start < last.end => last.end = last.end.max(finding.end),
                _ => settled.push(finding),
            }
        }
        *found = settled;
    }
}

fn each(regex: &Regex, text: &str, mut take: impl FnMut(usize, usize)) {
    for captures in regex.captures_iter(text) {
        if let Some(secret) = captures.get(1).or_else(|| captures.get(0))
            && !secret.is_empty()
        {
            take(secret.start(), secret.end());
        }
    }
}

fn automaton(words: &[&str], ignore_case: bool, kind: MatchKind) -> AhoCorasick {
    AhoCorasick::builder()
        .ascii_case_insensitive(ignore_case)
        .match_kind(kind)
        .build(words)
        // Built from tables of this crate, which every test builds.
        .unwrap_or_else(|error| panic!("the built-in rules: {error}"))
}
