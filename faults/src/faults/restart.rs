//! The database is spoiled while the program is down.

use std::path::Path;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use rand::Rng as _;
use rand::rngs::StdRng;
use rusqlite::Connection;

use super::Fault;
use crate::check;
use crate::report::Kind;
use crate::rig::{Rig, Stop};
use crate::sidecar;

/// The faults of this family.
pub(super) const ALL: [&dyn Fault; 8] = [
    &Restart::Truncated,
    &Restart::Flipped,
    &Restart::Empty,
    &Restart::Text,
    &Restart::Foreign,
    &Restart::Newer,
    &Restart::WalTorn,
    &Restart::WalFlipped,
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Restart {
    Truncated,
    Flipped,
    Empty,
    Text,
    Foreign,
    Newer,
    WalTorn,
    WalFlipped,
}

#[async_trait(?Send)]
impl Fault for Restart {
    fn name(&self) -> &'static str {
        match self {
            Self::Truncated => "db-truncated",
            Self::Flipped => "db-bitflip",
            Self::Empty => "db-empty",
            Self::Text => "db-text",
            Self::Foreign => "db-foreign",
            Self::Newer => "db-newer",
            Self::WalTorn => "wal-torn",
            Self::WalFlipped => "wal-flipped",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Truncated => "killed; the database is cut at a random byte",
            Self::Flipped => "killed; up to eight bits of the database are flipped",
            Self::Empty => "killed; the database has no bytes any more",
            Self::Text => "killed; a text file stands in the database's place",
            Self::Foreign => "stopped; another program's database stands there: refused, and left untouched",
            Self::Newer => "stopped; a later version's database: refused, and left untouched",
            Self::WalTorn => "killed; the write-ahead log is cut at a random byte",
            Self::WalFlipped => "killed; up to eight bits of the write-ahead log are flipped",
        }
    }

    fn quick(&self) -> bool {
        matches!(self, Self::Truncated | Self::Text | Self::Foreign | Self::WalTorn)
    }

    async fn inject(&self, rig: &mut Rig) -> Result<(), Stop> {
        rig.pause(0.2, 0.5).await;
        match self {
            Self::Foreign => return refused(rig, another_program).await,
            Self::Newer => return refused(rig, a_later_version).await,
            _ => rig.kill().await?,
        }
        rig.destroyed(*self == Self::Flipped);
        // An id with a wrong bit is nobody's.
        rig.world.strangers.store(*self == Self::Flipped, Ordering::Relaxed);
        let file = match self {
            Self::WalTorn | Self::WalFlipped => rig.setup.beside("-wal"),
            _ => rig.setup.db(),
        };
        spoil(*self, &file, &mut rig.random);
        rig.up().await?;
        let log = rig.sidecar()?.log();
        rig.pause(0.3, 0.6).await;
        let aside = check::set_aside(&rig.setup.data);
        let must_be_aside = *self == Self::Text;
        if must_be_aside && aside.is_empty() {
            rig.world.find(Kind::Broken, 1, || "the damaged file was not set aside".to_owned());
        }
        if !aside.is_empty() && !rig.sidecar()?.log().contains("set aside") {
            rig.world.find(Kind::Broken, 1, || format!("a file was set aside, and the log does not say so\n{log}"));
        }
        said_if_lost(*self, rig, aside.is_empty()).await
    }
}

/// A database that came back without what it held, and with no file set aside, must be spoken of.
async fn said_if_lost(fault: Restart, rig: &mut Rig, nothing_aside: bool) -> Result<(), Stop> {
    if matches!(fault, Restart::WalTorn | Restart::WalFlipped) {
        // The end of the log is what power loss takes; SQLite drops it without a word, as it should.
        return Ok(());
    }
    let log = rig.sidecar()?.log();
    let silent = !log.contains("\"level\":\"ERROR\"") && !log.contains("\"level\":\"WARN\"");
    if !nothing_aside || !silent {
        return Ok(());
    }
    let kept = check::open(&rig.setup.db()).map(|db| check::readable_ids(&db)).unwrap_or_default();
    let ledger = rig.world.ledger();
    let gone = ledger.sent.iter().filter(|(id, sent)| sent.may_be_gone && !kept.contains(id)).count();
    rig.world.find(Kind::Broken, u64::from(gone > 0), || {
        format!("{gone} events went with the spoiled file: nothing was set aside, and nothing is said")
    });
    Ok(())
}

fn spoil(how: Restart, file: &Path, random: &mut StdRng) {
    let mut bytes = std::fs::read(file).unwrap_or_default();
    match how {
        Restart::Truncated | Restart::WalTorn => bytes.truncate(random.random_range(0..bytes.len().max(1))),
        Restart::Empty => bytes.clear(),
        Restart::Text => bytes = b"these are somebody's notes, and no database at all\n".repeat(300),
        _ if bytes.is_empty() => {}
        _ => {
            for _ in 0..random.random_range(1..=8) {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
        }
    }
    std::fs::write(file, bytes).expect("the file can be spoiled");
}

/// Puts a file in the database's place that must be refused; then the database comes back.
async fn refused(rig: &mut Rig, make: fn(&Path, &mut StdRng)) -> Result<(), Stop> {
    rig.term().await?;
    let (db, safe) = (rig.setup.db(), rig.setup.data.join("safe.db"));
    std::fs::rename(&db, &safe).expect("the database can be moved away");
    if rig.random.random() {
        // A database of our own making, but of a later version.
        std::fs::copy(&safe, &db).expect("the database can be copied");
    }
    make(&db, &mut rig.random);
    let before = std::fs::read(&db).expect("the file can be read");
    match rig.try_up().await {
        Ok(()) => {
            rig.world.find(Kind::Broken, 1, || "it started on a database that is not its own to write".to_owned());
            rig.kill().await?;
        }
        Err((status, log)) if status.code() != Some(1) => {
            let words = sidecar::words(status);
            rig.world.find(Kind::Broken, 1, || format!("refused a database with {words}\n{log}"));
        }
        Err(_) => {}
    }
    let untouched = std::fs::read(&db).is_ok_and(|after| after == before);
    rig.world.find(Kind::Broken, u64::from(!untouched), || "a database that it refused was changed".to_owned());
    let aside = check::set_aside(&rig.setup.data).len() as u64;
    rig.world.find(Kind::Broken, aside, || "a database that it refused was set aside".to_owned());
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(rig.setup.beside(suffix));
    }
    std::fs::rename(&safe, &db).expect("the database can be moved back");
    Ok(())
}

fn another_program(db: &Path, random: &mut StdRng) {
    let _ = std::fs::remove_file(db);
    let other = Connection::open(db).expect("a database can be made");
    let marked = random.random::<bool>();
    let wal = random.random::<bool>();
    let mut script =
        "CREATE TABLE recipes (name TEXT, cake BLOB); INSERT INTO recipes VALUES ('pie', zeroblob(5000));".to_owned();
    if marked {
        script.insert_str(0, "PRAGMA application_id = 1234567;");
    }
    if wal {
        script.insert_str(0, "PRAGMA journal_mode = WAL;");
    }
    other.execute_batch(&script).expect("a database can be filled");
}

fn a_later_version(db: &Path, _random: &mut StdRng) {
    let ours = Connection::open(db).expect("a database can be opened");
    let script = "PRAGMA application_id = 0x6f437472; PRAGMA user_version = 99; CREATE TABLE later (what TEXT);
                  PRAGMA wal_checkpoint(TRUNCATE);";
    ours.execute_batch(script).expect("a database can be changed");
}
