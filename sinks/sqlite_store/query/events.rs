//! Lists of events: by time in pages, or by arrival as they come.
//!
//! A page looks at no more than [`SCAN`] events, however few of them are such as are asked for; it ends there
//! with a cursor, and the next one goes on. So the rarest question takes many short pages, never a long one.

use std::str::FromStr;

use engine::{Event, TraceId};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, Rows, params, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use super::condition::{Condition, Order, Sql};
use super::row::{Bodies, EventRow, StoredEvent, time};
use super::{Error, Reader};
use crate::sqlite_store::{full_text, read};

/// Events that one page looks at; fewer where their texts are read.
const SCAN: i64 = 5000;
const SCAN_TEXT: i64 = 2000;

/// Bytes after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// Which page.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// What events must be.
    pub condition: Condition,
    /// Which come first.
    pub order: Order,
    /// How much of the bodies is wanted.
    pub bodies: Bodies,
    /// The most events.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

/// Some events, and where to go on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Page {
    /// The events.
    pub events: Vec<EventRow>,
    /// The next page's `cursor`; null at the end.
    #[schemars(with = "Option<String>")]
    pub next: Option<Cursor>,
    /// How far the page has looked.
    pub scanned_to: Option<String>,
}

/// A place in a list that is in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    at: i64,
    id: i64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.at, self.id)
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
        numbers.map(|(at, id)| Self { at, id }).ok_or("is no cursor; take `next` of the page before")
    }
}

impl Cursor {
    pub(super) fn new(at: i64, id: i64) -> Self {
        Self { at, id }
    }

    pub(super) fn parts(self) -> (i64, i64) {
        (self.at, self.id)
    }
}

impl Reader {
    /// One page of events in order of time.
    ///
    /// # Errors
    /// [`Error`].
    pub fn events(&self, request: &PageRequest) -> Result<Page, Error> {
        let (events, next) = self.paged(request, |row| {
            let event = EventRow::read(row, request.bodies)?;
            let weight = event.weight();
            Ok((event, weight))
        })?;
        Ok(Page { events, next, scanned_to: time(next.map(|cursor| cursor.at)) })
    }

    /// One page of events as they were taken, and where to go on.
    ///
    /// # Errors
    /// [`Error`].
    pub fn whole_events(&self, request: &PageRequest) -> Result<(Vec<Event>, Option<Cursor>), Error> {
        self.paged(request, |row| {
            let event = read::event(row)?;
            let weight = event.size_bytes();
            Ok((event, weight))
        })
    }

    fn paged<T>(
        &self,
        request: &PageRequest,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<(T, usize)>,
    ) -> Result<(Vec<T>, Option<Cursor>), Error> {
        let runs = match &request.condition.run {
            Some(run) => self.names(run)?,
            None => Vec::new(),
        };
        let words = request.condition.text.as_deref().and_then(full_text::question);
        if let Some(words) = words
            && full_text::is_there(&self.connection)?
        {
            return self.found(request, &words, &runs, read);
        }
        let (from, to) = self.bounds(request)?;
        let Some(to) = to.checked_sub(1).filter(|to| *to >= from) else { return Ok((Vec::new(), None)) };
        let descending = request.order == Order::Descending;
        let Cursor { at, id } =
            request.cursor.unwrap_or(if descending { Cursor::new(to, i64::MAX) } else { Cursor::new(from, i64::MIN) });
        let (from, to) = if descending { (from, to.min(at)) } else { (from.max(at), to) };
        let sql = request.condition.sql(&runs);
        // A run's events are found by its name, so none but its own are looked at.
        let edge = if runs.is_empty() { self.edge(&request.condition, from, to, descending)? } else { None };
        let (from, to) = match edge {
            Some(edge) if descending => (edge, to),
            Some(edge) => (from, edge),
            None => (from, to),
        };
        let (items, last) = self.page(request, &sql, !runs.is_empty(), (from, to), Cursor { at, id }, read)?;
        let end = if descending { Cursor::new(from, i64::MIN) } else { Cursor::new(to, i64::MAX) };
        Ok((items, last.or(edge.map(|_| end))))
    }

