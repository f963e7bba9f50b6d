//! What an event's attributes tell of a model call, for those who show events one by one.

use engine::Event;
use serde::Deserialize;

/// The attributes that are shown. Where one is of another type than it should be, none is told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Tokens of input, cached ones included.
    #[serde(rename = "gen_ai.usage.input_tokens")]
    pub input: Option<f64>,
    /// Of those, tokens read from a cache.
    #[serde(rename = "gen_ai.usage.cache_read.input_tokens")]
    pub cached: Option<f64>,
    /// Tokens of output.
    #[serde(rename = "gen_ai.usage.output_tokens")]
    pub output: Option<f64>,
    /// In US dollars.
    pub cost_usd: Option<f64>,
    /// Where the cost is from.
    #[serde(rename = "openclaw_trace.cost.source")]
    pub source: Option<String>,
    /// The model that was asked.
    #[serde(rename = "gen_ai.request.model")]
    pub model: Option<String>,
    /// Who offers it.
    #[serde(rename = "gen_ai.provider.name")]
    pub provider: Option<String>,
    /// Of a link: the other id of the run.
    #[serde(rename = "link.run_id")]
    pub other: Option<String>,
    /// What the client called the span.
    #[serde(rename = "otel.span.name")]
    pub span_name: Option<String>,
}

impl Told {
    /// What this event tells.
    #[must_use]
    pub fn by(event: &Event) -> Self {
        event.attributes.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default()
    }

    /// Whether it is a call that has no price.
    #[must_use]
    pub fn is_unpriced(&self) -> bool {
        self.source.as_deref() == Some("unpriced")
    }
}
