//! Care of the database file by hand: check, vacuum, backup.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use support::{Home, Output, Request, eventually, integrity, marked, post, stored, stored_ids};

fn store(home: &Home, args: &[&str]) -> Output {
    let setup = args.iter().fold(home.bare().arg("store"), |setup, arg| setup.arg(*arg));
    setup.arg("--db").arg(home.db()).output()
}

async fn filled(home: &Home, events: usize) {
    let sidecar = home.setup().keep_forever().start().await;
    for part in (0..events).collect::<Vec<_>>().chunks(200) {
        let lines: Vec<_> = part
            .iter()
            .map(|at| {
                let mut event = marked(&format!("m{at}"));
                event["input"] = "x".repeat(500).into();
                event
            })
            .collect();
        // The credits of the part before may still be on their way back.
        let request = Request::events(serde_json::to_string(&lines).unwrap());
        eventually("taken", async || post(sidecar.ingest, &request).await.status == 200).await;
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_check_tells_a_whole_file_from_a_damaged_one_and_says_what_to_do() {
    let home = Home::new();
    filled(&home, 600).await;
    let whole = store(&home, &["check"]);
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    assert!(whole.stdout.contains("whole; 600 events"), "{}", whole.stdout);
    assert!(whole.stderr.is_empty(), "no bar where there is no terminal: {}", whole.stderr);

    let mut bytes = std::fs::read(home.db()).unwrap();
    let middle = bytes.len() / 2 / 8192 * 8192;
    bytes[middle..middle + 8192].fill(0xa5);
    std::fs::write(home.db(), bytes).unwrap();
    let damaged = store(&home, &["check"]);
    assert_eq!(damaged.code, Some(1), "{}", damaged.stdout);
    assert!(damaged.stderr.contains("damaged"), "{}", damaged.stderr);
    assert!(damaged.stderr.contains("openclaw-trace export --db"), "what to do: {}", damaged.stderr);

    std::fs::write(home.db(), "no database, but a text that is as long as the head of one. ".repeat(3)).unwrap();
    assert_eq!(store(&home, &["check"]).code, Some(1));
    std::fs::remove_file(home.db()).unwrap();
    let missing = store(&home, &["check"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("there is no database"), "{}", missing.stderr);
    assert!(!home.db().exists());
}

#[tokio::test]
async fn a_store_with_a_full_text_index_is_checked_vacuumed_and_copied_too() {
    let home = Home::new();
    let setup = home.setup().keep_forever().set("sinks.store.full_text", "true");
    let sidecar = setup.clone().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(marked("one").to_string())).await.status, 200);
    sidecar.stop().await;
    for args in [&["check"][..], &["vacuum"], &["check"], &["backup", "copy.db"]] {
        let done = store(&home, args);
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.stderr);
    }
    assert_eq!(integrity(&home.path("copy.db")), "ok");
}

#[tokio::test]
async fn a_vacuum_waits_for_nobody_and_gives_the_room_back() {
    let home = Home::new();
    filled(&home, 1500).await;
    let connection = support::open(&home.db());
    connection.execute("DELETE FROM events WHERE id <= 1400", []).unwrap();
    drop(connection);
    let size = || std::fs::metadata(home.db()).unwrap().len();
    let before = size();

    // Beside a running instance it does nothing, and the instance takes events as ever.
    let sidecar = home.setup().keep_forever().start().await;
    let refused = store(&home, &["vacuum"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("in use: stop openclaw-trace"), "{}", refused.stderr);
    assert_eq!(post(sidecar.ingest, &Request::events(marked("after").to_string())).await.status, 200);
    sidecar.stop().await;

    let done = store(&home, &["vacuum"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(size() < before / 3, "{} of {before}", size());
    assert_eq!((stored(&home.db()).len(), integrity(&home.db()).as_str()), (101, "ok"));
    // It is a store as before.
    let sidecar = home.setup().keep_forever().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(marked("again").to_string())).await.status, 200);
    sidecar.stop().await;
    assert_eq!(stored_ids(&home.db()).len(), 102);
}

#[tokio::test]
async fn a_backup_of_a_running_instance_is_whole_private_and_overwrites_nothing() {
    let home = Home::new();
    filled(&home, 600).await;
    let sidecar = home.setup().keep_forever().start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(marked("last").to_string())).await.status, 200);
    let copy = home.path("copy.db");
    let name = copy.to_str().unwrap();
    let done = store(&home, &["backup", name]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let events = stored(&copy);
    assert_eq!((events.len(), events[600].marker().as_str()), (601, "last"));
    assert_eq!(integrity(&copy), "ok");

    assert_eq!(post(sidecar.ingest, &Request::events(marked("later").to_string())).await.status, 200);
    let refused = store(&home, &["backup", name]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is there already") && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(stored(&copy).len(), 601);
    assert_eq!(store(&home, &["backup", "--force", name]).code, Some(0));
    assert_eq!(stored(&copy).len(), 602);
    let itself = store(&home, &["backup", "--force", home.db().to_str().unwrap()]);
    assert_eq!(itself.code, Some(1));
    assert!(itself.stderr.contains("is the database itself"), "{}", itself.stderr);
    sidecar.stop().await;
    // The copy is a store that can be run.
    let other = home.setup().keep_forever().set("sinks.store.path", name).start().await;
    other.stop().await;
    assert_eq!(store(&home, &["check"]).code, Some(0));
}
