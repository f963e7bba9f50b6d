//! Runs and sessions: one row each, with what their events come to.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Seen, Tokens, Told, cut, number, pico, text};

/// Characters of an error that are kept with its run.
const ERROR: usize = 300;

/// Links that point to links are followed so far, should they ever go in a circle.
const HOPS: usize = 8;

/// What a run's events come to.
#[derive(Debug, Clone, Default, PartialEq)]
struct Run {
    session_id: Option<String>,
    agent_id: Option<String>,
    /// The name of its own event (kind `run`).
    name: Option<String>,
    /// The model of its last call.
    model: Option<String>,
    /// Begin and end of what it did; logs alone make no run.
    started: Option<i64>,
    ended: Option<i64>,
    /// The last event of any kind.
    seen: i64,
    events: i64,
    llm_calls: i64,
    tool_calls: i64,
    errors: i64,
    /// What its calls tell.
    calls: Tokens,
    /// What is told of the turn as a whole; the same tokens once more.
    usage: Tokens,
    /// What OpenClaw's counter says that it cost.
    told_cost_pico: Option<i64>,
    /// Of its own event: of several tries the last one counts.
    own_at: Option<i64>,
    own_failed: Option<bool>,
    told_failed: bool,
    error: Option<String>,
}

impl Run {
    fn of(event: &Seen<'_>, told: &Told<'_>) -> Self {
        let is = |kind: &str| event.kind == kind;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let spans = !is("log") && !is("metric") && !is("link");
        let tokens = told.tokens();
        let own = is("run");
        Self {
            session_id: owned(event.session_id),
            agent_id: owned(event.agent_id),
            name: owned(event.name.filter(|_| own)),
            model: event.name.filter(|_| is("llm_call")).map(str::to_owned).or_else(|| text(told.model)),
            started: spans.then_some(event.ts),
            ended: spans.then(|| event.ends()),
            seen: event.ts,
            events: i64::from(!is("link")),
            llm_calls: i64::from(is("llm_call")),
            tool_calls: i64::from(is("tool_call")),
            errors: i64::from(event.failed),
            calls: if is("llm_call") { tokens } else { Tokens::default() },
            usage: if is("usage") { tokens } else { Tokens::default() },
            told_cost_pico: pico(number(told.cost_usd).filter(|_| is("link"))),
            own_at: own.then_some(event.ts),
            own_failed: own.then_some(event.failed),
            told_failed: is("link") && event.failed,
            error: event.error.filter(|_| event.failed).map(|error| cut(error, ERROR).to_owned()),
        }
    }

    /// Takes in another part of the same run, which came later.
    fn merge(&mut self, other: Self) {
        let later = other.own_at > self.own_at;
        if self.error.is_none() || (later && other.own_failed == Some(true)) {
            self.error = other.error.or(self.error.take());
        }
        if later {
            (self.own_at, self.own_failed) = (other.own_at, other.own_failed);
        }
        self.session_id = self.session_id.take().or(other.session_id);
        self.agent_id = self.agent_id.take().or(other.agent_id);
        self.name = other.name.or(self.name.take());
        self.model = other.model.or(self.model.take());
        self.started = self.started.into_iter().chain(other.started).min();
        self.ended = self.ended.max(other.ended);
        self.seen = self.seen.max(other.seen);
        self.events += other.events;
        self.llm_calls += other.llm_calls;
        self.tool_calls += other.tool_calls;
        self.errors += other.errors;
        self.calls.add(other.calls);
        self.usage.add(other.usage);
        self.told_cost_pico = match (self.told_cost_pico, other.told_cost_pico) {
            (Some(one), Some(two)) => Some(one.saturating_add(two)),
            (one, two) => one.or(two),
        };
        self.told_failed |= other.told_failed;
    }

    /// What it adds to its session.
    fn share(&self) -> Share {
        let told = self.told_cost_pico;
        Share {
            runs: i64::from(self.started.is_some()),
            llm_calls: self.llm_calls,
            tool_calls: self.tool_calls,
            errors: self.errors,
            tokens: counted(self.calls, self.usage, told),
        }
    }
}

