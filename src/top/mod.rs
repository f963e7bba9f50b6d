//! `openclaw-trace top`: all of it on a full screen, as it happens.
//!
//! `poll.rs` asks the store's file once a second, as any reader does: it works beside a running instance, and on
//! a file alone. `state.rs` is what is shown and what keys do to it, `draw.rs` how it looks.

mod draw;
mod poll;
mod state;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::Failure;
use poll::Poller;
use state::{Action, State};

/// How often the store is asked.
const LOOK: Duration = Duration::from_secs(1);

/// How often a signal is looked for.
const BREATH: Duration = Duration::from_millis(250);

/// Shows it until the person has seen enough.
pub(crate) fn top(db: &Path) -> Result<String, Failure> {
    if !std::io::stdout().is_terminal() {
        let message = "top needs a terminal; `openclaw-trace stats` and `openclaw-trace tail` print the same as text";
        return Err(Failure { code: 2, message: message.to_owned() });
    }
    // Said on the person's own screen, not on one that is gone a moment later.
    let poller = Poller::open(db)?;
    let failed = |error: std::io::Error| Failure::failed(format!("the terminal cannot be used: {error}"));
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(Arc::clone(&stop)).map_err(failed)?;
    // Also puts the screen back where the program panics.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let state = State::new(db.display().to_string(), no_color());
    let ended = live(&mut terminal, poller, state, &stop);
    ratatui::restore();
    ended.map(|()| String::new()).map_err(failed)
}

/// Ends the program in order when it is told to, and, should that take longer than it may, at once: a read of a
/// terminal that is gone never comes back, and would take a whole CPU for it (crossterm 0.29).
fn watch_signals(stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        stop.store(true, Ordering::Relaxed);
        std::thread::sleep(4 * BREATH);
        let _ = ratatui::try_restore();
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    })?;
    Ok(())
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn live(
    terminal: &mut DefaultTerminal,
    mut poller: Poller,
    mut state: State,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            if !state.paused() {
                state.take(poller.poll(state.failed_only()));
            }
            next = Instant::now() + LOOK;
        }
        terminal.draw(|frame| draw::draw(frame, &mut state))?;
        let wait = next.saturating_duration_since(Instant::now()).min(BREATH);
        if !event::poll(wait)? {
            continue;
        }
        // All that was typed meanwhile, then one look at the screen.
        loop {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match state.key(key) {
                    Action::None => {}
                    Action::Quit => return Ok(()),
                    Action::Ask => next = Instant::now(),
                    Action::Open(run) => state.open(poller.tree(&run)),
                },
                _ => {}
            }
            if !event::poll(Duration::ZERO)? {
                break;
            }
        }
    }
    Ok(())
}
