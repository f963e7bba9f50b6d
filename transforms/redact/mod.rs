//! `redact`: secrets and personal data are replaced by a marker before anything else sees them.
//!
//! 1. Every string of an event is covered: `error`, `name`, and in `input`, `output` and `attributes`
//!    every value and every object key, however deep, and what stands in JSON inside a string.
//! 2. A string under a key that names a secret (`password`, `authorization`, `api_key`, …) goes as a
//!    whole; elsewhere, what the built-in rules and the owner's own rules find.
//! 3. Ids (`session_id`, `run_id`, `agent_id`, `span_id`, `parent_span_id`, and attributes of the same
//!    meaning) keep their shape; a telephone number or address in them becomes its keyed hash, so that
//!    the events of a conversation still belong together.
//! 4. Redacting what was redacted changes nothing, whoever did it first: a gateway redacts what its sidecars have.
//!    What comes out is valid UTF-8 and valid JSON.
//!
//! It must stand before `truncate` in the graph, and before every sink. What no rule can know (a
//! secret without a form, told without a name; one spread over several strings; numbers that are no
//! strings) passes: `docs/redaction.md` lists the limits.

mod assign;
mod custom;
mod decode;
mod ids;
mod keys;
mod named;
mod personal;
mod rules;
mod scan;
mod shape;
mod structure;

#[cfg(test)]
mod accuracy;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twice;

use std::collections::HashMap;

use engine::config::Secret;
use engine::json::{Json, Place};
use engine::metrics::IntCounterVec;
use engine::{Batch, BuildContext, Event, Problem, Problems, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;

pub use custom::CustomRule;
use custom::{Allow, Custom};
use ids::Marker;
use keys::Hint;
use scan::{How, RuleId, Scanner};

/// Replaces secrets and personal data by `[redacted:RULE]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redact {
    /// Built-in rules that are not applied, by name (`docs/redaction.md` lists them).
    pub disable: Vec<String>,
    /// Built-in rules that are off unless named here: `ip`.
    pub enable: Vec<String>,
    /// Rules of one's own: `[[transforms.NAME.rules]]` with `name` and `pattern`.
    pub rules: Vec<CustomRule>,
    /// More names of keys whose strings are secrets, in any case: `["pin", "x-internal"]`.
    pub keys: Vec<String>,
    /// Texts that are left alone although a rule matches them, exactly as they stand.
    pub allow: Vec<String>,
    /// The same as regular expressions, which must match the whole finding.
    pub allow_patterns: Vec<String>,
    /// Adds a short keyed hash to each marker, `[redacted:RULE:1a2b3c4d]`, so that equal secrets can be
    /// told from different ones.
    pub hash: bool,
    /// Key of the hashes, in markers and in ids. Without one, a random key is made when the process
    /// starts: an id that holds personal data then has another hash after a restart.
    pub hash_key: Secret,
}

impl TransformConfig for Redact {
    const TYPE: &'static str = "redact";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        Ok(Box::new(Redactor::new(self, cx)?))
    }
}

/// Bytes of the hash in a marker, and in an id, where a collision would join two conversations.
const MARK_BYTES: usize = 4;
const ID_MARK_BYTES: usize = 8;

/// Rounds of redacting what is left of a value. One finds nothing more, mostly.
const MAX_ROUNDS: usize = 8;

struct Redactor {
    scanner: Scanner,
    keys: Vec<String>,
    hash: bool,
    ids: bool,
    replaced: IntCounterVec,
}

