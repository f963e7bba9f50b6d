//! The screen, drawn into memory.

use engine::{Status, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sinks::sqlite_store::{EventRow, Group, RunSummary};

use super::draw::draw;
use super::poll::{Found, Machine};
use super::state::{Action, Panel, State, View};

const HOSTILE: &str = "\u{1b}[2J\u{202e}evil";

fn event(id: i64, kind: &str, failed: bool) -> EventRow {
    EventRow {
        id,
        trace_id: String::new(),
        kind: kind.to_owned(),
        timestamp: "2026-11-25T12:00:01Z".to_owned(),
        duration_ms: Some(1500.0),
        status: failed.then_some(Status::Error),
        error: failed.then(|| HOSTILE.to_owned()),
        session_id: None,
        run_id: Some(format!("run-of-{id}")),
        agent_id: None,
        span_id: None,
        parent_span_id: None,
        name: Some(format!("n{id}{HOSTILE}")),
        attributes: None,
        input_bytes: None,
        output_bytes: None,
        input_preview: None,
        output_preview: Some("it said so".to_owned()),
        input: None,
        output: None,
    }
}

fn run(id: &str, failed: bool) -> RunSummary {
    RunSummary {
        run_id: id.to_owned(),
        model: Some("claude-sonnet-4-5".to_owned()),
        started: "2026-11-25T11:59:50Z".to_owned(),
        ended: "2026-11-25T11:59:57Z".to_owned(),
        duration_ms: 7000.0,
        status: if failed { "error" } else { "ok" }.to_owned(),
        error: failed.then(|| "no such file".to_owned()),
        ..RunSummary::default()
    }
}

fn found(ids: std::ops::Range<i64>, runs: &[&str]) -> Found {
    let group = Group {
        name: "claude-sonnet-4-5".to_owned(),
        calls: 42,
        cost_usd: 1.25,
        unpriced: 1,
        input_tokens: 120_000,
        ..Group::default()
    };
    Found {
        now: Some("2026-11-25T12:00:02Z".parse().unwrap_or(Timestamp::from_nanos(0))),
        today: group.clone(),
        events_today: 99,
        errors_today: 3,
        models: vec![group],
        runs: runs.iter().map(|id| run(id, id.contains("bad"))).collect(),
        fresh: ids.map(|id| event(id, "llm_call", id % 2 == 0)).collect(),
        rates: Some((12.0, 3.0)),
        machine: Machine {
            cpu: Some(0.12),
            memory: Some((64.0 * 1024.0 * 1024.0, Some(256.0 * 1024.0 * 1024.0))),
            disk: Some((1e8, None)),
            cpu_before: vec![Some(10), None, Some(90)],
            memory_before: vec![Some(25)],
            incidents: 2,
        },
        bytes: 1 << 20,
    }
}

fn state(found: Found) -> State {
    let mut state = State::new("/data/openclaw-trace.db".to_owned(), false);
    state.take(Ok(found));
    state
}

fn screen(state: &mut State, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| draw(frame, state));
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width));
    lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}