/// The tokens that count: those of the calls, or those told of the turn where its calls tell none; and the
/// cost that OpenClaw's counter says, where nothing else says one.
pub(in crate::sqlite_store) fn counted(calls: Tokens, usage: Tokens, told_cost_pico: Option<i64>) -> Tokens {
    let mut tokens = if calls.any() { calls } else { Tokens { unpriced: calls.unpriced + usage.unpriced, ..usage } };
    if let (0, Some(told)) = (tokens.cost_pico, told_cost_pico) {
        tokens.cost_pico = told;
        tokens.unpriced = 0;
    }
    tokens
}

/// What a run adds to its session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    runs: i64,
    llm_calls: i64,
    tool_calls: i64,
    errors: i64,
    tokens: Tokens,
}

impl Share {
    fn less(self, before: Self) -> Self {
        Self {
            runs: self.runs - before.runs,
            llm_calls: self.llm_calls - before.llm_calls,
            tool_calls: self.tool_calls - before.tool_calls,
            errors: self.errors - before.errors,
            tokens: Tokens {
                input: self.tokens.input - before.tokens.input,
                cached: self.tokens.cached - before.tokens.cached,
                output: self.tokens.output - before.tokens.output,
                cost_pico: self.tokens.cost_pico - before.tokens.cost_pico,
                unpriced: self.tokens.unpriced - before.tokens.unpriced,
            },
        }
    }
}

/// What a step found of runs and sessions.
#[derive(Default)]
pub(super) struct Runs {
    by_id: BTreeMap<String, Run>,
    /// Events that name a session and no run.
    alone: BTreeMap<String, Run>,
    /// One id that belongs to another.
    links: Vec<(String, String)>,
}

impl Runs {
    pub(super) fn add(&mut self, event: &Seen<'_>, told: &Told<'_>) {
        let (found, id) = match (event.run_id, event.session_id) {
            (Some(run), _) => (&mut self.by_id, run),
            (None, Some(session)) if event.kind != "metric" => (&mut self.alone, session),
            _ => return,
        };
        if let (Some(run), Some(other)) = (event.run_id, text(told.other).filter(|_| event.kind == "link"))
            && run != other
        {
            self.links.push((other, run.to_owned()));
        }
        let part = Run::of(event, told);
        match found.get_mut(id) {
            Some(run) => run.merge(part),
            None => drop(found.insert(id.to_owned(), part)),
        }
    }

    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        for (id, part) in self.by_id {
            join(connection, &resolve(connection, &id)?, part)?;
        }
        for (other, run) in self.links {
            link(connection, &other, &resolve(connection, &run)?)?;
        }
        for (session, part) in self.alone {
            let share = Share { runs: 0, ..part.share() };
            add_to_session(connection, &session, &part, share)?;
        }
        Ok(())
    }
}

/// The run that an id belongs to by now.
///
/// # Errors
/// SQLite's.
pub(in crate::sqlite_store) fn resolve(connection: &Connection, id: &str) -> rusqlite::Result<String> {
    let mut statement = connection.prepare_cached("SELECT run_id FROM run_alias WHERE other = ?1")?;
    let mut name = id.to_owned();
    for _ in 0..HOPS {
        match statement.query_row([&name], |row| row.get(0)).optional()? {
            Some(next) => name = next,
            None => break,
        }
    }
    Ok(name)
}

