//! Names: what a span is, by OpenClaw's and OpenTelemetry's words for it; and one form for the
//! attributes that have had several (semantic conventions for generative AI, v1.41).

use engine::Kind;

/// Former names of attributes and the present ones. Where a client sends both, the present one's
/// value is kept.
const RENAMED: [(&str, &str); 10] = [
    ("gen_ai.system", "gen_ai.provider.name"),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
    ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
    ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ("gen_ai.usage.reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
    ("gen_ai.prompt", "gen_ai.input.messages"),
    ("gen_ai.completion", "gen_ai.output.messages"),
    ("gen_ai.response.finish_reason", "gen_ai.response.finish_reasons"),
    ("gen_ai.openai.request.response_format", "gen_ai.output.type"),
];

/// Former names of providers.
const PROVIDERS: [(&str, &str); 5] = [
    ("az.ai.openai", "azure.ai.openai"),
    ("az.ai.inference", "azure.ai.inference"),
    ("gemini", "gcp.gemini"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("xai", "x_ai"),
];

/// The present name of an attribute, where this is a former one.
pub(super) fn present(name: &str) -> Option<&'static str> {
    // Only these begin so; most attributes are passed by at the first comparison.
    if !name.starts_with("gen_ai.") {
        return None;
    }
    RENAMED.iter().find(|(former, _)| *former == name).map(|(_, present)| *present)
}

/// The present name of a provider.
pub(super) fn provider(name: &str) -> &str {
    PROVIDERS.iter().find(|(former, _)| *former == name).map_or(name, |(_, present)| *present)
}

/// What attributes of OpenClaw's own a span has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// Sums of tokens (`openclaw.tokens.*`).
    pub(super) sum: bool,
    /// Figures of a model call (`openclaw.model_call.*`).
    pub(super) call: bool,
}

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// A call of a model.
    ModelCall,
    /// What a turn used in all: a sum over calls, never to be added to them.
    Usage,
    /// A call of a tool.
    ToolCall,
    /// Any other: the event's kind.
    Other(&'static str),
}

impl Sort {
    /// By the span's name; where that is not OpenClaw's, by what it tells of itself.
    pub(super) fn of(span: &str, operation: Option<&str>, told: Told) -> Self {
        if let Some(name) = span.strip_prefix("openclaw.") {
            return match name {
                "model.call" => Self::ModelCall,
                "model.usage" => Self::Usage,
                "tool.execution" => Self::ToolCall,
                "run" => Self::Other("run"),
                "exec" => Self::Other("exec"),
                "context.assembled" => Self::Other("context"),
                "model.failover" => Self::Other("failover"),
                "webhook.error" => Self::Other("error"),
                _ if name.starts_with("message.") => Self::Other("message"),
                _ if name.starts_with("session.") => Self::Other("session"),
                _ if name.starts_with("webhook.") => Self::Other("webhook"),
                _ if is_infrastructure(name) => Self::Other("gateway"),
                _ => Self::Other("span"),
            };
        }
        match operation {
            // Under the newer names a turn's sum is called like a call, but tells OpenClaw's totals; and
            // the call of a model that runs a whole turn by itself is called invoke_agent.
            Some(_) if told.sum => Self::Usage,
            Some(_) if told.call => Self::ModelCall,
            Some("chat" | "text_completion" | "generate_content" | "embeddings") => Self::ModelCall,
            Some("execute_tool") => Self::ToolCall,
            Some("invoke_agent" | "create_agent" | "invoke_workflow") => Self::Other("run"),
            _ => Self::Other("span"),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::ModelCall => Kind::LLM_CALL,
            Self::ToolCall => Kind::TOOL_CALL,
            Self::Usage => Kind::USAGE,
            // The names above are kinds.
            Self::Other(name) => Kind::parse(name).unwrap_or(Kind::LOG),
        }
    }
}

/// What the gateway says of itself and not of any turn; `name` is without `openclaw.`.
fn is_infrastructure(name: &str) -> bool {
    ["liveness.", "memory.", "gateway.", "telemetry.", "diagnostic."].iter().any(|prefix| name.starts_with(prefix))
}
