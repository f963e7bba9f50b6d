//! `openclaw-trace stats`: calls, failures, tokens, cost and latency of a time, by model, tool or kind.

use std::path::Path;

use sinks::sqlite_store::{By, Group, Reader, Stats};

use crate::cli::Failure;
use crate::lists::cost;
use crate::table::{Mark, Side, Table};
use crate::text::{self, Style};

/// Prints the sums between two times in nanoseconds since 1970.
pub(crate) fn stats(db: &Path, by: By, from: i64, to: i64, json: bool) -> Result<String, Failure> {
    if from >= to {
        return Err(Failure { code: 2, message: "--from must be before --to".to_owned() });
    }
    let reader = crate::show::open(db)?;
    let stats = reader.stats(by, from, to, None)?;
    if json {
        return Ok(serde_json::to_string_pretty(&stats).unwrap_or_default() + "\n");
    }
    Ok(draw(&stats, by, Style::of_output()) + &behind(&reader)?)
}

/// What a person must know of sums that are not all there: no instance runs that would finish them.
fn behind(reader: &Reader) -> Result<String, Failure> {
    let behind = reader.overview()?.rollup_behind;
    Ok(match behind {
        0 => String::new(),
        _ => format!(
            "{} not summed up yet: a running openclaw-trace does it within a second\n",
            text::counted(behind, "event")
        ),
    })
}

fn draw(stats: &Stats, by: By, style: Style) -> String {
    let span = format!("{} to {} UTC", minute(&stats.from), minute(&stats.to));
    if stats.groups.is_empty() {
        let what = match by {
            By::Model => "model call",
            By::Tool => "tool call",
            By::Kind => "event",
        };
        return format!("no {what} from {span}\n");
    }
    let name = match by {
        By::Model => "model",
        By::Tool => "tool",
        By::Kind => "kind",
    };
    // A tool takes no tokens of its own.
    let priced = by != By::Tool;
    let calls = if by == By::Kind { "events" } else { "calls" };
    let mut head = vec![(name, Side::Left)];
    if by == By::Model {
        head.push(("provider", Side::Left));
    }
    head.extend([(calls, Side::Right), ("errors", Side::Right)]);
    if priced {
        head.extend(["tokens in", "cached", "out", "cost"].map(|name| (name, Side::Right)));
    }
    head.extend(["p50", "p95", "p99", "longest"].map(|name| (name, Side::Right)));
    let mut table = Table::new(&head);
    for group in &stats.groups {
        table.row(cells(group, by, Mark::None));
    }
    table.row(cells(&stats.total, by, Mark::Bold));
    let mut out = table.draw(style);
    if priced && stats.total.unpriced > 0 {
        out += &format!(
            "without a price, and left out of the cost: {}; key prices of the transform cost gives one (docs/cost.md)\n",
            text::counted(stats.total.unpriced, "call")
        );
    }
    out + &style.faint(&span) + "\n"
}

fn cells(group: &Group, by: By, mark: Mark) -> Vec<(String, Mark)> {
    let cell = |text: String| (text, mark);
    let number = |number: u64| cell(text::count(number));
    let nothing = || cell("-".to_owned());
    let name = if group.name.is_empty() { "(no name)" } else { &group.name };
    let mut cells = vec![cell(text::line(name, 60))];
    if by == By::Model {
        cells.push(cell(text::line(group.provider.as_deref().unwrap_or_default(), 30)));
    }
    cells.push(number(group.calls));
    cells.push((text::count(group.errors), if group.errors > 0 { Mark::Bad } else { mark }));
    if by != By::Tool {
        // What takes no tokens has none, which is not 0 of them.
        let tokens = [group.input_tokens, group.cached_tokens, group.output_tokens];
        if tokens == [0; 3] && group.cost_usd == 0.0 && group.unpriced == 0 {
            cells.extend(std::iter::repeat_with(nothing).take(4));
        } else {
            cells.extend(tokens.map(number));
            cells.push(cell(cost(group.cost_usd, group.unpriced)));
        }
    }
    match &group.duration_ms {
        Some(times) => {
            cells.extend([times.p50, times.p95, times.p99, times.max].map(|time| cell(text::duration(time))));
        }
        None => cells.extend(std::iter::repeat_with(nothing).take(4)),
    }
    cells
}

/// `2026-11-24 18:50` of an RFC 3339 time.
fn minute(at: &str) -> String {
    at.get(..16).unwrap_or(at).replace('T', " ")
}