    /// The time that is asked for; a session's is no longer than it lasted.
    fn bounds(&self, request: &PageRequest) -> Result<(i64, i64), Error> {
        let condition = &request.condition;
        let (mut from, mut to) = (condition.from.unwrap_or(i64::MIN), condition.to.unwrap_or(i64::MAX));
        if let Some(session) = &condition.session {
            let known: Option<(i64, i64)> = self
                .connection
                .prepare_cached("SELECT started, ended FROM sessions WHERE session_id = ?1")?
                .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            // What came in the last second is not summed up yet.
            if let Some((started, _)) = known {
                from = from.max(started);
            }
            if let Some((_, ended)) = known
                && ended < engine::Timestamp::now().as_nanos() - 60_000_000_000
            {
                to = to.min(ended.saturating_add(1));
            }
        }
        Ok((from, to))
    }

    /// The time at which a page that looks at so many events has to end; `None`: it may look at all.
    fn edge(&self, condition: &Condition, from: i64, to: i64, descending: bool) -> Result<Option<i64>, Error> {
        let rare = condition.rare().map(|rare| format!("{rare} AND ")).unwrap_or_default();
        let order = if descending { "DESC" } else { "ASC" };
        let scan = if condition.text.is_some() { SCAN_TEXT } else { SCAN };
        let edge: Option<i64> = self
            .connection
            .prepare_cached(&format!(
                "SELECT ts FROM events WHERE {rare}ts >= ?1 AND ts <= ?2 ORDER BY ts {order} LIMIT 1 OFFSET {scan}"
            ))?
            .query_row([from, to], |row| row.get(0))
            .optional()?;
        // All of them at one and the same time: that time is looked at whole.
        Ok(edge)
    }

