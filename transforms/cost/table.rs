//! What tokens cost: the embedded table, and prices of one's own over it.
//!
//! Prices are whole numbers of pico-dollars a token (3 dollars a million tokens are 3,000,000): sums
//! of them are exact. The table is text in the binary, sorted, and searched where it lies, so it costs no
//! memory until it is used.

use std::collections::HashMap;

use serde::Deserialize;

/// Model, provider, then the prices; made by `make-prices`.
const TABLE: &str = include_str!("prices.tsv");

/// Where the table is from, and when it was made.
pub(super) const VERSION: &str = include_str!("prices.version");

/// Prices of one tier, in pico-dollars a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tier {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
}

/// Prices of a model at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) usual: Tier,
    /// Above 200,000 input tokens, where it differs.
    pub(super) long: Tier,
}

/// Names that clients use for providers, and the table's (OpenTelemetry's, where it has one).
const PROVIDERS: [(&str, &str); 20] = [
    ("amazon-bedrock", "aws.bedrock"),
    ("azure", "azure.ai.openai"),
    ("azure-openai", "azure.ai.openai"),
    ("bedrock", "aws.bedrock"),
    ("fireworks", "fireworks_ai"),
    ("gemini", "gcp.gemini"),
    ("google", "gcp.gemini"),
    ("google-gemini-cli", "gcp.gemini"),
    ("google-vertex", "gcp.vertex_ai"),
    ("mistral", "mistral_ai"),
    ("moonshotai", "moonshot"),
    ("openai-codex", "openai"),
    ("openai-responses", "openai"),
    ("qwen", "dashscope"),
    ("together", "together_ai"),
    ("vertex", "gcp.vertex_ai"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("xai", "x_ai"),
    ("z.ai", "zai"),
    ("zhipu", "zai"),
];

/// A price of one's own, in US dollars a million tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    /// As the events say it; empty: at every provider.
    #[serde(default)]
    provider: String,
    /// As the events say it.
    model: String,
    input: f64,
    output: f64,
    #[serde(default)]
    cache_read: Option<f64>,
    #[serde(default)]
    cache_write: Option<f64>,
}

/// A file of prices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    price: Vec<Own>,
}

/// All prices.
#[derive(Debug, Default)]
pub(super) struct Prices {
    own: HashMap<(String, String), Price>,
    embedded: bool,
}

impl Prices {
    /// The embedded ones, where `embedded`, and those of a file over them.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn new(embedded: bool, file: Option<&str>) -> Result<Self, String> {
        let mut own = HashMap::new();
        if let Some(text) = file {
            let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
            for (at, price) in file.price.into_iter().enumerate() {
                let name = (provider(&price.provider).to_ascii_lowercase(), price.model.to_ascii_lowercase());
                let read = price.read().map_err(|problem| format!("price[{at}]: {problem}"))?;
                if own.insert(name, read).is_some() {
                    return Err(format!("price[{at}]: {} is there twice", price.model));
                }
            }
        }
        Ok(Self { own, embedded })
    }

    /// The price of a model at a provider, by their names as they are; nothing is made of a likeness.
    pub(super) fn find(&self, provider_name: &str, model: &str) -> Option<Price> {
        let (provider_name, model) = (provider(provider_name).to_ascii_lowercase(), model.to_ascii_lowercase());
        // `anthropic/claude-x` at `anthropic` is claude-x.
        let bare = model.strip_prefix(provider_name.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&model);
        if !self.own.is_empty() {
            for model in [model.as_str(), bare] {
                for provider in [provider_name.as_str(), ""] {
                    if let Some(price) = self.own.get(&(provider.to_owned(), model.to_owned())) {
                        return Some(*price);
                    }
                }
            }
        }
        self.embedded.then(|| embedded(&provider_name, bare)).flatten()
    }
}

