//! Events in files and on the console: what is acknowledged is in them, and what is in them is read once.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Client, Home, Request, Setup, Sidecar, array, event, eventually, get, id_of, marked, ndjson, post, stored,
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// An ingest port before a file, and nothing else.
fn to_file(home: &Home, path: &str) -> Setup {
    let text = format!(
        "[runtime]\nlog_level = \"info\"\nlog_format = \"json\"\n[api]\nbind = \"127.0.0.1:0\"\n\
         [sources.http]\ntype = \"http_ingest\"\nbind = \"127.0.0.1:0\"\n\
         [sinks.files]\ntype = \"file\"\ninputs = [\"http\"]\npath = \"{path}\"\n"
    );
    home.bare().more(&text)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("events"));
    names.sort();
    names
}

/// The files of a sink, rotated ones first: as they sort.
fn files(folder: &Path) -> Vec<PathBuf> {
    let rotated = names(folder).into_iter().filter(|name| name != "events.ndjson" && !name.ends_with(".partial"));
    rotated.chain([String::from("events.ndjson")]).map(|name| folder.join(name)).collect()
}

fn lines_of(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let is_packed = path.extension().is_some_and(|end| end == "zst");
    let bytes = if is_packed { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes };
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends in the middle of a line", path.display());
    text.lines().map(str::to_owned).collect()
}

fn event_of(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn is_settled(folder: &Path) -> bool {
    names(folder).iter().all(|name| name == "events.ndjson" || name.ends_with(".zst"))
}

/// Sends until the connection breaks; answers what was acknowledged.
async fn load(address: std::net::SocketAddr, seed: u64, acknowledged: Arc<AtomicUsize>) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut safe = Vec::new();
    let Ok(mut client) = Client::connect(address).await else { return safe };
    loop {
        let count = if random.random_ratio(1, 3) { 1 } else { random.random_range(5..=30) };
        let events: Vec<_> = (0..count).map(|_| event()).collect();
        loop {
            let Ok(answer) = client.send(&Request::lines(ndjson(&events))).await else { return safe };
            match answer.status {
                200 => break,
                429 => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{other}: {}", answer.text()),
            }
        }
        acknowledged.fetch_add(count, Ordering::Relaxed);
        safe.extend(events);
    }
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_nothing_that_a_file_acknowledged_and_leaves_whole_lines() {
    let home = Home::new();
    let folder = home.path("");
    // Rotated some forty times a round, and compressed meanwhile.
    let setup = to_file(&home, "events.ndjson")
        .set("sinks.files.max_size", "64KiB")
        .set("sinks.files.max_total", "4GiB")
        .set("sinks.files.compression", "zstd");
    let mut random = StdRng::seed_from_u64(20_261_125);
    let mut safe: HashMap<Uuid, Value> = HashMap::new();
    for _ in 0..6 {
        let mut sidecar = setup.start().await;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            clients.spawn(load(sidecar.ingest, random.random(), Arc::clone(&acknowledged)));
        }
        let enough = 5000 + random.random_range(0..1000);
        eventually("the load is taken", async || acknowledged.load(Ordering::Relaxed) >= enough).await;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        sidecar.signal(Signal::KILL);
        assert_eq!(sidecar.exit_code().await, None, "it was killed");
        safe.extend(clients.join_all().await.concat().into_iter().map(|event| (id_of(&event), event)));
    }
    let sidecar = setup.start().await;
    eventually("what was left is compressed", async || is_settled(&folder)).await;
    sidecar.stop().await;

    let mut kept: HashMap<Uuid, Value> = HashMap::new();
    let all = files(&folder);
    assert!(all.len() > 20, "{} files", all.len());
    for path in &all {
        for line in lines_of(path) {
            let event = event_of(&line);
            assert!(kept.insert(id_of(&event), event).is_none(), "twice: {line}");
        }
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(safe.len() >= 30_000);
    for (id, sent) in &safe {
        let mut found = kept.get(id).unwrap_or_else(|| panic!("{id} is lost")).clone();
        // The port gives it the time at which it came.
        found.as_object_mut().unwrap().remove("timestamp");
        assert_eq!(&found, sent);
    }
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_at_the_next_start_and_events_go_on_behind_it() {
    let home = Home::new();
    let setup = to_file(&home, "events.ndjson");
    let sidecar = setup.start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    sidecar.stop().await;
    let path = home.path("events.ndjson");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
    let sidecar = setup.start().await;
    let second = event();
    assert_eq!(post(sidecar.ingest, &Request::events(second.to_string())).await.status, 200);
    assert!(sidecar.log().contains("it was cut off"), "{}", sidecar.log());
    sidecar.stop().await;
    let lines = lines_of(&path);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].as_bytes(), whole.trim_ascii_end());
    assert_eq!(id_of(&event_of(&lines[1])), id_of(&second));
}

