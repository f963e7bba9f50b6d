//! How it looks.

use engine::{Status, Timestamp};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, LineGauge, Paragraph, Row, Sparkline, Table};
use sinks::sqlite_store::{EventRow, Group, RunSummary};

use super::state::{Panel, State, View};
use crate::lists::{cost, time};
use crate::text;

/// Below this a list beside another has no room.
const WIDE: u16 = 130;

const KEYS: &str = "q quit  Tab list  ↑↓ select  Enter open run  f failed only  p pause  ? help";

const HELP: [&str; 12] = [
    "q, Esc, Ctrl-C   quit; out of a run, back",
    "Tab, ← →         the next list: runs, models, events",
    "↑ ↓, j k         select; PgUp, PgDn, Home, End",
    "Enter            open the run that is selected, or that of the event",
    "f                only what failed",
    "p                pause: nothing moves until p again",
    "?                this help",
    "",
    "Today is since midnight UTC; rates are of the last minute.",
    "A cost with + leaves calls without a price out.",
    "With the first line selected a list follows what is new.",
    "Any key goes back.",
];

/// Colours and marks; marks alone where `NO_COLOR` is set.
#[derive(Clone, Copy)]
struct Look {
    colours: bool,
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn bad(self) -> Style {
        if self.colours { self.colour(Color::Red) } else { Style::new().add_modifier(Modifier::BOLD) }
    }

    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// How full something is.
    fn level(self, share: f64) -> Style {
        match share {
            ..0.7 => self.colour(Color::Green),
            0.7..0.9 => self.colour(Color::Yellow),
            _ => self.bad(),
        }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let look = Look { colours: !state.no_color };
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(header(state, look), head);
    match &state.view {
        View::Tree { lines, top } => {
            let block = Block::bordered().title(" run ");
            state.page = usize::from(block.inner(body).height).max(1);
            let shown: Vec<_> = lines.iter().skip(*top).take(state.page).map(|line| Line::raw(line.as_str())).collect();
            frame.render_widget(Paragraph::new(shown).block(block), body);
        }
        View::Lists | View::Help => lists(frame, body, state, look),
    }
    if state.view == View::Help {
        let height = u16::try_from(HELP.len()).unwrap_or(0) + 2;
        let area = body.centered(Constraint::Max(72), Constraint::Max(height));
        frame.render_widget(Clear, area);
        let lines: Vec<_> = HELP.into_iter().map(Line::raw).collect();
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" help ")), area);
    }
    frame.render_widget(footer(state, look), foot);
}

fn header(state: &State, look: Look) -> Paragraph<'static> {
    let found = &state.found;
    let at = found.now.map(|now| text::moment(now) + " UTC").unwrap_or_default();
    let mut first = vec![
        Span::styled("openclaw-trace ", look.strong()),
        Span::raw(format!("{}  {}  {at}", text::line(&state.db, 60), text::bytes(found.bytes))),
    ];
    for (on, name) in [(state.paused(), "  paused"), (state.failed_only(), "  failed only")] {
        if on {
            first.push(Span::styled(name, look.colour(Color::Yellow).add_modifier(Modifier::BOLD)));
        }
    }
    let today = &found.today;
    let errors = Span::styled(
        format!("{} failed", text::count(found.errors_today)),
        if found.errors_today > 0 { look.bad() } else { Style::new() },
    );
    let rates = match found.rates {
        Some((events, calls)) => format!("  {calls:.0} calls/min  {events:.0} events/min"),
        None => String::new(),
    };
    let second = vec![
        Span::raw("today "),
        Span::styled(cost(today.cost_usd, today.unpriced), look.strong()),
        Span::raw(format!("  {} calls  {} events  ", text::count(today.calls), text::count(found.events_today))),
        errors,
        Span::raw(format!(
            "  {} in ({} cached)  {} out{rates}",
            text::short(today.input_tokens),
            text::short(today.cached_tokens),
            text::short(today.output_tokens),
        )),
    ];
    Paragraph::new(vec![Line::from(first), Line::from(second)])
}

