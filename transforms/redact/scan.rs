//! The scanner: finds all that the rules know in one text, and replaces it.
//!
//! One automaton (Aho-Corasick) looks for the literals of all rules at once: anchors of tokens, names
//! of vendors, names of secrets, triggers of structures. Only where one is found does a rule look
//! closer, at a bounded stretch of text. A second walk finds what has no literal (`personal`). Texts
//! with escapes are decoded and scanned again (`decode`).
//!
//! Two findings that overlap become one, which bears the name of the more specific rule. Then the
//! result is scanned again, until nothing more is found: what stood beside a secret may have been
//! hidden by it. So redacting what was redacted changes nothing.

use std::borrow::Cow;
use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::assign;
use super::custom::{Allow, Custom};
use super::decode::{OVERLAP, PIECE, decode};
use super::ids::{Mark, Marker};
use super::keys::{self, Hint};
use super::named::{self, Verdict};
use super::personal::{self, Kind};
use super::rules::{self, TOKENS, VENDORS};
use super::shape::{Shape, entropy};
use super::structure::{FINDERS, Finder, has_digit};

/// Place of a rule in the scanner's list. Smaller is more specific.
pub(super) type RuleId = usize;

/// Levels of escapes that are undone.
const MAX_LEVELS: usize = 3;
/// Rounds of scanning the result. Two are the rule; more only where findings hid others. A text that gives up
/// more after so many goes as a whole.
const MAX_ROUNDS: usize = 8;
/// A text with more findings than this is a list of them, and goes as a whole: the markers could
/// be many times larger than what they replace.
const MAX_FINDINGS: usize = 4096;

/// Literals of names that [`keys::hint`] can say something of.
const NAME_PARTS: [&str; 17] = [
    "pass", "pwd", "pw", "secret", "token", "key", "auth", "cred", "cookie", "phone", "mobile", "msisdn", "e164",
    "whatsapp", "bearer", "dsn", "cvv",
];

/// How a text is scanned and what the markers show.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// Show so many bytes of the keyed hash.
    pub(super) mark_bytes: usize,
    /// A bare number is a telephone number.
    pub(super) numbers_are_phones: bool,
}

/// All rules, ready to be applied.
pub(super) struct Scanner {
    automaton: AhoCorasick,
    /// By pattern of the automaton.
    actions: Vec<Vec<Action>>,
    /// Names, in the order of [`RuleId`].
    names: Vec<String>,
    on: Vec<bool>,
    named: RuleId,
    bulk: RuleId,
    personal: [RuleId; 6],
    custom: Vec<(RuleId, Custom)>,
    allow: Allow,
    marker: Marker,
}

enum Action {
    Token {
        rule: RuleId,
        shape: Shape,
        noisy: bool,
    },
    Vendor {
        rule: RuleId,
        shape: Shape,
        client: bool,
    },
    Named,
    /// `finder` numbers the finders, for what was seen already.
    Find {
        rule: RuleId,
        find: Finder,
        finder: usize,
    },
}

#[derive(Debug, Clone, Copy)]
struct Finding {
    start: usize,
    end: usize,
    rule: RuleId,
    mark: Mark,
}

