//! Placeholder until the configuration module lands.

pub mod values;

pub use values::{Secret, Size, Time};

use crate::plugin::{Problem, Problems};
/// Reads a component's table (without `type`, `inputs`, `enabled`) into its typed configuration.
///
/// # Errors
/// Every problem found.
pub fn typed<C: serde::de::DeserializeOwned + schemars::JsonSchema>(table: &serde_json::Value) -> Result<C, Problems> {
    serde_json::from_value(table.clone()).map_err(|error| vec![Problem::new("", error.to_string())])
}
