//! Questions to a store, also to that of a running instance: its sessions, one run whole, what is new.
//!
//! A run is what bears its id, and what links say belongs to it (`transforms/assemble`): events that came
//! under another id, places in the tree, the session, a failure or a cost that became known later. All of
//! it is put together here, so that no reader has to know how.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use engine::{Event, Kind, Status, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, ToSql, params_from_iter};
use serde::{Deserialize, Serialize};

use super::read::{self, ExportError as Error};
use super::schema;

/// A store that is read.
pub struct Reader {
    connection: Connection,
}

/// One session, in short.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SessionSummary {
    /// Its id.
    pub session_id: String,
    /// The agent, where one is named.
    pub agent_id: Option<String>,
    /// Its first and last event, in nanoseconds since 1970.
    pub started: i64,
    /// See `started`.
    pub ended: i64,
    /// How many runs it has.
    pub runs: u64,
    /// Its model calls, tool calls, and events that failed.
    pub llm_calls: u64,
    /// See `llm_calls`.
    pub tool_calls: u64,
    /// See `llm_calls`.
    pub errors: u64,
    /// Tokens of its model calls; input includes what was cached.
    pub input_tokens: u64,
    /// See `input_tokens`.
    pub output_tokens: u64,
    /// What its model calls cost, in US dollars.
    pub cost_usd: f64,
    /// Model calls without a price.
    pub unpriced: u64,
}

/// One run, whole.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Its id.
    pub run_id: String,
    /// The session, the agent.
    pub session_id: Option<String>,
    /// See `session_id`.
    pub agent_id: Option<String>,
    /// Its events in order of time, links applied; those of kind `link` are left out.
    pub events: Vec<Event>,
    /// Whether it has more events than were read.
    pub cut: bool,
    /// Cost that links tell, in US dollars: what OpenClaw's counter says of the run as a whole.
    pub told_cost_usd: Option<f64>,
}

/// The most events of a run that are read.
const MAX_EVENTS: usize = 20_000;

/// The attributes that questions are about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "link.run_id")]
    other: Option<String>,
    cost_usd: Option<f64>,
}

