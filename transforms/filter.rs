//! `filter`: events that nobody wants are not kept.
//!
//! A rule is a table of fields and what they must be; it applies when all of it holds. An event is dropped
//! when a rule of `drop` applies, or when there are rules of `keep` and none of them does. A field is one of
//! the event's own or an attribute:
//!
//! ```toml
//! [transforms.quiet]
//! type = "filter"
//! inputs = ["dedupe"]
//! drop = [
//!   { kind = ["gateway", "metric"] },
//!   { kind = "log", severity_number = { below = 13 } },
//!   { kind = "tool_call", name = { matches = "^read" }, duration_ms = { below = 100 }, status = { not = "error" } },
//! ]
//! ```
//!
//! What is dropped counts as delivered: the client is told that it is safe, since that is what its owner wants.

use std::collections::BTreeMap;

use engine::metrics::IntCounter;
use engine::{Batch, BuildContext, Event, Problem, Problems, Transform, TransformConfig};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::fields::{self, Field};

/// Drops events that nobody wants.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Rules for events to keep; where there are any, an event must meet one of them. A rule is a table from a field
    /// to a value, a list of values, or `{ matches = REGEX }`, `{ above = N }`, `{ below = N }`, `{ exists = BOOL }`, `{ not = VALUE }`.
    pub keep: Vec<BTreeMap<String, Value>>,
    /// Rules for events to drop; an event that meets one of them goes, whatever `keep` says.
    pub drop: Vec<BTreeMap<String, Value>>,
}

impl TransformConfig for Filter {
    const TYPE: &'static str = "filter";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        let mut problems = Problems::new();
        if self.keep.is_empty() && self.drop.is_empty() {
            problems.push(Problem::new("", "has no rule; give keep or drop one, or remove this transform"));
        }
        let keep = rules("keep", &self.keep, &mut problems);
        let drop = rules("drop", &self.drop, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let dropped = cx.metrics.counter(&cx.name, "filter_dropped_total", "Events dropped by a rule.");
        Ok(Box::new(Rules { keep, drop, dropped }))
    }
}

/// Every condition of a rule must hold.
type Rule = Vec<(String, Test)>;

#[derive(Debug)]
enum Test {
    Is(Vec<Wanted>),
    IsNot(Vec<Wanted>),
    Matches(Regex),
    Above(f64),
    Below(f64),
    Exists(bool),
}

#[derive(Debug, PartialEq)]
enum Wanted {
    Text(String),
    Number(f64),
    Bool(bool),
}

fn rules(key: &str, tables: &[BTreeMap<String, Value>], problems: &mut Problems) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(tables.len());
    for (at, table) in tables.iter().enumerate() {
        if table.is_empty() {
            problems.push(Problem::new(format!("{key}[{at}]"), "is an empty rule, which would apply to every event"));
        }
        let mut rule = Rule::new();
        for (field, value) in table {
            match tests(value) {
                Ok(tests) => rule.extend(tests.into_iter().map(|test| (field.clone(), test))),
                Err(message) => problems.push(Problem::new(format!("{key}[{at}].{field}"), message)),
            }
        }
        rules.push(rule);
    }
    rules
}

const FORMS: &str = "must be a value, a list of values, or a table with matches, above, below, exists or not";

fn tests(value: &Value) -> Result<Vec<Test>, String> {
    let Value::Object(table) = value else { return Ok(vec![Test::Is(wanted(value)?)]) };
    if table.is_empty() {
        return Err(FORMS.to_owned());
    }
    let number = |name: &str, value: &Value| value.as_f64().ok_or_else(|| format!("{name} must be a number"));
    table
        .iter()
        .map(|(name, value)| match name.as_str() {
            "not" => Ok(Test::IsNot(wanted(value)?)),
            "above" => Ok(Test::Above(number(name, value)?)),
            "below" => Ok(Test::Below(number(name, value)?)),
            "exists" => value.as_bool().map(Test::Exists).ok_or_else(|| "exists must be true or false".to_owned()),
            "matches" => {
                let pattern = value.as_str().ok_or("matches must be a regular expression in a string")?;
                // A pattern may not take more memory than this, compiled.
                let built = regex::RegexBuilder::new(pattern).size_limit(256 * 1024).build();
                built.map(Test::Matches).map_err(|error| format!("matches is no regular expression: {error}"))
            }
            _ => {
                let hint = crate::did_you_mean(name, ["matches", "above", "below", "exists", "not"].into_iter());
                Err(format!("{FORMS}; there is no {name:?}{hint}"))
            }
        })
        .collect()
}

