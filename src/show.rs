//! For people at a terminal: one run as a tree, what comes in.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use engine::{Event, Kind};
use sinks::sqlite_store::{Condition, ReadError, Reader, Run};
use sinks::{Told, describe};

use crate::cli::Failure;
use crate::text::{self, Style};

type Done = Result<String, Failure>;

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::failed(error.to_string())
    }
}

/// How long what was stored just now is waited for, until the running instance has summed it up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Opens a store whose sums are asked for.
pub(crate) fn open(db: &Path) -> Result<Reader, Failure> {
    let reader = Reader::open(db)?;
    reader.settle(PATIENCE)?;
    Ok(reader)
}

/// `openclaw-trace show [RUN]`.
pub(crate) fn show(db: &Path, id: Option<&str>, whole: bool, json: bool) -> Done {
    let reader = open(db)?;
    let id = match id {
        Some(id) => one_like(&reader, id)?,
        None => {
            let latest = reader.latest_runs(None, 1)?.into_iter().next();
            latest.ok_or_else(|| Failure::failed("no run is stored yet"))?
        }
    };
    let run = reader.run(&id)?.ok_or_else(|| Failure::failed(format!("no run is called {}", text::line(&id, 80))))?;
    if json {
        return Ok(serde_json::to_string_pretty(&run).unwrap_or_default() + "\n");
    }
    Ok(draw(&run, if whole { usize::MAX } else { 100 }, Style::of_output()))
}

/// The run that a person means by the beginning of its id.
fn one_like(reader: &Reader, start: &str) -> Result<String, Failure> {
    if reader.run(start)?.is_some() {
        return Ok(start.to_owned());
    }
    let found = reader.runs_like(start, 6)?;
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::failed(format!(
            "no run begins with {}; `openclaw-trace show` shows the latest one",
            text::line(start, 80)
        ))),
        several => {
            let names: Vec<_> = several.iter().map(|name| text::line(name, 80)).collect();
            Err(Failure::failed(format!("several runs begin with {}: {}", text::line(start, 80), names.join(", "))))
        }
    }
}

/// A run as a tree.
pub(crate) fn draw(run: &Run, most: usize, style: Style) -> String {
    let (start, end) = run.span_of_time();
    #[allow(clippy::cast_precision_loss)]
    let lasted = text::duration(end.as_nanos().saturating_sub(start.as_nanos()) as f64 / 1e6);
    let mut out = String::new();
    let status = if run.failed() { style.bad("failed") } else { "ok".to_owned() };
    let _ = writeln!(out, "run {}  {status}", style.bold(&text::line(&run.run_id, 80)));
    let named = |label: &str, name: &Option<String>| {
        name.as_deref().map(|name| format!("{label} {}  ", text::line(name, 60))).unwrap_or_default()
    };
    let _ = writeln!(
        out,
        "{}{}{} UTC  {lasted}",
        named("session", &run.session_id),
        named("agent", &run.agent_id),
        text::moment(start)
    );
    let _ = writeln!(out, "{}\n", sums(run));
    // The root of the tree may be several: what names a parent that is not here stands at the top.
    let here: HashSet<&str> = run.events.iter().filter_map(|event| event.span_id.as_deref()).collect();
    let mut below: HashMap<&str, Vec<&Event>> = HashMap::new();
    let mut roots = Vec::new();
    for event in &run.events {
        match event.parent_span_id.as_deref() {
            Some(parent) if here.contains(parent) && event.span_id.as_deref() != Some(parent) => {
                below.entry(parent).or_default().push(event);
            }
            _ => roots.push(event),
        }
    }
    let mut drawn = HashSet::new();
    for root in &roots {
        branch(&mut out, root, &below, &mut String::new(), most, style, &mut drawn);
    }
    // Spans that are each other's parents hang on no root.
    for event in run.events.iter().filter(|event| !drawn.contains(&event.trace_id)).collect::<Vec<_>>() {
        branch(&mut out, event, &HashMap::new(), &mut String::new(), most, style, &mut drawn);
    }
    if run.cut {
        let _ = writeln!(out, "… the run has more events than are shown");
    }
    out
}