/// A look at the disk, again and again.
struct Disk(Arc<AtomicBool>, std::thread::JoinHandle<(u64, u64, usize)>);

impl Disk {
    fn watch(folder: &Path) -> Self {
        let (stop, folder) = (Arc::new(AtomicBool::new(false)), folder.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = (0, 0, 0);
            while !stopped.load(Ordering::Relaxed) {
                // One that is renamed meanwhile is seen under two names, and one that is deleted under none.
                let files: HashMap<u64, u64> = names(&folder)
                    .iter()
                    .filter_map(|name| folder.join(name).metadata().ok())
                    .map(|stat| (stat.ino(), stat.len()))
                    .collect();
                most.0 = most.0.max(files.values().sum());
                most.1 = most.1.max(files.values().copied().max().unwrap_or(0));
                most.2 = most.2.max(files.len());
                std::thread::sleep(Duration::from_micros(200));
            }
            most
        });
        Self(stop, thread)
    }

    /// The most bytes at once, the largest file, the most files.
    fn most(self) -> (u64, u64, usize) {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap()
    }
}

#[tokio::test]
async fn the_bounds_hold_while_far_more_is_sent() {
    const SIZE: u64 = 256 << 10;
    for (compression, keep, total) in
        [("none", 3, 64 << 20), ("none", 0, 1 << 20), ("zstd", 4, 4 << 20), ("zstd", 0, 1 << 20)]
    {
        let home = Home::new();
        let folder = home.path("");
        let sidecar = to_file(&home, "events.ndjson")
            .set("sinks.files.max_size", &SIZE.to_string())
            .set("sinks.files.keep", &keep.to_string())
            .set("sinks.files.max_total", &total.to_string())
            .set("sinks.files.compression", compression)
            .start()
            .await;
        let memory = sidecar.watch_memory();
        let disk = Disk::watch(&folder);
        let mut client = Client::connect(sidecar.ingest).await.unwrap();
        let mut random = StdRng::seed_from_u64(7);
        let mut sent = Vec::new();
        let mut bytes = 0;
        while bytes < 6 << 20 {
            // Text that no compression makes small: the bound of bytes is what counts.
            let events: Vec<_> = (0..20)
                .map(|_| {
                    let noise: String = (0..1000).map(|_| random.random_range('!'..='~')).collect();
                    let mut event = event();
                    event["output"] = noise.into();
                    event
                })
                .collect();
            let body = array(&events);
            bytes += body.len();
            let answer = client.send(&Request::events(body)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            sent.extend(events.iter().map(id_of));
        }
        memory.assert_within_budget();
        if compression == "zstd" {
            eventually("all is compressed", async || is_settled(&folder)).await;
        }
        let (bytes, largest, count) = disk.most();
        assert!(bytes > total / 2 || keep > 0, "{bytes} bytes were seen at once");
        assert!(bytes <= total, "{bytes} bytes for {total}");
        assert!(largest <= SIZE, "a file of {largest} bytes");
        // The one that is written, one before the oldest is deleted, and what is being compressed.
        assert!(keep == 0 || count <= keep + 3, "{count} files");
        sidecar.stop().await;
        let kept = files(&folder);
        assert!(keep == 0 || kept.len() <= keep + 1, "{kept:?}");
        assert!(kept.len() >= 3, "as much is kept as may be: {kept:?}");
        let lines: Vec<_> = kept.iter().flat_map(|path| lines_of(path)).map(|line| id_of(&event_of(&line))).collect();
        assert!(sent.ends_with(&lines), "what is left is the newest, whole and in order");
    }
}

/// The folder of a volume of its own: of 1 MiB, seen by the program alone, and gone with it. `None` where this machine lets
/// nobody mount one.
fn small_volume(home: &Home) -> Option<(Setup, impl Fn(&Sidecar) -> PathBuf)> {
    std::fs::create_dir(home.path("volume")).unwrap();
    let place = home.path("volume");
    let script = format!("mount -t tmpfs -o size=1m,mode=777 none {} && exec \"$@\"", place.display());
    let under = ["unshare", "--mount", "--map-root-user", "sh", "-c", &script, "sh"];
    let can = Command::new(under[0]).args(&under[1..]).arg("true").output();
    if !can.is_ok_and(|tried| tried.status.success()) {
        eprintln!("no volume can be mounted here: not tried");
        return None;
    }
    let setup = to_file(home, "volume/events.ndjson").set("sinks.files.disk_reserve", "0").under(&under);
    Some((setup, move |sidecar: &Sidecar| {
        let root = format!("/proc/{}/root", sidecar.pid());
        Path::new(&root).join(place.strip_prefix("/").unwrap())
    }))
}

/// Writes until nothing more fits.
fn fill(ballast: &Path) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(ballast).unwrap();
    for size in [64 << 10, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn a_full_disk_is_answered_503_leaves_whole_lines_and_passes_by_itself() {
    let home = Home::new();
    let Some((setup, volume)) = small_volume(&home) else { return };
    let sidecar = setup.start().await;
    let volume = volume(&sidecar);
    let (path, ballast) = (volume.join("events.ndjson"), volume.join("ballast"));
    let mut client = Client::connect(sidecar.ingest).await.unwrap();
    let mut safe = Vec::new();
    for _ in 0..3 {
        let mut refused = Vec::new();
        // Fewer bytes are free than a write needs, and then none.
        for events in (0..40).map(|_| (0..20).map(|_| event()).collect::<Vec<_>>()) {
            let answer = client.send(&Request::events(array(&events))).await.unwrap();
            match answer.status {
                200 => safe.extend(events.iter().map(id_of)),
                503 => {
                    assert!(answer.retry_after() >= 1);
                    assert!(answer.error().contains("disk is full"), "{}", answer.error());
                    refused.push(events);
                }
                other => panic!("{other}: {}", answer.text()),
            }
            let lines: Vec<_> = lines_of(&path).iter().map(|line| id_of(&event_of(line))).collect();
            assert_eq!(lines, safe, "what is in the file is what was acknowledged");
            if refused.is_empty() {
                fill(&ballast);
            }
        }
        assert!(!refused.is_empty());
        assert_eq!(get(sidecar.api, "/healthz").await.status, 200);
        std::fs::remove_file(&ballast).unwrap();
        // The very same events are taken, without a restart.
        for events in refused {
            let request = Request::events(array(&events));
            eventually("there is room again", async || client.send(&request).await.unwrap().status == 200).await;
            safe.extend(events.iter().map(id_of));
        }
        // Room for the next round.
        if safe.len() > 1000 {
            break;
        }
    }
    let lines: Vec<_> = lines_of(&path).iter().map(|line| id_of(&event_of(line))).collect();
    assert_eq!(lines, safe);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_was_only_queued_is_written_when_a_full_disk_has_room_again() {
    let home = Home::new();
    let Some((setup, volume)) = small_volume(&home) else { return };
    let sidecar = setup.set("sources.http.acknowledge", "queued").start().await;
    let volume = volume(&sidecar);
    fill(&volume.join("ballast"));
    let queued = event();
    assert_eq!(post(sidecar.ingest, &Request::events(queued.to_string())).await.status, 202);
    eventually("the write fails", async || sidecar.log().contains("a write failed")).await;
    assert!(lines_of(&volume.join("events.ndjson")).is_empty());
    std::fs::remove_file(volume.join("ballast")).unwrap();
    eventually("it is written", async || lines_of(&volume.join("events.ndjson")).len() == 1).await;
    assert_eq!(id_of(&event_of(&lines_of(&volume.join("events.ndjson"))[0])), id_of(&queued));
    sidecar.stop().await;
}

/// A file of lines before the store.
fn from_file(home: &Home, path: &str) -> Setup {
    let text = format!(
        "[runtime]\nlog_level = \"info\"\nlog_format = \"json\"\n[api]\nbind = \"127.0.0.1:0\"\n\
         [sources.lines]\ntype = \"file\"\npath = \"{path}\"\npoll_interval = \"100ms\"\n\
         [sinks.store]\ntype = \"sqlite_store\"\ninputs = [\"lines\"]\npath = \"{}\"\n",
        home.db().display()
    );
    home.bare().more(&text)
}

fn stored_names(home: &Home) -> Vec<String> {
    if !home.db().exists() {
        return Vec::new();
    }
    stored(&home.db()).into_iter().map(|event| event.name.unwrap()).collect()
}

#[tokio::test]
async fn a_followed_file_is_read_once_and_in_order_over_kills_rotations_and_bad_lines() {
    let home = Home::new();
    let path = home.path("in.ndjson");
    std::fs::write(&path, "").unwrap();
    let setup = from_file(&home, path.to_str().unwrap());
    // So that there is a table to look at.
    assert_eq!(setup.clone().set("sources.lines.follow", "false").output().code, Some(0));
    let mut random = StdRng::seed_from_u64(5);
    let written = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    // Writes all the while, whoever reads. Half of the events name no identity.
    let writer = {
        let (written, stop, path, db) = (Arc::clone(&written), Arc::clone(&stop), path.clone(), home.db());
        std::thread::spawn(move || {
            let mut random = StdRng::seed_from_u64(6);
            for rotation in 0.. {
                let first = written.load(Ordering::Relaxed);
                for at in first..first + random.random_range(1500..3000) {
                    let mut event = json!({"kind": "log", "name": format!("n{at}"), "attributes": {"at": at}});
                    if at % 2 == 0 {
                        event["trace_id"] = Uuid::now_v7().to_string().into();
                    }
                    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
                    // In two pieces: whoever looks in between sees half a line.
                    let line = format!("{event}\n");
                    file.write_all(&line.as_bytes()[..10]).unwrap();
                    file.write_all(&line.as_bytes()[10..]).unwrap();
                    if at % 50 == 0 {
                        file.write_all(b"{\"kind\": no event\n").unwrap();
                    }
                    written.store(at + 1, Ordering::Relaxed);
                }
                // A file is rotated when it is known: some of its events are stored.
                while !stop.load(Ordering::Relaxed) && !stored(&db).iter().any(|e| e.name == Some(format!("n{first}")))
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::fs::rename(&path, path.with_extension(rotation.to_string())).unwrap();
            }
        })
    };
    let mut log = String::new();
    for _ in 0..8 {
        let before = stored_names(&home).len();
        let mut sidecar = setup.spawn();
        eventually("events are stored", async || stored_names(&home).len() > before + 200).await;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..100_000))).await;
        sidecar.signal(Signal::KILL);
        assert_eq!(sidecar.exit_code().await, None, "it was killed");
        log += &sidecar.log();
    }
    stop.store(true, Ordering::Relaxed);
    let mut sidecar = setup.spawn();
    tokio::task::spawn_blocking(move || writer.join().unwrap()).await.unwrap();
    let all = written.load(Ordering::Relaxed);
    eventually("all is read", async || stored_names(&home).len() >= all).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    let expected: Vec<_> = (0..all).map(|at| format!("n{at}")).collect();
    assert_eq!(stored_names(&home), expected);
    assert!(all > 3000, "{all}");
    assert!(log.contains("\"message\":\"a line is no event; it was skipped\""), "{log}");
    assert!(log.contains("\"line\":2,\"why\":"), "the line is named: {log}");
}

