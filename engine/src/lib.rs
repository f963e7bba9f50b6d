//! What a plugin of openclaw-trace is written against, and what runs it.
//!
//! An [`Event`] is one thing that the agent did. A source offers a [`Batch`] of them to its
//! [`Outlet`], which decides once, by [`Admission`], whether there is room. The batch carries
//! its credits and its receipt through the transforms to every sink; when the last of them is
//! done with it, the receipt resolves and the credits return. Acknowledgement, backpressure and
//! drain all rest on that one mechanism.
//!
//! This crate knows no plugin, no SQLite and no HTTP server.

pub mod admission;
pub mod batch;
pub mod config;
mod difference;
pub mod event;
pub mod graph;
pub mod identity;
pub mod json;
pub mod metrics;
pub mod outbox;
pub mod plugin;
pub mod reload;
pub mod runtime;

pub use admission::{Admission, Credits};
pub use batch::{Batch, Keep, Outcome, Receipt, Refusal, RefusalKind};
pub use event::{Event, EventError, Kind, Status, Timestamp, TraceId};
pub use json::Json;
pub use outbox::{Cursor, Outbox, OutboxError, Unsent};
pub use plugin::{
    BuildContext, Holds, Losses, OpenError, OutboxSink, Outlet, Problem, Problems, Reads, Registry, Sink, SinkConfig,
    Source, SourceConfig, Transform, TransformConfig, WriteSize,
};
pub use reload::{Asked, Reload};
