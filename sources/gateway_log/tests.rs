//! Real files, read to their end and on.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use engine::{BuildContext, Event, Kind, Status, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::counts::Counts;
use super::directory::Directory;
use super::event::Taken;
use super::follow::{Follower, Limits, Start};
use super::level::Level;
use super::name::Pattern;
use super::position::Position;

const DAY_1: &str = "openclaw-2026-11-24.log";
const DAY_2: &str = "openclaw-2026-11-25.log";
const DAY_3: &str = "openclaw-2026-11-26.log";

const MAX_EVENTS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;

/// The day of the last file.
pub(super) fn now() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

pub(super) fn context() -> BuildContext {
    BuildContext::new("gateway")
}

/// A line as OpenClaw writes it, with its newline.
pub(super) fn line(level: &str, subsystem: &str, text: &str) -> String {
    let logger = json!({ "subsystem": subsystem }).to_string();
    let line = json!({
        "0": logger, "1": text, "_meta": { "logLevelName": level, "name": logger, "date": "2026-11-25T07:00:00.001Z" },
        "time": "2026-11-25T08:00:00.001+01:00", "hostname": "agent", "message": text,
    });
    format!("{line}\n")
}

fn warn(text: &str) -> String {
    line("WARN", "test", text)
}

/// A folder of logs.
pub(super) struct Logs(TempDir);

impl Logs {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    /// As OpenClaw does it when a file is full.
    fn rotate(&self, stem: &str) {
        let archive = |number: u32| self.path(&format!("{stem}.{number}.log"));
        let _ = fs::remove_file(archive(5));
        for number in (1..=4).rev() {
            let _ = fs::rename(archive(number), archive(number + 1));
        }
        fs::rename(self.path(&format!("{stem}.log")), archive(1)).unwrap();
    }