fn sums(run: &Run) -> String {
    let add = |kind: &Kind| {
        run.events.iter().filter(|event| event.kind == *kind).map(Told::by).fold(
            (0.0, 0.0, 0.0, 0.0, 0u64, 0u64),
            |sum, told| {
                (
                    sum.0 + told.input.unwrap_or(0.0),
                    sum.1 + told.cached.unwrap_or(0.0),
                    sum.2 + told.output.unwrap_or(0.0),
                    sum.3 + told.cost_usd.unwrap_or(0.0),
                    sum.4 + 1,
                    sum.5 + u64::from(told.is_unpriced()),
                )
            },
        )
    };
    let calls = add(&Kind::LLM_CALL);
    // A turn's sum counts only where its calls tell nothing.
    let told = if calls.0 + calls.2 > 0.0 { calls } else { add(&Kind::USAGE) };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = |number: f64| text::count(number.max(0.0) as u64);
    let cost = match (told.3 > 0.0 || told.5 == 0, run.told_cost_usd) {
        (true, None) | (true, Some(_)) if told.3 > 0.0 => text::money(told.3),
        (_, Some(cost)) => text::money(cost),
        (_, None) if told.5 > 0 => "cost unknown".to_owned(),
        _ => text::money(told.3),
    };
    let unpriced = if told.5 > 0 { format!(" ({} calls without a price)", told.5) } else { String::new() };
    format!(
        "{} model calls  {} tokens in ({} cached)  {} out  {cost}{unpriced}",
        calls.4,
        whole(told.0),
        whole(told.1),
        whole(told.2)
    )
}

/// Deeper trees are drawn flat from there on.
const MAX_DEPTH: usize = 64;

fn branch<'e>(
    out: &mut String,
    event: &'e Event,
    below: &HashMap<&str, Vec<&'e Event>>,
    indent: &mut String,
    most: usize,
    style: Style,
    drawn: &mut HashSet<engine::TraceId>,
) {
    if !drawn.insert(event.trace_id) {
        return;
    }
    let _ = writeln!(out, "{}", describe(event, most, style));
    let children = event.span_id.as_deref().and_then(|span| below.get(span)).map_or(&[][..], Vec::as_slice);
    let length = indent.len();
    for (at, child) in children.iter().enumerate() {
        let last = at + 1 == children.len();
        let _ = write!(out, "{indent}{}", style.faint(if last { "└─ " } else { "├─ " }));
        let deep = indent.chars().count() >= 3 * MAX_DEPTH;
        indent.push_str(if deep {
            ""
        } else if last {
            "   "
        } else {
            "│  "
        });
        branch(out, child, below, indent, most, style, drawn);
        indent.truncate(length);
    }
}

/// How often `tail` looks for what is new.
const LOOK: Duration = Duration::from_millis(500);

/// `openclaw-trace tail`: prints what is there, and goes on until it is stopped.
pub(crate) fn tail(db: &Path, back: usize, follow: bool, condition: &Condition, json: bool) -> Done {
    let reader = Reader::open(db)?;
    let style = Style::of_output();
    let mut out = std::io::stdout().lock();
    let mut after = None;
    loop {
        let (last, events) = reader.since(after, back, condition, 500)?;
        after = Some(last);
        let all = events.len() < 500;
        for event in events {
            let line = if json {
                event.to_json()
            } else {
                format!("{}  {}", style.faint(&text::moment(event.timestamp)), describe(&event, 100, style))
            };
            if writeln!(out, "{line}").is_err() {
                // `openclaw-trace tail | head` is no failure.
                return Ok(String::new());
            }
        }
        let _ = out.flush();
        if !all {
            continue;
        }
        if !follow {
            return Ok(String::new());
        }
        std::thread::sleep(LOOK);
    }
}
