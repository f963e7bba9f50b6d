//! The summary, by fault.

use std::fmt::Write as _;

use crate::faults::Fault;
use crate::report::{Kind, Outcome, Run};

/// The kinds that have a column of their own, with its title.
const COLUMNS: [(Kind, &str); 7] = [
    (Kind::Lost, "lost"),
    (Kind::Doubled, "doubled"),
    (Kind::Altered, "altered"),
    (Kind::Unredacted, "unredacted"),
    (Kind::Exited, "exited"),
    (Kind::Damaged, "damaged"),
    (Kind::Broken, "other"),
];

/// The table as Markdown, which reads well on a terminal too.
#[must_use]
pub(crate) fn markdown(faults: &[&dyn Fault], runs: &[Run]) -> String {
    let mut rows = vec![head()];
    rows.extend(faults.iter().filter_map(|fault| row(fault.name(), &of(runs, Some(fault.name())))));
    rows.extend(row("all", &of(runs, None)));
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
                if at == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
            });
        let _ = writeln!(text, "|{}|", cells.collect::<Vec<_>>().join("|"));
        if number == 0 {
            let rule = widths
                .iter()
                .enumerate()
                .map(|(at, width)| if at == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) });
            let _ = writeln!(text, "|{}|", rule.collect::<Vec<_>>().join("|"));
        }
    }
    text
}

fn of<'a>(runs: &'a [Run], fault: Option<&str>) -> Vec<&'a Run> {
    runs.iter().filter(|run| fault.is_none_or(|fault| run.fault == fault)).collect()
}

fn head() -> Vec<String> {
    let mut head = vec!["fault", "runs", "acknowledged"];
    head.extend(COLUMNS.iter().map(|(_, title)| *title));
    head.extend(["destroyed", "sent again", "peak MB"]);
    head.into_iter().map(str::to_owned).collect()
}

fn row(name: &str, all: &[&Run]) -> Option<Vec<String>> {
    let runs: Vec<&&Run> = all.iter().filter(|run| matches!(run.outcome, Outcome::Checked)).collect();
    if all.is_empty() {
        return None;
    }
    let sum = |of: &dyn Fn(&Run) -> u64| runs.iter().map(|run| of(run)).sum::<u64>().to_string();
    let ran = match all.len() - runs.len() {
        0 => runs.len().to_string(),
        skipped => format!("{} ({skipped} skipped)", runs.len()),
    };
    let mut row = vec![name.to_owned(), ran, sum(&|run| run.acknowledged)];
    row.extend(COLUMNS.iter().map(|(kind, _)| sum(&|run| run.count(*kind))));
    row.push(sum(&|run| run.destroyed));
    row.push(sum(&|run| run.excused_repeats));
    let peak = runs.iter().map(|run| run.peak_kib).max().unwrap_or(0);
    row.push(format!("{:.1}", peak as f64 * 1024.0 / 1e6));
    Some(row)
}

/// What the columns mean that do not speak for themselves.
pub(crate) const LEGEND: &str = "\
lost: acknowledged and not in the store. doubled: twice in the store, or sent again though confirmed. \
altered: differs from what was sent, but for redaction and truncation. exited: ended by itself, or an orderly \
stop without 0. damaged: a database in use that fails SQLite's check. other: any other broken promise. \
destroyed: acknowledged before the fault destroyed the file that held them (no fault of the program). \
sent again: pushed twice where the confirmation could not be kept (a kill, a lock). \
peak: anonymous memory; its budget is 20 MB.
";
