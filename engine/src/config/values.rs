//! Types for settings that people write: times with a unit, sizes with a unit, secrets.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time: `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"30d"`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// A number of bytes: `"64KiB"`, `"256MiB"`, `"1GiB"`, `"5MB"`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A token or password. Prints as `[secret]`, whatever prints it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Time {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let seconds = number
            * match unit {
                "ms" => 0.001,
                "s" | "" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        Duration::try_from_secs_f64(seconds).ok().map(Self)
    }
}

impl Size {
    /// So many mebibytes.
    #[must_use]
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes * 1024 * 1024)
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return None,
        };
        #[allow(clippy::cast_precision_loss)]
        let bytes = number * factor as f64;
        // Up to 2^53 the product is exact; no disk of ours is larger.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (bytes <= 9e15).then_some(Self(bytes as u64))
    }
}

/// `"1.5 MiB"` to `(1.5, "MiB")`.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok().filter(|n| n.is_finite())?;
    Some((number, text[end..].trim()))
}

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that must send or compare it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")]
            .into_iter()
            .find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", millis / unit),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

macro_rules! setting {
    ($type:ident, $parse_number:expr, $expecting:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl Visitor<'_> for Read {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        Ok($parse_number(number))
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        u64::try_from(number)
                            .map($parse_number)
                            .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Read)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $expecting,
                    "anyOf": [{"type": "string", "pattern": $pattern}, {"type": "number", "minimum": 0}],
                })
            }
        }
    };
}

setting!(
    Time,
    Time::seconds,
    "a time such as \"250ms\", \"30s\", \"5m\", \"12h\", \"30d\", or a number of seconds",
    "^[0-9.]+ *(ms|s|m|min|h|d)?$"
);
setting!(
    Size,
    Size,
    "a size such as \"64KiB\", \"256MiB\", \"1GiB\", or a number of bytes",
    "^[0-9.]+ *([kKmMgG]?[iI]?[bB]?)$"
);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "[secret]" })
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // `writeOnly` is how JSON Schema says "never shown"; `config` masks by it.
        json_schema!({"type": "string", "writeOnly": true})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_people_write_them() {
        let time = |text: &str| serde_json::from_str::<Time>(text).unwrap().0;
        assert_eq!(time("\"5m\""), Duration::from_secs(300));
        assert_eq!(time("\"250ms\""), Duration::from_millis(250));
        assert_eq!(time("15"), Duration::from_secs(15));
        assert_eq!(time("\"15\""), Duration::from_secs(15));
        let size = |text: &str| serde_json::from_str::<Size>(text).unwrap().0;
        assert_eq!(size("\"256MiB\""), 256 << 20);
        assert_eq!(size("\"5MB\""), 5_000_000);
        assert_eq!(size("4096"), 4096);
        assert!(serde_json::from_str::<Time>("\"5 parsecs\"").unwrap_err().to_string().contains("a time such as"));
        assert!(serde_json::from_str::<Size>("-1").is_err());
    }

    #[test]
    fn shown_as_written() {
        assert_eq!(Time::seconds(300).to_string(), "5m");
        assert_eq!(Size::mib(256).to_string(), "256MiB");
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?}{}", serde_json::to_string(&secret).unwrap()).contains("hunter2"));
    }
}