impl Scanner {
    /// The scanner with the rules that `is_on` names.
    pub(super) fn new(
        is_on: impl Fn(&str) -> bool,
        custom: Vec<Custom>,
        allow: Allow,
        marker: Marker,
    ) -> Result<Self, aho_corasick::BuildError> {
        let mut names: Vec<String> = rules::names().into_iter().map(str::to_owned).collect();
        names.push("bulk".into());
        let id = |name: &str| names.iter().position(|known| known == name).unwrap_or(names.len() - 1);
        let mut patterns = Patterns::default();
        for rule in TOKENS.iter().filter(|rule| is_on(rule.name)) {
            for shape in rule.shapes.iter().filter_map(|shape| Shape::parse(shape)) {
                let anchor = shape.anchor();
                patterns.add(anchor, Action::Token { rule: id(rule.name), shape, noisy: rule.noisy });
            }
        }
        for rule in VENDORS.iter().filter(|rule| is_on(rule.name)) {
            for word in rule.words {
                for text in rule.shapes {
                    let client = text.strip_prefix("client:");
                    let Some(shape) = Shape::parse(client.unwrap_or(text)) else { continue };
                    patterns.add(word, Action::Vendor { rule: id(rule.name), shape, client: client.is_some() });
                }
            }
        }
        for (finder, (name, triggers, find)) in FINDERS.iter().enumerate().filter(|(_, (name, ..))| is_on(name)) {
            for trigger in *triggers {
                patterns.add(trigger, Action::Find { rule: id(name), find: *find, finder });
            }
        }
        for part in NAME_PARTS {
            patterns.add(part, Action::Named);
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&patterns.literals)?;
        let personal = ["email", "card", "iban", "phone", "ip", "discord_bot_token"].map(id);
        let (named, bulk) = (id("named_secret"), id("bulk"));
        let mut on: Vec<bool> = names.iter().map(|name| is_on(name)).collect();
        on[bulk] = true;
        let first_custom = names.len();
        names.extend(custom.iter().map(|rule| rule.name.clone()));
        on.resize(names.len(), true);
        let custom = custom.into_iter().enumerate().map(|(at, rule)| (first_custom + at, rule)).collect();
        Ok(Self { automaton, actions: patterns.actions, names, on, named, bulk, personal, custom, allow, marker })
    }

    /// The name of a rule.
    pub(super) fn name(&self, rule: RuleId) -> &str {
        &self.names[rule]
    }

    /// The text without its secrets, or `None` when it has none. `count` hears of each.
    pub(super) fn scrub(&self, text: &str, how: How, count: &mut dyn FnMut(RuleId)) -> Option<String> {
        let mut now: Option<String> = None;
        for _ in 0..MAX_ROUNDS {
            let current = now.as_deref().unwrap_or(text);
            let Some(next) = self.scrub_once(current, how, count) else { return now };
            now = Some(next);
        }
        count(self.bulk);
        Some(self.bulk_marker(text, how))
    }

    /// A marker that stands for a whole text.
    pub(super) fn bulk_marker(&self, text: &str, how: How) -> String {
        let mut out = String::new();
        self.push_marker(&mut out, self.bulk, self.marker.mark(text.as_bytes()), how);
        out
    }

    /// The text without the markers of this scanner, each of which leaves a space.
    pub(super) fn without_markers<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let markers = if text.contains(MARKER) { self.markers(text) } else { Vec::new() };
        if markers.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for (start, end) in markers {
            out.push_str(&text[copied..start]);
            out.push(' ');
            copied = end;
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    }

    /// The marker that replaces a whole text under a telling name.
    pub(super) fn whole(&self, verdict: Verdict, text: &str, how: How) -> Option<(RuleId, String)> {
        let rule = match verdict {
            Verdict::Secret => self.named,
            Verdict::Phone => self.personal[3],
        };
        if !self.on[rule] || self.allow.allows(text.as_bytes()) || self.is_marker(text) {
            return None;
        }
        let mut out = String::new();
        self.push_marker(&mut out, rule, self.marker.mark(text.as_bytes()), how);
        Some((rule, out))
    }

    /// A marker that stands for a whole id.
    pub(super) fn id_marker(&self, id: &str, how: How) -> String {
        let mut out = String::new();
        let rule = self.names.iter().position(|name| name == "id").unwrap_or(self.bulk);
        self.push_marker(&mut out, rule, self.marker.mark(id.as_bytes()), how);
        out
    }