    /// As if the file had been written last so many seconds ago.
    fn set_age(&self, name: &str, seconds: u64) {
        let file = OpenOptions::new().append(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    pub(super) fn reader(&self, start: Start) -> Reader {
        self.reader_of(start, 64 * 1024)
    }

    fn reader_of(&self, start: Start, max_line: usize) -> Reader {
        let taken = Taken { levels: vec![Level::Warn, Level::Error, Level::Fatal], subsystems: vec![], agent_id: None };
        self.reader_with(start, max_line, taken)
    }

    fn reader_with(&self, start: Start, max_line: usize, taken: Taken) -> Reader {
        let pattern = Pattern::parse("openclaw-YYYY-MM-DD.log").unwrap();
        let directory = Directory::new(self.0.path().to_owned(), pattern, now);
        let limits = Limits { line: max_line, events: MAX_EVENTS, bytes: MAX_BYTES };
        let counts = Counts::new(&context());
        let mut follower = Follower::new(directory, taken, limits, counts.clone());
        let position = follower.start(&start);
        Reader { follower, counts, position }
    }
}

pub(super) struct Reader {
    pub(super) follower: Follower,
    counts: Counts,
    position: Option<Position>,
}

impl Reader {
    /// All there is, until three looks in a row bring nothing.
    fn events(&mut self) -> Vec<Event> {
        let (mut events, mut quiet) = (vec![], 0);
        while quiet < 3 {
            let gathered = self.follower.gather();
            let bytes: usize = gathered.events.iter().map(Event::size_bytes).sum();
            assert!(gathered.events.len() <= MAX_EVENTS);
            assert!(bytes <= MAX_BYTES || gathered.events.len() == 1, "{bytes}");
            quiet = if gathered.events.is_empty() && gathered.idle { quiet + 1 } else { 0 };
            events.extend(gathered.events);
            self.position = gathered.position.or(self.position.take());
        }
        events
    }

    fn texts(&mut self) -> Vec<String> {
        self.events().iter().map(text).collect()
    }

    /// The position as it is after a restart.
    fn kept(&self) -> Start {
        Start::At(Position::from_text(&self.position.as_ref().unwrap().to_text()).unwrap())
    }
}

pub(super) fn text(event: &Event) -> String {
    serde_json::from_str(event.output.as_ref().unwrap().as_str()).unwrap()
}

fn attributes(event: &Event) -> Value {
    serde_json::from_str(event.attributes.as_ref().unwrap().as_str()).unwrap()
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.trace_id.to_string()).collect()
}

#[test]
fn lines_that_openclaw_wrote_become_events() {
    let logs = Logs::new();
    logs.append(DAY_2, include_str!("testdata/openclaw-2026-11-25.log"));
    let taken = Taken {
        levels: vec![Level::Warn, Level::Error, Level::Fatal],
        subsystems: vec!["gateway/channels".into(), "gateway/reload".into(), "cron".into()],
        agent_id: None,
    };
    let mut reader = logs.reader_with(Start::Oldest, 64 * 1024, taken);
    let events = reader.events();
    let seen: Vec<_> = events.iter().map(|e| (e.kind.as_str(), e.name.as_deref().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("log", "gateway/channels"),
            ("log", "cron"),
            ("log", "session-sqlite"),
            ("log", "agent/embedded"),
            ("error", "diagnostic"),
            ("log", "model-fallback/decision"),
            ("error", "openclaw"),
            ("log", "gateway/reload"),
            ("log", "openclaw"),
            ("log", "gateway/reload"),
        ]
    );
    let failover = &events[5];
    assert_eq!(failover.timestamp.to_string(), "2026-11-25T07:10:11.66Z");
    assert_eq!(failover.run_id.as_deref(), Some("2ccec3f4-7835-4d16-bf00-10b0f91a5b19"));
    assert_eq!(failover.session_id.as_deref(), Some("s-one"));
    assert_eq!(text(failover), "model fallback decision");
    let told = attributes(failover);
    for (name, value) in [
        ("severity_text", json!("WARN")),
        ("severity_number", json!(13)),
        ("log.file.name", json!(DAY_2)),
        ("host.name", json!("agent")),
        ("otel.trace_id", json!("48a20cc0b6ea93b501e8b1ef2cc36898")),
        ("otel.span_id", json!("4d5f968ef56082ed")),
        ("openclaw.subsystem", json!("model-fallback/decision")),
        ("openclaw.reason", json!("server_error")),
        ("openclaw.status", json!(500)),
        ("openclaw.isPrimary", json!(true)),
        ("openclaw.tags", json!(["error_handling", "model_fallback", "candidate_failed"])),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    let lane = &events[4];
    assert_eq!((lane.kind.clone(), lane.status), (Kind::ERROR, Some(Status::Error)));
    assert_eq!(lane.error.as_deref(), Some(text(lane).as_str()));
    assert_eq!(attributes(&events[1])["openclaw.module"], json!("cron"));
    assert_eq!((reader.counts.read.get(), reader.counts.taken.get()), (11, 10));
    assert_eq!(reader.counts.unreadable.get(), 0);
    assert_eq!(reader.counts.behind.get(), 0);
}

#[test]
fn only_the_levels_and_subsystems_that_are_asked_for_are_taken() {
    let logs = Logs::new();
    for (level, subsystem) in [
        ("INFO", "gateway/channels"),
        ("INFO", "gateway/channels/telegram"),
        ("DEBUG", "gateway/channels/telegram/raw-update"),
        ("INFO", "gateway/channelsx"),
        ("INFO", "gateway"),
        ("WARN", "gateway"),
        ("FATAL", "a"),
        ("SILLY", "b"),
    ] {
        logs.append(DAY_1, line(level, subsystem, &format!("{level} {subsystem}")));
    }
    let taken = Taken {
        levels: vec![Level::Fatal],
        subsystems: vec!["gateway/channels".into()],
        agent_id: Some("mine".into()),
    };
    let events = logs.reader_with(Start::Oldest, 4096, taken).events();
    let texts: Vec<_> = events.iter().map(text).collect();
    assert_eq!(texts, ["INFO gateway/channels", "INFO gateway/channels/telegram", "FATAL a"]);
    assert_eq!(events[2].kind, Kind::ERROR);
    assert!(events.iter().all(|event| event.agent_id.as_deref() == Some("mine")));
}

#[test]
fn at_a_change_of_the_date_the_old_file_is_finished_first() {
    let logs = Logs::new();
    logs.append(DAY_1, warn("a"));
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["a"]);
    logs.append(DAY_1, warn("b"));
    logs.append(DAY_2, warn("d"));
    // What is queued in OpenClaw goes to the old file when the new one exists already.
    assert_eq!(reader.follower.gather().events.iter().map(text).collect::<Vec<_>>(), ["b"]);
    logs.append(DAY_1, warn("c"));
    assert_eq!(reader.follower.gather().events.iter().map(text).collect::<Vec<_>>(), ["c"]);
    logs.append(DAY_1, warn("late"));
    assert_eq!(reader.texts(), ["late", "d"]);
    assert_eq!(reader.counts.unreadable.get(), 0);
}

#[test]
fn a_line_waits_for_its_newline_and_the_rest_of_a_file_is_taken_when_it_is_left() {
    let logs = Logs::new();
    let (whole, rest) = (warn("ä waits"), warn("rest"));
    let cut = whole.find('ä').unwrap() + 1;
    logs.append(DAY_1, &whole.as_bytes()[..cut]);
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), [""; 0]);
    assert_eq!(reader.counts.behind.get(), i64::try_from(cut).unwrap());
    logs.append(DAY_1, &whole.as_bytes()[cut..]);
    assert_eq!(reader.texts(), ["ä waits"]);
    logs.append(DAY_1, rest.trim_end());
    assert_eq!(reader.texts(), [""; 0]);
    logs.append(DAY_2, warn("next"));
    assert_eq!(reader.texts(), ["rest", "next"]);
    assert_eq!(reader.counts.unreadable.get(), 0);
}

