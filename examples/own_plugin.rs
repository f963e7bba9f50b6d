//! A plugin of your own: one struct, one trait, one line in `main`.
//!
//! This one adds the name of the machine to every event that has no agent. Run it like the program
//! itself: `cargo run --example own_plugin -- plugins`.

use std::process::ExitCode;

use openclaw_trace::engine::{Batch, BuildContext, Problem, Problems, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;

/// Names the agent of events that come without one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NameAgent {
    /// The name to give.
    agent_id: String,
}

impl TransformConfig for NameAgent {
    const TYPE: &'static str = "name_agent";

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        if self.agent_id.is_empty() {
            return Err(vec![Problem::new("agent_id", "is empty; give the agent's name")]);
        }
        Ok(Box::new(self))
    }
}

impl Transform for NameAgent {
    fn apply(&self, batch: &mut Batch) {
        for event in batch.iter_mut().filter(|event| event.agent_id.is_none()) {
            event.agent_id = Some(self.agent_id.clone());
        }
    }
}

fn main() -> ExitCode {
    openclaw_trace::main_with(openclaw_trace::builtin().with_transform::<NameAgent>())
}
