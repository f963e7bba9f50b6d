//! The store on real files, with real second connections.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::config::Size;
use engine::{Admission, Outcome, Receipt};
use engine::{Event, Json, Kind};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

struct Rig {
    folder: TempDir,
    config: SqliteStore,
}

impl Rig {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let config = SqliteStore {
            path: Some(folder.path().join("t.db")),
            busy_timeout: Time(Duration::from_millis(100)),
            disk_reserve: Size(0),
            ..SqliteStore::default()
        };
        Self { folder, config }
    }

    fn path(&self) -> PathBuf {
        self.config.database()
    }

    fn cx(&self) -> BuildContext {
        BuildContext { drain_timeout: Duration::from_secs(2), ..BuildContext::new("store") }
    }

    /// The error, where it does not open.
    async fn try_open(&self) -> Result<Box<dyn Sink>, String> {
        let AnySink::Stream(mut sink) = self.config.clone().build(&self.cx()).unwrap() else { panic!("a stream sink") };
        sink.open().await.map_err(|error| error.to_string())?;
        Ok(sink)
    }

    async fn open(&self) -> Box<dyn Sink> {
        self.try_open().await.unwrap()
    }

    fn count(&self, what: &str) -> i64 {
        count(&self.path(), what)
    }

    fn set_aside(&self) -> usize {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().contains(".damaged-")).count()
    }
}

fn count(path: &Path, what: &str) -> i64 {
    Connection::open(path).unwrap().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

fn event(text: &str) -> Event {
    let mut event = Event::new(Kind::LOG);
    event.input = Some(Json::from_value(&text).unwrap());
    event
}

fn batch(events: Vec<Event>, acknowledged: bool) -> (Batch, Receipt) {
    let credits = Admission::new(10_000, usize::MAX / 2).try_acquire(events.len(), 1).unwrap();
    Batch::new(events, credits, acknowledged)
}

async fn write(sink: &mut Box<dyn Sink>, events: Vec<Event>) -> Outcome {
    let (batch, mut receipt) = batch(events, false);
    sink.write(vec![batch]).await;
    receipt.outcome().await
}

async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come to that");
}

const STORED: Outcome = Outcome::Stored { duplicates: 0 };

#[tokio::test]
async fn what_is_confirmed_is_in_the_file_and_a_repeat_is_a_duplicate() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let event = event("hello");
    assert_eq!(write(&mut sink, vec![event.clone()]).await, STORED);
    assert_eq!(rig.count("events"), 1);
    assert_eq!(write(&mut sink, vec![event.clone(), event]).await, Outcome::Stored { duplicates: 2 });
    assert_eq!(rig.count("events"), 1);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn the_file_is_private_in_wal_mode_and_gives_space_back() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    write(&mut sink, vec![event("x")]).await;
    for suffix in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{suffix}", rig.path().display()));
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{suffix}");
    }
    let reader = Connection::open(rig.path()).unwrap();
    let pragma = |name: &str| {
        reader.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap()
    };
    assert_eq!(pragma("journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
    assert_eq!(pragma("auto_vacuum"), rusqlite::types::Value::Integer(2));
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_held_lock_fails_the_batch_and_leaves_no_trace_of_it() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let event = event("x");
    let other = Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(write(&mut sink, vec![event.clone()]).await, Outcome::Failed(_)));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rig.count("events"), 0);
    assert_eq!(write(&mut sink, vec![event]).await, STORED);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_cannot_be_stored_does_not_fail_the_others_of_its_write() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let other = Connection::open(rig.path()).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER t BEFORE INSERT ON events WHEN NEW.name = 'guilty' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .unwrap();
    let mut guilty = event("no");
    guilty.name = Some("guilty".to_owned());
    let (batches, mut receipts): (Vec<_>, Vec<_>) =
        [event("a"), guilty, event("b")].map(|event| batch(vec![event], false)).into_iter().unzip();
    sink.write(batches).await;
    assert_eq!(receipts[0].outcome().await, STORED);
    assert!(matches!(receipts[1].outcome().await, Outcome::Failed(_)));
    assert_eq!(receipts[2].outcome().await, STORED);
    assert_eq!(rig.count("events"), 2);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_held_lock_is_waited_for_once_a_write_and_not_once_a_batch() {
    let rig = Rig::new();
    let cx = rig.cx();
    let AnySink::Stream(mut sink) = rig.config.clone().build(&cx).unwrap() else { panic!("a stream sink") };
    sink.open().await.unwrap();
    let other = Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (batches, mut receipts): (Vec<_>, Vec<_>) = (0..50).map(|_| batch(vec![event("x")], false)).unzip();
    sink.write(batches).await;
    // Each try at the lock that fails is a failed write.
    let metrics = cx.metrics.render();
    assert!(metrics.contains("openclaw_trace_store_failures_total{component=\"store\"} 1\n"), "{metrics}");
    for receipt in &mut receipts {
        assert!(matches!(receipt.outcome().await, Outcome::Failed(_)));
    }
    other.execute_batch("ROLLBACK").unwrap();
    sink.close().await.unwrap();
}

