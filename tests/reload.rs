//! A new configuration for the process that runs: nothing is lost or doubled, a wrong one changes nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::Value;
use support::{
    Answer, Behaviour, Client, Home, Receiver, Request, Sidecar, array, event, eventually, get, id_of, open, post,
    stored, stored_ids,
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// A port that is free and stays so while nobody listens: the system gives those that it chooses itself to
/// outgoing connections, too.
fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(10_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn reload() -> Request {
    Request::new("POST", "/api/v1/reload").body("")
}

fn strings(answer: &Answer, key: &str) -> Vec<String> {
    answer.json()[key].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Sends SIGHUP and waits until the log has this one time more.
async fn hang_up(sidecar: &Sidecar, said: &str) {
    let before = sidecar.log().matches(said).count();
    sidecar.signal(Signal::HUP);
    eventually(said, async || sidecar.log().matches(said).count() > before).await;
}

/// What a reload is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Variation {
    Cleaning,
    Store,
    Path,
    Push,
    Limits,
    Extra,
    Budget,
    Wrong,
    /// Found wrong beside what runs.
    Unopenable,
    /// Found wrong after the old one has stopped.
    PutBack,
    Nothing,
}

const VARIATIONS: [Variation; 11] = [
    Variation::Cleaning,
    Variation::Store,
    Variation::Path,
    Variation::Push,
    Variation::Limits,
    Variation::Extra,
    Variation::Budget,
    Variation::Wrong,
    Variation::Unopenable,
    Variation::PutBack,
    Variation::Nothing,
];

/// A configuration in the making.
struct Config {
    receiver: String,
    ports: [u16; 3],
    databases: [PathBuf; 2],
    numbers: BTreeMap<&'static str, u64>,
    path: usize,
    extra: bool,
    /// What makes it wrong, or impossible.
    fault: &'static str,
}

impl Config {
    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    fn text(&self) -> String {
        let [http, queued, extra] = self.ports;
        let also = if self.extra {
            format!("[sources.extra]\ntype = \"http_ingest\"\nbind = \"127.0.0.1:{extra}\"\n")
        } else {
            String::new()
        };
        let inputs = if self.extra { r#"["http", "queued", "extra"]"# } else { r#"["http", "queued"]"# };
        let path = if self.fault == "path" { Path::new("/proc/no/such.db") } else { &self.databases[self.path] };
        let wrong = match self.fault {
            "key" => "max_evnts = 1\n",
            "tokens" => "tokens_file = \"/no/such/file\"\n",
            _ => "",
        };
        format!(
            r#"
[runtime]
log_level = "info"
log_format = "json"
max_in_flight_events = {}
[api]
bind = "127.0.0.1:0"
[sources.http]
type = "http_ingest"
bind = "127.0.0.1:{http}"
max_events = {}
{wrong}[sources.queued]
type = "http_ingest"
bind = "127.0.0.1:{queued}"
acknowledge = "queued"
max_connections = {}
{also}[transforms.dedupe]
type = "dedupe"
inputs = {inputs}
[transforms.redact]
type = "redact"
inputs = ["dedupe"]
[[transforms.redact.rules]]
name = "number"
pattern = "secret-{}"
[transforms.truncate]
type = "truncate"
inputs = ["redact"]
max_text_bytes = {}
[sinks.store]
type = "sqlite_store"
inputs = ["truncate"]
path = "{}"
max_bytes = "4GiB"
retention_days = {}
[sinks.push]
type = "augmi_push"
inputs = ["store"]
endpoint = "{}"
agent_id = "agent"
interval = "50ms"
batch_events = {}
"#,
            512 + self.number("budget"),
            500 + self.number("http"),
            200 + self.number("queued"),
            self.number("redact"),
            4096 + self.number("truncate"),
            path.display(),
            30 + self.number("store"),
            self.receiver,
            500 + self.number("push"),
        )
    }

    fn vary(&mut self, variation: Variation, random: &mut StdRng) {
        self.fault = "";
        let mut count = |name| *self.numbers.entry(name).or_default() += 1;
        match variation {
            Variation::Cleaning => count(if random.random_bool(0.5) { "redact" } else { "truncate" }),
            Variation::Store => count("store"),
            Variation::Path => self.path = 1 - self.path,
            Variation::Push => count("push"),
            Variation::Limits => count(if random.random_bool(0.5) { "http" } else { "queued" }),
            Variation::Extra => self.extra = !self.extra,
            Variation::Budget => count("budget"),
            Variation::Wrong => self.fault = "key",
            Variation::Unopenable => self.fault = "path",
            Variation::PutBack => self.fault = "tokens",
            Variation::Nothing => {}
        }
        // Often several things at once.
        if random.random_bool(0.3) {
            count(["redact", "store", "http", "queued"][random.random_range(0..4)]);
        }
    }
}

/// Sends until it is told to stop. What is not answered is sent again as it is. Answers what was acknowledged.
async fn load(address: SocketAddr, seed: u64, stop: Arc<AtomicBool>) -> Vec<Uuid> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut safe, mut client) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let events: Vec<_> = (0..random.random_range(1..=20)).map(|_| event()).collect();
        let request = Request::events(array(&events));
        loop {
            if client.is_none() {
                client = Client::connect(address).await.ok();
            }
            let answer = match &mut client {
                Some(open) => open.send(&request).await.ok(),
                None => None,
            };
            match answer.map(|answer| (answer.status, answer)) {
                Some((200 | 202, _)) => break safe.extend(events.iter().map(id_of)),
                Some((429 | 503, answer)) => assert!(answer.retry_after() >= 1),
                Some((other, answer)) => panic!("{other}: {}", answer.text()),
                // The port is closed for a moment, or was between two requests.
                None => client = None,
            }
            if stop.load(Ordering::Relaxed) {
                return safe;
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(1..10))).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
    }
    safe
}