    fn scrub_once(&self, text: &str, how: How, count: &mut dyn FnMut(RuleId)) -> Option<String> {
        let mut findings = self.find(text.as_bytes(), how, 0);
        if findings.is_empty() {
            return None;
        }
        let markers = self.markers(text);
        findings.retain_mut(|finding| {
            clip(finding, &markers, text.as_bytes());
            // Rules speak of ASCII; a run that ends inside a character takes the character along.
            finding.start = text.floor_char_boundary(finding.start);
            finding.end = text.ceil_char_boundary(finding.end);
            finding.start < finding.end
        });
        let findings = merge(findings);
        if findings.len() > MAX_FINDINGS {
            count(self.bulk);
            return Some(self.bulk_marker(text, how));
        }
        if findings.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len() + 16 * findings.len());
        let mut copied = 0;
        for finding in findings {
            out.push_str(&text[copied..finding.start]);
            self.push_marker(&mut out, finding.rule, finding.mark, how);
            copied = finding.end;
            count(finding.rule);
        }
        out.push_str(&text[copied..]);
        Some(out)
    }

    fn push_marker(&self, out: &mut String, rule: RuleId, mark: Mark, how: How) {
        use std::fmt::Write as _;
        out.push_str(MARKER);
        out.push_str(&self.names[rule]);
        for (at, byte) in mark.iter().take(how.mark_bytes).enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}{byte:02x}", if at == 0 { ":" } else { "" });
        }
        out.push(']');
    }

    fn find(&self, text: &[u8], how: How, level: usize) -> Vec<Finding> {
        let mut found = Found { scanner: self, text, how, findings: Vec::new() };
        self.find_literals(text, &mut found);
        personal::walk(text, how.numbers_are_phones, |kind, (start, end)| {
            let rule = match kind {
                Kind::Email => 0,
                Kind::Card => 1,
                Kind::Iban => 2,
                Kind::Phone => 3,
                Kind::Ip => 4,
                Kind::DiscordToken => 5,
            };
            found.add(self.personal[rule], start, end);
        });
        if !self.custom.is_empty()
            && let Ok(text) = std::str::from_utf8(text)
        {
            for (rule, custom) in &self.custom {
                custom.find(text, |start, end| found.add(*rule, start, end));
            }
        }
        let mut findings = found.findings;
        if level < MAX_LEVELS && text.iter().any(|b| matches!(b, b'\\' | b'%')) {
            let mut start = 0;
            loop {
                let end = text.len().min(start + PIECE);
                if let Some(decoded) = decode(&text[start..end]) {
                    for inner in self.find(&decoded.bytes, how, level + 1) {
                        let (from, to) = decoded.original(inner.start, inner.end);
                        findings.push(Finding { start: start + from, end: start + to, ..inner });
                    }
                }
                if end == text.len() {
                    break;
                }
                start = end - OVERLAP;
            }
        }
        findings
    }

    fn find_literals(&self, text: &[u8], found: &mut Found<'_>) {
        // Up to where each finder has looked, and names were judged: what lies before is not
        // looked at again, however often its trigger stands there.
        let mut looked = [0; FINDERS.len()];
        let mut judged = 0;
        let mut covered = (0, 0);
        let mut ranges = Vec::new();
        for hit in self.automaton.find_overlapping_iter(text) {
            for action in &self.actions[hit.pattern().as_usize()] {
                match action {
                    Action::Token { rule, shape, noisy } => {
                        // Of two anchors that begin together (`sk-`, `sk-ant-`) the rules decide.
                        if hit.start() < covered.1 && hit.start() != covered.0 {
                            continue;
                        }
                        let Some((start, end)) = shape.match_anchor(text, hit.start()) else { continue };
                        if !starts_token(text, start, shape.anchor()) || (*noisy && !is_noise(text, start, end)) {
                            continue;
                        }
                        let end = shape.extend(text, end);
                        found.add(*rule, start, end);
                        covered = (hit.start(), end);
                    }
                    Action::Vendor { rule, shape, client } => {
                        if let Some((start, end)) = vendor_value(text, hit.start(), shape, *client) {
                            found.add(*rule, start, end);
                        }
                    }
                    Action::Named => {
                        if hit.start() >= judged {
                            judged = self.judge_name(text, hit.start(), found);
                        }
                    }
                    Action::Find { rule, find, finder } => {
                        if hit.start() < looked[*finder] {
                            continue;
                        }
                        find(text, hit.start(), hit.end(), &mut ranges);
                        for (start, end) in ranges.drain(..) {
                            looked[*finder] = looked[*finder].max(end);
                            found.add(*rule, start, end);
                        }
                    }
                }
            }
        }
    }

    /// Judges the value of the name around `at`; answers up to where there is nothing more to judge.
    fn judge_name(&self, text: &[u8], at: usize, found: &mut Found<'_>) -> usize {
        let ((start, end), is_name) = assign::name_around(text, at);
        let done = end.max(at + 1);
        let in_marker = text[..start].ends_with(MARKER.as_bytes());
        let Some(name) =
            text.get(start..end).filter(|_| is_name && !in_marker).and_then(|name| std::str::from_utf8(name).ok())
        else {
            return done;
        };
        let Some(hint) = keys::hint(name) else { return done };
        let Some(mut value) = assign::value_of(text, (start, end), false) else { return done };
        if hint == Hint::Secret && name.to_ascii_lowercase().ends_with("cookie") && value.style != assign::Style::Quoted
        {
            // A header of many pairs, up to the end of its line.
            let rest = text[value.start..].iter().take(8192);
            value.end = value.start + rest.take_while(|b| !matches!(b, b'\n' | b'\r' | b'"' | b'\'' | b'\\')).count();
        }
        match named::in_text(hint, name, &text[value.start..value.end], value.style) {
            Some(Verdict::Secret) => found.add(self.named, value.start, value.end),
            Some(Verdict::Phone) => found.add(self.personal[3], value.start, value.end),
            None => return done,
        }
        value.end
    }

    /// Where markers of this scanner stand.
    fn markers(&self, text: &str) -> Vec<(usize, usize)> {
        text.match_indices(MARKER).filter_map(|(start, _)| Some((start, self.marker_end(text, start)?))).collect()
    }

    fn marker_end(&self, text: &str, start: usize) -> Option<usize> {
        let inside = text.get(start + MARKER.len()..)?;
        let length = inside.bytes().take(64).position(|b| b == b']')?;
        let (name, mark) = inside[..length].split_once(':').unwrap_or((&inside[..length], ""));
        // A known name, or the words of a real secret could pass as one.
        let is_mark = matches!(mark.len(), 0 | 8 | 16) && mark.bytes().all(|b| b.is_ascii_hexdigit());
        (is_mark && self.names.iter().any(|known| known == name)).then_some(start + MARKER.len() + length + 1)
    }

    fn is_marker(&self, text: &str) -> bool {
        text.starts_with(MARKER) && self.marker_end(text, 0) == Some(text.len())
    }
}