#[test]
fn several_missed_days_and_their_archives_are_read_in_order() {
    let logs = Logs::new();
    logs.append(DAY_1, warn("1"));
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["1"]);
    logs.append(DAY_1, warn("2"));
    logs.append("openclaw-2026-11-25.2.log", warn("3"));
    logs.append("openclaw-2026-11-25.1.log", warn("4"));
    logs.append(DAY_2, warn("5"));
    logs.append(DAY_3, warn("6"));
    assert_eq!(reader.texts(), ["2", "3", "4", "5", "6"]);
    // After a stop of some days nothing is waited for.
    for name in [DAY_1, "openclaw-2026-11-25.2.log", "openclaw-2026-11-25.1.log", DAY_2] {
        logs.set_age(name, 3600);
    }
    let all = logs.reader(Start::Oldest).follower.gather().events;
    assert_eq!(all.iter().map(text).collect::<Vec<_>>(), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn rotation_by_size_loses_and_repeats_nothing() {
    let logs = Logs::new();
    let mut reader = logs.reader(Start::Oldest);
    let (mut written, mut read) = (vec![], vec![]);
    for round in 0..40 {
        for part in 0..round % 4 {
            let text = format!("{round}.{part}");
            logs.append(DAY_1, warn(&text));
            written.push(text);
            if (round + part) % 3 == 0 {
                logs.rotate("openclaw-2026-11-24");
            }
        }
        read.extend(reader.texts());
    }
    assert_eq!(read, written);
}

#[test]
fn archives_that_move_while_they_are_listed_lose_and_repeat_nothing() {
    let logs = Logs::new();
    let mut reader = logs.reader(Start::Oldest);
    let (mut read, mut written) = (vec![], vec![]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let archive = |number: u32| logs.path(&format!("openclaw-2026-11-24.{number}.log"));
            (0..120u32).for_each(|round| {
                logs.append(DAY_1, warn(&round.to_string()));
                // All archives stay, so that each look has many to follow.
                (1..=round).rev().for_each(|number| fs::rename(archive(number), archive(number + 1)).unwrap());
                fs::rename(logs.path(DAY_1), archive(1)).unwrap();
            });
        });
        while !writer.is_finished() {
            read.extend(reader.follower.gather().events.iter().map(text));
        }
    });
    (0..120).for_each(|round| written.push(round.to_string()));
    read.extend(reader.texts());
    assert_eq!(read, written);
}

