//! A database of any earlier version is opened by this one, and nothing in it is lost: files that the
//! programs of those versions made (`tests/stores/make`).

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use uuid::Uuid;

use super::repository;
use super::root::complaints;
use super::support::{
    Behaviour, Home, Receiver, Request, Setup, array, captures, eventually, id_of, integrity, marked, open, post,
    stored, stored_ids,
};

/// The names of the files.
fn stores() -> Vec<String> {
    let files = std::fs::read_dir(repository("tests/stores")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> =
        files.filter_map(|name| name.to_string_lossy().strip_suffix(".ndjson.gz").map(str::to_owned)).collect();
    names.sort();
    names
}

fn unpacked(name: &str) -> Option<Vec<u8>> {
    let file = std::fs::File::open(repository("tests/stores").join(name)).ok()?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// Lays the database where the program looks for it; answers the events that are in it, as its own
/// program exported them.
fn lay(name: &str, home: &Home) -> Vec<Value> {
    std::fs::write(home.db(), unpacked(&format!("{name}.db.gz")).unwrap()).unwrap();
    if let Some(log) = unpacked(&format!("{name}.db-wal.gz")) {
        std::fs::write(format!("{}-wal", home.db().display()), log).unwrap();
    }
    let lines = unpacked(&format!("{name}.ndjson.gz")).unwrap();
    String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn version(db: &Path) -> u32 {
    open(db).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

async fn current_version() -> u32 {
    let home = Home::new();
    home.setup().start().await.stop().await;
    version(&home.db())
}

fn unsent(db: &Path) -> HashSet<Uuid> {
    let connection: Connection = open(db);
    let mut query =
        connection.prepare("SELECT trace_id FROM events WHERE pushed_at IS NULL AND quarantined_at IS NULL").unwrap();
    let ids = query.query_map([], |row| Ok(Uuid::from_slice(row.get_ref(0)?.as_blob()?).unwrap())).unwrap();
    ids.map(Result::unwrap).collect()
}

fn exported(setup: &Setup, home: &Home) -> Vec<Value> {
    let output = setup.clone().arg("export").arg("--db").arg(home.db()).output();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_store_of_every_version_is_opened_and_loses_nothing() {
    let names = stores();
    assert!(names.len() >= 4, "{names:?}");
    let current = current_version().await;
    for name in names {
        let home = Home::new();
        let events = lay(&name, &home);
        let waiting = unsent(&home.db());
        assert!(!waiting.is_empty() && waiting.len() < events.len(), "{name}: some were pushed, some not");
        let receiver = Receiver::start(Behaviour::Accept).await;
        let sidecar = home
            .setup()
            .keep_forever()
            .more("[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nagent_id = \"agent-7\"\ninterval = \"100ms\"\n")
            .more(&format!("endpoint = \"{}\"\n", receiver.url()))
            .start()
            .await;
        // Sent again they are known; what is new is stored.
        let again = post(sidecar.ingest, &Request::events(array(&events))).await;
        assert_eq!(again.json()["duplicates"], events.len(), "{name}: {}", again.text());
        let new = marked("after the upgrade");
        assert_eq!(post(sidecar.ingest, &Request::events(new.to_string())).await.status, 200);
        eventually("what waited is pushed", async || unsent(&home.db()).is_empty()).await;
        assert!(complaints(&sidecar.log()).is_empty(), "{name}: {}", sidecar.log());
        sidecar.stop().await;
        assert_eq!(version(&home.db()), current, "{name}: it is brought up to date");

        let mut expected = waiting;
        expected.insert(id_of(&new));
        assert_eq!(receiver.kept().into_keys().collect::<HashSet<_>>(), expected, "{name}: and nothing twice");
        assert_eq!(integrity(&home.db()), "ok", "{name}");
        let now = exported(&home.bare(), &home);
        assert_eq!(now[..events.len()], events[..], "{name}: each as it was");
        assert_eq!(now.len(), events.len() + 1, "{name}");
        // Old events are in the sums too.
        let runs = home.bare().arg("runs").arg("--json").arg("-n").arg("100").arg("--db").arg(home.db()).output();
        assert_eq!(runs.code, Some(0), "{name}: {}", runs.stderr);
        assert!(runs.stdout.contains("run-15") && runs.stdout.contains("run-0"), "{name}: {}", runs.stdout);
    }
}

#[tokio::test]
async fn every_version_of_the_file_is_among_the_stores_that_are_kept() {
    let current = current_version().await;
    let kept: HashSet<u32> = stores()
        .iter()
        .map(|name| {
            let home = Home::new();
            lay(name, &home);
            version(&home.db())
        })
        .collect();
    assert_eq!(kept, (1..=current).collect(), "a new version of the file: tests/stores/make PROGRAM {current}");
}

/// Commands read a file of an earlier version without a running instance, and change nothing in it.
#[test]
fn an_export_of_an_earlier_version_is_that_version_s_own() {
    for name in stores() {
        let home = Home::new();
        let events = lay(&name, &home);
        let before = version(&home.db());
        assert_eq!(exported(&home.bare(), &home), events, "{name}");
        assert_eq!(version(&home.db()), before, "{name}");
        assert_eq!(stored_ids(&home.db()).len(), events.len(), "{name}");
        assert_eq!(
            stored(&home.db()).iter().filter(|event| event.pushed).count(),
            events.len() - unsent(&home.db()).len() - 1
        );
    }
}

/// A counter of OTLP goes on from where it stood before the upgrade, so that nothing is counted twice.
#[tokio::test]
async fn what_counters_stood_at_outlives_the_upgrade() {
    let recorded = captures("v2026.9.6-local-3turns");
    let metrics: Vec<_> = recorded.iter().filter(|capture| capture.path == "/v1/metrics").take(2).collect();
    for (name, counted_anew) in stores().iter().map(|name| (Some(name), false)).chain([(None, true)]) {
        let home = Home::new();
        let before = name.map_or(0, |name| lay(name, &home).len());
        let sidecar = home.setup().keep_forever().start().await;
        for capture in &metrics {
            assert_eq!(post(sidecar.ingest, &capture.request(false)).await.status, 200);
        }
        sidecar.stop().await;
        let came = stored(&home.db()).split_off(before);
        let counts = came.iter().filter(|event| event.name.as_deref() == Some("openclaw.queue.lane.enqueue")).count();
        assert_eq!(counts > 0, counted_anew, "{name:?}: {counts} counts");
    }
}

/// What docs/operations.md gives as a backup with nothing but `sqlite3`.
#[tokio::test]
async fn a_copy_by_vacuum_into_is_a_whole_store() {
    let (home, other) = (Home::new(), Home::new());
    let sidecar = home.setup().start().await;
    for marker in ["one", "two", "three"] {
        assert_eq!(post(sidecar.ingest, &Request::events(marked(marker).to_string())).await.status, 200);
    }
    // While it runs.
    open(&home.db()).execute("VACUUM INTO ?1", [other.db().to_str().unwrap()]).unwrap();
    sidecar.stop().await;
    assert_eq!(exported(&other.bare(), &other), exported(&home.bare(), &home));
    let sidecar = other.setup().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(marked("four").to_string())).await.status, 200);
    sidecar.stop().await;
    assert_eq!(integrity(&other.db()), "ok");
    assert_eq!(stored(&other.db()).len(), 4);
}
