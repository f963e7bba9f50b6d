//! `openclaw-trace sessions` and `runs`: what there was, latest first.

use std::path::Path;

use engine::Timestamp;
use sinks::sqlite_store::{List, ListRequest, ReadError, Reader, SessionSummary, Sums};

use crate::cli::Failure;
use crate::show::open;
use crate::table::{Mark, Side, Table};
use crate::text::{self, Style};

type Done = Result<String, Failure>;

/// `openclaw-trace sessions`.
pub(crate) fn sessions(db: &Path, request: ListRequest, json: bool) -> Done {
    let any = request.from.is_none() && request.to.is_none();
    let sessions = all(&open(db)?, request, Reader::sessions)?;
    if json {
        return Ok(serde_json::to_string_pretty(&sessions).unwrap_or_default() + "\n");
    }
    if sessions.is_empty() {
        let what = if any { "no session is stored yet" } else { "no session of that time is stored" };
        return Ok(format!("{what}; `openclaw-trace runs` lists the runs\n"));
    }
    let first = [("last (UTC)", Side::Left), ("lasted", Side::Right), ("runs", Side::Right)];
    let mut table = Table::new(&[&first[..], &SUMS, &[("session", Side::Left)]].concat());
    for SessionSummary { session_id, started, ended, runs, sums, .. } in &sessions {
        let (started, ended) = (time(started), time(ended));
        #[allow(clippy::cast_precision_loss)]
        let lasted = ended.as_nanos().saturating_sub(started.as_nanos()) as f64 / 1e6;
        let mut row = vec![plain(text::moment(ended)), plain(text::duration(lasted)), number(*runs)];
        row.extend(cells(sums));
        row.push((text::line(session_id, 60), Mark::Bold));
        table.row(row);
    }
    Ok(table.draw(Style::of_output()))
}

/// `openclaw-trace runs`.
pub(crate) fn runs(db: &Path, request: ListRequest, json: bool) -> Done {
    let any = request == ListRequest { limit: request.limit, ..ListRequest::default() };
    let runs = all(&open(db)?, request, Reader::runs)?;
    if json {
        return Ok(serde_json::to_string_pretty(&runs).unwrap_or_default() + "\n");
    }
    if runs.is_empty() {
        let what = if any { "no run is stored yet" } else { "no such run is stored" };
        return Ok(format!("{what}; `openclaw-trace tail` shows what comes in\n"));
    }
    let first = [("began (UTC)", Side::Left), ("lasted", Side::Right), ("status", Side::Left)];
    let last = [("model", Side::Left), ("run", Side::Left), ("what failed", Side::Left)];
    let mut table = Table::new(&[&first[..], &SUMS, &last].concat());
    for run in &runs {
        let failed = run.status == "error";
        let mut row = vec![
            plain(text::moment(time(&run.started))),
            plain(text::duration(run.duration_ms)),
            if failed { ("failed".to_owned(), Mark::Bad) } else { plain("ok".to_owned()) },
        ];
        row.extend(cells(&run.sums));
        row.extend([
            plain(text::line(run.model.as_deref().unwrap_or("-"), 30)),
            (text::line(&run.run_id, 60), Mark::Bold),
            (text::line(run.error.as_deref().unwrap_or_default(), 60), if failed { Mark::Bad } else { Mark::Faint }),
        ]);
        table.row(row);
    }
    Ok(table.draw(Style::of_output()))
}

/// As many as are asked for: a page of the store may hold fewer, and be empty although more follow.
fn all<T>(
    reader: &Reader,
    mut request: ListRequest,
    page: impl Fn(&Reader, &ListRequest) -> Result<List<T>, ReadError>,
) -> Result<Vec<T>, Failure> {
    let most = request.limit;
    let mut items = Vec::new();
    while items.len() < most {
        request.limit = (most - items.len()).min(500);
        let List { items: more, next } = page(reader, &request)?;
        items.extend(more);
        match next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    Ok(items)
}

/// The columns of [`cells`].
const SUMS: [(&str, Side); 6] = [
    ("calls", Side::Right),
    ("tools", Side::Right),
    ("errors", Side::Right),
    ("tokens in", Side::Right),
    ("out", Side::Right),
    ("cost", Side::Right),
];

fn cells(sums: &Sums) -> [(String, Mark); 6] {
    [
        number(sums.llm_calls),
        number(sums.tool_calls),
        failures(sums.errors),
        number(sums.input_tokens),
        number(sums.output_tokens),
        plain(cost(sums.cost_usd, sums.unpriced)),
    ]
}

fn plain(text: String) -> (String, Mark) {
    (text, Mark::None)
}

fn number(number: u64) -> (String, Mark) {
    plain(text::count(number))
}

fn failures(errors: u64) -> (String, Mark) {
    (text::count(errors), if errors > 0 { Mark::Bad } else { Mark::None })
}

/// A cost that leaves calls out is a lower bound, and says so; where it leaves all out nothing is known.
pub(crate) fn cost(dollars: f64, unpriced: u64) -> String {
    if unpriced > 0 && dollars == 0.0 {
        return "no price".to_owned();
    }
    text::money(dollars) + if unpriced > 0 { "+" } else { "" }
}

/// A time that the store wrote.
pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|_| Timestamp::from_nanos(0))
}