#[test]
fn a_file_that_was_cut_is_read_from_its_start() {
    let logs = Logs::new();
    logs.append(DAY_1, [warn("a"), warn("b")].concat());
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["a", "b"]);
    fs::write(logs.path(DAY_1), warn("c")).unwrap();
    assert_eq!(reader.texts(), ["c"]);
    // Longer than what was read of the old content, so that only the content tells.
    fs::write(logs.path(DAY_1), [warn("d"), warn("e"), warn("f")].concat()).unwrap();
    assert_eq!(reader.texts(), ["d", "e", "f"]);
}

#[test]
fn a_file_that_was_replaced_is_finished_and_the_new_one_read() {
    let logs = Logs::new();
    logs.append(DAY_1, warn("a"));
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["a"]);
    logs.append(DAY_1, warn("b"));
    fs::remove_file(logs.path(DAY_1)).unwrap();
    logs.append(DAY_1, [warn("c"), warn("d")].concat());
    assert_eq!(reader.texts(), ["b", "c", "d"]);
    fs::write(logs.path("new"), warn("e")).unwrap();
    fs::rename(logs.path("new"), logs.path(DAY_1)).unwrap();
    assert_eq!(reader.texts(), ["e"]);
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let logs = Logs::new();
    logs.append(DAY_1, [warn("a"), warn("b")].concat());
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["a", "b"]);
    // A line that is half there belongs to the next reading.
    let half = warn("c");
    logs.append(DAY_1, &half[..20]);
    assert_eq!(reader.texts(), [""; 0]);
    let kept = reader.kept();
    logs.append(DAY_1, &half[20..]);
    assert_eq!(logs.reader(kept.clone()).texts(), ["c"]);
    // Meanwhile the file became an archive, and was copied: another inode.
    logs.rotate("openclaw-2026-11-24");
    logs.append(DAY_1, warn("d"));
    logs.rotate("openclaw-2026-11-24");
    logs.append(DAY_1, warn("e"));
    logs.append(DAY_2, warn("f"));
    assert_eq!(logs.reader(kept.clone()).texts(), ["c", "d", "e", "f"]);
    let archive = logs.path("openclaw-2026-11-24.2.log");
    fs::copy(&archive, logs.path("copy")).unwrap();
    fs::rename(logs.path("copy"), &archive).unwrap();
    assert_eq!(logs.reader(kept.clone()).texts(), ["c", "d", "e", "f"]);
    let mut reader = logs.reader(kept);
    reader.events();
    assert_eq!(logs.reader(reader.kept()).texts(), [""; 0]);
}

#[test]
fn a_restart_after_the_file_is_gone_goes_on_with_what_is_newer() {
    let logs = Logs::new();
    logs.append(DAY_1, warn("old"));
    logs.append(DAY_2, warn("a"));
    let mut reader = logs.reader(Start::Oldest);
    reader.events();
    let kept = reader.kept();
    fs::remove_file(logs.path(DAY_2)).unwrap();
    assert_eq!(logs.reader(kept.clone()).texts(), [""; 0]);
    let mut waiting = logs.reader(kept.clone());
    assert_eq!(waiting.texts(), [""; 0]);
    logs.append(DAY_3, warn("b"));
    assert_eq!(waiting.texts(), ["b"]);
    // Written anew under the old name, perhaps under the old inode.
    logs.append(DAY_2, [warn("another"), warn("c")].concat());
    assert_eq!(logs.reader(kept).texts(), ["another", "c", "b"]);
}

