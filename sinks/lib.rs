//! The built-in sinks of openclaw-trace.

pub mod augmi_push;
pub mod clickhouse;
pub mod console;
mod delivery;
mod describe;
pub mod file;
mod ingest_client;
pub mod otlp;
pub mod otlp_push;
pub mod sqlite_store;
#[cfg(test)]
mod testing;
pub mod text;
mod told;
mod volume;

pub use augmi_push::AugmiPush;
pub use clickhouse::ClickHouse;
pub use console::Console;
pub use delivery::{CatchUp, Compression};
pub use describe::describe;
pub use file::FileSink;
pub use ingest_client::{Answered, IngestClient, Taken};
pub use otlp_push::OtlpPush;
pub use sqlite_store::SqliteStore;
pub use told::Told;
