//! An OpenAPI description, and values held against its schemas.
//!
//! The part of JSON Schema that our descriptions use. A word that is not known here fails the test, so that
//! nothing in a description goes unchecked.

use regex::Regex;
use serde_json::Value;

use super::Answer;

/// A description.
pub struct Description(Value);

impl Description {
    pub fn new(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("a description is JSON"))
    }

    /// The operation of a path.
    pub fn operation(&self, method: &str, path: &str) -> &Value {
        let found = &self.0["paths"][path][method];
        assert!(found.is_object(), "{method} {path} is not described");
        found
    }

    /// Holds the body of a request against the operation.
    pub fn check_request(&self, operation: &Value, body: &Value) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        self.check(schema, body).unwrap_or_else(|problem| panic!("the request {problem}\n{body:#}"));
    }

    /// Holds an answer against the operation: its status is described, its type, its headers, its body.
    pub fn check_answer(&self, operation: &Value, answer: &Answer) {
        let status = answer.status.to_string();
        let described = self.resolve(&operation["responses"][&status]);
        assert!(described.is_object(), "{status} is not described: {}", answer.text());
        let kind = answer.header("content-type").unwrap_or_default();
        let content = &described["content"][kind];
        assert!(content.is_object(), "{status} comes as {kind:?}, which is not described");
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            match answer.header(name) {
                Some(value) => {
                    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                    let checked = self.check(&header["schema"], &value);
                    checked.unwrap_or_else(|problem| panic!("{name} of {status} {problem}: {value}"));
                }
                None => assert!(header["required"] != true, "{status} comes without {name}"),
            }
        }
        let checked = self.check(&content["schema"], &answer.json());
        checked.unwrap_or_else(|problem| panic!("the answer {status} {problem}: {}", answer.text()));
    }

    /// Holds every example of the description against its schema; answers how many there are.
    pub fn check_examples(&self) -> usize {
        let mut checked = 0;
        let mut ahead = vec![&self.0];
        while let Some(part) = ahead.pop() {
            if let (Some(schema), Some(examples)) = (part.get("schema"), part.get("examples")) {
                for (name, example) in examples.as_object().expect("examples have names") {
                    let fits = self.check(schema, &example["value"]);
                    fits.unwrap_or_else(|problem| panic!("the example {name:?} {problem}: {}", example["value"]));
                    checked += 1;
                }
            }
            match part {
                Value::Object(members) => ahead.extend(members.values()),
                Value::Array(items) => ahead.extend(items),
                _ => {}
            }
        }
        checked
    }

    fn resolve<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
                let found = self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} does not exist"));
                self.resolve(found)
            }
            None => part,
        }
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        let words = schema.as_object().unwrap_or_else(|| panic!("{schema} is no schema"));
        for (word, rule) in words {
            self.holds(word, rule, value)?;
        }
        Ok(())
    }

    fn holds(&self, word: &str, rule: &Value, value: &Value) -> Result<(), String> {
        let all = || rule.as_array().unwrap_or_else(|| panic!("{word} is {rule}"));
        let how_many = || all().iter().filter(|schema| self.check(schema, value).is_ok()).count();
        let text = value.as_str();
        let length = |text: &str| u64::try_from(text.chars().count()).expect("texts are short");
        let fits = match word {
            "description" => true,
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is_of_type(value, name)),
                name => is_of_type(value, name),
            },
            "enum" => all().contains(value),
            "required" => all()
                .iter()
                .all(|name| value.as_object().is_none_or(|object| object.contains_key(name.as_str().expect("a name")))),
            "properties" => {
                for (name, schema) in rule.as_object().expect("properties have names") {
                    if let Some(member) = value.get(name) {
                        self.check(schema, member).map_err(|problem| format!("in {name} {problem}"))?;
                    }
                }
                true
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    self.check(rule, item)?;
                }
                true
            }
            "allOf" => {
                for schema in all() {
                    self.check(schema, value)?;
                }
                true
            }
            "anyOf" => how_many() > 0,
            "oneOf" => how_many() == 1,
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().expect("a number")),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().expect("a number")),
            "minLength" => text.is_none_or(|text| length(text) >= rule.as_u64().expect("a number")),
            "maxLength" => text.is_none_or(|text| length(text) <= rule.as_u64().expect("a number")),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
            "pattern" => text.is_none_or(|text| {
                Regex::new(rule.as_str().expect("a pattern")).expect("a pattern is one").is_match(text)
            }),
            "format" => text.is_none_or(|text| match rule.as_str().expect("a format") {
                "uuid" => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
                "date-time" => is_date_time(text),
                "binary" => true,
                other => panic!("the format {other} is not known here"),
            }),
            other => panic!("the word {other} is not known here"),
        };
        if fits { Ok(()) } else { Err(format!("does not fit {word}: {rule}")) }
    }
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("a type has a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    }
}

fn is_date_time(text: &str) -> bool {
    let form = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$";
    Regex::new(form).expect("a pattern is one").is_match(text)
}
