//! The names of the semantic conventions for generative AI (v1.41), by an event's kind.

use engine::Kind;

/// What the conventions call an event of one kind.
pub(super) struct Names {
    /// `gen_ai.operation.name`; an event may tell another one itself.
    pub(super) operation: Option<&'static str>,
    /// The attribute that the event's name is.
    pub(super) name: Option<&'static str>,
    /// The attribute that follows the operation in the span's name.
    pub(super) object: &'static str,
    pub(super) input: &'static str,
    pub(super) output: &'static str,
    /// Whether the work is done elsewhere.
    pub(super) is_client: bool,
}

impl Names {
    pub(super) fn of(kind: &Kind) -> Self {
        let messages = ("gen_ai.input.messages", "gen_ai.output.messages");
        let arguments = ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result");
        let (operation, name, object, (input, output)) = match kind.as_str() {
            "llm_call" => (Some("chat"), Some("gen_ai.request.model"), "gen_ai.request.model", messages),
            "tool_call" => (Some("execute_tool"), Some("gen_ai.tool.name"), "gen_ai.tool.name", arguments),
            // A run's name is what began it, and not the agent's.
            "run" => (Some("invoke_agent"), None, "gen_ai.agent.name", messages),
            _ => (None, None, "", ("input.value", "output.value")),
        };
        Self { operation, name, object, input, output, is_client: *kind == Kind::LLM_CALL }
    }
}