#[tokio::test]
async fn a_file_that_is_not_followed_is_read_and_the_program_ends() {
    let home = Home::new();
    let text: String = (0..1000).map(|at| format!("{}\n", json!({"kind": "log", "name": format!("n{at}")}))).collect();
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    std::fs::write(home.path("in"), &packed).unwrap();
    let setup = from_file(&home, "in").set("sources.lines.follow", "false");
    for _ in 0..2 {
        // The second time it goes on where it stopped, which is the end.
        let output = setup.output();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        assert_eq!(stored_names(&home).len(), 1000);
    }
    let missing = from_file(&home, "none").set("sources.lines.follow", "false").output();
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("key sources.lines.path"), "{}", missing.stderr);
    // What cannot be read to its end is no success, and what was whole is kept.
    let other = Home::new();
    std::fs::write(other.path("in"), &packed[..packed.len() - 20]).unwrap();
    let broken = from_file(&other, "in").set("sources.lines.follow", "false").output();
    assert_eq!(broken.code, Some(1), "{}", broken.stderr);
    assert!(broken.stderr.contains("ends in the middle"), "{}", broken.stderr);
}

/// Standard input to a file and to standard output.
fn pipe(home: &Home, format: &str) -> Setup {
    let text = format!(
        "[api]\nenabled = false\n[sources.in]\ntype = \"file\"\npath = \"-\"\n\
         [sinks.files]\ntype = \"file\"\ninputs = [\"in\"]\npath = \"events.ndjson\"\n\
         [sinks.show]\ntype = \"console\"\ninputs = [\"in\"]\nformat = \"{format}\"\n"
    );
    home.bare().more(&text)
}

