//! A bar for long work: on a terminal only, where a person waits.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sinks::sqlite_store::care::Progress;

/// A bar on standard error; nothing where that is no terminal. It goes when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Begins; `doing` is what the person asked for, as in `checking`.
    pub(crate) fn new(doing: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
        // The template is fixed and known to be right; else the library's own bar is as good.
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {percent:>3} %  {elapsed}") {
            bar.set_style(style.progress_chars("#> "));
        }
        bar.set_message(doing);
        // The end of a vacuum tells nothing; the clock shows that it lives.
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// So much is done, of so much.
    pub(crate) fn at(&self, done: u64, all: u64) {
        self.0.set_length(all.max(1));
        self.0.set_position(done);
    }

    /// Does something that writes to the screen, which the bar must not stand in the middle of.
    pub(crate) fn over(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// For those who tell their progress to a function.
    pub(crate) fn told(&self) -> Progress {
        let bar = Self(self.0.clone());
        Arc::new(move |done, all| bar.at(done, all))
    }

    /// Takes the bar off the screen.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