#[test]
fn a_restart_after_too_many_archives_reads_those_that_are_newer_and_not_the_older() {
    let logs = Logs::new();
    logs.append("openclaw-2026-11-24.2.log", warn("a"));
    logs.set_age("openclaw-2026-11-24.2.log", 500);
    logs.append("openclaw-2026-11-24.1.log", warn("b"));
    logs.set_age("openclaw-2026-11-24.1.log", 400);
    logs.append(DAY_1, warn("c"));
    logs.set_age(DAY_1, 300);
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["a", "b", "c"]);
    fs::remove_file(logs.path(DAY_1)).unwrap();
    logs.append(DAY_1, warn("d"));
    logs.set_age(DAY_1, 200);
    logs.rotate("openclaw-2026-11-24");
    logs.append(DAY_1, warn("e"));
    assert_eq!(logs.reader(reader.kept()).texts(), ["d", "e"]);
}

#[test]
fn of_files_that_begin_with_the_same_line_the_inode_tells() {
    let logs = Logs::new();
    logs.append("openclaw-2026-11-24.1.log", [warn("same"), warn("a")].concat());
    logs.append(DAY_1, [warn("same"), warn("b")].concat());
    let mut reader = logs.reader(Start::Oldest);
    reader.events();
    logs.append(DAY_1, warn("c"));
    assert_eq!(logs.reader(reader.kept()).texts(), ["c"]);
}

#[test]
fn a_restart_on_a_file_that_is_shorter_now_begins_again() {
    let logs = Logs::new();
    logs.append(DAY_1, [warn("a"), warn("b")].concat());
    let mut reader = logs.reader(Start::Oldest);
    reader.events();
    let file = OpenOptions::new().write(true).open(logs.path(DAY_1)).unwrap();
    file.set_len(warn("a").len() as u64).unwrap();
    assert_eq!(logs.reader(reader.kept()).texts(), ["a"]);
}

#[test]
fn a_line_that_is_read_again_has_the_same_id_also_from_an_archive() {
    let logs = Logs::new();
    logs.append(DAY_1, [warn("same"), warn("same"), warn("other")].concat());
    let first = ids(&logs.reader(Start::Oldest).events());
    logs.rotate("openclaw-2026-11-24");
    assert_eq!(ids(&logs.reader(Start::Oldest).events()), first);
    let distinct: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(distinct.len(), 3);
    assert!(first.iter().all(|id| id.as_bytes()[14] == b'8'), "{first:?}");
}

#[test]
fn the_first_start_begins_at_the_end_of_the_newest_file() {
    let logs = Logs::new();
    assert_eq!(logs.reader(Start::End).texts(), [""; 0]);
    let mut early = logs.reader(Start::End);
    assert_eq!(early.texts(), [""; 0]);
    logs.append(DAY_1, warn("a"));
    assert_eq!(early.texts(), ["a"], "a file that came later is read from its start");
    let half = warn("half");
    logs.append(DAY_2, [warn(&"x".repeat(100_000)).as_str(), &half[..30]].concat());
    let mut reader = logs.reader(Start::End);
    assert_eq!(reader.texts(), [""; 0]);
    logs.append(DAY_2, [&half[30..], warn("b").as_str()].concat());
    assert_eq!(reader.texts(), ["half", "b"]);
    assert_eq!(reader.counts.unreadable.get(), 0);
}

#[test]
fn what_is_no_line_of_the_log_is_counted_and_skipped() {
    let logs = Logs::new();
    logs.append(DAY_1, "Error: no JSON\n    at somewhere\n\n[1]\n5\n{\"a\":\n\r\n");
    logs.append(DAY_1, b"{\"_meta\":{\"logLevelName\":\"warn\"},\"message\":\"bad \xff\xfe\"}\n");
    logs.append(DAY_1, format!("{}{}\n", "[".repeat(30_000), "]".repeat(30_000)));
    logs.append(DAY_1, "{}\n{\"_meta\":5,\"time\":[],\"message\":{}}\n{\"level\":\"error\",\"0\":\"a\",\"1\":\"b\"}\n");
    let mut reader = logs.reader(Start::Oldest);
    assert_eq!(reader.texts(), ["bad \u{fffd}\u{fffd}", "a b"]);
    assert_eq!((reader.counts.read.get(), reader.counts.unreadable.get()), (12, 6));
}

