//! The sink on real files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Admission, Event, Json, Kind, Outcome};
use tempfile::TempDir;

use super::names::{Form, Rotated};
use super::*;

const STORED: Outcome = Outcome::Stored { duplicates: 0 };

struct Rig {
    folder: TempDir,
    config: FileSink,
}

impl Rig {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let config = FileSink {
            path: folder.path().join("events.ndjson"),
            max_size: MIN_SIZE,
            max_age: None,
            keep: 0,
            max_total: Size::mib(64),
            compression: Compression::None,
            synchronous: Synchronous::Normal,
            disk_reserve: Size(0),
        };
        Self { folder, config }
    }

    async fn try_open(&self) -> Result<Box<dyn Sink>, String> {
        let cx = BuildContext::new("files");
        let AnySink::Stream(mut sink) = self.config.clone().build(&cx).unwrap() else { panic!("a stream sink") };
        sink.open().await.map_err(|error| error.to_string())?;
        Ok(sink)
    }

    async fn open(&self) -> Box<dyn Sink> {
        self.try_open().await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rotated(&self) -> Vec<Rotated> {
        Names::of(&self.config.path).unwrap().list().unwrap()
    }

    /// All files, rotated ones first, each with its lines; what is partial is none.
    fn files(&self) -> Vec<Vec<String>> {
        let mut paths: Vec<_> = self.rotated().into_iter().filter(|file| file.form != Form::Partial).collect();
        // Both are there for a moment.
        paths.dedup_by_key(|file| file.stamp);
        let mut paths: Vec<_> = paths.into_iter().map(|file| file.path).collect();
        paths.extend(self.config.path.exists().then(|| self.config.path.clone()));
        paths.iter().map(|path| lines(path)).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.files().concat()
    }

    fn bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        // One that is deleted while it is looked at is none.
        entries.map(|entry| entry.unwrap().metadata().map_or(0, |stat| stat.len())).sum()
    }
}

fn lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let bytes = if path.extension().is_some_and(|end| end == "zst") {
        zstd::decode_all(bytes.as_slice()).unwrap()
    } else {
        bytes
    };
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{}", path.display());
    text.lines().map(str::to_owned).collect()
}

/// An event whose line has about so many bytes, which are not the same for any two.
fn event(bytes: usize) -> Event {
    let mut event = Event::new(Kind::LOG);
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes).collect();
    event.output = Some(Json::from_value(&random).unwrap());
    event
}

