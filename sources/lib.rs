//! The built-in sources of openclaw-trace.

pub mod cgroup_metrics;
pub mod file;
pub mod gateway_log;
pub mod http_ingest;
pub mod ndjson;

pub use cgroup_metrics::CgroupMetrics;
pub use file::FileSource;
pub use gateway_log::GatewayLog;
pub use http_ingest::HttpIngest;

mod beginning;
mod delivery;
mod told;