#[test]
fn of_a_line_that_is_too_long_the_end_is_read() {
    let logs = Logs::new();
    let logger = json!({"subsystem": "big"}).to_string();
    let fields = json!({"runId": "r", "blob": "x".repeat(100_000)}).to_string();
    let meta = format!("\"_meta\":{{\"logLevelName\":\"ERROR\",\"name\":{}}}", json!(logger));
    let head = format!("{{\"0\":{},\"1\":{fields},\"2\":\"text\"", json!(logger));
    let long = format!("{head},{meta},\"message\":\"text runId=7\"}}\n");
    logs.append(DAY_1, [long.as_str(), &warn("after")].concat());
    // Without a message, and with a decoy whose end is no object; and one that never says its level.
    logs.append(DAY_1, format!("{head},\"3\":{{\"_meta\":{{}}}},{meta}}}\n{}\n", "y".repeat(200_000)));
    let mut reader = logs.reader_of(Start::Oldest, 70_000);
    let events = reader.events();
    let texts: Vec<_> = events.iter().map(text).collect();
    assert_eq!(texts[..2], ["text runId=7", "after"]);
    assert!(texts[2].starts_with("a line of 100") && texts[2].ends_with("raise max_line to have it"), "{}", texts[2]);
    assert_eq!(events[0].kind, Kind::ERROR);
    assert_eq!(events[0].run_id.as_deref(), Some("7"));
    assert_eq!(attributes(&events[0])["openclaw.line_bytes"], json!(long.len() - 1));
    assert_eq!((reader.counts.cut.get(), reader.counts.unreadable.get()), (3, 1));
}

#[test]
fn a_batch_is_bounded_in_events_and_in_bytes() {
    let logs = Logs::new();
    for at in 0..1200 {
        logs.append(DAY_1, warn(&at.to_string()));
    }
    for _ in 0..10 {
        logs.append(DAY_1, warn(&"x".repeat(30_000)));
        logs.append(DAY_1, warn(&"y".repeat(200_000)));
    }
    let mut reader = logs.reader_of(Start::Oldest, 1 << 20);
    assert_eq!(reader.follower.gather().events.len(), MAX_EVENTS);
    // `events` checks every batch.
    assert_eq!(reader.events().len(), 1220 - MAX_EVENTS);
}

#[test]
fn a_session_key_is_not_taken_for_a_session() {
    let logs = Logs::new();
    logs.append(
        DAY_1,
        concat!(
            r#"{"1":{"sessionKey":"agent:main:x"},"_meta":{"logLevelName":"WARN"},"message":"m","session_id":"agent:main:x","agent_id":"main"}"#,
            "\n",
            r#"{"_meta":{"logLevelName":"WARN"},"message":"run start: runId=r-1, sessionId=s-1.","channel":"telegram"}"#,
            "\n"
        ),
    );
    let events = logs.reader(Start::Oldest).events();
    assert_eq!(events[0].session_id, None);
    assert_eq!(events[0].agent_id.as_deref(), Some("main"));
    assert_eq!(attributes(&events[0])["openclaw.sessionKey"], json!("agent:main:x"));
    assert_eq!(events[1].run_id.as_deref(), Some("r-1"));
    assert_eq!(events[1].session_id.as_deref(), Some("s-1"));
    assert_eq!(attributes(&events[1])["openclaw.channel"], json!("telegram"));
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let logs = Logs::new();
    let pipe = logs.path(DAY_2);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    logs.append("secret", warn("secret"));
    std::os::unix::fs::symlink(logs.path("secret"), logs.path(DAY_3)).unwrap();
    fs::create_dir(logs.path("openclaw-2026-11-27.log")).unwrap();
    logs.append(DAY_1, warn("a"));
    assert_eq!(logs.reader(Start::Oldest).texts(), ["a"]);
    let opened = super::tail::Tail::open(&pipe, DAY_2.into(), 4096);
    assert_eq!(opened.unwrap_err().to_string(), "is not a regular file");
    assert!(super::tail::Tail::open(&logs.path(DAY_3), DAY_3.into(), 4096).is_err());
}

