//! The built-in sinks of openclaw-trace.

pub mod augmi_push;
mod delivery;
pub mod otlp;
pub mod sqlite_store;

pub use augmi_push::AugmiPush;
pub use delivery::Compression;
pub use sqlite_store::SqliteStore;
