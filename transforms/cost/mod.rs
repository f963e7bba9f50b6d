//! `cost`: what a model call cost, in US dollars.
//!
//! 1. What the client says it cost wins (`cost_usd`): it knows its contract. The computed cost is kept
//!    beside it.
//! 2. Input tokens include the cached ones, as the conventions have it: cached ones are never counted twice.
//! 3. What has no price is said to have none: `openclaw_trace.cost.source` is `unpriced`, a counter counts
//!    it, one log line names each model. It is never taken for 0, and never for a model with a similar name.
//! 4. Each computed cost names the table that it is from.
//!
//! | attribute | |
//! |---|---|
//! | `cost_usd` | the cost: reported, else computed |
//! | `openclaw_trace.cost.source` | `reported`, `computed` or `unpriced` |
//! | `openclaw_trace.cost.computed_usd` | the computed one, where another was reported |
//! | `openclaw_trace.cost.prices` | the table: what it was made from, and when |
//!
//! Not known: prices of batches and of priority, and of a cache that lives an hour.

mod table;

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use engine::json::quoted;
use engine::metrics::IntCounterVec;
use engine::{Batch, BuildContext, Event, Kind, Problem, Problems, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use table::{Price, Prices, Tier};

/// Adds to each model call what it cost.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cost {
    /// A TOML file of prices of one's own, over the embedded ones: `[[price]]` tables with `model`, `input`,
    /// `output` and, as far as they apply, `provider`, `cache_read`, `cache_write`, in US dollars a million tokens.
    pub prices: Option<PathBuf>,
    /// Whether to use the embedded prices.
    pub embedded: bool,
}

impl Default for Cost {
    fn default() -> Self {
        Self { prices: None, embedded: true }
    }
}

impl TransformConfig for Cost {
    const TYPE: &'static str = "cost";

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Transform>, Problems> {
        let problem = |message: String| vec![Problem::new("prices", message)];
        let text = self.prices.as_ref().map(|path| {
            std::fs::read_to_string(path)
                .map_err(|error| problem(format!("{} cannot be read: {error}", path.display())))
        });
        let text = text.transpose()?;
        let prices = Prices::new(self.embedded, text.as_deref()).map_err(problem)?;
        Ok(Box::new(Costs {
            prices,
            version: match &self.prices {
                Some(path) => format!("{} over {}", path.display(), table::VERSION),
                None => table::VERSION.to_owned(),
            },
            counted: cx.metrics.counter_by(
                &cx.name,
                "cost_events_total",
                "Model calls with tokens, by where their cost is from.",
                "source",
            ),
            name: cx.name.clone(),
            said: Mutex::default(),
        }))
    }
}

struct Costs {
    prices: Prices,
    version: String,
    counted: IntCounterVec,
    name: String,
    /// Models that were said to have no price.
    said: Mutex<HashSet<String>>,
}

/// Most models that are said by name.
const MAX_SAID: usize = 64;

/// The attributes that a cost is made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attributes<'a> {
    #[serde(borrow, rename = "gen_ai.provider.name")]
    provider: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "gen_ai.response.model")]
    response_model: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "gen_ai.request.model")]
    request_model: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "gen_ai.usage.input_tokens")]
    input: Option<&'a RawValue>,
    #[serde(borrow, rename = "gen_ai.usage.output_tokens")]
    output: Option<&'a RawValue>,
    #[serde(borrow, rename = "gen_ai.usage.cache_read.input_tokens")]
    cache_read: Option<&'a RawValue>,
    #[serde(borrow, rename = "gen_ai.usage.cache_creation.input_tokens")]
    cache_write: Option<&'a RawValue>,
    #[serde(borrow)]
    cost_usd: Option<&'a RawValue>,
    #[serde(borrow, rename = "openclaw_trace.cost.source")]
    done: Option<&'a RawValue>,
}

impl Transform for Costs {
    fn apply(&self, batch: &mut Batch) {
        let is_call = |event: &Event| event.kind == Kind::LLM_CALL || event.kind == Kind::USAGE;
        if !batch.iter().any(is_call) {
            return;
        }
        for event in batch.iter_mut().filter(|event| is_call(event)) {
            self.price(event);
        }
    }
}