/// Every id of a database, as `export` writes it, and how often.
fn exported(home: &Home, db: &Path) -> HashMap<Uuid, usize> {
    let export = home.bare().arg("export").arg("--db").arg(db).output();
    assert_eq!(export.code, Some(0), "{}", export.stderr);
    let mut ids = HashMap::new();
    for line in export.stdout.lines() {
        *ids.entry(id_of(&serde_json::from_str::<Value>(line).unwrap())).or_default() += 1;
    }
    ids
}

#[tokio::test]
async fn a_hundred_reloads_at_random_moments_under_load_lose_nothing_and_double_nothing() {
    let seed = std::env::var("RELOAD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_125);
    println!("RELOAD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = Home::new();
    let file = home.path("pipeline.toml");
    let receiver = Receiver::start(Behaviour::Accept).await;
    let mut config = Config {
        receiver: receiver.url(),
        ports: [free_port(), free_port(), free_port()],
        databases: [home.path("one.db"), home.path("two.db")],
        numbers: BTreeMap::new(),
        path: 0,
        extra: false,
        fault: "",
    };
    std::fs::write(&file, config.text()).unwrap();
    let mut sidecar = home.bare().arg("--config").arg(&file).start().await;
    let memory = sidecar.watch_memory();

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let port = config.ports[[0, 0, 0, 0, 1, 1, 2, 2][number]];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        clients.spawn(load(address, random.random(), Arc::clone(&stop)));
    }
    let mut met: BTreeMap<(Variation, u16), usize> = BTreeMap::new();
    let mut good = config.text();
    for number in 0..100 {
        tokio::time::sleep(Duration::from_micros(random.random_range(0..40_000))).await;
        // Each of them comes, and then at random.
        let variation = *VARIATIONS.get(number).unwrap_or(&VARIATIONS[random.random_range(0..VARIATIONS.len())]);
        config.vary(variation, &mut random);
        let text = config.text();
        std::fs::write(&file, &text).unwrap();
        let status = match number % 5 {
            // By signal, whose outcome the figures tell.
            0 => {
                let before = reloads(&sidecar).await;
                sidecar.signal(Signal::HUP);
                let mut after = before;
                eventually("the reload is done", async || {
                    after = reloads(&sidecar).await;
                    after.0 + after.1 > before.0 + before.1
                })
                .await;
                if after.0 > before.0 { 200 } else { 422 }
            }
            1 => {
                let command = home.bare().arg("reload").arg("--config").arg(&file);
                let command = command.set("api.bind", &sidecar.api.to_string());
                let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
                match output.code {
                    Some(0) => 200,
                    Some(1) => 409,
                    _ => 422,
                }
            }
            _ => {
                let answer = post(sidecar.api, &reload()).await;
                if answer.status == 422 {
                    let line = 1 + text.lines().position(|line| line.starts_with("max_evnts")).unwrap();
                    let place = format!("{}:{line}: sources.http.max_evnts: ", file.display());
                    assert!(strings(&answer, "errors")[0].starts_with(&place), "{}", answer.text());
                }
                answer.status
            }
        };
        *met.entry((variation, status)).or_default() += 1;
        match config.fault {
            "" => {
                assert_eq!(status, 200, "{variation:?}:\n{}", sidecar.log());
                good = text;
            }
            _ => {
                assert_ne!(status, 200, "{variation:?}:\n{}", sidecar.log());
                // What was meant by the wrong file comes with the next right one.
                assert_ne!(good, text);
            }
        }
        assert!(sidecar.ended().is_none(), "{}", sidecar.log());
        assert_eq!(get(sidecar.api, "/readyz").await.status, 200);
    }
    stop.store(true, Ordering::Relaxed);
    let safe: HashSet<Uuid> = clients.join_all().await.into_iter().flatten().collect();
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    println!("{} acknowledged events; {met:?}", safe.len());

    let mut kept = exported(&home, &config.databases[0]);
    for (id, times) in exported(&home, &config.databases[1]) {
        *kept.entry(id).or_default() += times;
    }
    let lost: Vec<_> = safe.iter().filter(|id| !kept.contains_key(id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are lost", lost.len(), safe.len());
    let doubled: Vec<_> = kept.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "{} of {} events are there twice", doubled.len(), kept.len());
    assert!(safe.len() > 1000, "there was no load");
    memory.assert_within_budget();

    // What is marked as pushed has arrived.
    let pushed = receiver.kept();
    let marked = config.databases.iter().flat_map(|db| stored(db)).filter(|event| event.pushed);
    let marked: Vec<Uuid> = marked.map(|event| event.trace_id).collect();
    let twice = pushed.values().filter(|times| **times > 1).count();
    println!("{} pushed, {} marked, {twice} twice", pushed.len(), marked.len());
    assert!(!marked.is_empty() && marked.iter().all(|id| pushed.contains_key(id)), "marked, and never arrived");
    // A machine that stands still may cut a request off, which is sent again with its key; two readers at once would
    // double everything.
    assert!(twice <= pushed.len() / 20, "{twice} of {} were pushed twice", pushed.len());
    for variation in VARIATIONS {
        assert!(met.keys().any(|(it, _)| *it == variation), "{variation:?} never came");
    }
    let log = sidecar.log();
    assert!(!log.contains("panicked") && !log.contains("cut off"), "{log}");
}

/// Reloads so far, by its own word: taken, and not.
async fn reloads(sidecar: &Sidecar) -> (u64, u64) {
    let metrics = get(sidecar.api, "/metrics").await.text();
    let of = |result: &str| {
        let start = format!("openclaw_trace_config_reloads_total{{component=\"runtime\",result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
    };
    (of("success"), of("failure"))
}

/// Changes the file that `Home::setup` is started with.
fn rewrite(home: &Home, changes: &[(&str, &str)]) {
    let file = home.path("test.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "no {from} in {text}");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).unwrap();
}

async fn sent(sidecar: &Sidecar) -> Uuid {
    let event = event();
    assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    id_of(&event)
}

#[tokio::test]
async fn every_mistake_of_a_wrong_file_is_told_with_its_place_and_all_goes_on() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let first = sent(&sidecar).await;
    let right = std::fs::read_to_string(home.path("test.toml")).unwrap();
    rewrite(
        &home,
        &[
            ("type = \"dedupe\"", "type = \"dedupe\"\nmax_entires = 5"),
            ("inputs = [\"truncate\"]", "inputs = [\"truncat\"]"),
            ("[sources.http]", "[source.http]"),
        ],
    );
    let command = home.bare().arg("reload").arg("--config").arg(home.path("test.toml"));
    let command = command.set("api.bind", &sidecar.api.to_string());
    let asked = command.output();
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(2), ""), "{}", asked.stderr);
    // Word for word what `validate` says.
    let validated = home.bare().arg("validate").arg("--config").arg(home.path("test.toml")).output();
    assert!(validated.stderr.lines().count() >= 3, "{}", validated.stderr);
    for line in validated.stderr.lines() {
        assert!(asked.stderr.lines().any(|told| told == line), "{line}\nis not in\n{}", asked.stderr);
    }
    hang_up(&sidecar, "did you mean max_entries?").await;
    assert!(sidecar.log().contains("the one in force goes on"), "{}", sidecar.log());
    assert_eq!(reloads(&sidecar).await, (0, 2));

    // Not TOML at all, and then not there.
    std::fs::write(home.path("test.toml"), "[sources").unwrap();
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(strings(&answer, "errors")[0].contains("test.toml:1: not valid TOML"), "{}", answer.text());
    std::fs::remove_file(home.path("test.toml")).unwrap();
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(strings(&answer, "errors")[0].contains("test.toml: cannot be read"), "{}", answer.text());

    let second = sent(&sidecar).await;
    std::fs::write(home.path("test.toml"), right).unwrap();
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!((answer.status, strings(&answer, "kept").len()), (200, 6), "{}", answer.text());
    assert_eq!(stored_ids(&home.db()), HashSet::from([first, second]));
    sidecar.stop().await;
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_told_and_the_old_graph_is_there_again() {
    let home = Home::new();
    let port = free_port();
    let sidecar = home.setup().set("sources.http.bind", &format!("127.0.0.1:{port}")).start().await;
    sent(&sidecar).await;
    // In the way of another process: found out beside what runs.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "[sources.more]\ntype = \"http_ingest\"\nbind = \"{}\"\n[transforms.dedupe]",
        taken.local_addr().unwrap()
    );
    rewrite(&home, &[("[transforms.dedupe]", &more), ("inputs = [\"http\"]", "inputs = [\"http\", \"more\"]")]);
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.error().contains("sources.more: cannot listen on") && answer.error().contains("goes on"));
    sent(&sidecar).await;
    drop(taken);
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(strings(&answer, "added"), ["sources.more"], "{}", answer.text());

    // Found out once the old one has given its port back.
    rewrite(
        &home,
        &[("type = \"http_ingest\"\nbind = \"127.0.0.1:0\"", "type = \"http_ingest\"\ntokens_file = \"/no/such\"")],
    );
    hang_up(&sidecar, "could not be carried out").await;
    assert!(sidecar.log().contains("/no/such"), "{}", sidecar.log());
    sent(&sidecar).await;
    assert_eq!(stored_ids(&home.db()).len(), 3);
    assert_eq!(reloads(&sidecar).await, (1, 2));
    sidecar.stop().await;
}

