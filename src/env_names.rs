//! The short names of variables: the settings that differ from one deploy to the next.

use engine::config::Section::{Sinks, Sources, Transforms};
use engine::config::{ShortName, Target};

const fn component(name: &'static str, target: Target) -> ShortName {
    ShortName { name, target, port: false }
}

/// What each short name reaches.
pub(crate) const SHORT_NAMES: &[ShortName] = &[
    component("TRACE_DB_PATH", Target::Component(Sinks, "sqlite_store", "path")),
    ShortName { name: "TRACE_PORT", target: Target::Component(Sources, "http_ingest", "bind"), port: true },
    ShortName { name: "TRACE_API_PORT", target: Target::Table("api", "bind"), port: true },
    component("TRACE_LOG_LEVEL", Target::Table("runtime", "log_level")),
    component("TRACE_MAX_TEXT_BYTES", Target::Component(Transforms, "truncate", "max_text_bytes")),
    component("TRACE_RETENTION_DAYS", Target::Component(Sinks, "sqlite_store", "retention_days")),
    component("TRACE_INGEST_TOKEN", Target::Component(Sources, "http_ingest", "token")),
    component("TRACE_API_TOKEN", Target::Table("api", "token")),
    component("TRACE_METRICS_INTERVAL", Target::Component(Sources, "cgroup_metrics", "interval")),
    component("TRACE_PUSH_INTERVAL", Target::Component(Sinks, "augmi_push", "interval")),
    component("TRACE_PUSH_ENDPOINT", Target::Component(Sinks, "augmi_push", "endpoint")),
    component("TRACE_PUSH_TOKEN", Target::Component(Sinks, "augmi_push", "token")),
    component("TRACE_AGENT_ID", Target::Component(Sinks, "augmi_push", "agent_id")),
];

/// The variables of the earlier Go sidecar, and what replaces them.
pub(crate) const OLD_NAMES: &[(&str, &str)] = &[
    ("OCT_PORT", "TRACE_PORT"),
    ("OCT_DB_PATH", "TRACE_DB_PATH"),
    ("OCT_LOG_LEVEL", "TRACE_LOG_LEVEL"),
    // Log lines go to standard error, for the supervisor to keep.
    ("OCT_LOG_PATH", ""),
    ("OCT_PUSH_ENDPOINT", "TRACE_PUSH_ENDPOINT"),
    ("OCT_PUSH_INTERVAL", "TRACE_PUSH_INTERVAL"),
    ("OCT_RETENTION_DAYS", "TRACE_RETENTION_DAYS"),
    ("OCT_MAX_TEXT_BYTES", "TRACE_MAX_TEXT_BYTES"),
    ("OCT_METRICS_INTERVAL", "TRACE_METRICS_INTERVAL"),
];