impl Costs {
    fn price(&self, event: &mut Event) {
        let Some(json) = &event.attributes else { return };
        // Attributes of other types than these are somebody else's, and priced by nobody.
        let Ok(found) = serde_json::from_str::<Attributes<'_>>(json.as_str()) else { return };
        if found.done.is_some() {
            return;
        }
        let count = |raw: Option<&RawValue>| raw.and_then(|raw| raw.get().parse::<u64>().ok());
        let tokens = Tokens {
            input: count(found.input),
            output: count(found.output),
            cache_read: count(found.cache_read).unwrap_or(0),
            cache_write: count(found.cache_write).unwrap_or(0),
        };
        let reported = found.cost_usd.and_then(|raw| raw.get().parse::<f64>().ok()).filter(|cost| cost.is_finite());
        // A call that failed before it used anything costs nothing, whatever the price.
        if reported.is_none() && tokens.input.unwrap_or(0) == 0 && tokens.output.unwrap_or(0) == 0 {
            return;
        }
        let provider = found.provider.as_deref().unwrap_or_default();
        let models = [found.response_model.as_deref(), found.request_model.as_deref(), event.name.as_deref()];
        let price = models.into_iter().flatten().find_map(|model| self.prices.find(provider, model));
        let computed = price.and_then(|price| tokens.cost(&price));
        let mut added = Vec::with_capacity(3);
        let source = match (reported, computed) {
            (Some(_), Some(computed)) => {
                added.push(("openclaw_trace.cost.computed_usd", dollars(computed)));
                "reported"
            }
            (Some(_), None) => "reported",
            (None, Some(computed)) => {
                added.push(("cost_usd", dollars(computed)));
                "computed"
            }
            (None, None) => {
                self.say_unpriced(provider, models.into_iter().flatten().next().unwrap_or("no model named"));
                "unpriced"
            }
        };
        if computed.is_some() {
            added.push(("openclaw_trace.cost.prices", quoted(&self.version)));
        }
        added.push(("openclaw_trace.cost.source", quoted(source)));
        self.counted.with_label_values(&[source]).inc();
        event.add_attributes(added);
    }

    fn say_unpriced(&self, provider: &str, model: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{provider}/{model}");
        if name.len() <= 256 && said.len() < MAX_SAID && said.insert(name) {
            tracing::warn!(
                component = self.name,
                provider = %provider.escape_debug(),
                model = %model.escape_debug(),
                "no price is known for this model; its calls have no cost (said once; key prices sets one)"
            );
        }
    }
}

/// What a call used. Input includes what was read from and written to the cache.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: u64,
    cache_write: u64,
}

/// From this many input tokens on, a model may cost more.
const LONG: u64 = 200_000;

impl Tokens {
    /// The cost in pico-dollars; `None` where a price that is needed is not known.
    fn cost(self, price: &Price) -> Option<u128> {
        let input = self.input.unwrap_or(0);
        let tier = if input > LONG { longer(price) } else { price.usual };
        // A client that counts cached tokens beside the input, and not in it, has more of them than input.
        let plain = input.saturating_sub(self.cache_read).saturating_sub(self.cache_write);
        let part = |tokens: u64, price: Option<u64>| match (tokens, price) {
            (0, _) => Some(0),
            (tokens, price) => price.map(|price| u128::from(tokens) * u128::from(price)),
        };
        // What a provider does not price apart costs what other input costs.
        let read = tier.cache_read.or(tier.input);
        let written = tier.cache_write.or(tier.input);
        let parts = [
            part(plain, tier.input)?,
            part(self.cache_read, read)?,
            part(self.cache_write, written)?,
            part(self.output.unwrap_or(0), tier.output)?,
        ];
        Some(parts.into_iter().sum())
    }
}

fn longer(price: &Price) -> Tier {
    let Price { usual, long } = price;
    Tier {
        input: long.input.or(usual.input),
        output: long.output.or(usual.output),
        cache_read: long.cache_read.or(usual.cache_read),
        cache_write: long.cache_write.or(usual.cache_write),
    }
}

/// Pico-dollars as dollars, exact: JSON numbers may have as many digits as it takes.
fn dollars(pico: u128) -> String {
    const PICO: u128 = 1_000_000_000_000;
    let (whole, rest) = (pico / PICO, pico % PICO);
    let text = format!("{whole}.{rest:012}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