#[tokio::test]
async fn after_a_reload_the_api_shows_the_new_graph_the_new_store_and_no_figure_of_what_is_gone() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    let first = sent(&sidecar).await;
    let names = async || {
        let status = get(sidecar.api, "/api/v1/status").await.json();
        let names = status["components"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), status["store"]["events"].as_u64())
    };
    assert_eq!(
        names().await,
        (["http", "assemble", "dedupe", "redact", "truncate", "store"].map(Into::into).into(), Some(1))
    );
    let other = home.path("other.db");
    rewrite(
        &home,
        &[
            (&home.db().display().to_string(), &other.display().to_string()),
            ("[transforms.truncate]", "[transforms.truncate]\nenabled = false"),
        ],
    );
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(strings(&answer, "changed"), ["sinks.store"]);
    assert_eq!(strings(&answer, "removed"), ["transforms.truncate"]);
    let second = sent(&sidecar).await;
    assert_eq!(names().await, (["http", "assemble", "dedupe", "redact", "store"].map(Into::into).into(), Some(1)));
    let found = get(sidecar.api, &format!("/api/v1/events/{second}")).await;
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(get(sidecar.api, &format!("/api/v1/events/{first}")).await.status, 404, "it is in the other store");
    let metrics = get(sidecar.api, "/metrics").await.text();
    assert!(!metrics.contains("component=\"truncate\""), "{metrics}");
    assert!(metrics.contains("openclaw_trace_store_events_total{component=\"store\"} 2\n"), "{metrics}");
    assert!(metrics.contains("config_last_reload_success_timestamp_seconds{component=\"runtime\"} 1"), "{metrics}");
    sidecar.stop().await;
    assert_eq!((stored_ids(&home.db()), stored_ids(&other)), (HashSet::from([first]), HashSet::from([second])));
    for db in [home.db(), other] {
        assert!(!PathBuf::from(format!("{}-wal", db.display())).exists(), "each was closed by its store");
    }
}

