//! The built-in sources of openclaw-trace.

pub mod cgroup_metrics;
pub mod gateway_log;
pub mod http_ingest;

pub use cgroup_metrics::CgroupMetrics;
pub use gateway_log::GatewayLog;
pub use http_ingest::HttpIngest;

mod told;
