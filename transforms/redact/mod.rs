//! `redact`: replaces secrets and personal data by a mark that keeps the rule's name.
//!
//! Every text of an event is seen: `error`, `name`, every string in `input`, `output` and
//! `attributes`, object keys included. A value under a key that names a secret (`password`,
//! `api_key`, …) goes whole, whatever it looks like. Ids are treated apart ([`mark`]): OpenClaw may
//! build a session's id from a telephone number, and grouping must survive.
//!
//! How a text is searched ([`scan`]): one pass finds the beginnings of known tokens; a second finds
//! the words that make it worth running a pattern at all; only then is a pattern compiled and run.
//! A text without any of them, which is nearly every text, costs two passes and no memory.
//! Escapes do not hide anything: a text with `\u0073`, `\/` or `%3D` is searched decoded, too.
//!
//! Stands before `truncate` in the graph, so that it sees a text before it is cut. Redacting what is
//! redacted changes nothing.

#[cfg(test)]
mod accuracy;
mod decode;
mod mark;
mod patterns;
mod personal;
mod prefixes;
mod scan;

use std::path::PathBuf;

use engine::config::Secret;
use engine::json::Place;
use engine::metrics::IntCounterVec;
use engine::{Batch, BuildContext, Event, Json, Problem, Problems, Transform, TransformConfig};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use mark::Marker;
use scan::Scanner;

/// A rule of one's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, which the mark keeps: 1 to 32 of a-z, 0-9 and '_'.
    pub name: String,
    /// A regular expression; where it has a group, the first group is the secret, else the whole match.
    pub pattern: String,
}

/// Replaces secrets and personal data.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redact {
    /// Rules of one's own, beside the built-in ones.
    pub rules: Vec<Rule>,
    /// Names of built-in rules that are not wanted.
    pub disable: Vec<String>,
    /// Also replace IP addresses.
    pub ip: bool,
    /// Regular expressions: what one of them matches as a whole is no secret.
    pub allow: Vec<String>,
    /// Add a short keyed hash to the mark, so that equal secrets can be told from different ones.
    pub hash: bool,
    /// The key of that hash and of replaced ids; empty: kept in `key_file`.
    pub hash_key: Secret,
    /// File of the key, made at first need; left out: openclaw-trace.key on /data, or in the working directory.
    pub key_file: Option<PathBuf>,
}

/// Largest compiled size of a pattern of one's own, in bytes.
const PATTERN_BYTES: usize = 256 * 1024;

impl TransformConfig for Redact {
    const TYPE: &'static str = "redact";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        let mut problems = Problems::new();
        let known = scan::rule_names();
        for (at, name) in self.disable.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let hint = crate::did_you_mean(name, known.iter().copied());
                problems.push(Problem::new(format!("disable.{at}"), format!("there is no rule {name:?}{hint}")));
            }
        }
        let mut compile = |key: String, pattern: &str| {
            let built =
                regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
            built.map_err(|error| problems.push(Problem::new(key, one_line(&error.to_string())))).ok()
        };
        let allow: Vec<Regex> = (self.allow.iter().enumerate())
            .filter_map(|(at, pattern)| compile(format!("allow.{at}"), &format!("^(?:{pattern})$")))
            .collect();
        let own: Vec<(String, Regex)> = (self.rules.iter().enumerate())
            .filter_map(|(at, rule)| Some((rule.name.clone(), compile(format!("rules.{at}.pattern"), &rule.pattern)?)))
            .collect();
        for (at, rule) in self.rules.iter().enumerate() {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !(1..=32).contains(&rule.name.len()) || !rule.name.chars().all(fits) {
                let message = "must be 1 to 32 of a-z, 0-9 and '_'";
                problems.push(Problem::new(format!("rules.{at}.name"), message));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let help = "Texts replaced, by rule.";
        Ok(Box::new(Redactor {
            scanner: Scanner::new(&self.disable, self.ip, allow, own),
            marker: Marker::new(self.hash, self.hash_key, self.key_file),
            replaced: cx.metrics.counter_by(&cx.name, "redact_replacements_total", help, "rule"),
        }))
    }
}

/// The regex crate draws its errors over several lines; the last one says what is wrong.
fn one_line(message: &str) -> String {
    let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(message);
    format!("is not a regular expression: {}", last.trim().trim_start_matches("error: "))
}

struct Redactor {
    scanner: Scanner,
    marker: Marker,
    replaced: IntCounterVec,
}

impl Transform for Redactor {
    fn apply(&self, batch: &mut Batch) {
        batch.iter_mut().for_each(|event| self.redact(event));
    }
}

/// Attributes that hold an id, and are treated as the field is.
const ID_KEYS: [&str; 6] =
    ["gen_ai.conversation.id", "gen_ai.agent.id", "session_id", "sessionid", "session.id", "sessionkey"];

impl Redactor {
    fn redact(&self, event: &mut Event) {
        for text in [&mut event.error, &mut event.name].into_iter().flatten() {
            if let Some(new) = self.text(text, false) {
                *text = new;
            }
        }
        let ids = [
            &mut event.session_id,
            &mut event.run_id,
            &mut event.agent_id,
            &mut event.span_id,
            &mut event.parent_span_id,
        ];
        for id in ids.into_iter().flatten() {
            if let Some(new) = self.text(id, true) {
                *id = new;
            }
        }
        for json in [&mut event.input, &mut event.output, &mut event.attributes].into_iter().flatten() {
            if let Some(new) = self.json(json) {
                *json = new;
            }
        }
    }

    fn json(&self, json: &Json) -> Option<Json> {
        json.rewrite(|place, text| match place {
            Place::Value { key: Some(key) } if scan::names_a_secret(key) => self.whole(text),
            Place::Value { key: Some(key) } if ID_KEYS.contains(&key.to_ascii_lowercase().as_str()) => {
                self.text(text, true)
            }
            Place::Key | Place::Value { .. } => self.text(text, false),
        })
    }

    /// A value whose key says that it is a secret.
    fn whole(&self, text: &str) -> Option<String> {
        if text.is_empty() || mark::is_mark(text) || scan::is_placeholder(text) {
            return None;
        }
        self.replaced.with_label_values(&["secret_key_name"]).inc();
        Some(self.marker.mark("secret_key_name", text, false))
    }

    fn text(&self, text: &str, is_id: bool) -> Option<String> {
        let found = self.scanner.find(text);
        if found.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for finding in &found {
            out.push_str(&text[copied..finding.start]);
            out.push_str(&self.marker.mark(&finding.rule, &text[finding.start..finding.end], is_id));
            copied = finding.end;
            self.replaced.with_label_values(&[&finding.rule]).inc();
        }
        out.push_str(&text[copied..]);
        Some(out)
    }
}
