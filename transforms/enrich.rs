//! `enrich`: what the client does not know is added: which machine, which deployment, which agent.
//!
//! What an event says of itself stays: a field or attribute is added only where there is none of its name.
//! On a Fly.io machine (`fly`) its identity is read from the variables that the platform sets:
//!
//! | variable | attribute |
//! |---|---|
//! | `FLY_APP_NAME` | `fly.app.name` |
//! | `FLY_MACHINE_ID` | `host.id` |
//! | `FLY_REGION` | `cloud.region` |
//! | `FLY_MACHINE_VERSION` | `fly.machine.version` |
//! | `FLY_IMAGE_REF` | `container.image.name` |
//! | any of them | `cloud.provider` = `fly_io` |

use std::collections::BTreeMap;

use engine::json::quoted;
use engine::{Batch, BuildContext, Problem, Problems, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::fields;

/// Adds fields and attributes to events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Enrich {
    /// The `agent_id` of events that name none; empty: none is added.
    pub agent_id: String,
    /// Attributes to add: a table of names and values (strings, numbers, booleans).
    pub attributes: BTreeMap<String, Value>,
    /// Whether to add what Fly.io's variables say of this machine; nothing elsewhere.
    pub fly: bool,
}

impl Default for Enrich {
    fn default() -> Self {
        Self { agent_id: String::new(), attributes: BTreeMap::new(), fly: true }
    }
}

const FLY: [(&str, &str); 5] = [
    ("FLY_APP_NAME", "fly.app.name"),
    ("FLY_MACHINE_ID", "host.id"),
    ("FLY_REGION", "cloud.region"),
    ("FLY_MACHINE_VERSION", "fly.machine.version"),
    ("FLY_IMAGE_REF", "container.image.name"),
];

/// Most attributes that are added, and most bytes of one: each stands in every row.
const MAX_ATTRIBUTES: usize = 32;
const MAX_BYTES: usize = 1024;

impl TransformConfig for Enrich {
    const TYPE: &'static str = "enrich";

    fn build(self, _: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        self.build_with(|name| std::env::var(name).ok()).map(|built| Box::new(built) as Box<dyn Transform>)
    }
}

impl Enrich {
    fn build_with(self, variable: impl Fn(&str) -> Option<String>) -> Result<Enricher, Problems> {
        let mut problems = Problems::new();
        let mut added = Vec::new();
        for (name, value) in &self.attributes {
            let json = match value {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    let message = "must be a string, a number or a boolean: attributes are flat";
                    problems.push(Problem::new(format!("attributes.{name}"), message));
                    continue;
                }
            };
            if fields::OWN.contains(&name.as_str()) {
                let message = "is a field of the event and no attribute; only agent_id can be set";
                problems.push(Problem::new(format!("attributes.{name}"), message));
            }
            if json.len() + name.len() > MAX_BYTES {
                let message = format!("is longer than {MAX_BYTES} bytes, which every event would bear");
                problems.push(Problem::new(format!("attributes.{name}"), message));
            }
            added.push((name.clone(), json));
        }
        if added.len() > MAX_ATTRIBUTES {
            problems.push(Problem::new("attributes", format!("has more than {MAX_ATTRIBUTES} names")));
        }
        if self.agent_id.len() > engine::event::MAX_ID_BYTES {
            problems.push(Problem::new("agent_id", format!("is longer than {} bytes", engine::event::MAX_ID_BYTES)));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if self.fly {
            let found = FLY.iter().filter_map(|(name, attribute)| Some((*attribute, variable(name)?)));
            let found: Vec<_> = found.filter(|(_, value)| !value.is_empty() && value.len() <= MAX_BYTES).collect();
            if !found.is_empty() {
                added.push(("cloud.provider".to_owned(), "\"fly_io\"".to_owned()));
            }
            added.extend(found.into_iter().map(|(name, value)| (name.to_owned(), quoted(&value))));
        }
        // What is set by hand comes before what the platform says.
        let mut names = std::collections::HashSet::new();
        added.retain(|(name, _)| names.insert(name.clone()));
        Ok(Enricher { agent_id: Some(self.agent_id).filter(|id| !id.is_empty()), added })
    }
}

struct Enricher {
    agent_id: Option<String>,
    /// Names and JSON values.
    added: Vec<(String, String)>,
}

impl Transform for Enricher {
    fn apply(&self, batch: &mut Batch) {
        if self.added.is_empty() && self.agent_id.is_none() {
            return;
        }
        for event in batch.iter_mut() {
            if event.agent_id.is_none() {
                event.agent_id.clone_from(&self.agent_id);
            }
            let absent: Vec<_> = self
                .added
                .iter()
                .filter(|(name, _)| fields::attribute(event, name).is_none())
                .map(|(name, json)| (name.as_str(), json.clone()))
                .collect();
            if !absent.is_empty() {
                event.add_attributes(absent);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{batch, context};
    use engine::Event;
    use serde_json::json;

    fn enriched(config: Value, event: &Value) -> Value {
        let fly = |name: &str| match name {
            "FLY_APP_NAME" => Some("my-agent".to_owned()),
            "FLY_REGION" => Some("fra".to_owned()),
            "FLY_MACHINE_ID" => Some(String::new()),
            _ => None,
        };
        let transform = serde_json::from_value::<Enrich>(config).unwrap().build_with(fly).unwrap();
        let (mut batch, _receipt) = batch(vec![Event::from_json(&event.to_string()).unwrap()]);
        transform.apply(&mut batch);
        serde_json::from_str(&batch.iter().next().unwrap().to_json()).unwrap()
    }

    #[test]
    fn what_is_absent_is_added_and_what_is_there_stays() {
        let config = json!({"agent_id": "a-1", "attributes": {"env": "prod", "n": 5, "on": true}});
        let told = enriched(config.clone(), &json!({"kind": "log"}));
        assert_eq!(told["agent_id"], "a-1");
        let expected = json!({"env": "prod", "n": 5, "on": true, "cloud.provider": "fly_io", "fly.app.name": "my-agent", "cloud.region": "fra"});
        assert_eq!(told["attributes"], expected);
        let own = json!({"kind": "log", "agent_id": "mine", "attributes": {"env": "test", "cloud.region": "home"}});
        let told = enriched(config, &own);
        assert_eq!((&told["agent_id"], &told["attributes"]["env"]), (&json!("mine"), &json!("test")));
        assert_eq!(told["attributes"]["cloud.region"], "home");
    }

    #[test]
    fn the_platforms_words_can_be_left_out_and_set_by_hand() {
        let told = enriched(json!({"fly": false, "attributes": {"a": 1}}), &json!({"kind": "log"}));
        assert_eq!(told["attributes"], json!({"a": 1}));
        let told = enriched(json!({"attributes": {"cloud.region": "mars"}}), &json!({"kind": "log"}));
        assert_eq!(told["attributes"]["cloud.region"], "mars");
    }

    #[test]
    fn what_cannot_be_an_attribute_is_refused() {
        let config = json!({"attributes": {"list": [1], "kind": "log", "long": "x".repeat(2000)}});
        let problems = serde_json::from_value::<Enrich>(config).unwrap().build(&context()).err().unwrap();
        assert_eq!(
            problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(),
            ["attributes.kind", "attributes.list", "attributes.long"]
        );
    }
}