impl Reader {
    /// Opens a store for reading; never makes one.
    ///
    /// # Errors
    /// [`Error`]: no such file, not one of ours, or damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            return Err(Error::Missing(path.to_owned()));
        }
        Ok(Self { connection: schema::open_reader(path)? })
    }

    /// The sessions, latest first, at most `most`. What names no session is left out.
    ///
    /// # Errors
    /// [`Error`].
    pub fn sessions(&self, most: usize) -> Result<Vec<SessionSummary>, Error> {
        // The session of a run may be told by one of its events alone.
        let mut statement = self.connection.prepare(
            "WITH named AS (
                 SELECT run_id, max(session_id) AS session_id FROM events
                 WHERE run_id IS NOT NULL AND session_id IS NOT NULL GROUP BY run_id
             )
             SELECT coalesce(e.session_id, named.session_id) AS session, max(e.agent_id), min(e.ts),
                    max(e.ts + CAST(coalesce(e.duration_ms, 0) * 1e6 AS INTEGER)), count(DISTINCT e.run_id),
                    sum(e.kind = 'llm_call'), sum(e.kind = 'tool_call'), sum(e.status IS 'error'),
                    sum(CASE WHEN e.kind = 'llm_call' THEN e.attributes ->> '$.\"gen_ai.usage.input_tokens\"' END),
                    sum(CASE WHEN e.kind = 'llm_call' THEN e.attributes ->> '$.\"gen_ai.usage.output_tokens\"' END),
                    sum(CASE WHEN e.kind = 'llm_call' THEN e.attributes ->> '$.cost_usd' END),
                    sum(e.kind = 'llm_call' AND e.attributes ->> '$.\"openclaw_trace.cost.source\"' = 'unpriced')
             FROM events e LEFT JOIN named ON named.run_id = e.run_id
             WHERE session IS NOT NULL GROUP BY session ORDER BY max(e.ts) DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            let count = |at: usize| row.get::<_, Option<f64>>(at).map(whole);
            Ok(SessionSummary {
                session_id: row.get(0)?,
                agent_id: row.get(1)?,
                started: row.get(2)?,
                ended: row.get(3)?,
                runs: count(4)?,
                llm_calls: count(5)?,
                tool_calls: count(6)?,
                errors: count(7)?,
                input_tokens: count(8)?,
                output_tokens: count(9)?,
                cost_usd: row.get::<_, Option<f64>>(10)?.unwrap_or(0.0),
                unpriced: count(11)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The ids of the latest runs, of one session or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub fn latest_runs(&self, session: Option<&str>, most: usize) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT run_id FROM events
             WHERE run_id IS NOT NULL AND kind NOT IN ('log', 'link', 'metric') AND (?1 IS NULL OR session_id = ?1)
             GROUP BY run_id ORDER BY max(ts) DESC LIMIT ?2",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = statement.query_map(rusqlite::params![session, most], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The ids of runs that begin like this, at most `most`: what a person has typed of one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn runs_like(&self, start: &str, most: usize) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT DISTINCT run_id FROM events INDEXED BY events_by_run
             WHERE run_id IS NOT NULL AND run_id >= ?1 AND substr(run_id, 1, length(?1)) = ?1 LIMIT ?2",
        )?;
        let rows =
            statement.query_map(rusqlite::params![start, i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One run by its id, or by another id that it came under; `None` where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn run(&self, id: &str) -> Result<Option<Run>, Error> {
        let mut names = BTreeSet::from([self.main_name(id)?]);
        let run_id = names.iter().next().cloned().unwrap_or_default();
        let links = self.links(&mut names)?;
        let marks = vec!["?"; names.len()].join(", ");
        let columns = read::COLUMNS;
        let mut statement = self.connection.prepare(&format!(
            "SELECT {columns} FROM events WHERE run_id IN ({marks}) AND kind <> 'link' ORDER BY ts, id LIMIT {}",
            MAX_EVENTS + 1
        ))?;
        let mut events = Vec::new();
        let mut rows = statement.query(params_from_iter(&names))?;
        while let Some(row) = rows.next()? {
            events.push(read::event(row)?);
        }
        if events.is_empty() {
            return Ok(None);
        }
        let cut = events.len() > MAX_EVENTS;
        events.truncate(MAX_EVENTS);
        Ok(Some(together(run_id, events, &links, cut)))
    }

    /// The id that this one belongs to, where a link says so.
    fn main_name(&self, id: &str) -> Result<String, Error> {
        let mut name = id.to_owned();
        // A link may point to another; not further than this, should they ever go in a circle.
        for _ in 0..8 {
            let next: Option<String> = self
                .connection
                .prepare_cached(
                    "SELECT run_id FROM events WHERE kind = 'link' AND attributes ->> '$.\"link.run_id\"' = ?1 LIMIT 1",
                )?
                .query_row([&name], |row| row.get(0))
                .optional()?;
            match next {
                Some(next) if next != name => name = next,
                _ => break,
            }
        }
        Ok(name)
    }

    /// The links of these runs; adds the other names that they tell.
    fn links(&self, names: &mut BTreeSet<String>) -> Result<Vec<Event>, Error> {
        let mut links = Vec::new();
        let mut ahead: Vec<String> = names.iter().cloned().collect();
        while let Some(name) = ahead.pop() {
            let columns = read::COLUMNS;
            let mut statement = self.connection.prepare_cached(&format!(
                "SELECT {columns} FROM events WHERE run_id = ?1 AND kind = 'link' ORDER BY id LIMIT 1000"
            ))?;
            let mut rows = statement.query([&name])?;
            while let Some(row) = rows.next()? {
                let link = read::event(row)?;
                if let Some(other) = told(&link).other
                    && names.len() < 256
                    && names.insert(other.clone())
                {
                    ahead.push(other);
                }
                links.push(link);
            }
        }
        Ok(links)
    }

    /// Events that came after the row `after`, at most `most`, with the row of the last one; `condition` may narrow
    /// them. Begins at the end of the store where `after` is `None`, `back` events before it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn since(
        &self,
        after: Option<i64>,
        back: usize,
        condition: &Condition,
        most: usize,
    ) -> Result<(i64, Vec<Event>), Error> {
        let (wheres, values) = condition.sql();
        let after = match after {
            Some(after) => after,
            None => {
                let sql = format!(
                    "SELECT min(id) - 1 FROM (SELECT id FROM events WHERE {wheres} ORDER BY id DESC LIMIT {back})"
                );
                let values = params_from_iter(values.iter().map(|value| value as &dyn ToSql));
                let first: Option<i64> = self.connection.query_row(&sql, values, |row| row.get(0))?;
                match first {
                    Some(first) => first,
                    None => {
                        self.connection.query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))?
                    }
                }
            }
        };
        let columns = read::COLUMNS;
        let sql = format!("SELECT {columns} FROM events WHERE id > {after} AND {wheres} ORDER BY id LIMIT {most}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values.iter().map(|value| value as &dyn ToSql)))?;
        let (mut last, mut events) = (after, Vec::new());
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            events.push(read::event(row)?);
        }
        Ok((last, events))
    }
}