/// Whether a process catches SIGHUP by now.
fn catches_hangup(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[tokio::test]
async fn a_hangup_at_once_after_the_start_or_during_the_drain_ends_nothing() {
    let home = Home::new();
    let mut sidecar = home.setup().spawn();
    eventually("it catches the signal", async || catches_hangup(sidecar.pid())).await;
    for _ in 0..20 {
        sidecar.signal(Signal::HUP);
    }
    assert!(sidecar.started().await, "{}", sidecar.log());
    eventually("it was done", async || reloads(&sidecar).await.0 > 0).await;
    let first = sent(&sidecar).await;

    let lock = open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (address, in_flight) = (sidecar.ingest, event());
    let id = id_of(&in_flight);
    let pending = tokio::spawn(async move { post(address, &Request::events(in_flight.to_string())).await });
    sidecar.in_flight(1).await;
    sidecar.signal(Signal::TERM);
    eventually("it drains", async || sidecar.log().contains("draining")).await;
    rewrite(&home, &[("[transforms.truncate]", "[transforms.truncate]\nenabled = false")]);
    hang_up(&sidecar, "nothing is read anew").await;
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(pending.await.unwrap().status, 200);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    assert_eq!(stored_ids(&home.db()), HashSet::from([first, id]));
}

#[tokio::test]
async fn a_store_that_is_exchanged_while_another_process_holds_its_file_waits_with_all_that_is_sent() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    sent(&sidecar).await;
    let lock = open(&home.db());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut clients = JoinSet::new();
    let address = sidecar.ingest;
    clients.spawn(async move { post(address, &Request::events(event().to_string())).await.status });
    sidecar.in_flight(1).await;
    rewrite(&home, &[("[sinks.store]", "[sinks.store]\nretention_days = 3")]);
    let api = sidecar.api;
    let reloading = tokio::spawn(async move { post(api, &reload()).await });
    for _ in 0..5 {
        clients.spawn(async move { post(address, &Request::events(event().to_string())).await.status });
    }
    sidecar.in_flight(6).await;
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(reloading.await.unwrap().status, 200);
    assert_eq!(clients.join_all().await, [200; 6]);
    assert_eq!(stored_ids(&home.db()).len(), 7);
    sidecar.stop().await;
}