/// How every marker begins.
const MARKER: &str = "[redacted:";

struct Found<'a> {
    scanner: &'a Scanner,
    text: &'a [u8],
    how: How,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, rule: RuleId, start: usize, end: usize) {
        let text = &self.text[start..end];
        // Past the limit the text goes as a whole, so more findings need not be kept.
        let enough = self.findings.len() > 2 * MAX_FINDINGS;
        if start >= end || enough || !self.scanner.on[rule] || self.scanner.allow.allows(text) {
            return;
        }
        let mark = if self.how.mark_bytes == 0 { Mark::default() } else { self.scanner.marker.mark(text) };
        self.findings.push(Finding { start, end, rule, mark });
    }
}

#[derive(Default)]
struct Patterns {
    literals: Vec<String>,
    actions: Vec<Vec<Action>>,
    places: HashMap<String, usize>,
}

impl Patterns {
    fn add(&mut self, literal: &str, action: Action) {
        let literal = literal.to_ascii_lowercase();
        let next = self.literals.len();
        let place = *self.places.entry(literal.clone()).or_insert(next);
        if place == next {
            self.literals.push(literal);
            self.actions.push(Vec::new());
        }
        self.actions[place].push(action);
    }
}

/// Whether a token can start here: not inside a word (`task-…` holds `sk-`), unless its anchor is
/// long and ends in a sign, which no word does.
fn starts_token(text: &[u8], start: usize, anchor: &str) -> bool {
    let Some(before) = start.checked_sub(1).map(|before| text[before]) else { return true };
    let is_telling = anchor.len() >= 4 && !anchor.ends_with(|c: char| c.is_ascii_alphanumeric());
    !before.is_ascii_alphanumeric() || is_telling || text[..start].ends_with(b"bot") || ends_colour(&text[..start])
}

