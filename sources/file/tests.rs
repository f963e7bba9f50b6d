//! Real files, read to their end and on.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::PathBuf;

use engine::{BuildContext, Event, SourceConfig as _};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn context() -> BuildContext {
    BuildContext::new("lines")
}

fn line(name: &str) -> String {
    format!("{{\"kind\":\"log\",\"name\":\"{name}\"}}\n")
}

fn names(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.name.clone().unwrap()).collect()
}

const LIMITS: Limits = Limits { line: 4096, events: 500, bytes: 256 * 1024 };

/// A folder with the file that is read.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, to: &str) {
        fs::rename(self.path("log"), self.path(to)).unwrap();
    }

    fn reader(&self, follow: bool, kept: Option<Position>) -> Reader {
        let counts = Counts::new(&context());
        let rejected = Rejected::new("lines".into(), "log".into(), counts.rejected.clone());
        let follower = Follower::new(self.path("log"), follow, LIMITS, counts.clone(), rejected, kept.clone());
        Reader { follower, counts, position: kept }
    }
}

/// A follower, and the position of what it gave.
struct Reader {
    follower: Follower,
    counts: Counts,
    position: Option<Position>,
}

impl Reader {
    /// Looks once.
    fn look(&mut self) -> (Vec<Event>, Next) {
        let gathered = self.follower.gather();
        if !gathered.events.is_empty() {
            self.position = gathered.position;
        }
        (gathered.events, gathered.next)
    }

    /// Whether the last event was of the file that has the name now.
    fn is_in(&self, folder: &Folder) -> bool {
        let now = opened::identity(&folder.path("log")).map(|(_, inode)| inode);
        self.position.as_ref().map(|position| position.inode) == now
    }

    /// Looks until there is no more, and a look more, with which a file is left.
    fn names(&mut self) -> Vec<String> {
        let (mut all, mut waits) = (Vec::new(), 0);
        while waits < 3 {
            let (events, next) = self.look();
            waits = if events.is_empty() && next != Next::More { waits + 1 } else { 0 };
            all.extend(names(&events));
        }
        all
    }
}

#[test]
fn a_line_that_is_no_event_is_skipped_and_the_others_are_kept() {
    let folder = Folder::new();
    folder.append(&[&line("a"), "no json\n", "\n", &"x".repeat(5000), "\n", &line("b"), "{\"kind\":"].concat());
    let mut reader = folder.reader(true, None);
    assert_eq!(reader.names(), ["a", "b"]);
    assert_eq!((reader.counts.read.get(), reader.counts.rejected.get()), (5, 2));
    // What was half a line is whole by now.
    folder.append("\"log\",\"name\":\"c\"}\n");
    assert_eq!(reader.names(), ["c"]);
    assert_eq!(reader.position.unwrap().line, 7);
}

#[test]
fn a_file_that_is_not_followed_is_read_to_its_end_with_its_last_line() {
    let folder = Folder::new();
    folder.append(&(line("a") + line("b").trim_end()));
    let mut reader = folder.reader(false, None);
    let (events, next) = reader.look();
    assert_eq!((names(&events), next), (vec!["a".to_owned(), "b".to_owned()], Next::Done));
    let mut again = folder.reader(false, reader.position);
    assert_eq!(again.look().1, Next::Done);
    assert_eq!(again.counts.read.get(), 0);
}

#[test]
fn a_file_that_is_renamed_is_read_to_its_end_and_then_the_other() {
    let folder = Folder::new();
    folder.append(&line("a"));
    let mut reader = folder.reader(true, None);
    assert_eq!(reader.names(), ["a"]);
    // Who writes has it still open.
    let mut open = OpenOptions::new().append(true).open(folder.path("log")).unwrap();
    folder.rename("log.1");
    assert!(reader.names().is_empty(), "there is no other yet");
    open.write_all(line("b").as_bytes()).unwrap();
    folder.append(&line("c"));
    assert_eq!(names(&reader.look().0), ["b"]);
    open.write_all(line("late").trim_end().as_bytes()).unwrap();
    assert_eq!(reader.names(), ["late", "c"]);
}

#[test]
fn a_file_that_is_cut_or_written_anew_is_read_from_its_start() {
    let folder = Folder::new();
    folder.append(&[line("a"), line("b")].concat());
    let mut reader = folder.reader(true, None);
    assert_eq!(reader.names(), ["a", "b"]);
    fs::write(folder.path("log"), line("c")).unwrap();
    assert_eq!(reader.names(), ["c"]);
    // As long as before and longer, with another first line.
    fs::write(folder.path("log"), [line("d"), line("e"), line("f")].concat()).unwrap();
    assert_eq!(reader.names(), ["d", "e", "f"]);
}

