//! The built-in sinks of openclaw-trace.

pub mod augmi_push;
pub mod clickhouse;
mod delivery;
pub mod otlp;
pub mod sqlite_store;

pub use augmi_push::AugmiPush;
pub use clickhouse::ClickHouse;
pub use delivery::Compression;
pub use sqlite_store::SqliteStore;