/// The end of a terminal's colour sequence: `ESC [ 32 m`.
fn ends_colour(before: &[u8]) -> bool {
    let Some(codes) = before.strip_suffix(b"m") else { return false };
    let digits = codes.iter().rev().take(12).take_while(|b| b.is_ascii_digit() || **b == b';').count();
    codes[..codes.len() - digits].ends_with(b"\x1b[")
}

/// With a digit or wild capitals, and without the repetitions of a placeholder.
fn is_noise(text: &[u8], start: usize, end: usize) -> bool {
    let token = &text[start..end.min(start + 256)];
    let body = token.iter().rposition(|b| matches!(b, b'_' | b'-' | b'.')).map_or(token, |at| &token[at + 1..]);
    let body = if body.len() < 16 { token } else { body };
    // One in seventy tokens of 24 letters and digits has no digit, by chance.
    let both_cases = body.iter().any(u8::is_ascii_uppercase) && body.iter().any(u8::is_ascii_lowercase);
    let letters = named::is_mixed(body) || (body.len() >= 18 && both_cases && entropy(body) > 3.3);
    (has_digit(body) || letters) && entropy(body) > 2.8
}

fn vendor_value(text: &[u8], at: usize, shape: &Shape, client: bool) -> Option<(usize, usize)> {
    if at > 0 && text[at - 1].is_ascii_alphabetic() {
        return None;
    }
    let (name, is_name) = assign::name_around(text, at);
    let value = assign::value_of(text, name, true).filter(|_| is_name)?;
    if client && !text[name.0..name.1].to_ascii_lowercase().windows(6).any(|part| part == b"client") {
        return None;
    }
    let end = shape.match_at(text, value.start)?;
    let value_text = &text[value.start..end];
    (has_digit(value_text) || named::is_mixed(value_text)).then_some((value.start, end))
}

/// Keeps a finding off the markers that stand already. `markers` are in order.
fn clip(finding: &mut Finding, markers: &[(usize, usize)], text: &[u8]) {
    let first = markers.partition_point(|(_, end)| *end <= finding.start);
    let mut covered = 0;
    let last = finding.end;
    for (start, end) in markers[first..].iter().take_while(|(start, _)| *start < last) {
        if finding.start >= *start {
            finding.start = (*end).min(last);
        } else if last <= *end {
            finding.end = *start;
        } else {
            covered += end - start;
        }
    }
    let rest = finding.end - finding.start - covered;
    let says_nothing = !text[finding.start..finding.end].iter().any(|b| b.is_ascii_alphanumeric() || *b >= 0x80);
    if says_nothing || (covered > 0 && rest < 4) {
        finding.end = finding.start;
    }
}

/// Makes one of those that overlap.
fn merge(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_unstable_by_key(|finding| (finding.start, finding.rule));
    let mut merged: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        match merged.last_mut() {
            Some(last) if finding.start < last.end => {
                last.end = last.end.max(finding.end);
                if finding.rule < last.rule {
                    (last.rule, last.mark) = (finding.rule, finding.mark);
                }
            }
            _ => merged.push(finding),
        }
    }
    merged
}
