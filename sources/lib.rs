//! The built-in sources of openclaw-trace.

pub mod http_ingest;

pub use http_ingest::HttpIngest;
