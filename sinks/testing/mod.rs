//! What several sinks' tests share.

#![allow(clippy::unwrap_used)]

pub(crate) mod memory;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber, span};

/// Collects every log line of this thread, at every level.
#[derive(Clone, Default)]
pub(crate) struct Collected(Arc<Mutex<String>>);

/// As long as it lives, lines are collected.
pub(crate) struct Listening {
    _guard: tracing::subscriber::DefaultGuard,
    // With a single subscriber alive, tracing asks that of whichever thread first reaches a line
    // whether the line is wanted; tests on other threads have none. With two it asks both of these.
    _second: tracing::Dispatch,
}

impl Collected {
    pub(crate) fn listen(&self) -> Listening {
        let _second = tracing::Dispatch::new(self.clone());
        Listening { _guard: tracing::subscriber::set_default(self.clone()), _second }
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().map(|text| text.clone()).unwrap_or_default()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Collected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sinks")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        if let Ok(mut text) = self.0.lock() {
            text.push_str(&(line.0 + "\n"));
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