/// A token, and the line by which `tokens_file` knows it.
fn token(home: &Home, agent: &str) -> (String, String) {
    let made = home.bare().arg("token").arg("--agent").arg(agent).output();
    (made.stdout.trim_end().to_owned(), made.stderr.lines().last().unwrap().to_owned())
}

#[tokio::test]
async fn tokens_are_read_anew_also_where_the_configuration_is_wrong_or_there_was_none() {
    let home = Home::new();
    let [known, new, newest] = ["a", "b", "c"].map(|agent| token(&home, agent));
    let tokens = home.path("tokens");
    let write = |all: &[&(String, String)]| {
        let lines: String = all.iter().map(|(_, line)| format!("{line}\n")).collect();
        std::fs::write(&tokens, lines).unwrap();
    };
    let taken = async |sidecar: &Sidecar, (token, _): &(String, String)| {
        let request = Request::events(event().to_string()).header("authorization", &format!("Bearer {token}"));
        post(sidecar.ingest, &request).await.status
    };
    write(&[&known]);
    let sidecar = home.setup().set("sources.http.tokens_file", &tokens.display().to_string()).start().await;
    assert_eq!((taken(&sidecar, &known).await, taken(&sidecar, &new).await), (200, 401));
    rewrite(&home, &[("[sinks.store]", "[sinks.store]\nretention = 3")]);
    write(&[&known, &new]);
    hang_up(&sidecar, "tokens_file is read anew").await;
    eventually("it is known", async || taken(&sidecar, &new).await == 200).await;
    eventually("the rest was refused", async || reloads(&sidecar).await == (0, 1)).await;
    sidecar.stop().await;

    // No file: the embedded configuration, which stays what it is until there is one.
    let other = Home::new();
    let bare = other
        .bare()
        .set("runtime.log_level", "info")
        .set("runtime.log_format", "json")
        .set("api.bind", "127.0.0.1:0")
        .set("sources.ingest.bind", "127.0.0.1:0")
        .set("sources.ingest.tokens_file", &tokens.display().to_string())
        .set("sinks.store.path", &other.db().display().to_string());
    let sidecar = bare.start().await;
    assert_eq!((taken(&sidecar, &new).await, taken(&sidecar, &newest).await), (200, 401));
    write(&[&newest]);
    hang_up(&sidecar, "configuration reloaded").await;
    eventually("it is known", async || taken(&sidecar, &newest).await == 200).await;
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.json()["configuration"], "embedded default");
    let own =
        "[sources.ingest]\ntype = \"http_ingest\"\n[sinks.store]\ntype = \"sqlite_store\"\ninputs = [\"ingest\"]\n";
    std::fs::write(other.path("openclaw-trace.toml"), own).unwrap();
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(answer.json()["configuration"], "openclaw-trace.toml", "{}", answer.text());
    assert_eq!(get(sidecar.api, "/api/v1/status").await.json()["components"].as_array().unwrap().len(), 2);
    // Found once, it is the file of this process.
    std::fs::remove_file(other.path("openclaw-trace.toml")).unwrap();
    assert_eq!(post(sidecar.api, &reload()).await.status, 422);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_only_a_start_can_change_is_named_and_the_log_s_level_changes_at_once() {
    let home = Home::new();
    let sidecar = home.setup().start().await;
    rewrite(
        &home,
        &[
            ("[api]\nbind = \"127.0.0.1:0\"", "[api]\nbind = \"127.0.0.1:1\"\ntoken = \"x\""),
            ("log_level = \"info\"", "log_level = \"error\"\ndrain_timeout = \"3s\""),
        ],
    );
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(strings(&answer, "needs_restart"), ["api.bind", "api.token", "runtime.drain_timeout"]);
    assert_eq!(strings(&answer, "kept").len(), 6);
    hang_up_quietly(&sidecar).await;
    assert_eq!(sidecar.log().matches("configuration reloaded").count(), 0, "{}", sidecar.log());
    rewrite(&home, &[("\"error\"", "\"info\""), ("127.0.0.1:1\"\ntoken = \"x\"", "127.0.0.1:0\"")]);
    let answer = post(sidecar.api, &reload()).await;
    assert_eq!(strings(&answer, "needs_restart"), ["runtime.drain_timeout"], "as it was started, not as it was last");
    let said = "takes effect at the next start: runtime.drain_timeout";
    eventually("it is in the log", async || sidecar.log().contains(said)).await;
    sidecar.stop().await;
}

