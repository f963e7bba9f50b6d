//! The built-in sources of openclaw-trace.

pub mod cgroup_metrics;
pub mod http_ingest;

pub use cgroup_metrics::CgroupMetrics;
pub use http_ingest::HttpIngest;
