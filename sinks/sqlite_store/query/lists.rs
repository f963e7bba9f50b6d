//! Lists of sessions and runs, from the rollup, in pages.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use super::events::Cursor;
use super::{Error, Reader, dollars, moment, unsigned};
use crate::sqlite_store::rollup::{Tokens, counted};

/// Rows that one page looks at.
const SCAN: i64 = 5000;

/// Whether a run failed: its own event says so, a link does, or any of its calls where it has no event of its own.
const FAILED: &str = "(told_failed OR coalesce(own_failed, errors > 0))";

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListRequest {
    /// Runs of this session.
    pub session: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Runs that failed, or that did not.
    pub failed: Option<bool>,
    /// Runs that began, sessions that ended, not before this time, in nanoseconds since 1970.
    pub from: Option<i64>,
    /// That began before this time.
    pub to: Option<i64>,
    /// With this text in an id or name.
    pub text: Option<String>,
    /// The most items.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

/// Some items, latest first, and where to go on.
#[derive(Debug, Clone, Serialize)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// The next page's cursor; `None` at the end.
    pub next: Option<Cursor>,
}

/// One session, in short.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct SessionSummary {
    /// Its id.
    pub session_id: String,
    /// The agent, where one is named.
    pub agent_id: Option<String>,
    /// Its first and last event, RFC 3339.
    pub started: String,
    /// See `started`.
    pub ended: String,
    /// How many runs it has.
    pub runs: u64,
    /// What its events come to.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One run, in short.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct RunSummary {
    /// Its id.
    pub run_id: String,
    /// The conversation.
    pub session_id: Option<String>,
    /// The agent.
    pub agent_id: Option<String>,
    /// What set it off, as its own event says.
    pub name: Option<String>,
    /// The model of its last call.
    pub model: Option<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// When its last event ended.
    pub ended: String,
    /// The time between, in milliseconds.
    pub duration_ms: f64,
    /// `ok` or `error`.
    pub status: String,
    /// Why it failed; of a run that did not, what failed in it.
    pub error: Option<String>,
    /// How many events it has.
    pub events: u64,
    /// What its events come to.
    #[serde(flatten)]
    pub sums: Sums,
}

/// What events come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Sums {
    /// Model calls.
    pub llm_calls: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Events that failed.
    pub errors: u64,
    /// Tokens of input, cached ones included.
    pub input_tokens: u64,
    /// Of those, tokens read from a cache.
    pub cached_tokens: u64,
    /// Tokens of output.
    pub output_tokens: u64,
    /// What they cost, in US dollars.
    pub cost_usd: f64,
    /// Model calls without a price, which the cost leaves out.
    pub unpriced: u64,
}

impl Sums {
    fn new(calls: [i64; 3], tokens: Tokens) -> Self {
        Self {
            llm_calls: unsigned(calls[0]),
            tool_calls: unsigned(calls[1]),
            errors: unsigned(calls[2]),
            input_tokens: unsigned(tokens.input),
            cached_tokens: unsigned(tokens.cached),
            output_tokens: unsigned(tokens.output),
            cost_usd: dollars(tokens.cost_pico),
            unpriced: unsigned(tokens.unpriced),
        }
    }
}

const RUN: &str = "id, started, run_id, session_id, agent_id, name, model, ended, error, events, llm_calls, tool_calls, \
     errors, input_tokens, cached_tokens, output_tokens, cost_pico, unpriced, usage_input_tokens, usage_cached_tokens, \
     usage_output_tokens, usage_cost_pico, usage_unpriced, told_cost_pico";

