//! The built-in sinks of openclaw-trace.

pub mod sqlite_store;

pub use sqlite_store::SqliteStore;
