//! What is wrong with a configuration, and what was probably meant.

use std::fmt;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The layer: `openclaw-trace.toml:12`, `TRACE_PORT`, `--set api.bind`.
    pub origin: String,
    /// The key, dotted; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.message)
        } else {
            write!(f, "{}: {}: {}", self.origin, self.key, self.message)
        }
    }
}

/// All mistakes of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn one(origin: impl Into<String>, key: &str, message: impl Into<String>) -> Self {
        Self(vec![ConfigError { origin: origin.into(), key: key.to_owned(), message: message.into() }])
    }

    /// In the order in which a reader meets them, each once.
    pub(super) fn sorted(mut errors: Vec<ConfigError>) -> Self {
        let line = |error: &ConfigError| error.origin.rsplit_once(':').and_then(|(_, line)| line.parse::<u32>().ok());
        errors.sort_by_key(|error| line(error).unwrap_or(u32::MAX));
        let mut once = Vec::new();
        for error in errors {
            if !once.contains(&error) {
                once.push(error);
            }
        }
        Self(once)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The name among `known` that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        // Two slips in a short name make another name; in a long one they are slips.
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len().min(name.len()) / 4).min(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The end of a message about an unknown name.
pub(super) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("; did you mean {near}?"),
        None => format!("; there are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}