#[test]
fn half_a_line_that_is_taken_back_does_not_begin_the_file_anew() {
    let folder = Folder::new();
    folder.append(&(line("a") + "{\"kind\":\"lo"));
    let mut reader = folder.reader(true, None);
    assert_eq!(reader.names(), ["a"]);
    let file = OpenOptions::new().write(true).open(folder.path("log")).unwrap();
    file.set_len(line("a").len() as u64).unwrap();
    assert!(reader.names().is_empty());
    folder.append(&line("b"));
    assert_eq!(reader.names(), ["b"]);
}

#[test]
fn a_restart_goes_on_where_it_stopped_also_in_a_file_that_was_rotated_meanwhile() {
    let folder = Folder::new();
    folder.append(&[line("a"), line("b")].concat());
    let mut reader = folder.reader(true, None);
    assert_eq!(reader.names(), ["a", "b"]);
    let position = reader.position;
    folder.append(&line("c"));
    assert_eq!(folder.reader(true, position.clone()).names(), ["c"]);
    folder.rename("log-rotated");
    folder.append(&line("d"));
    let mut reader = folder.reader(true, position.clone());
    assert_eq!(reader.names(), ["c", "d"]);
    assert_eq!(reader.position.unwrap().line, 2);
    // A position of a file that is gone.
    fs::remove_file(folder.path("log-rotated")).unwrap();
    assert_eq!(folder.reader(true, position).names(), ["d"]);
}

#[test]
fn a_position_of_another_file_under_the_same_inode_is_not_gone_on_from() {
    let folder = Folder::new();
    folder.append(&[line("a"), line("b")].concat());
    let mut reader = folder.reader(true, None);
    reader.names();
    let position = reader.position.unwrap();
    fs::write(folder.path("log"), [line("c"), line("d"), line("e")].concat()).unwrap();
    assert_eq!(folder.reader(true, Some(position)).names(), ["c", "d", "e"]);
}

#[test]
fn a_file_that_comes_later_is_waited_for_and_one_that_must_be_there_is_missed() {
    let folder = Folder::new();
    let mut reader = folder.reader(true, None);
    assert_eq!(reader.look().1, Next::Wait);
    folder.append("");
    assert_eq!(reader.look().1, Next::Wait);
    folder.append(&line("a"));
    assert_eq!(reader.names(), ["a"]);
    folder.rename("other");
    let Next::Failed(why) = folder.reader(false, None).look().1 else { panic!("read") };
    assert!(why.contains("log: No such file"), "{why}");
    fs::create_dir(folder.path("log")).unwrap();
    let Next::Failed(why) = folder.reader(false, None).look().1 else { panic!("read") };
    assert!(why.contains("not a regular file"), "{why}");
}

#[test]
fn a_packed_file_is_read_gone_on_with_and_replaced() {
    let folder = Folder::new();
    let pack = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let all: String = (0..1200).map(|at| line(&at.to_string())).collect();
    fs::write(folder.path("log"), pack(&all)).unwrap();
    let mut reader = folder.reader(false, None);
    let (events, next) = reader.look();
    assert_eq!((events.len(), next), (500, Next::More));
    // Gone on with from the middle of what is packed.
    let mut reader = folder.reader(false, reader.position);
    let (events, _) = reader.look();
    assert_eq!(names(&events)[0], "500");
    let mut reader = folder.reader(true, reader.position);
    assert_eq!(reader.names().len(), 200);
    folder.rename("old");
    fs::write(folder.path("log"), pack(&line("next"))).unwrap();
    assert_eq!(reader.names(), ["next"]);
    // Half of it is there, then all of it.
    let packed = pack(&all);
    folder.rename("old");
    fs::write(folder.path("log"), &packed[..packed.len() / 2]).unwrap();
    let first = reader.names();
    assert!(first.len() < 1200);
    fs::write(folder.path("log"), &packed).unwrap();
    assert_eq!(reader.names().len(), 1200);
}