impl Own {
    fn read(&self) -> Result<Price, String> {
        let pico = |name: &str, dollars: f64| {
            if !(0.0..=1e6).contains(&dollars) {
                return Err(format!("{name} must be dollars a million tokens, 0 to 1000000"));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok((dollars * 1e6).round() as u64)
        };
        let maybe = |name: &str, dollars: Option<f64>| dollars.map(|dollars| pico(name, dollars)).transpose();
        let usual = Tier {
            input: Some(pico("input", self.input)?),
            output: Some(pico("output", self.output)?),
            cache_read: maybe("cache_read", self.cache_read)?,
            cache_write: maybe("cache_write", self.cache_write)?,
        };
        Ok(Price { usual, long: Tier::default() })
    }
}

fn provider(name: &str) -> &str {
    PROVIDERS.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or(name, |(_, known)| known)
}

/// Looks a line up by halving the text.
fn embedded(provider: &str, model: &str) -> Option<Price> {
    let wanted = [model, "\t", provider, "\t"].concat();
    let (mut low, mut high) = (0, TABLE.len());
    while low < high {
        let middle = low + (high - low) / 2;
        // Back to the start of the line; a cut inside a character cannot begin one.
        let start = TABLE.as_bytes()[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end =
            TABLE.as_bytes()[middle..].iter().position(|byte| *byte == b'\n').map_or(TABLE.len(), |at| middle + at);
        let line = &TABLE[start..end];
        if let Some(prices) = line.strip_prefix(wanted.as_str()) {
            return Some(line_price(prices));
        }
        if line.as_bytes() < wanted.as_bytes() {
            low = end + 1;
        } else {
            high = start;
        }
    }
    None
}

fn line_price(text: &str) -> Price {
    let mut numbers = text.split('\t').map(|number| number.parse().ok());
    let mut tier = || {
        let mut next = || numbers.next().flatten();
        Tier { input: next(), output: next(), cache_read: next(), cache_write: next() }
    };
    Price { usual: tier(), long: tier() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_found_and_says_what_it_says() {
        let mut last = "";
        for line in TABLE.lines() {
            assert!(last.as_bytes() < line.as_bytes(), "sorted: {line}");
            last = line;
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!(fields.len(), 10, "{line}");
            let price = embedded(fields[1], fields[0]).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(price.usual.input, fields[2].parse().ok());
            assert_eq!(price.long.cache_write, fields[9].parse().ok());
        }
        assert!(TABLE.lines().count() > 1000);
        assert_eq!(embedded("anthropic", "no-such-model"), None);
        assert_eq!(embedded("openai", ""), None);
        assert_eq!(embedded("zzz", "zzz"), None);
    }

    #[test]
    fn names_of_clients_are_known_and_nothing_is_guessed() {
        let prices = Prices::new(true, None).unwrap();
        let known = prices.find("anthropic", "claude-sonnet-4-5").unwrap();
        assert_eq!(known.usual.input, Some(3_000_000));
        assert_eq!(prices.find("Anthropic", "anthropic/Claude-Sonnet-4-5"), Some(known));
        assert!(prices.find("google", "gemini-2.5-pro").unwrap().long.input.is_some());
        assert_eq!(prices.find("anthropic", "claude-sonnet-4-5-next"), None);
        assert_eq!(prices.find("my-proxy", "claude-sonnet-4-5"), None);
    }

    #[test]
    fn prices_of_ones_own_come_first() {
        let text = "[[price]]\nprovider = \"mock\"\nmodel = \"mock-1\"\ninput = 3\noutput = 15.0\ncache_read = 0.3\n\
                    [[price]]\nmodel = \"claude-sonnet-4-5\"\ninput = 1\noutput = 1\n";
        let prices = Prices::new(true, Some(text)).unwrap();
        assert_eq!(prices.find("mock", "Mock-1").unwrap().usual.cache_read, Some(300_000));
        assert_eq!(prices.find("anthropic", "claude-sonnet-4-5").unwrap().usual.input, Some(1_000_000));
        assert_eq!(Prices::new(false, None).unwrap().find("anthropic", "claude-sonnet-4-5"), None);
        for (text, told) in [
            ("[[price]]\nmodel = \"m\"\ninput = -1\noutput = 1\n", "price[0]: input must be dollars"),
            ("[[price]]\nmodel = \"m\"\nipnut = 1\n", "unknown field"),
            (
                "[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\n[[price]]\nmodel = \"M\"\ninput = 1\noutput = 1\n",
                "twice",
            ),
        ] {
            let error = Prices::new(true, Some(text)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