#[test]
fn a_file_from_a_clock_that_was_wrong_does_not_hide_those_that_are_written_now() {
    let logs = Logs::new();
    logs.append("openclaw-2040-01-01.log", warn("ahead"));
    assert_eq!(logs.reader(Start::Oldest).texts(), [""; 0]);
    // It was read while the clock was wrong.
    logs.append("openclaw-2026-11-28.log", warn("tomorrow"));
    let ahead =
        Position { file: "openclaw-2040-01-01.log".into(), inode: 1, beginning: None, offset: 0, modified: i64::MAX };
    logs.append(DAY_2, warn("now"));
    assert_eq!(logs.reader(Start::At(ahead)).texts(), ["now", "tomorrow"]);
}

#[test]
fn a_folder_full_of_files_takes_bounded_memory() {
    let logs = Logs::new();
    for number in 1..3000 {
        logs.append(&format!("openclaw-2026-11-24.{number}.log"), "");
    }
    logs.append(DAY_1, warn("a"));
    let pattern = Pattern::parse("openclaw-YYYY-MM-DD.log").unwrap();
    let mut directory = Directory::new(logs.path(""), pattern, now);
    directory.refresh().unwrap();
    assert_eq!(directory.entries().len(), 1000);
    assert_eq!(directory.entries().last().unwrap().name, DAY_1);
}

/// Bytes as a log might hold them: lines, half lines, and anything.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => "[a-z\"\\\\\n]{0,40}".prop_map(|text| warn(&text).into_bytes()),
        1 => (0usize..200).prop_map(|len| warn(&"long ".repeat(len)).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(b"\n".to_vec()),
        1 => "\\PC{0,30}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn told(events: Vec<Event>) -> Vec<String> {
    // A line without a time gets that of its reading.
    let same_time = |mut event: Event| {
        event.timestamp = Timestamp::from_nanos(0);
        event.to_json()
    };
    events.into_iter().map(same_time).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_events(
        content in content(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        restart in any::<prop::sample::Index>(),
    ) {
        let whole = Logs::new();
        whole.append(DAY_1, &content);
        whole.append(DAY_2, warn("end"));
        let expected = told(whole.reader_of(Start::Oldest, 400).events());

        let pieced = Logs::new();
        pieced.append(DAY_1, "");
        let mut reader = pieced.reader_of(Start::Oldest, 400);
        let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(content.len() + 1)).collect();
        cuts.sort_unstable();
        let restart = restart.index(cuts.len() + 1);
        let (mut seen, mut from) = (vec![], 0);
        for (at, to) in cuts.into_iter().chain([content.len()]).enumerate() {
            pieced.append(DAY_1, &content[from..to]);
            from = to;
            seen.extend(reader.events());
            if at == restart {
                reader = pieced.reader_of(reader.kept(), 400);
            }
        }
        pieced.append(DAY_2, warn("end"));
        seen.extend(reader.events());
        prop_assert_eq!(told(seen), expected);
    }

    #[test]
    fn any_json_value_as_a_line_is_read_or_counted(
        keys in prop::collection::vec("(_meta|message|time|name|0|1|runId|session_id|[a-z]{1,3})", 0..8),
        values in prop::collection::vec("(\"\\PC{0,12}\"|[0-9]{1,20}|null|\\[1,\"a\"\\]|\\{\"logLevelName\":\"ERROR\"\\})", 8),
    ) {
        let fields: Vec<_> = keys.iter().zip(&values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let logs = Logs::new();
        logs.append(DAY_1, format!("{{{}}}\n", fields.join(",")));
        for event in logs.reader(Start::Oldest).events() {
            prop_assert_eq!(Event::from_json(&event.to_json()).unwrap(), event);
        }
    }
}
