//! One run, whole or as the spans of its tree.
//!
//! A run is what bears its id, and what links say belongs to it (`transforms/assemble`): events that came
//! under another id, places in the tree, the session, a failure or a cost that became known later. All of
//! it is put together here, so that no reader has to know how.

use std::collections::{BTreeSet, HashMap};

use engine::{Event, Kind, Status, Timestamp};
use rusqlite::params_from_iter;
use rusqlite::types::Value;
use schemars::JsonSchema;
use serde::Serialize;

use super::events::Cursor;
use super::lists::{ListRequest, RunSummary};
use super::row::{Bodies, EventRow};
use super::{Error, Reader};
use crate::sqlite_store::{read, rollup};
use crate::told::Told;

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

/// One run to be read in pages: it may be far larger than what memory there is.
pub struct Tree {
    /// The run in short.
    pub run: RunSummary,
    names: Vec<String>,
    links: Links,
}

/// An event of a run's tree, without its attributes and bodies.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SpanRow {
    /// The event.
    #[serde(flatten)]
    pub event: EventRow,
    /// Tokens of input, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<f64>,
    /// Of those, tokens read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<f64>,
    /// Tokens of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<f64>,
    /// In US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// True of a call that has no price.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unpriced: bool,
    /// The model that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who offers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// The most events of a run that are read.
pub(super) const MAX_EVENTS: usize = 20_000;

impl Reader {
    /// The ids of the latest runs, of one session or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub fn latest_runs(&self, session: Option<&str>, most: usize) -> Result<Vec<String>, Error> {
        let request = ListRequest { session: session.map(str::to_owned), limit: most, ..ListRequest::default() };
        Ok(self.runs(&request)?.items.into_iter().map(|run| run.run_id).collect())
    }

    /// The ids of runs that begin like this, at most `most`: what a person has typed of one.
    ///
    /// # Errors
    /// [`Error`].
    pub fn runs_like(&self, start: &str, most: usize) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT run_id FROM runs WHERE run_id >= ?1 AND substr(run_id, 1, length(?1)) = ?1 ORDER BY run_id LIMIT ?2",
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
        let run_id = self.main_name(id)?;
        let mut names = BTreeSet::from([run_id.clone()]);
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
        Ok(Some(together(run_id, events, links, cut)))
    }

    /// The id that this one belongs to, where a link says so.
    pub(super) fn main_name(&self, id: &str) -> Result<String, Error> {
        Ok(rollup::resolve(&self.connection, id)?)
    }

    /// All names of a run, the one that counts first.
    pub(super) fn names(&self, id: &str) -> Result<Vec<String>, Error> {
        let main = self.main_name(id)?;
        let mut names = BTreeSet::from([main.clone()]);
        self.links(&mut names)?;
        names.remove(&main);
        Ok(std::iter::once(main).chain(names).collect())
    }

    /// One run to be read in pages, by its id or by another id that it came under; `None` where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn tree(&self, id: &str) -> Result<Option<Tree>, Error> {
        let Some(run) = self.run_summary(id)? else { return Ok(None) };
        let mut names = BTreeSet::from([run.run_id.clone()]);
        let links = Links::of(self.links(&mut names)?);
        Ok(Some(Tree { run, names: names.into_iter().collect(), links }))
    }

    /// Some of a run's events in order of time, links applied, and where to go on.
    ///
    /// # Errors
    /// [`Error`].
    pub fn spans(
        &self,
        tree: &Tree,
        cursor: Option<Cursor>,
        most: usize,
    ) -> Result<(Vec<SpanRow>, Option<Cursor>), Error> {
        let marks = vec!["?"; tree.names.len()].join(", ");
        let columns = read::COLUMNS;
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {columns} FROM events INDEXED BY events_by_run
             WHERE run_id IN ({marks}) AND kind <> 'link' AND ts >= ? AND (ts > ? OR id > ?) ORDER BY ts, id LIMIT {most}"
        ))?;
        let (at, id) = cursor.map_or((i64::MIN, i64::MIN), Cursor::parts);
        let names = tree.names.iter().map(|name| Value::Text(name.clone()));
        let bounds = [at, at, id].map(Value::Integer);
        let mut rows = statement.query(params_from_iter(names.chain(bounds)))?;
        let (mut spans, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            last = Some(Cursor::new(row.get(3)?, id));
            let mut event = read::event(row)?;
            event.run_id = Some(tree.run.run_id.clone());
            tree.links.apply(&mut event);
            let told = Told::by(&event);
            let unpriced = told.is_unpriced();
            let mut event = EventRow::of(id, event, Bodies::None);
            event.attributes = None;
            spans.push(SpanRow {
                event,
                input_tokens: told.input,
                cached_tokens: told.cached,
                output_tokens: told.output,
                cost_usd: told.cost_usd,
                unpriced,
                model: told.model,
                provider: told.provider,
            });
        }
        let next = last.filter(|_| spans.len() == most);
        Ok((spans, next))
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
                if let Some(other) = Told::by(&link).other
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
}

/// What links say of a run.
#[derive(Default)]
struct Links {
    session_id: Option<String>,
    agent_id: Option<String>,
    told_cost_usd: Option<f64>,
    /// Of a span: what it hangs below, and why it failed.
    by_span: HashMap<String, (Option<String>, Option<Option<String>>)>,
}

impl Links {
    fn of(links: Vec<Event>) -> Self {
        let mut all = Self::default();
        for link in links {
            if let Some(cost) = Told::by(&link).cost_usd {
                all.told_cost_usd = Some(all.told_cost_usd.unwrap_or(0.0) + cost);
            }
            let failed = link.status == Some(Status::Error);
            if let Some(span) = link.span_id {
                let entry = all.by_span.entry(span).or_default();
                entry.0 = link.parent_span_id.or(entry.0.take());
                entry.1 = failed.then_some(link.error).or(entry.1.take());
            }
            all.session_id = all.session_id.or(link.session_id);
            all.agent_id = all.agent_id.or(link.agent_id);
        }
        all
    }

    fn apply(&self, event: &mut Event) {
        let Some((parent, failure)) = event.span_id.as_deref().and_then(|span| self.by_span.get(span)) else { return };
        if let Some(parent) = parent {
            event.parent_span_id = Some(parent.clone());
        }
        if let Some(failure) = failure
            && event.status != Some(Status::Error)
        {
            event.status = Some(Status::Error);
            event.error.clone_from(failure);
        }
    }
}

/// Applies what the links say.
fn together(run_id: String, mut events: Vec<Event>, links: Vec<Event>, cut: bool) -> Run {
    let links = Links::of(links);
    for event in &mut events {
        event.run_id = Some(run_id.clone());
        links.apply(event);
    }
    let first = |pick: fn(&Event) -> &Option<String>| events.iter().find_map(|event| pick(event).clone());
    Run {
        run_id,
        session_id: links.session_id.or_else(|| first(|event| &event.session_id)),
        agent_id: links.agent_id.or_else(|| first(|event| &event.agent_id)),
        cut,
        told_cost_usd: links.told_cost_usd,
        events,
    }
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