#[test]
fn a_pipe_is_read_to_its_end_and_what_comes_out_goes_in_again() {
    let home = Home::new();
    let events: Vec<_> = (0..3000).map(|at| marked(&at.to_string())).collect();
    let mut text = ndjson(&events);
    text.extend_from_slice(b"no event\n");
    let output = pipe(&home, "json").stdin(text).output();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("line=3001"), "{}", output.stderr);
    let ids = |text: &str| text.lines().map(|line| id_of(&event_of(line))).collect::<Vec<_>>();
    assert_eq!(ids(&output.stdout), events.iter().map(id_of).collect::<Vec<_>>());
    assert_eq!(output.stdout, std::fs::read_to_string(home.path("events.ndjson")).unwrap());
    // What came out is what goes in, packed or not.
    let other = Home::new();
    let again = pipe(&other, "json").stdin(zstd::encode_all(output.stdout.as_bytes(), 1).unwrap()).output();
    assert_eq!((again.code, again.stdout), (Some(0), output.stdout));
    let cut = zstd::encode_all(&b"{\"kind\":\"log\"}\n"[..], 1).unwrap();
    let broken = pipe(&Home::new(), "json").stdin(&cut[..cut.len() - 3]).output();
    assert_eq!(broken.code, Some(1), "{}", broken.stderr);
    assert!(broken.stderr.contains("cannot read standard input"), "{}", broken.stderr);
}

