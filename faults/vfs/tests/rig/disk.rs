//! The disk, as a test holds it: which calls fail from now on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Home;

/// The control file of `src/control.rs`.
pub struct Disk {
    control: PathBuf,
    seed: u64,
    keep_synced: bool,
}

impl Disk {
    /// A disk that works.
    pub fn new(home: &Home, seed: u64) -> Self {
        Self { control: home.path("control.json"), seed, keep_synced: false }
    }

    /// A disk that works, and beside each file keeps what a power loss would leave of it.
    pub fn keeping_synced(home: &Home, seed: u64) -> Self {
        let disk = Self { keep_synced: true, ..Self::new(home, seed) };
        disk.write(&[]);
        disk
    }

    pub fn control(&self) -> &str {
        self.control.to_str().expect("temporary folders have UTF-8 names")
    }

    /// These rules are in force, and no others, when this returns.
    pub async fn fail(&mut self, rules: &[Value]) {
        self.seed += 1;
        self.write(rules);
        hold(Duration::from_millis(3)).await;
    }

    /// Nothing fails any more when this returns.
    pub async fn heal(&mut self) {
        self.fail(&[]).await;
    }

    fn write(&self, rules: &[Value]) {
        let text = json!({"seed": self.seed, "keep_synced": self.keep_synced, "rules": rules}).to_string();
        let new = self.control.with_extension("new");
        std::fs::write(&new, text).expect("the control can be written");
        std::fs::rename(new, &self.control).expect("the control can be replaced");
    }

    /// How often each fault has happened, over all starts: `Write Full trace.db-wal` → 17.
    pub fn faults(&self) -> BTreeMap<String, usize> {
        let mut log = self.control.clone().into_os_string();
        log.push(".log");
        let mut faults = BTreeMap::new();
        for line in std::fs::read_to_string(log).unwrap_or_default().lines() {
            *faults.entry(line.to_owned()).or_default() += 1;
        }
        faults
    }

    /// How often a fault has happened whose line begins so.
    pub fn count(&self, begin: &str) -> usize {
        self.faults().iter().filter(|(fault, _)| fault.starts_with(begin)).map(|(_, count)| count).sum()
    }
}

/// Lets things be as they are for a while: this is weather, and no condition to wait for.
pub async fn hold(time: Duration) {
    tokio::time::sleep(time).await;
}