/// What events must be to be asked for; what is `None` may be anything.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// One of these kinds; none: any but `metric` and `link`.
    pub kinds: Vec<String>,
    /// Of this session.
    pub session: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// Only what failed.
    pub failed: bool,
}

impl Condition {
    fn sql(&self) -> (String, Vec<String>) {
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        if self.kinds.is_empty() {
            parts.push("kind NOT IN ('metric', 'link')".to_owned());
        } else {
            parts.push(format!("kind IN ({})", vec!["?"; self.kinds.len()].join(", ")));
            values.extend(self.kinds.iter().cloned());
        }
        for (column, value) in [("session_id", &self.session), ("run_id", &self.run)] {
            if let Some(value) = value {
                parts.push(format!("{column} = ?"));
                values.push(value.clone());
            }
        }
        if self.failed {
            parts.push("status = 'error'".to_owned());
        }
        (parts.join(" AND "), values)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: Option<f64>) -> u64 {
    number.unwrap_or(0.0).max(0.0) as u64
}

fn told(event: &Event) -> Told {
    event.attributes.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default()
}

/// Applies what the links say.
fn together(run_id: String, mut events: Vec<Event>, links: &[Event], cut: bool) -> Run {
    let mut by_span: HashMap<&str, (Option<&String>, Option<&Event>)> = HashMap::new();
    let (mut session_id, mut agent_id, mut told_cost_usd) = (None, None, None);
    for link in links {
        session_id = session_id.or_else(|| link.session_id.clone());
        agent_id = agent_id.or_else(|| link.agent_id.clone());
        if let Some(cost) = told(link).cost_usd {
            told_cost_usd = Some(told_cost_usd.unwrap_or(0.0) + cost);
        }
        if let Some(span) = &link.span_id {
            let entry = by_span.entry(span).or_default();
            entry.0 = link.parent_span_id.as_ref().or(entry.0);
            entry.1 = (link.status == Some(Status::Error)).then_some(link).or(entry.1);
        }
    }
    for event in &mut events {
        event.run_id = Some(run_id.clone());
        session_id = session_id.or_else(|| event.session_id.clone());
        agent_id = agent_id.or_else(|| event.agent_id.clone());
        let Some((parent, failure)) = event.span_id.as_deref().and_then(|span| by_span.get(span)) else { continue };
        if let Some(parent) = parent {
            event.parent_span_id = Some((*parent).clone());
        }
        if let Some(failure) = failure
            && event.status != Some(Status::Error)
        {
            event.status = Some(Status::Error);
            event.error.clone_from(&failure.error);
        }
    }
    Run { run_id, session_id, agent_id, events, cut, told_cost_usd }
}

impl Run {
    /// When it began and when its last event ended.
    #[must_use]
    pub fn span_of_time(&self) -> (Timestamp, Timestamp) {
        #[allow(clippy::cast_possible_truncation)]
        let end =
            |event: &Event| event.timestamp.as_nanos().saturating_add((event.duration_ms.unwrap_or(0.0) * 1e6) as i64);
        let in_tree = || self.events.iter().filter(|event| event.kind != Kind::LOG);
        let start = in_tree().map(|event| event.timestamp).min();
        let last = in_tree().map(end).max();
        let fallback = self.events.first().map_or(Timestamp::from_nanos(0), |event| event.timestamp);
        (start.unwrap_or(fallback), last.map_or(fallback, Timestamp::from_nanos))
    }

    /// Whether the turn failed: its own event says so or, where it has none, any call in it.
    #[must_use]
    pub fn failed(&self) -> bool {
        let failed = |event: &Event| event.status == Some(Status::Error);
        let mut own = self.events.iter().filter(|event| event.kind == Kind::RUN).peekable();
        if own.peek().is_some() {
            // Of several tries the last one counts.
            return own.max_by_key(|event| event.timestamp).is_some_and(failed);
        }
        self.events.iter().any(failed)
    }
}
