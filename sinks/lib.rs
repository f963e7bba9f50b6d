//! The built-in sinks of openclaw-trace.

pub mod augmi_push;
mod delivery;
pub mod otlp;
pub mod otlp_push;
pub mod sqlite_store;
#[cfg(test)]
mod testing;

pub use augmi_push::AugmiPush;
pub use delivery::{CatchUp, Compression};
pub use otlp_push::OtlpPush;
pub use sqlite_store::SqliteStore;