/// Has what stands under `other` belong to `run`.
fn link(connection: &Connection, other: &str, run: &str) -> rusqlite::Result<()> {
    // A circle would belong to nobody.
    let other = resolve(connection, other)?;
    if other == run {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT INTO run_alias (other, run_id) VALUES (?1, ?2) ON CONFLICT (other) DO NOTHING")?
        .execute([other.as_str(), run])?;
    let Some((id, part)) = read(connection, &other)? else { return Ok(()) };
    if let Some(session) = &part.session_id {
        add_to_session(connection, session, &part, Share::default().less(part.share()))?;
    }
    connection.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([id])?;
    join(connection, run, part)
}

/// Adds a part to its run, and what that changes to its session.
fn join(connection: &Connection, id: &str, part: Run) -> rusqlite::Result<()> {
    let (row, before) = match read(connection, id)? {
        Some((row, run)) => (Some(row), run),
        None => (None, Run::default()),
    };
    let mut run = before.clone();
    if row.is_some() {
        run.merge(part)
    } else {
        run = part
    };
    if let Some(session) = &run.session_id {
        // Told now for the first time: the session takes in all of it.
        let known = if before.session_id.is_some() { before.share() } else { Share::default() };
        add_to_session(connection, session, &run, run.share().less(known))?;
    }
    write(connection, row, id, &run)
}

const COLUMNS: &str = "session_id, agent_id, name, model, started, ended, seen, events, llm_calls, tool_calls, errors, \
     input_tokens, cached_tokens, output_tokens, cost_pico, unpriced, usage_input_tokens, usage_cached_tokens, \
     usage_output_tokens, usage_cost_pico, usage_unpriced, told_cost_pico, own_at, own_failed, told_failed, error";

fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<(i64, Run)>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS}, id FROM runs WHERE run_id = ?1"))?
        .query_row([id], |row| Ok((row.get(26)?, run_of(row)?)))
        .optional()
}

fn run_of(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        session_id: row.get(0)?,
        agent_id: row.get(1)?,
        name: row.get(2)?,
        model: row.get(3)?,
        started: row.get(4)?,
        ended: row.get(5)?,
        seen: row.get(6)?,
        events: row.get(7)?,
        llm_calls: row.get(8)?,
        tool_calls: row.get(9)?,
        errors: row.get(10)?,
        calls: Tokens::read(row, 11)?,
        usage: Tokens::read(row, 16)?,
        told_cost_pico: row.get(21)?,
        own_at: row.get(22)?,
        own_failed: row.get(23)?,
        told_failed: row.get(24)?,
        error: row.get(25)?,
    })
}

fn write(connection: &Connection, row: Option<i64>, id: &str, run: &Run) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO runs (id, run_id, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
             ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)"
        ))?
        .execute(params![
            row,
            id,
            run.session_id,
            run.agent_id,
            run.name,
            run.model,
            run.started,
            run.ended,
            run.seen,
            run.events,
            run.llm_calls,
            run.tool_calls,
            run.errors,
            run.calls.input,
            run.calls.cached,
            run.calls.output,
            run.calls.cost_pico,
            run.calls.unpriced,
            run.usage.input,
            run.usage.cached,
            run.usage.output,
            run.usage.cost_pico,
            run.usage.unpriced,
            run.told_cost_pico,
            run.own_at,
            run.own_failed,
            run.told_failed,
            run.error,
        ])?;
    Ok(())
}

fn add_to_session(connection: &Connection, session: &str, run: &Run, share: Share) -> rusqlite::Result<()> {
    let (started, ended) = (run.started.unwrap_or(run.seen), run.ended.unwrap_or(run.seen));
    connection
        .prepare_cached(
            "INSERT INTO sessions (session_id, agent_id, started, ended, runs, llm_calls, tool_calls, errors,
                 input_tokens, cached_tokens, output_tokens, cost_pico, unpriced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (session_id) DO UPDATE SET
                 agent_id = coalesce(agent_id, ?2), started = min(started, ?3), ended = max(ended, ?4),
                 runs = runs + ?5, llm_calls = llm_calls + ?6, tool_calls = tool_calls + ?7, errors = errors + ?8,
                 input_tokens = input_tokens + ?9, cached_tokens = cached_tokens + ?10,
                 output_tokens = output_tokens + ?11, cost_pico = cost_pico + ?12, unpriced = unpriced + ?13",
        )?
        .execute(params![
            session,
            run.agent_id,
            started,
            ended,
            share.runs,
            share.llm_calls,
            share.tool_calls,
            share.errors,
            share.tokens.input,
            share.tokens.cached,
            share.tokens.output,
            share.tokens.cost_pico,
            share.tokens.unpriced,
        ])?;
    Ok(())
}