async fn hang_up_quietly(sidecar: &Sidecar) {
    let before = reloads(sidecar).await;
    sidecar.signal(Signal::HUP);
    eventually("it is done", async || reloads(sidecar).await.0 > before.0).await;
}

#[tokio::test]
async fn whoever_asks_for_a_reload_needs_the_token_and_the_command_brings_it() {
    let home = Home::new();
    let secret = Uuid::now_v7().to_string();
    let sidecar = home.setup().env("TRACE_API_TOKEN", &secret).start().await;
    assert_eq!(post(sidecar.api, &reload()).await.status, 401);
    let with = |query: &str| {
        Request::new("POST", &format!("/api/v1/reload{query}"))
            .header("authorization", &format!("Bearer {secret}"))
            .body("")
    };
    let got = Request::new("GET", "/api/v1/reload").header("authorization", &format!("Bearer {secret}"));
    assert_eq!(post(sidecar.api, &got).await.status, 405);
    assert_eq!(post(sidecar.api, &with("?force=1")).await.status, 400);
    assert_eq!(post(sidecar.api, &with("").header("origin", "https://elsewhere.example")).await.status, 403);
    assert_eq!(post(sidecar.api, &with("")).await.status, 200);
    assert_eq!(reloads_with(&sidecar, &secret).await, 1);
    let command = home.bare().arg("reload").arg("--config").arg(home.path("test.toml"));
    let command = command.set("api.bind", &sidecar.api.to_string());
    assert_eq!(command.output().code, Some(1), "without the token");
    let output = command.clone().env("TRACE_API_TOKEN", &secret).output();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.ends_with("test.toml: nothing to change\n"), "{}", output.stdout);
    rewrite(&home, &[("[transforms.truncate]", "[transforms.truncate]\nmax_text_bytes = 100")]);
    let output = command.clone().env("TRACE_API_TOKEN", &secret).output();
    assert!(output.stdout.ends_with("test.toml: reloaded\nchanged: transforms.truncate\n"), "{}", output.stdout);
    sidecar.stop().await;
    let output = command.output();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("is openclaw-trace running?"), "{}", output.stderr);
    let output = home.setup().arg("reload").set("api.enabled", "false").output();
    assert!(output.code == Some(1) && output.stderr.contains("SIGHUP"), "{}", output.stderr);
}

async fn reloads_with(sidecar: &Sidecar, token: &str) -> usize {
    let request = Request::new("GET", "/metrics").header("authorization", &format!("Bearer {token}"));
    let text = post(sidecar.api, &request).await.text();
    text.lines().filter(|line| line.contains("reloads_total") && line.ends_with("\"success\"} 1")).count()
}