fn press(state: &mut State, code: KeyCode) -> Action {
    state.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn the_screen_shows_spend_machine_runs_models_and_events() {
    let mut state = state(found(1..6, &["good-run", "bad-run"]));
    let shown = screen(&mut state, 140, 40);
    for part in [
        "today $1.2500+  42 calls  99 events  3 failed  120.0k in",
        "3 calls/min  12 events/min",
        "cpu 12 % █",
        "memory 64.0/256.0 MiB",
        "disk 95.4 MiB, no limit",
        "(2 incidents)",
        "5 s ago",
        "good-run",
        "no such file",
        "claude-sonnet-4-5",
        "12:00:01 llm_call",
        "it said so",
        "q quit",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let (first, last) = (shown.find("n5").unwrap_or(0), shown.find("n1").unwrap_or(0));
    assert!(0 < first && first < last, "latest first:\n{shown}");
}

#[test]
fn hostile_text_is_shown_as_text() {
    let mut state = state(found(1..6, &[HOSTILE]));
    state.open(Ok(vec!["run r".to_owned()]));
    let tree = screen(&mut state, 120, 30);
    assert!(tree.contains("run r"), "{tree}");
    press(&mut state, KeyCode::Esc);
    state.take(Err(HOSTILE.to_owned()));
    let shown = screen(&mut state, 120, 30);
    assert!(shown.matches("\\u{1b}[2J\\u{202e}").count() > 5, "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
}

#[test]
fn any_size_can_be_drawn() {
    let mut state = state(found(1..50, &["a", "b"]));
    for view in [KeyCode::Char('?'), KeyCode::Char('?'), KeyCode::Tab] {
        press(&mut state, view);
        for (width, height) in [(1, 1), (2, 40), (40, 3), (80, 24), (110, 16), (300, 100), (200, 2)] {
            screen(&mut state, width, height);
        }
    }
    state.open(Ok(vec!["x".repeat(500); 500]));
    screen(&mut state, 1, 1);
    screen(&mut state, 80, 24);
}

#[test]
fn without_colour_there_are_marks_alone() {
    let mut state = state(found(1..6, &["bad-run"]));
    state.no_color = true;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(140, 40));
    let Ok(_) = terminal.draw(|frame| draw(frame, &mut state));
    let plain = |colour| colour == ratatui::style::Color::Reset;
    assert!(terminal.backend().buffer().content().iter().all(|cell| plain(cell.fg) && plain(cell.bg)));
}

#[test]
fn keys_quit_select_and_open() {
    let mut state = state(found(1..6, &["first", "second"]));
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Open("first".to_owned()));
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Down);
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Open("second".to_owned()), "no further than the last");
    press(&mut state, KeyCode::BackTab);
    assert_eq!(state.panel, Panel::Events);
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Open("run-of-5".to_owned()));
    press(&mut state, KeyCode::Left);
    assert_eq!((state.panel, press(&mut state, KeyCode::Enter)), (Panel::Models, Action::None));
    state.open(Ok((0..100).map(|at| format!("line {at}")).collect()));
    screen(&mut state, 80, 24);
    press(&mut state, KeyCode::End);
    assert!(screen(&mut state, 80, 24).contains("line 99"));
    assert_eq!(press(&mut state, KeyCode::Char('q')), Action::None, "back first");
    assert_eq!(state.view, View::Lists);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Quit);
    assert_eq!(press(&mut state, KeyCode::Esc), Action::Quit);
    assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Action::Quit);
}

#[test]
fn a_selection_stays_with_what_was_selected_and_the_top_follows() {
    let mut state = state(found(1..6, &["first", "second"]));
    press(&mut state, KeyCode::Down);
    state.take(Ok(found(6..8, &["new", "first", "second"])));
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Open("second".to_owned()));
    press(&mut state, KeyCode::BackTab);
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Open("run-of-7".to_owned()), "the latest");
    press(&mut state, KeyCode::Down);
    state.take(Ok(found(8..10, &[])));
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Open("run-of-6".to_owned()));
}

#[test]
fn failed_only_and_pause_are_said_and_hold() {
    let mut state = state(found(1..6, &["first"]));
    assert_eq!(press(&mut state, KeyCode::Char('f')), Action::Ask);
    assert_eq!(state.listed().map(|event| event.id).collect::<Vec<_>>(), [4, 2]);
    press(&mut state, KeyCode::Char('p'));
    assert!(state.paused() && state.failed_only());
    let shown = screen(&mut state, 120, 30);
    assert!(shown.contains("paused") && shown.contains("failed only"), "{shown}");
    press(&mut state, KeyCode::Char('?'));
    assert!(screen(&mut state, 80, 24).contains("nothing moves until p again"));
}