fn run(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let (started, ended): (i64, i64) = (row.get(1)?, row.get::<_, Option<i64>>(7)?.unwrap_or(row.get(1)?));
    let sums = Sums::new(
        [row.get(10)?, row.get(11)?, row.get(12)?],
        counted(Tokens::read(row, 13)?, Tokens::read(row, 18)?, row.get(23)?),
    );
    #[allow(clippy::cast_precision_loss)]
    let duration_ms = ended.saturating_sub(started) as f64 / 1e6;
    Ok(RunSummary {
        run_id: row.get(2)?,
        session_id: row.get(3)?,
        agent_id: row.get(4)?,
        name: row.get(5)?,
        model: row.get(6)?,
        started: moment(started),
        ended: moment(ended),
        duration_ms,
        status: if row.get::<_, bool>(24)? { "error".to_owned() } else { "ok".to_owned() },
        error: row.get(8)?,
        events: unsigned(row.get(9)?),
        sums,
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionSummary> {
    Ok(SessionSummary {
        session_id: row.get(2)?,
        agent_id: row.get(3)?,
        started: moment(row.get(4)?),
        ended: moment(row.get(1)?),
        runs: unsigned(row.get(5)?),
        sums: Sums::new([row.get(6)?, row.get(7)?, row.get(8)?], Tokens::read(row, 9)?),
    })
}

/// One table's part of a question: the column it is in order of, the columns that texts are looked for in.
struct Source {
    table: &'static str,
    order: &'static str,
    columns: String,
    texts: &'static [&'static str],
}

/// Conditions in SQL, and the values of their question marks.
struct Wheres {
    text: String,
    values: Vec<Value>,
}

impl Wheres {
    fn and(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        self.text.push_str(" AND ");
        self.text.push_str(text);
        self.values.extend(values);
    }
}

impl Reader {
    /// The sessions, latest first. What names no session is left out.
    ///
    /// # Errors
    /// [`Error`].
    pub fn sessions(&self, request: &ListRequest) -> Result<List<SessionSummary>, Error> {
        let source = Source {
            table: "sessions",
            order: "ended",
            columns: "id, ended, session_id, agent_id, started, runs, llm_calls, tool_calls, errors, input_tokens, \
                      cached_tokens, output_tokens, cost_pico, unpriced"
                .to_owned(),
            texts: &["session_id"],
        };
        self.list(&source, request, session)
    }

    /// The runs, latest first.
    ///
    /// # Errors
    /// [`Error`].
    pub fn runs(&self, request: &ListRequest) -> Result<List<RunSummary>, Error> {
        let columns = format!("{RUN}, {FAILED}");
        let source =
            Source { table: "runs", order: "started", columns, texts: &["run_id", "session_id", "name", "model"] };
        self.list(&source, request, run)
    }

    /// One run in short, by its own id or one that it came under.
    ///
    /// # Errors
    /// [`Error`].
    pub fn run_summary(&self, id: &str) -> Result<Option<RunSummary>, Error> {
        let sql = format!("SELECT {RUN}, {FAILED} FROM runs WHERE run_id = ?1 AND started IS NOT NULL");
        Ok(self.connection.prepare_cached(&sql)?.query_row([self.main_name(id)?], run).optional()?)
    }

    fn list<T>(
        &self,
        source: &Source,
        request: &ListRequest,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<List<T>, Error> {
        let Source { table, order, columns, texts } = source;
        let mut wheres = Wheres { text: format!("{order} IS NOT NULL"), values: Vec::new() };
        if let Some(cursor) = request.cursor {
            let (at, id) = cursor.parts();
            let values = [at, at, id].map(Value::Integer);
            wheres.and(&format!("{order} <= ? AND ({order} < ? OR id < ?)"), values);
        }
        if let Some(from) = request.from {
            wheres.and(&format!("{order} >= ?"), [Value::Integer(from)]);
        }
        if let Some(to) = request.to {
            wheres.and("started < ?", [Value::Integer(to)]);
        }
        if let Some(session) = &request.session {
            wheres.and("session_id = ?", [Value::Text(session.clone())]);
        }
        // How far a page looks is known before what is asked for in it.
        let edge: Option<i64> = self
            .connection
            .prepare_cached(&format!(
                "SELECT {order} FROM {table} WHERE {} ORDER BY {order} DESC LIMIT 1 OFFSET {SCAN}",
                wheres.text
            ))?
            .query_row(params_from_iter(wheres.values.iter()), |row| row.get(0))
            .optional()?;
        if let Some(edge) = edge {
            wheres.and(&format!("{order} >= ?"), [Value::Integer(edge)]);
        }
        if let Some(agent) = &request.agent {
            wheres.and("agent_id = ?", [Value::Text(agent.clone())]);
        }
        match request.failed {
            Some(true) => wheres.and(FAILED, []),
            Some(false) => wheres.and(&format!("NOT {FAILED}"), []),
            None => {}
        }
        if let Some(text) = &request.text {
            let any: Vec<_> = texts.iter().map(|column| format!("instr(lower({column}), lower(?)) > 0")).collect();
            wheres.and(&format!("({})", any.join(" OR ")), texts.iter().map(|_| Value::Text(text.clone())));
        }
        let Wheres { text: wheres, values } = wheres;
        let limit = request.limit.max(1);
        let sql = format!("SELECT {columns} FROM {table} WHERE {wheres} ORDER BY {order} DESC, id DESC LIMIT {limit}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values.iter()))?;
        let (mut items, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            last = Some(Cursor::new(row.get(1)?, row.get(0)?));
            items.push(read(row)?);
        }
        let next = if items.len() == limit { last } else { edge.map(|edge| Cursor::new(edge, i64::MIN)) };
        Ok(List { items, next })
    }
}