#[test]
fn the_console_shows_hostile_text_as_text() {
    let home = Home::new();
    let hostile = json!({"kind": "tool_call", "name": "a\u{1b}[2J\u{202e}b\nc", "status": "error", "error": "\r\u{7}x",
        "input": {"x": "\u{1b}]0;title\u{7}"}});
    let output = pipe(&home, "pretty").stdin(format!("{hostile}\n")).output();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(output.stdout.matches('\n').count(), 1, "{:?}", output.stdout);
    let line = output.stdout.trim_end_matches('\n');
    assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
    assert!(line.ends_with(r#"tool_call a\u{1b}[2J\u{202e}b c  \u{7}x  {"x":"\u001b]0;title\u0007"}"#), "{line:?}");
}

#[tokio::test]
async fn a_console_that_nobody_reads_is_said_once_and_holds_nothing_up() {
    let home = Home::new();
    let text = format!(
        "[runtime]\nlog_level = \"info\"\nlog_format = \"json\"\n[api]\nbind = \"127.0.0.1:0\"\n\
         [sources.http]\ntype = \"http_ingest\"\nbind = \"127.0.0.1:0\"\n\
         [sinks.show]\ntype = \"console\"\ninputs = [\"http\"]\n\
         [sinks.store]\ntype = \"sqlite_store\"\ninputs = [\"http\"]\npath = \"{}\"\n",
        home.db().display()
    );
    let out = home.path("out");
    assert!(Command::new("mkfifo").arg(&out).status().unwrap().success());
    let mut sidecar = home.bare().more(&text).under(&["sh", "-c", "exec \"$@\" > out", "sh"]).spawn();
    let mut reader = std::fs::File::open(&out).unwrap();
    assert!(sidecar.started().await, "{}", sidecar.log());
    assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    let mut seen = [0; 2];
    reader.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"20", "a date");
    drop(reader);
    for _ in 0..20 {
        assert_eq!(post(sidecar.ingest, &Request::events(event().to_string())).await.status, 200);
    }
    let metrics = get(sidecar.api, "/metrics").await.text();
    assert!(metrics.contains("openclaw_trace_console_events_discarded_total{component=\"show\"} 20"), "{metrics}");
    assert!(metrics.contains("openclaw_trace_console_events_shown_total{component=\"show\"} 1"), "{metrics}");
    assert_eq!(sidecar.log().matches("nobody reads it any more").count(), 1, "{}", sidecar.log());
    sidecar.stop().await;
    assert_eq!(stored(&home.db()).len(), 21);
}

#[test]
fn the_examples_of_the_page_are_valid() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/files.md")).unwrap();
    let examples: Vec<_> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let home = Home::new();
        let output = home.bare().more(example).arg("validate").output();
        assert_eq!(output.code, Some(0), "{example}\n{}", output.stderr);
    }
}

#[tokio::test]
async fn an_idle_pipe_holds_back_neither_an_event_nor_a_stop() {
    let home = Home::new();
    let mut child = {
        std::fs::write(
            home.path("p.toml"),
            "[api]\nenabled = false\n[sources.in]\ntype = \"file\"\npath = \"-\"\n\
             [sinks.show]\ntype = \"console\"\ninputs = [\"in\"]\nformat = \"json\"\n",
        )
        .unwrap();
        Command::new(env!("CARGO_BIN_EXE_openclaw-trace"))
            .arg("--config")
            .arg(home.path("p.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let sent = event();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{sent}").unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(id_of(&event_of(&line)), id_of(&sent));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "the pipe is open still");
    drop(stdin);
}
