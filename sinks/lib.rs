//! The built-in sinks.

pub mod augmi_push;