#[test]
fn a_damaged_file_is_set_aside_with_its_logs_and_a_second_one_beside_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.db");
    let mut names = Vec::new();
    for content in ["first", "second"] {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::write(folder.path().join(format!("t.db{suffix}")), content).unwrap();
        }
        let aside = super::damage::set_aside(&path).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let moved = format!("{}{suffix}", aside.display());
            assert_eq!(std::fs::read_to_string(&moved).unwrap(), content, "{moved}");
            assert!(!folder.path().join(format!("t.db{suffix}")).exists());
        }
        names.push(aside);
    }
    assert_ne!(names[0], names[1]);
    // `t.db.damaged-20261125T120000Z`, to be found and sorted by people.
    let name = names[0].file_name().unwrap().to_string_lossy();
    let stamp = name.strip_prefix("t.db.damaged-").unwrap();
    assert!(stamp.len() == 16 && stamp.ends_with('Z') && stamp.as_bytes()[8] == b'T', "{name}");
    assert!(super::damage::set_aside(&path).is_err(), "there is no file any more");
}

#[tokio::test]
async fn an_acknowledged_batch_outlives_a_held_lock() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let other = Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (batch, mut receipt) = batch(vec![event("x")], true);
    sink.write(vec![batch]).await;
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(receipt.outcome().await, STORED);
    assert_eq!(rig.count("events"), 1);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn closing_writes_what_is_held_and_says_what_it_could_not() {
    let rig = Rig::new();
    let other = {
        let mut sink = rig.open().await;
        let other = Connection::open(rig.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (batch, _receipt) = batch(vec![event("x"), event("y")], true);
        sink.write(vec![batch]).await;
        let error = sink.close().await.unwrap_err().to_string();
        assert!(error.contains("2 acknowledged events"), "{error}");
        other
    };
    other.execute_batch("ROLLBACK").unwrap();
}

#[tokio::test]
async fn a_newer_or_foreign_file_is_refused_and_left_as_it_is() {
    let rig = Rig::new();
    rig.open().await.close().await.unwrap();
    Connection::open(rig.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = rig.try_open().await.err().unwrap();
    assert!(error.contains("schema 99"), "{error}");

    let other = Rig::new();
    Connection::open(other.path()).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let error = other.try_open().await.err().unwrap();
    assert!(error.contains("another program"), "{error}");
    assert_eq!(other.count("theirs"), 0);
    assert_eq!(rig.set_aside() + other.set_aside(), 0);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_events_go_on() {
    for damage in ["text", "cut short", "flipped"] {
        let rig = Rig::new();
        let mut sink = rig.open().await;
        for _ in 0..20 {
            write(&mut sink, vec![event(&"x".repeat(5000))]).await;
        }
        sink.close().await.unwrap();
        let mut bytes = std::fs::read(rig.path()).unwrap();
        match damage {
            "text" => bytes = b"this is no database, but somebody's notes".repeat(50),
            "cut short" => bytes.truncate(bytes.len() / 3),
            _ => bytes[100..8192].fill(0xa5),
        }
        std::fs::write(rig.path(), bytes).unwrap();
        let mut sink = rig.open().await;
        assert_eq!(write(&mut sink, vec![event("after")]).await, STORED, "{damage}");
        sink.close().await.unwrap();
        assert_eq!(rig.set_aside(), 1, "{damage}");
        assert_eq!(rig.count("events"), 1, "{damage}");
    }
}

#[tokio::test]
async fn damage_that_shows_while_running_is_set_aside_too() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    for _ in 0..50 {
        write(&mut sink, vec![event(&"x".repeat(5000))]).await;
    }
    sink.close().await.unwrap();
    // The end of the table is read at the start, the index on ids only at a write.
    let root: i64 = Connection::open(rig.path())
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_events_1'", [], |row| row.get(0))
        .unwrap();
    let mut bytes = std::fs::read(rig.path()).unwrap();
    let page = usize::try_from(root - 1).unwrap() * 8192;
    bytes[page..page + 8192].fill(0xff);
    std::fs::write(rig.path(), bytes).unwrap();
    let mut sink = rig.open().await;
    assert_eq!(write(&mut sink, vec![event("after")]).await, STORED);
    assert_eq!(rig.set_aside(), 1);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn an_empty_file_is_a_new_database() {
    let rig = Rig::new();
    std::fs::write(rig.path(), "").unwrap();
    let mut sink = rig.open().await;
    assert_eq!(write(&mut sink, vec![event("x")]).await, STORED);
    sink.close().await.unwrap();
    assert_eq!(rig.set_aside(), 0);
}

#[tokio::test]
async fn a_deleted_file_is_begun_anew() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    write(&mut sink, vec![event("lost with the file")]).await;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", rig.path().display())).unwrap();
    }
    assert_eq!(write(&mut sink, vec![event("kept")]).await, STORED);
    assert_eq!(rig.count("events"), 1);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn old_events_are_deleted() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let mut old = event("old");
    old.timestamp = days_ago(31);
    write(&mut sink, vec![old, event("new")]).await;
    sink.close().await.unwrap();
    let mut sink = rig.open().await;
    write(&mut sink, vec![event("newer")]).await;
    until(|| rig.count("events") == 2).await;
    sink.close().await.unwrap();
}

fn days_ago(days: i64) -> engine::Timestamp {
    engine::Timestamp::from_nanos(engine::Timestamp::now().as_nanos() - days * 86_400 * 1_000_000_000)
}

#[tokio::test]
async fn what_came_before_the_clock_was_set_is_not_old() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let (mut unset, mut old) = (event("at the start of the machine"), event("old"));
    unset.timestamp = engine::Timestamp::from_nanos(7_000_000_000);
    old.timestamp = days_ago(31);
    write(&mut sink, vec![unset, old]).await;
    sink.close().await.unwrap();
    let mut sink = rig.open().await;
    until(|| rig.count("events") == 1).await;
    sink.close().await.unwrap();
    assert_eq!(rig.count("events WHERE ts = 7000000000"), 1);
}

