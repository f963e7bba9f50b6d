//! The full-text index: words of names, errors, inputs and outputs, where the setting `full_text` asks for it.
//!
//! It is filled like the rollup, by the writer's thread when nobody waits, behind a cursor of its own, so that it may
//! be turned on for a store that is full already, and an event may lie before the rollup's cursor and behind this
//! one. It holds words and places, no texts (FTS5, contentless); what is deleted from the store goes from it first.

use engine::Json;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

/// Where the cursor stands, in the table `state`.
const CURSOR: &str = "full_text.cursor";

/// Events put in at one step.
const STEP: i64 = 200;

/// Bytes of one event that are put in.
const MOST_BYTES: usize = 64 * 1024;

/// Makes the index, or takes it away where it is not wanted any more.
///
/// # Errors
/// SQLite's.
pub(super) fn set_up(connection: &Connection, wanted: bool) -> rusqlite::Result<()> {
    match (wanted, is_there(connection)?) {
        (true, false) => connection.execute_batch(
            "CREATE VIRTUAL TABLE events_fts USING fts5(
                 words, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')",
        ),
        (false, true) => connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; DROP TABLE events_fts; DELETE FROM state WHERE key = '{CURSOR}'; COMMIT"
        )),
        _ => Ok(()),
    }
}

/// Whether the file has the index.
///
/// # Errors
/// SQLite's.
pub(super) fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'events_fts')";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The last event that is in it.
fn cursor(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT CAST(value AS INTEGER) FROM state WHERE key = ?1";
    let found: Option<i64> = connection.prepare_cached(sql)?.query_row([CURSOR], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

/// Puts in the next events; answers whether there may be more.
///
/// # Errors
/// SQLite's; nothing is put in then.
pub(super) fn step(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let after = cursor(&transaction)?;
    let (mut last, mut count) = (after, 0);
    {
        let mut insert = transaction.prepare_cached("INSERT INTO events_fts (rowid, words) VALUES (?1, ?2)")?;
        let mut select = transaction.prepare_cached(
            "SELECT id, name, error, input, output FROM events
             WHERE id > ?1 AND kind NOT IN ('metric', 'link') ORDER BY id LIMIT ?2",
        )?;
        let mut rows = select.query([after, STEP])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            count += 1;
            let mut words = String::new();
            for at in 1..5 {
                // A text that is none was spoiled by somebody else; the event is still found by the others.
                let text = row.get_ref(at)?.as_str().unwrap_or_default();
                if at < 3 { push(&mut words, text) } else { push_json(&mut words, text) }
            }
            if !words.is_empty() {
                insert.execute(params![last, words])?;
            }
        }
    }
    if count == 0 {
        return Ok(false);
    }
    transaction
        .prepare_cached("INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")?
        .execute([CURSOR, &last.to_string()])?;
    transaction.commit()?;
    Ok(count == STEP)
}

fn push(words: &mut String, text: &str) {
    let room = MOST_BYTES.saturating_sub(words.len());
    words.push_str(&text[..text.floor_char_boundary(room)]);
    words.push('\n');
}

/// The strings of a body: as JSON, "\nword" would be the word "nword".
fn push_json(words: &mut String, text: &str) {
    if let Ok(json) = Json::parse(text) {
        json.rewrite(|_, text| {
            push(words, text);
            None
        });
    }
}

/// What FTS5 is asked for a person's words: events that have them all; `None` where there is no word in it.
///
/// Whole words: for the beginning of one FTS5 would gather, in memory, all places of all words that begin so
/// (48 MB in a million events).
pub(super) fn question(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