fn wanted(value: &Value) -> Result<Vec<Wanted>, String> {
    match value {
        Value::String(text) => Ok(vec![Wanted::Text(text.clone())]),
        Value::Bool(value) => Ok(vec![Wanted::Bool(*value)]),
        Value::Number(number) => Ok(vec![Wanted::Number(number.as_f64().unwrap_or(f64::NAN))]),
        Value::Array(list) if !list.is_empty() => {
            Ok(list.iter().map(wanted).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        _ => Err(FORMS.to_owned()),
    }
}

struct Rules {
    keep: Vec<Rule>,
    drop: Vec<Rule>,
    dropped: IntCounter,
}

impl Transform for Rules {
    fn apply(&self, batch: &mut Batch) {
        let before = batch.len();
        batch.retain(|event| {
            let any = |rules: &[Rule]| rules.iter().any(|rule| applies(rule, event));
            !any(&self.drop) && (self.keep.is_empty() || any(&self.keep))
        });
        self.dropped.inc_by((before - batch.len()) as u64);
    }
}

fn applies(rule: &Rule, event: &Event) -> bool {
    rule.iter().all(|(name, test)| holds(test, fields::field(event, name).as_ref()))
}

fn holds(test: &Test, field: Option<&Field<'_>>) -> bool {
    let is = |wanted: &[Wanted]| field.is_some_and(|field| wanted.iter().any(|wanted| equals(wanted, field)));
    let number = match field {
        Some(Field::Number(number)) => Some(*number),
        _ => None,
    };
    match test {
        Test::Is(wanted) => is(wanted),
        Test::IsNot(wanted) => !is(wanted),
        Test::Exists(wanted) => field.is_some() == *wanted,
        Test::Above(bound) => number.is_some_and(|number| number > *bound),
        Test::Below(bound) => number.is_some_and(|number| number < *bound),
        Test::Matches(pattern) => matches!(field, Some(Field::Text(text)) if pattern.is_match(text)),
    }
}

fn equals(wanted: &Wanted, field: &Field<'_>) -> bool {
    match (wanted, field) {
        (Wanted::Text(wanted), Field::Text(text)) => wanted == text,
        (Wanted::Bool(wanted), Field::Bool(value)) => wanted == value,
        #[allow(clippy::float_cmp)]
        (Wanted::Number(wanted), Field::Number(number)) => wanted == number,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{batch, context, metric};
    use serde_json::json;

    fn kept(config: Value, events: &[Value]) -> (Vec<usize>, BuildContext) {
        let cx = context();
        let transform = serde_json::from_value::<Filter>(config).unwrap().build(&cx).unwrap();
        let mut all = Vec::new();
        for (at, event) in events.iter().enumerate() {
            let mut event = Event::from_json(&event.to_string()).unwrap();
            event.span_id = Some(at.to_string());
            all.push(event);
        }
        let (mut batch, _receipt) = batch(all);
        transform.apply(&mut batch);
        (batch.iter().map(|event| event.span_id.as_ref().unwrap().parse().unwrap()).collect(), cx)
    }

    fn problems(config: Value) -> Vec<String> {
        let config = serde_json::from_value::<Filter>(config).unwrap();
        config.build(&context()).err().unwrap().into_iter().map(|p| format!("{}: {}", p.key, p.message)).collect()
    }

    #[test]
    fn each_form_of_a_condition_does_what_it_says() {
        let events = [
            json!({"kind": "log", "attributes": {"severity_number": 9}}),
            json!({"kind": "log", "attributes": {"severity_number": 17}}),
            json!({"kind": "tool_call", "name": "read_file", "duration_ms": 5, "status": "ok"}),
            json!({"kind": "tool_call", "name": "read_file", "duration_ms": 5, "status": "error"}),
            json!({"kind": "gateway", "attributes": {"on": true, "list": [1]}}),
        ];
        let drop = |rule: Value| kept(json!({"drop": [rule]}), &events).0;
        assert_eq!(drop(json!({"kind": "log", "severity_number": {"below": 13}})), [1, 2, 3, 4]);
        assert_eq!(drop(json!({"severity_number": {"above": 13}})), [0, 2, 3, 4]);
        assert_eq!(drop(json!({"kind": ["log", "gateway"]})), [2, 3]);
        assert_eq!(drop(json!({"name": {"matches": "^read"}, "status": {"not": "error"}})), [0, 1, 3, 4]);
        assert_eq!(drop(json!({"on": true})), [0, 1, 2, 3]);
        assert_eq!(drop(json!({"list": {"exists": true}})), [0, 1, 2, 3]);
        assert_eq!(drop(json!({"duration_ms": 5})), [0, 1, 4]);
        assert_eq!(kept(json!({"keep": [{"kind": "log"}, {"status": "error"}]}), &events).0, [0, 1, 3]);
        let both = json!({"keep": [{"kind": "log"}], "drop": [{"severity_number": {"below": 13}}]});
        let (left, cx) = kept(both, &events);
        assert_eq!(left, [1]);
        assert_eq!(metric(&cx, "openclaw_trace_filter_dropped_total"), 4);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        assert_eq!(problems(json!({})), [": has no rule; give keep or drop one, or remove this transform"]);
        let told = problems(json!({
            "keep": [{}, {"kind": {"mathces": "x"}}],
            "drop": [{"name": {"matches": "("}, "kind": [], "n": {"above": "x"}}],
        }));
        assert_eq!(told.len(), 5, "{told:#?}");
        assert!(told[0].starts_with("keep[0]: is an empty rule"));
        assert!(told[1].starts_with("keep[1].kind:") && told[1].contains("matches"), "{}", told[1]);
        assert!(told.iter().any(|told| told.starts_with("drop[0].name: matches is no regular expression")));
    }
}