#[tokio::test]
async fn a_folder_is_no_database_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::new();
    std::fs::create_dir(rig.path()).unwrap();
    std::fs::set_permissions(rig.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = rig.try_open().await.err().unwrap();
    assert!(error.contains("is a folder") && error.contains("TRACE_DB_PATH"), "{error}");
    assert_eq!(std::fs::metadata(rig.path()).unwrap().permissions().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn the_file_stays_within_its_budget_and_pushed_events_go_first() {
    let mut rig = Rig::new();
    rig.config.max_bytes = Size::mib(1);
    rig.config.retention_interval = Time(Duration::from_millis(50));
    let mut sink = rig.open().await;
    let outbox = sink.outbox().unwrap();
    for round in 0..100 {
        let events: Vec<_> = (0..20).map(|_| event(&"x".repeat(4000))).collect();
        let ids: Vec<_> = events.iter().map(|event| event.trace_id).collect();
        assert_eq!(write(&mut sink, events).await, STORED);
        if round < 99 {
            outbox.confirm(&ids).await.unwrap();
        }
    }
    until(|| {
        let file = std::fs::metadata(rig.path()).unwrap().len() + space::wal_bytes(&rig.path());
        // Half again for the log, which is moved into the file in steps of 400 pages.
        file < (1 << 20) + (5 << 20) && rig.count("events") < 300
    })
    .await;
    assert_eq!(rig.count("events WHERE pushed_at IS NULL"), 20, "what is not pushed stays");
    sink.close().await.unwrap();
    assert!(std::fs::metadata(rig.path()).unwrap().len() < 2 << 20);
}

#[tokio::test]
async fn an_event_is_summed_up_before_it_is_deleted() {
    let mut rig = Rig::new();
    rig.config.max_bytes = Size::mib(1);
    rig.config.retention_interval = Time(Duration::from_millis(1));
    let mut sink = rig.open().await;
    for _ in 0..60 {
        let events: Vec<_> = (0..100).map(|_| event(&"x".repeat(1000))).collect();
        assert_eq!(write(&mut sink, events).await, STORED);
    }
    until(|| rig.count("events") < 1500).await;
    sink.close().await.unwrap();
    let summed: i64 = Connection::open(rig.path())
        .unwrap()
        .query_row("SELECT sum(calls) FROM stats WHERE span = 3600", [], |row| row.get(0))
        .unwrap();
    assert_eq!(summed, 6000, "what is deleted is in the sums");
}

#[tokio::test]
async fn what_is_deleted_goes_from_the_full_text_index_too() {
    let mut rig = Rig::new();
    rig.config.full_text = true;
    rig.config.max_bytes = Size::mib(1);
    rig.config.retention_interval = Time(Duration::from_millis(50));
    let mut sink = rig.open().await;
    for _ in 0..40 {
        let events: Vec<_> = (0..20).map(|_| event(&"word ".repeat(800))).collect();
        assert_eq!(write(&mut sink, events).await, STORED);
    }
    until(|| rig.count("events") < 300).await;
    sink.close().await.unwrap();
    let (left, found) = (rig.count("events"), rig.count("events_fts WHERE events_fts MATCH 'word'"));
    assert!(left > 0 && left == found, "{left} events, {found} in the index");
}

#[tokio::test]
async fn below_the_reserve_nothing_is_taken_and_the_gate_says_so() {
    let mut rig = Rig::new();
    rig.config.disk_reserve = Size(u64::MAX / 2);
    let mut sink = rig.open().await;
    let gate = sink.gate().unwrap();
    let outcome = write(&mut sink, vec![event("x")]).await;
    assert!(matches!(outcome, Outcome::Failed(refusal) if refusal.kind == engine::RefusalKind::NoSpace));
    assert!(gate.borrow().is_some());
    sink.close().await.unwrap();
    assert_eq!(rig.count("events"), 0);
}

#[tokio::test]
async fn the_outbox_yields_each_event_until_it_is_confirmed_or_set_aside() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let outbox = sink.outbox().unwrap();
    let events: Vec<_> = (0..5).map(|n| event(&n.to_string())).collect();
    write(&mut sink, events.clone()).await;
    assert_eq!(outbox.waiting(3).await.unwrap(), 3);
    let first = outbox.unsent(0, 2, usize::MAX).await.unwrap();
    assert_eq!(first.iter().map(|unsent| (*unsent.event).clone()).collect::<Vec<_>>(), events[..2]);
    assert_eq!(outbox.unsent(first[1].cursor, 10, 1).await.unwrap().len(), 1, "never more than the bytes, but one");
    outbox.confirm(&[events[0].trace_id]).await.unwrap();
    outbox.quarantine(events[1].trace_id, "not for us").await.unwrap();
    let left = outbox.unsent(0, 10, usize::MAX).await.unwrap();
    assert_eq!(left.iter().map(|unsent| (*unsent.event).clone()).collect::<Vec<_>>(), events[2..]);
    outbox.save_state("cursor", "7").await.unwrap();
    sink.close().await.unwrap();

    let mut sink = rig.open().await;
    let outbox = sink.outbox().unwrap();
    assert_eq!(outbox.load_state("cursor").await.unwrap().as_deref(), Some("7"));
    assert_eq!(outbox.waiting(100).await.unwrap(), 3);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn an_export_gives_back_what_was_taken() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let mut full = event("a \u{0}\u{1f600} text");
    full.duration_ms = Some(12.25);
    full.status = Some(engine::Status::Error);
    full.error = Some("e".to_owned());
    full.session_id = Some("s".to_owned());
    full.attributes = Some(Json::parse(r#"{"gen_ai.usage.input_tokens":3}"#).unwrap());
    let events = vec![full, event("b")];
    write(&mut sink, events.clone()).await;
    let mut out = Vec::new();
    let written = export(&rig.path(), &Condition::default(), Format::Ndjson, &mut out, &mut |_, _| ());
    assert_eq!(written.unwrap(), 2);
    let lines = String::from_utf8(out).unwrap();
    let read: Vec<_> = lines.lines().map(|line| Event::from_json(line).unwrap()).collect();
    assert_eq!(read, events);
    sink.close().await.unwrap();
}
