//! What is shown, and what keys do to it.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;
use sinks::sqlite_store::EventRow;

use super::poll::Found;

/// Events that are kept for the list.
const EVENTS: usize = 500;

/// What a key asks for beyond the state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    None,
    Quit,
    /// Ask the store at once.
    Ask,
    /// Show the tree of this run.
    Open(String),
}

/// The lists, in the order of Tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Runs,
    Models,
    Events,
}

/// What the screen shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum View {
    Lists,
    Tree { lines: Vec<String>, top: usize },
    Help,
}

/// See the module's description.
pub(super) struct State {
    pub(super) db: String,
    pub(super) no_color: bool,
    pub(super) view: View,
    pub(super) panel: Panel,
    pub(super) found: Found,
    /// Latest first.
    pub(super) events: VecDeque<EventRow>,
    pub(super) runs: TableState,
    pub(super) models: TableState,
    pub(super) listed: TableState,
    /// Why the last look failed.
    pub(super) problem: Option<String>,
    /// Lines of the tree that fit on the screen, as drawn last.
    pub(super) page: usize,
    paused: bool,
    failed_only: bool,
}

impl State {
    pub(super) fn new(db: String, no_color: bool) -> Self {
        let first = || TableState::default().with_selected(0);
        Self {
            db,
            no_color,
            view: View::Lists,
            panel: Panel::Runs,
            found: Found::default(),
            events: VecDeque::new(),
            runs: first(),
            models: first(),
            listed: first(),
            problem: None,
            page: 1,
            paused: false,
            failed_only: false,
        }
    }

    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    pub(super) fn failed_only(&self) -> bool {
        self.failed_only
    }

    /// The events that are listed, latest first.
    pub(super) fn listed(&self) -> impl Iterator<Item = &EventRow> {
        let wanted = |event: &&EventRow| !self.failed_only || event.status == Some(engine::Status::Error);
        self.events.iter().filter(wanted)
    }

    /// Takes in what a look found. What was selected stays so wherever it moves; who stands at the top stays there
    /// and sees what is new.
    pub(super) fn take(&mut self, found: Result<Found, String>) {
        let mut found = match found {
            Ok(found) => found,
            Err(problem) => return self.problem = Some(problem),
        };
        self.problem = None;
        let run = self.below_top(&self.runs).and_then(|at| self.found.runs.get(at)).map(|run| run.run_id.clone());
        let event = self.below_top(&self.listed).and_then(|at| self.listed().nth(at)).map(|event| event.id);
        for event in found.fresh.drain(..) {
            self.events.push_front(event);
        }
        self.events.truncate(EVENTS);
        self.found = found;
        if let Some(run) = run {
            let at = self.found.runs.iter().position(|one| one.run_id == run);
            self.runs.select(at.or(self.runs.selected()));
        }
        if let Some(id) = event {
            let at = self.listed().position(|one| one.id == id);
            self.listed.select(at.or(self.listed.selected()));
        }
        self.bound();
    }

    fn below_top(&self, table: &TableState) -> Option<usize> {
        table.selected().filter(|at| *at > 0)
    }

    /// A selection is never behind the end of its list.
    fn bound(&mut self) {
        let (runs, models, events) = (self.found.runs.len(), self.found.models.len(), self.listed().count());
        for (table, count) in [(&mut self.runs, runs), (&mut self.models, models), (&mut self.listed, events)] {
            table.select(Some(table.selected().unwrap_or(0).min(count.saturating_sub(1))));
        }
    }

    /// Shows a tree, or why there is none.
    pub(super) fn open(&mut self, lines: Result<Vec<String>, String>) {
        match lines {
            Ok(lines) => self.view = View::Tree { lines, top: 0 },
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Action::Quit } else { Action::None };
        }
        match &mut self.view {
            View::Help => {
                self.view = View::Lists;
                Action::None
            }
            View::Tree { lines, top } => {
                let last = lines.len().saturating_sub(self.page);
                *top = match key.code {
                    KeyCode::Up | KeyCode::Char('k') => top.saturating_sub(1),
                    KeyCode::Down | KeyCode::Char('j') => *top + 1,
                    KeyCode::PageUp => top.saturating_sub(self.page),
                    KeyCode::PageDown | KeyCode::Char(' ') => *top + self.page,
                    KeyCode::Home | KeyCode::Char('g') => 0,
                    KeyCode::End | KeyCode::Char('G') => last,
                    KeyCode::Esc | KeyCode::Char('q') | KeyCode::Backspace | KeyCode::Left | KeyCode::Enter => {
                        self.view = View::Lists;
                        return Action::None;
                    }
                    _ => *top,
                }
                .min(last);
                Action::None
            }
            View::Lists => self.key_of_lists(key.code),
        }
    }

    fn key_of_lists(&mut self, code: KeyCode) -> Action {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('?' | 'h') => self.view = View::Help,
            KeyCode::Char('p') => {
                self.paused = !self.paused;
                return Action::Ask;
            }
            KeyCode::Char('f') => {
                self.failed_only = !self.failed_only;
                self.bound();
                return Action::Ask;
            }
            KeyCode::Tab | KeyCode::Right => self.panel = self.neighbour(1),
            KeyCode::BackTab | KeyCode::Left => self.panel = self.neighbour(2),
            KeyCode::Up | KeyCode::Char('k') => self.select(|at| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(|at| at + 1),
            KeyCode::PageUp => self.select(|at| at.saturating_sub(10)),
            KeyCode::PageDown => self.select(|at| at + 10),
            KeyCode::Home | KeyCode::Char('g') => self.select(|_| 0),
            KeyCode::End | KeyCode::Char('G') => self.select(|_| usize::MAX),
            KeyCode::Enter => return self.run_of_selection().map_or(Action::None, Action::Open),
            _ => {}
        }
        Action::None
    }

    fn neighbour(&self, steps: usize) -> Panel {
        let all = [Panel::Runs, Panel::Models, Panel::Events];
        let at = all.iter().position(|panel| *panel == self.panel).unwrap_or(0);
        all[(at + steps) % all.len()]
    }

    fn select(&mut self, to: impl Fn(usize) -> usize) {
        let table = match self.panel {
            Panel::Runs => &mut self.runs,
            Panel::Models => &mut self.models,
            Panel::Events => &mut self.listed,
        };
        table.select(Some(to(table.selected().unwrap_or(0))));
        self.bound();
    }

    /// The run that is selected, or that the selected event belongs to.
    fn run_of_selection(&mut self) -> Option<String> {
        match self.panel {
            Panel::Runs => self.found.runs.get(self.runs.selected()?).map(|run| run.run_id.clone()),
            Panel::Models => None,
            Panel::Events => {
                let event = self.listed().nth(self.listed.selected()?)?;
                let run = event.run_id.clone();
                if run.is_none() {
                    self.problem = Some("this event belongs to no run".to_owned());
                }
                run
            }
        }
    }
}