impl Redactor {
    fn new(config: Redact, cx: &BuildContext) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let known = rules::names();
        for (setting, names) in [("disable", &config.disable), ("enable", &config.enable)] {
            for (at, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
                let hint = crate::did_you_mean(name, known.iter().copied());
                let message = format!("there is no built-in rule {name:?}{hint} (docs/redaction.md lists them)");
                problems.push(Problem::new(format!("{setting}[{at}]"), message));
            }
        }
        let mut custom = Vec::new();
        for (at, rule) in config.rules.iter().enumerate() {
            let mut taken = known.clone();
            taken.push("bulk");
            taken.extend(config.rules[..at].iter().map(|rule| rule.name.as_str()));
            match Custom::build(rule, &format!("rules[{at}]"), &taken) {
                Ok(rule) => custom.push(rule),
                Err(more) => problems.extend(more),
            }
        }
        let allow = Allow::build(config.allow, &config.allow_patterns).unwrap_or_else(|more| {
            problems.extend(more);
            Allow::default()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let off_by_default = |name: &str| rules::CODED.iter().any(|(rule, on)| *rule == name && !on);
        let listed = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        let is_on =
            |name: &str| !listed(&config.disable, name) && (!off_by_default(name) || listed(&config.enable, name));
        let ids = is_on("id");
        let scanner = Scanner::new(is_on, custom, allow, Marker::new(&config.hash_key))
            .map_err(|error| vec![Problem::new("", format!("the rules cannot be compiled: {error}"))])?;
        let help = "secrets and personal data that were replaced, by rule";
        let replaced = cx.metrics.counter_by(&cx.name, "redact_replacements_total", help, "rule");
        Ok(Self { scanner, keys: config.keys, hash: config.hash, ids, replaced })
    }

    fn how(&self) -> How {
        How { mark_bytes: if self.hash { MARK_BYTES } else { 0 }, numbers_are_phones: false }
    }

    fn redact(&self, event: &mut Event) {
        for text in [&mut event.error, &mut event.name].into_iter().flatten() {
            if let Some(clean) = self.text(text) {
                *text = clean;
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
            if let Some(clean) = self.settled(id, |id| self.id(id)) {
                *id = clean;
            }
        }
        for body in [&mut event.input, &mut event.output, &mut event.attributes].into_iter().flatten() {
            if let Some(clean) = self.json(body) {
                *body = clean;
            }
        }
    }

    fn text(&self, text: &str) -> Option<String> {
        self.scanner.scrub(text, self.how(), &mut |rule| self.count(rule))
    }

    fn json(&self, json: &Json) -> Option<Json> {
        // Keys that were replaced, and by what.
        let mut replaced: HashMap<String, String> = HashMap::new();
        json.rewrite(|place, text| match place {
            Place::Key => {
                // With a hash, or two different keys could become one.
                let how = How { mark_bytes: MARK_BYTES, ..self.how() };
                let clean = self.scanner.scrub(text, how, &mut |rule| self.count(rule))?;
                replaced.insert(text.to_owned(), clean.clone());
                Some(clean)
            }
            Place::Value { key } => {
                // A key that was replaced is another name to whoever reads the event next: its value must be
                // right under both.
                let second = key.and_then(|key| replaced.get(key)).map(String::as_str);
                self.settled(text, |text| {
                    self.value(key, text).or_else(|| second.and_then(|key| self.value(Some(key), text)))
                })
            }
        })
    }

    /// Applies `redact` until it finds nothing more: what is left of a value may read as another thing than the
    /// whole did.
    fn settled(&self, text: &str, redact: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut clean = redact(text)?;
        for _ in 0..MAX_ROUNDS {
            match redact(&clean) {
                Some(cleaner) => clean = cleaner,
                None => return Some(clean),
            }
        }
        Some(self.scanner.bulk_marker(text, self.how()))
    }

    /// A string under a key, or under none.
    fn value(&self, key: Option<&str>, text: &str) -> Option<String> {
        match key {
            Some(key) if ids::is_id_name(key) => self.id(text),
            Some(key) => self.named(key, text).or_else(|| self.text(text)),
            None => self.text(text),
        }
    }

    /// A string under a key that says what it is.
    fn named(&self, key: &str, text: &str) -> Option<String> {
        // The words of a marker are ours, and say nothing of the value.
        let key = &*self.scanner.without_markers(key);
        let is_listed = self.keys.iter().any(|listed| listed.eq_ignore_ascii_case(key));
        let verdict = if is_listed {
            (!text.is_empty()).then_some(named::Verdict::Secret)
        } else {
            keys::hint(key).and_then(|hint: Hint| named::in_json(hint, key, text))
        };
        let (rule, marker) = self.scanner.whole(verdict?, text, self.how())?;
        self.count(rule);
        Some(marker)
    }

    /// An id: what is personal in it becomes a keyed hash.
    fn id(&self, id: &str) -> Option<String> {
        if !self.ids {
            return None;
        }
        let numbers_are_phones = ids::speaks_of_phones(&self.scanner.without_markers(id));
        let how = How { mark_bytes: ID_MARK_BYTES, numbers_are_phones };
        let clean = self.scanner.scrub(id, how, &mut |rule| self.count(rule))?;
        // A marker may be longer than what it replaces, and an id has a longest length.
        let fits = clean.len() <= engine::event::MAX_ID_BYTES;
        Some(if fits { clean } else { self.scanner.id_marker(id, how) })
    }

    fn count(&self, rule: RuleId) {
        self.replaced.with_label_values(&[self.scanner.name(rule)]).inc();
    }
}

impl Transform for Redactor {
    fn apply(&self, batch: &mut Batch) {
        for event in batch.iter_mut() {
            self.redact(event);
        }
    }
}