#[test]
fn a_packed_file_that_ends_in_the_middle_fails_after_what_was_whole() {
    let folder = Folder::new();
    let all: String = (0..20_000).map(|at| line(&at.to_string())).collect();
    let packed = zstd::encode_all(all.as_bytes(), 1).unwrap();
    fs::write(folder.path("log"), &packed[..packed.len() - 10]).unwrap();
    let mut reader = folder.reader(false, None);
    let mut count = 0;
    let why = loop {
        let (events, next) = reader.look();
        count += events.len();
        match next {
            Next::More => {}
            Next::Failed(why) => break why,
            next => panic!("{next:?}"),
        }
    };
    assert!(why.contains("ends in the middle"), "{why}");
    assert!(count > 0 && count < 20_000);
}

#[test]
fn an_event_that_names_no_identity_gets_that_of_its_place() {
    let folder = Folder::new();
    folder.append(&[line("a"), line("a")].concat());
    let ids = || -> Vec<_> { folder.reader(true, None).look().0.iter().map(|event| event.trace_id).collect() };
    assert_eq!(ids(), ids());
    assert_ne!(ids()[0], ids()[1]);
    let before = ids();
    folder.rename("old");
    folder.append(&[line("a"), line("a")].concat());
    assert!(ids().iter().all(|id| !before.contains(id)), "another file is other events");
}

/// A pipe into which the next piece comes when the reader has what came before.
struct Pieces(std::collections::VecDeque<&'static str>);

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let piece = self.0.pop_front().unwrap_or_default();
        let size = piece.len().min(out.len());
        out[..size].copy_from_slice(&piece.as_bytes()[..size]);
        if size < piece.len() {
            self.0.push_front(&piece[size..]);
        }
        Ok(size)
    }
}

#[test]
fn an_event_out_of_a_pipe_does_not_wait_for_the_next_one() {
    let pieces = [
        "{\"kind\":\"log\",\"name\":\"a\"}\n{\"ki",
        "nd\":\"log\",\"name\":\"b\"}\nx\n",
        "{\"kind\":\"log\",\"name\":\"c\"}",
    ];
    let counts = Counts::new(&context());
    let rejected = Rejected::new("lines".into(), "-".into(), counts.rejected.clone());
    let mut pipe = Pipe::of(Pieces(pieces.into()), LIMITS, counts.clone(), rejected);
    let mut gathered = || {
        let gathered = pipe.gather();
        (names(&gathered.events), gathered.next)
    };
    assert_eq!(gathered(), (vec!["a".to_owned()], Next::More));
    assert_eq!(gathered(), (vec!["b".to_owned()], Next::More));
    assert_eq!(gathered(), (vec!["c".to_owned()], Next::More));
    assert_eq!(gathered(), (vec![], Next::Done));
    assert_eq!(counts.rejected.get(), 1);
}

#[test]
fn each_setting_that_is_wrong_is_named() {
    let config = FileSource { path: "".into(), follow: true, poll_interval: Time::seconds(0), max_line: Size(100) };
    let Err(problems) = config.build(&context()) else { panic!("built") };
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["path", "poll_interval", "max_line"]);
}

/// What happens to the file, or to who reads it.
#[derive(Debug, Clone)]
enum Step {
    /// So many whole lines come.
    Lines(usize),
    /// A piece of a line comes, which the next piece goes on with.
    Piece,
    /// It is rotated: renamed, and another one begun.
    Rotate,
    Look,
    /// Who reads is gone, and begins where the last batch was stored.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1usize..4).prop_map(Step::Lines),
        1 => Just(Step::Piece),
        1 => Just(Step::Rotate),
        4 => Just(Step::Look),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_to_the_file_each_line_is_read_once_and_in_order(steps in prop::collection::vec(step(), 1..60)) {
        let folder = Folder::new();
        folder.append("");
        let mut reader = folder.reader(true, None);
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let mut half = false;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Lines(count) => {
                    for at in 0..count {
                        let name = format!("{number}.{at}");
                        let text = line(&name);
                        folder.append(if half { &text[10..] } else { &text });
                        half = false;
                        written.push(name);
                    }
                }
                Step::Piece if !half => {
                    folder.append(&line("x")[..10]);
                    half = true;
                }
                // A file that is rotated before an event of it is stored is not known to a restart.
                Step::Rotate if !half && reader.is_in(&folder) => {
                    folder.rename(&format!("log.{number}"));
                    folder.append("");
                }
                Step::Look => read.extend(reader.names()),
                Step::Restart => reader = folder.reader(true, reader.position.clone()),
                Step::Piece | Step::Rotate => {}
            }
        }
        read.extend(reader.names());
        prop_assert_eq!(read, written);
    }
}