async fn write(sink: &mut Box<dyn Sink>, events: &[Event]) -> Outcome {
    let credits = Admission::new(10_000, usize::MAX / 2).try_acquire(events.len(), 1).unwrap();
    let (batch, mut receipt) = Batch::new(events.to_vec(), credits, false);
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

#[tokio::test]
async fn what_is_confirmed_is_in_the_file_as_an_export_has_it_and_a_restart_goes_on() {
    let rig = Rig::new();
    let mut hostile = event(10);
    hostile.name = Some("a\nb\u{0}\"{}\u{2028}".to_owned());
    let events = [hostile, event(10), event(10)];
    for (at, event) in events.iter().enumerate() {
        let mut sink = rig.open().await;
        assert_eq!(write(&mut sink, std::slice::from_ref(event)).await, STORED);
        let expected: Vec<_> = events[..=at].iter().map(Event::to_json).collect();
        assert_eq!(lines(&rig.config.path), expected);
        assert_eq!(Event::from_json(&expected[0]).unwrap(), events[0]);
        sink.close().await.unwrap();
    }
    assert_eq!(std::fs::metadata(&rig.config.path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Writes far more than may be kept, and looks at the bounds all the while. Answers what was written.
async fn overfill(rig: &Rig) -> Vec<String> {
    let mut sink = rig.open().await;
    let mut written = Vec::new();
    for _ in 0..150 {
        let events: Vec<_> = (0..fastrand::usize(1..20)).map(|_| event(fastrand::usize(0..2000))).collect();
        assert_eq!(write(&mut sink, &events).await, STORED);
        written.extend(events.iter().map(Event::to_json));
        assert!(rig.bytes() <= rig.config.max_total.0, "{} bytes", rig.bytes());
        let rotated = rig.rotated();
        let kept = rotated.iter().filter(|file| file.form == Form::Plain || file.form == Form::Packed).count();
        assert!(rig.config.keep == 0 || kept <= rig.config.keep + 1, "{rotated:?}");
        assert!(rotated.iter().all(|file| file.bytes <= rig.config.max_size.0), "{rotated:?}");
    }
    sink.close().await.unwrap();
    written
}

#[tokio::test]
async fn files_are_rotated_by_size_and_the_oldest_deleted_so_that_both_bounds_hold() {
    for (keep, total) in [(3, 64 << 20), (0, 5 * MIN_SIZE.0), (2, 2 * MIN_SIZE.0)] {
        let mut rig = Rig::new();
        rig.config.keep = keep;
        rig.config.max_total = Size(total);
        let written = overfill(&rig).await;
        let kept = rig.lines();
        assert!(written.ends_with(&kept), "what is left is the newest, whole and in order");
        assert!(kept.len() < written.len());
        let files = rig.files();
        assert!(keep == 0 || files.len() <= keep + 1, "{}", files.len());
        // As much is kept as may be: no file is deleted before it must be.
        assert!(rig.bytes() + 2 * MIN_SIZE.0 > total.min((keep as u64 + 1) * MIN_SIZE.0), "{}", rig.bytes());
    }
}

#[tokio::test]
async fn rotated_files_are_compressed_within_the_bounds_and_read_as_they_were_written() {
    let mut rig = Rig::new();
    rig.config.compression = Compression::Zstd;
    rig.config.max_total = Size(6 * MIN_SIZE.0);
    let written = overfill(&rig).await;
    assert!(written.ends_with(&rig.lines()));
    assert!(rig.rotated().iter().any(|file| file.form == Form::Packed));
    // What the stop left is done at the next start.
    let mut sink = rig.open().await;
    until(|| rig.rotated().iter().all(|file| file.form == Form::Packed)).await;
    assert!(written.ends_with(&rig.lines()));
    for file in rig.rotated() {
        assert_eq!(std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_stop_at_any_moment_of_compressing_neither_loses_nor_doubles_a_file() {
    let mut rig = Rig::new();
    let mut sink = rig.open().await;
    let events: Vec<_> = (0..100).map(|_| event(1000)).collect();
    assert_eq!(write(&mut sink, &events).await, STORED);
    sink.close().await.unwrap();
    let written: Vec<_> = events.iter().map(Event::to_json).collect();
    let first = rig.rotated().remove(0);
    rig.config.compression = Compression::Zstd;
    let beside = |end: &str| PathBuf::from(format!("{}{end}", first.path.display()));
    // Killed while it was written; killed between its name and the deletion of what it was made of.
    std::fs::write(beside(".zst.partial"), "half of it").unwrap();
    let settle = async || {
        let mut sink = rig.open().await;
        until(|| rig.rotated().iter().all(|file| file.form == Form::Packed)).await;
        assert_eq!(rig.lines(), written);
        sink.close().await.unwrap();
    };
    settle().await;
    std::fs::write(&first.path, zstd::decode_all(std::fs::read(beside(".zst")).unwrap().as_slice()).unwrap()).unwrap();
    settle().await;
    // What has its name and is none of ours is left alone, and so is the file.
    std::fs::write(&first.path, "{}\n").unwrap();
    let mut sink = rig.open().await;
    assert_eq!(write(&mut sink, &[event(10)]).await, STORED);
    sink.close().await.unwrap();
    assert!(first.path.exists() && beside(".zst").exists());
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_taken_again() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    // The clock is behind by years.
    std::fs::write(rig.path("events-21991231T235959.999Z.ndjson"), "precious\n").unwrap();
    sink.close().await.unwrap();
    let mut sink = rig.open().await;
    let events: Vec<_> = (0..300).map(|_| event(1000)).collect();
    assert_eq!(write(&mut sink, &events).await, STORED);
    sink.close().await.unwrap();
    let rotated = rig.rotated();
    assert!(rotated.len() > 3);
    assert_eq!(std::fs::read(&rotated[0].path).unwrap(), b"precious\n");
    assert!(rotated[1].path.ends_with("events-22000101T000000.000Z.ndjson"), "{rotated:?}");
    let written: Vec<_> = events.iter().map(Event::to_json).collect();
    assert_eq!(rig.lines()[1..], written);
}

#[tokio::test]
async fn a_file_is_rotated_by_age_also_when_nothing_comes_and_an_empty_one_is_not() {
    let mut rig = Rig::new();
    rig.config.max_age = Some(Time(Duration::from_millis(30)));
    let mut sink = rig.open().await;
    let first = event(10);
    assert_eq!(write(&mut sink, std::slice::from_ref(&first)).await, STORED);
    until(|| rig.rotated().len() == 1).await;
    assert_eq!(rig.lines(), [first.to_json()]);
    assert_eq!(write(&mut sink, &[event(10)]).await, STORED);
    until(|| rig.rotated().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.rotated().len(), 2, "an empty file stays");
    sink.close().await.unwrap();
}

#[tokio::test]
async fn who_moves_or_deletes_the_file_gets_what_was_in_it_and_a_new_one_is_begun() {
    let rig = Rig::new();
    let mut sink = rig.open().await;
    let events: Vec<_> = (0..4).map(|_| event(10)).collect();
    let one = |at: usize| vec![events[at].to_json()];
    assert_eq!(write(&mut sink, &events[..1]).await, STORED);
    std::fs::rename(&rig.config.path, rig.path("moved")).unwrap();
    assert_eq!(write(&mut sink, &events[1..2]).await, STORED);
    assert_eq!((lines(&rig.path("moved")), lines(&rig.config.path)), (one(0), one(1)));
    std::fs::remove_file(&rig.config.path).unwrap();
    assert_eq!(write(&mut sink, &events[2..3]).await, STORED);
    assert_eq!(lines(&rig.config.path), one(2));
    // As `copytruncate` of logrotate does it.
    std::fs::File::options().write(true).open(&rig.config.path).unwrap().set_len(0).unwrap();
    assert_eq!(write(&mut sink, &events[3..]).await, STORED);
    assert_eq!(lines(&rig.config.path), one(3));
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_said_with_its_key() {
    let mut rig = Rig::new();
    std::fs::write(&rig.config.path, "my notes\n").unwrap();
    let error = rig.try_open().await.err().unwrap();
    assert!(error.contains("something else") && error.contains("key sinks.files.path"), "{error}");
    assert_eq!(std::fs::read(&rig.config.path).unwrap(), b"my notes\n");
    std::os::unix::fs::symlink(rig.path("target"), rig.path("link")).unwrap();
    for (name, said) in [("none/x.ndjson", "No such file"), ("link", "symbolic link")] {
        rig.config.path = rig.path(name);
        let error = rig.try_open().await.err().unwrap();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn each_setting_that_is_wrong_is_named() {
    let mut rig = Rig::new();
    let cx = BuildContext::new("files");
    rig.config.path = "/".into();
    rig.config.max_size = Size(1000);
    rig.config.max_age = Some(Time::seconds(0));
    rig.config.max_total = Size(1999);
    let problems = rig.config.clone().build(&cx).err().unwrap();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["path", "max_size", "max_age", "max_total"]);
}