fn footer(state: &State, look: Look) -> Paragraph<'static> {
    match &state.problem {
        Some(problem) => Paragraph::new(text::line(problem, 200)).style(look.bad()),
        None if matches!(state.view, View::Tree { .. }) => {
            Paragraph::new("q back  ↑↓ PgUp PgDn Home End  Ctrl-C quit").style(look.faint())
        }
        None => Paragraph::new(KEYS).style(look.faint()),
    }
}

fn lists(frame: &mut Frame<'_>, area: Rect, state: &mut State, look: Look) {
    // On a small screen the machine goes first, then the models.
    let machine_height = if area.height >= 16 { 4 } else { 0 };
    let [machine, middle, events] =
        Layout::vertical([Constraint::Length(machine_height), Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    if machine_height > 0 {
        draw_machine(frame, machine, state, look);
    }
    if area.width >= WIDE {
        let [runs, models] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(middle);
        draw_runs(frame, runs, state, look);
        draw_models(frame, models, state, look);
    } else if state.panel == Panel::Models {
        draw_models(frame, middle, state, look);
    } else {
        draw_runs(frame, middle, state, look);
    }
    draw_events(frame, events, state, look);
}

fn draw_machine(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    let machine = &state.found.machine;
    let mut title = " machine, the last 10 minutes ".to_owned();
    if machine.incidents > 0 {
        title = format!("{title}({}) ", text::counted(machine.incidents as u64, "incident"));
    }
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let columns: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2).areas(inner);
    let of = |name: &str, figures: Option<(f64, Option<f64>)>| match figures {
        Some((used, Some(all))) if all > 0.0 => {
            (format!("{name} {}", text::bytes_of(whole(used), whole(all))), Some(used / all))
        }
        Some((used, _)) => (format!("{name} {}, no limit", text::bytes(whole(used))), None),
        None => (format!("{name} -"), None),
    };
    let cpu = match machine.cpu {
        Some(share) => (format!("cpu {:.0} %", share * 100.0), Some(share)),
        None => ("cpu -".to_owned(), None),
    };
    let gauges = [cpu, of("memory", machine.memory), of("disk", machine.disk)];
    let before = [Some(&machine.cpu_before), Some(&machine.memory_before), None];
    for ((column, (label, share)), before) in columns.into_iter().zip(gauges).zip(before) {
        let [gauge, line] = Layout::vertical([Constraint::Length(1); 2]).areas(column);
        match share {
            Some(share) => frame.render_widget(
                LineGauge::default()
                    .label(label)
                    .ratio(share.clamp(0.0, 1.0))
                    .filled_symbol("█")
                    .unfilled_symbol("░")
                    .filled_style(look.level(share))
                    .unfilled_style(look.faint()),
                gauge,
            ),
            None => frame.render_widget(Paragraph::new(label), gauge),
        }
        if let Some(before) = before {
            // The latest at the right, as many as there is room for.
            let skip = before.len().saturating_sub(usize::from(line.width));
            let spark = Sparkline::default().data(before[skip..].iter()).max(100).style(look.colour(Color::Cyan));
            frame.render_widget(spark, line);
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

/// The frame of a list; the one that keys go to is marked.
fn framed(title: String, focused: bool, look: Look) -> Block<'static> {
    let block = Block::bordered();
    if focused {
        block.title(Span::styled(title, look.strong())).border_style(look.colour(Color::Cyan))
    } else {
        block.title(title).border_style(look.faint())
    }
}

fn table<'r>(
    rows: Vec<Row<'r>>,
    widths: &[Constraint],
    head: &[&'static str],
    block: Block<'r>,
    focused: bool,
    look: Look,
) -> Table<'r> {
    let selected = if focused { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    Table::new(rows, widths.to_vec())
        .header(Row::new(head.iter().map(|name| Line::raw(*name))).style(look.faint()))
        .block(block)
        .row_highlight_style(selected)
}

/// A number at the right of its column.
fn right(text: String) -> Line<'static> {
    Line::from(text).right_aligned()
}

fn draw_runs(frame: &mut Frame<'_>, area: Rect, state: &mut State, look: Look) {
    let now = state.found.now.unwrap_or_else(Timestamp::now);
    let focused = state.panel == Panel::Runs;
    let row = |run: &RunSummary| {
        let failed = run.status == "error";
        let cells = vec![
            Line::raw(text::ago(time(&run.ended), now)),
            right(text::duration(run.duration_ms)),
            right(text::count(run.sums.llm_calls)),
            right(text::count(run.sums.tool_calls)),
            right(text::short(run.sums.input_tokens + run.sums.output_tokens)),
            right(cost(run.sums.cost_usd, run.sums.unpriced)),
            Line::raw(text::line(&run.run_id, 40)),
            Line::raw(match (failed, &run.error) {
                (true, Some(error)) => text::line(error, 100),
                (true, None) => "failed".to_owned(),
                (false, _) => text::line(run.model.as_deref().unwrap_or_default(), 40),
            }),
        ];
        Row::new(cells).style(if failed { look.bad() } else { Style::new() })
    };
    let rows = state.found.runs.iter().map(row).collect();
    let widths = [9, 9, 5, 5, 7, 10, 10].map(Constraint::Length);
    let widths = [&widths[..], &[Constraint::Fill(1)]].concat();
    let head = ["last", "   lasted", "calls", "tools", " tokens", "      cost", "run", "model, or what failed"];
    let block = framed(" runs ".to_owned(), focused, look);
    frame.render_stateful_widget(table(rows, &widths, &head, block, focused, look), area, &mut state.runs);
}

fn draw_models(frame: &mut Frame<'_>, area: Rect, state: &mut State, look: Look) {
    let focused = state.panel == Panel::Models;
    // Where there is little room a model's name is worth more than its median.
    let all = area.width >= 72;
    let row = |group: &Group| {
        let times = |pick: fn(&sinks::sqlite_store::Durations) -> f64| {
            group.duration_ms.as_ref().map_or("-".to_owned(), |times| text::duration(pick(times)))
        };
        let mut cells = vec![
            Line::raw(text::line(&group.name, 40)),
            right(text::short(group.calls)),
            right(text::short(group.errors)).style(if group.errors > 0 { look.bad() } else { Style::new() }),
            right(cost(group.cost_usd, group.unpriced)),
            right(times(|times| times.p95)),
        ];
        if all {
            cells.push(right(times(|times| times.p50)));
            cells.push(right(text::short(group.input_tokens + group.output_tokens)));
        }
        Row::new(cells)
    };
    let rows = state.found.models.iter().map(row).collect();
    let columns = [("calls", 5), ("failed", 6), ("      cost", 10), ("     p95", 8), ("     p50", 8), (" tokens", 7)];
    let columns = &columns[..if all { 6 } else { 4 }];
    let widths: Vec<_> = std::iter::once(Constraint::Fill(1))
        .chain(columns.iter().map(|(_, width)| Constraint::Length(*width)))
        .collect();
    let head: Vec<_> = std::iter::once("model").chain(columns.iter().map(|(name, _)| *name)).collect();
    let block = framed(" models, today ".to_owned(), focused, look);
    frame.render_stateful_widget(table(rows, &widths, &head, block, focused, look), area, &mut state.models);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, state: &mut State, look: Look) {
    let focused = state.panel == Panel::Events;
    let row = |event: &EventRow| {
        let failed = event.status == Some(Status::Error);
        let what = if failed { event.error.as_ref() } else { None };
        let what = what.or(event.output_preview.as_ref()).or(event.input_preview.as_ref());
        Row::new(vec![
            Line::raw(event.timestamp.get(11..19).unwrap_or_default().to_owned()),
            Line::raw(text::line(&event.kind, 20)),
            Line::raw(text::line(event.name.as_deref().unwrap_or_default(), 60)),
            right(event.duration_ms.map(text::duration).unwrap_or_default()),
            Line::raw(what.map(|what| text::line(what, 200)).unwrap_or_default()),
        ])
        .style(if failed { look.bad() } else { Style::new() })
    };
    let rows: Vec<_> = state.listed().map(row).collect();
    let widths = [Constraint::Length(8), Constraint::Length(12), Constraint::Max(28), Constraint::Length(10)];
    let widths = [&widths[..], &[Constraint::Fill(1)]].concat();
    let head = ["time", "kind", "name", "      took", "what"];
    let block = framed(" events as they come ".to_owned(), focused, look);
    let table = table(rows, &widths, &head, block, focused, look);
    frame.render_stateful_widget(table, area, &mut state.listed);
}