    /// What the full-text index finds, in the order of arrival, which is nearly that of time.
    fn found<T>(
        &self,
        request: &PageRequest,
        words: &str,
        runs: &[String],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<(T, usize)>,
    ) -> Result<(Vec<T>, Option<Cursor>), Error> {
        let (order, beyond, begin) = match request.order {
            Order::Descending => ("DESC", "<", i64::MAX),
            Order::Ascending => ("ASC", ">", i64::MIN),
        };
        let after = request.cursor.map_or(begin, |cursor| cursor.id);
        let matches = format!(
            "SELECT rowid FROM events_fts WHERE events_fts MATCH ? AND rowid {beyond} ? ORDER BY rowid {order}"
        );
        // The place of the last match that this page looks at.
        let edge: Option<i64> = self
            .connection
            .prepare_cached(&format!("{matches} LIMIT 1 OFFSET {SCAN_TEXT}"))?
            .query_row(params![words, after], |row| row.get(0))
            .optional()?;
        let condition = Condition { text: None, ..request.condition.clone() };
        let Sql { text, values } = condition.sql(runs);
        let columns = read::COLUMNS;
        let limit = request.limit.max(1);
        let (from, to) = (condition.from.unwrap_or(i64::MIN), condition.to.unwrap_or(i64::MAX));
        // CROSS JOIN: the matches are gone through, and each event looked up.
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {columns} FROM ({matches} LIMIT {}) AS found CROSS JOIN events ON events.id = found.rowid
             WHERE ts >= ? AND ts < ? AND {text} ORDER BY id {order} LIMIT {limit}",
            SCAN_TEXT + 1
        ))?;
        let bounds = [Value::Text(words.to_owned()), Value::Integer(after), Value::Integer(from), Value::Integer(to)];
        let mut rows = statement.query(params_from_iter(bounds.into_iter().chain(values)))?;
        let (items, last) = gather(&mut rows, limit, read)?;
        let (None, Some(edge)) = (last, edge) else { return Ok((items, last)) };
        let at = self.connection.prepare_cached("SELECT ts FROM events WHERE id = ?1")?;
        let at: Option<i64> = { at }.query_row([edge], |row| row.get(0)).optional()?;
        Ok((items, Some(Cursor::new(at.unwrap_or(0), edge))))
    }

    /// The items, and the place of the last one where there may be more.
    fn page<T>(
        &self,
        request: &PageRequest,
        sql: &Sql,
        of_run: bool,
        (from, to): (i64, i64),
        cursor: Cursor,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<(T, usize)>,
    ) -> Result<(Vec<T>, Option<Cursor>), Error> {
        let descending = request.order == Order::Descending;
        let (order, beyond) = if descending { ("DESC", "<") } else { ("ASC", ">") };
        let columns = read::COLUMNS;
        let index = if of_run { "INDEXED BY events_by_run" } else { "" };
        let limit = request.limit.max(1);
        let text = format!(
            "SELECT {columns} FROM events {index} WHERE ts >= ? AND ts <= ? AND (ts {beyond} ? OR id {beyond} ?)
             AND {} ORDER BY ts {order}, id {order} LIMIT {limit}",
            sql.text
        );
        let bounds = [from, to, cursor.at, cursor.id].map(Value::Integer);
        let mut statement = self.connection.prepare_cached(&text)?;
        let mut rows = statement.query(params_from_iter(bounds.into_iter().chain(sql.values.iter().cloned())))?;
        Ok(gather(&mut rows, limit, read)?)
    }

    /// One event whole; `None` where it is not there.
    ///
    /// # Errors
    /// [`Error`].
    pub fn event(&self, id: TraceId) -> Result<Option<StoredEvent>, Error> {
        let columns = read::COLUMNS;
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {columns}, received_at, pushed_at, quarantine_reason FROM events WHERE trace_id = ?1"
        ))?;
        let found = statement.query_row([id.as_bytes()], |row| {
            Ok(StoredEvent {
                event: EventRow::read(row, Bodies::Full)?,
                received_at: super::moment(row.get(16)?),
                pushed_at: time(row.get(17)?),
                quarantine_reason: row.get(18)?,
            })
        });
        Ok(found.optional()?)
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
        let Sql { text: wheres, values } = condition.sql(&condition.run.clone().into_iter().collect::<Vec<_>>());
        let after = match after {
            Some(after) => after,
            None => {
                let sql = format!(
                    "SELECT min(id) - 1 FROM (SELECT id FROM events WHERE {wheres} ORDER BY id DESC LIMIT {back})"
                );
                let first: Option<i64> =
                    self.connection.query_row(&sql, params_from_iter(values.iter()), |row| row.get(0))?;
                first.map_or_else(|| self.last_id(), Ok)?
            }
        };
        let columns = read::COLUMNS;
        let sql = format!("SELECT {columns} FROM events WHERE id > {after} AND {wheres} ORDER BY id LIMIT {most}");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(values.iter()))?;
        let (mut last, mut events) = (after, Vec::new());
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            events.push(read::event(row)?);
        }
        Ok((last, events))
    }

    /// Events that came after the row `after`, at most `most` and some 1 MiB.
    ///
    /// # Errors
    /// [`Error`].
    pub fn arrivals(&self, after: i64, most: usize) -> Result<Vec<EventRow>, Error> {
        let columns = read::COLUMNS;
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {columns} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
        let mut rows = statement.query([after, i64::try_from(most).unwrap_or(i64::MAX)])?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let event = EventRow::read(row, Bodies::Preview)?;
            bytes += event.weight();
            events.push(event);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(events)
    }
}

/// The items of the rows, and the place of the last one where the page ends before the rows do.
fn gather<T>(
    rows: &mut Rows<'_>,
    limit: usize,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<(T, usize)>,
) -> rusqlite::Result<(Vec<T>, Option<Cursor>)> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (item, weight) = read(row)?;
        items.push(item);
        bytes += weight;
        if bytes >= PAGE_BYTES || items.len() == limit {
            return Ok((items, Some(Cursor::new(row.get(3)?, row.get(0)?))));
        }
    }
    Ok((items, None))
}
