//! One run: the program, its load, its receiver, and the hands that a fault works with.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::check::{self, Allowance};
use crate::event;
use crate::faults::Fault;
use crate::load::Load;
use crate::options::Options;
use crate::receiver::{Behaviour, Receiver};
use crate::report::{Kind, Outcome, Run};
use crate::setup::Setup;
use crate::sidecar::{self, Sidecar};
use crate::world::World;

/// The product's budget.
const BUDGET_BYTES: u64 = 20_000_000;

/// An orderly stop takes at most `drain_timeout` (10 s); the rest is for a busy machine.
const STOP: Duration = Duration::from_secs(20);

/// How long everything may take to be acknowledged once nothing is broken any more, and to be pushed.
const DRAIN: Duration = Duration::from_secs(30);

/// Why a run does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It cannot be run on this machine.
    Skip(String),
    /// What is wrong is among the findings already.
    Failed,
}

/// What a fault gets into its hands.
#[derive(Debug)]
pub(crate) struct Rig {
    /// The run's choices.
    pub(crate) random: StdRng,
    /// How the program is started.
    pub(crate) setup: Setup,
    /// What everybody shares.
    pub(crate) world: Arc<World>,
    /// The receiver of pushes.
    pub(crate) receiver: Receiver,
    /// What the checker is to take into account.
    pub(crate) allow: Allowance,
    /// How long a fault may last.
    pub(crate) seconds: f64,
    /// How long a lock is held in `lock-held`.
    pub(crate) lock_seconds: f64,
    /// Commands to be run at the end, whatever happens: unmount, remove a cgroup.
    pub(crate) undo: Vec<Vec<String>>,
    sidecar: Option<Sidecar>,
    peak_kib: u64,
}

impl Rig {
    /// Waits a random part of the run's time, from `least` to `most` of it.
    pub(crate) async fn pause(&mut self, least: f64, most: f64) {
        let share = self.random.random_range(least..most);
        sleep(Duration::from_secs_f64(self.seconds * share)).await;
    }

    /// The running program.
    ///
    /// # Errors
    /// Where it has ended by itself, which is then among the findings.
    pub(crate) fn sidecar(&mut self) -> Result<&mut Sidecar, Stop> {
        let ended = self.sidecar.as_mut().map(Sidecar::ended);
        match ended {
            Some(None) => Ok(self.sidecar.as_mut().expect("it was there a line ago")),
            Some(Some(status)) => {
                self.ended_by_itself(status);
                Err(Stop::Failed)
            }
            None => panic!("the fault asks for a program that it has stopped"),
        }
    }

    /// Whether the program runs, as far as the rig has heard.
    pub(crate) fn is_up(&self) -> bool {
        self.sidecar.is_some()
    }

    /// Starts the program, which must come up.
    ///
    /// # Errors
    /// Where it ends instead, which is then among the findings.
    pub(crate) async fn up(&mut self) -> Result<(), Stop> {
        self.try_up().await.map_err(|(status, log)| {
            let words = sidecar::words(status);
            self.world.find(Kind::Exited, 1, || format!("did not start: {words}\n{}", tail(&log)));
            Stop::Failed
        })
    }

    /// Starts the program; where it ends instead, answers its status and its log.
    ///
    /// # Errors
    /// As said.
    pub(crate) async fn try_up(&mut self) -> Result<(), (ExitStatus, String)> {
        let sidecar = Sidecar::start(&self.setup, &self.receiver.url()).await?;
        self.world.ingest.send_replace(Some(sidecar.ingest));
        self.sidecar = Some(sidecar);
        Ok(())
    }

    /// Sends a signal to the running program.
    ///
    /// # Errors
    /// Where it has ended by itself.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Stop> {
        self.sidecar().map(|sidecar| sidecar.signal(signal))
    }

    /// Sends a signal to the program, which may have ended.
    pub(crate) fn signal_whoever(&mut self, signal: Signal) {
        if let Some(sidecar) = &mut self.sidecar
            && sidecar.ended().is_none()
        {
            sidecar.signal(signal);
        }
    }

    /// `kill -9`; returns when it is gone and no client waits for it any more.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub(crate) async fn kill(&mut self) -> Result<(), Stop> {
        self.signal(Signal::KILL)?;
        self.gone().await;
        Ok(())
    }

    /// Waits for the end that a signal brings, and answers its status.
    pub(crate) async fn gone(&mut self) -> Option<ExitStatus> {
        self.world.ingest.send_replace(None);
        let mut sidecar = self.sidecar.take()?;
        let status = sidecar.end(STOP).await;
        if status.is_none() {
            self.world.find(Kind::Exited, 1, || format!("did not end within {STOP:?}\n{}", tail(&sidecar.log())));
        }
        self.peak_kib = self.peak_kib.max(sidecar.peak_kib());
        drop(sidecar);
        while self.world.exchanges.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        // A push that was under way is answered into the void by now.
        sleep(Duration::from_millis(30)).await;
        self.receiver.excuse_last();
        status
    }

    /// An orderly stop, which must end with 0.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub(crate) async fn term(&mut self) -> Result<(), Stop> {
        self.signal(Signal::TERM)?;
        let log = self.setup.log();
        if let Some(status) = self.gone().await
            && status.code() != Some(0)
        {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let words = sidecar::words(status);
            self.world.find(Kind::Exited, 1, || format!("an orderly stop ended with {words}\n{}", tail(&log)));
        }
        Ok(())
    }

    /// How many events are acknowledged by now.
    #[must_use]
    pub(crate) fn acknowledged(&self) -> u64 {
        self.world.ledger().acknowledged
    }

    /// All that was acknowledged by tries begun until now stood in a file that is destroyed.
    /// Single bits may differ in what is left of it where `may_differ` is set.
    pub(crate) fn destroyed(&self, may_differ: bool) {
        self.world.ledger().destroyed(Instant::now(), may_differ);
        self.receiver.excuse_all();
    }

    fn ended_by_itself(&mut self, status: ExitStatus) {
        self.world.ingest.send_replace(None);
        let sidecar = self.sidecar.take();
        let log = sidecar.as_ref().map(Sidecar::log).unwrap_or_default();
        self.peak_kib = self.peak_kib.max(sidecar.map_or(0, |sidecar| sidecar.peak_kib()));
        let words = sidecar::words(status);
        self.world.find(Kind::Exited, 1, || format!("ended by itself: {words}\n{}", tail(&log)));
    }

    /// Nothing is broken any more: everything is acknowledged, everything pushed, then it stops.
    async fn settle(&mut self, load: &mut Load) -> Result<(), Stop> {
        self.receiver.behave(Behaviour::Accept);
        self.receiver.lenient(false);
        self.receiver.revive().await;
        if self.sidecar.is_none() {
            self.up().await?;
        }
        let left = load.end(&self.world, DRAIN).await;
        self.sidecar()?;
        self.world.find(Kind::Broken, left as u64, || format!("{left} clients were not served within {DRAIN:?}"));
        let began = Instant::now();
        loop {
            let missing = self.unpushed();
            if missing == 0 {
                break;
            }
            self.sidecar()?;
            if began.elapsed() > DRAIN {
                self.world.find(Kind::Broken, missing, || format!("{missing} events were not pushed within {DRAIN:?}"));
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.term().await
    }

    fn unpushed(&self) -> u64 {
        if self.allow.retention {
            return 0;
        }
        let ledger = self.world.ledger();
        let missing = ledger.due().filter(|(id, _)| !self.allow.quarantined.contains(id) && !self.receiver.has(id));
        missing.count() as u64
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.sidecar = None;
        for words in self.undo.iter().rev() {
            // Best effort: what it undoes may be gone already.
            let _ = std::process::Command::new(&words[0]).args(&words[1..]).output();
        }
    }
}

/// One run of a fault.
///
/// # Panics
/// Where the rig itself cannot go on.
pub(crate) async fn run(fault: &'static dyn Fault, seed: u64, options: &Options, bin: &Path) -> Run {
    let mut folder = tempfile::Builder::new().prefix("faults-").tempdir().expect("a temporary folder can be made");
    let mut random = StdRng::seed_from_u64(seed);
    let world = Arc::new(World::new(event::alnum(&mut random, 14)));
    let receiver = Receiver::start(&world).await;
    let mut rig = Rig {
        random,
        setup: Setup::new(bin, folder.path()),
        world: Arc::clone(&world),
        receiver,
        allow: Allowance::default(),
        seconds: options.seconds_per_run,
        lock_seconds: options.lock_seconds,
        undo: Vec::new(),
        sidecar: None,
        peak_kib: 0,
    };
    let mut run = Run::new(fault.name(), seed);
    match whole(fault, &mut rig).await {
        Err(Stop::Skip(why)) => run.outcome = Outcome::Skipped(why),
        Ok(()) | Err(Stop::Failed) => {
            check::store(&rig.setup.db(), &world, &rig.allow);
            check::secrets(folder.path(), &world);
            let (repeated, excused) = rig.receiver.repeats();
            world.find(Kind::Doubled, repeated, || format!("{repeated} events were confirmed and sent again"));
            run.excused_repeats = excused;
        }
    }
    let peak = rig.peak_kib * 1024;
    world.find(Kind::Memory, u64::from(peak > BUDGET_BYTES), || {
        format!("anonymous memory reached {:.1} MB", peak as f64 / 1e6)
    });
    run.peak_kib = rig.peak_kib;
    {
        let ledger = world.ledger();
        run.acknowledged = ledger.acknowledged;
        run.destroyed = ledger.sent.values().filter(|sent| sent.may_be_gone).count() as u64;
    }
    run.findings = world.findings();
    if options.keep && !run.findings.is_empty() {
        run.folder = Some(keep(&mut folder, &rig));
    }
    drop(rig);
    run
}

async fn whole(fault: &dyn Fault, rig: &mut Rig) -> Result<(), Stop> {
    fault.prepare(rig)?;
    rig.up().await?;
    let clients = rig.random.random_range(8..=32);
    let mut seeds = StdRng::seed_from_u64(rig.random.random());
    let mut load = Load::start(&rig.world, &mut seeds, clients);
    rig.pause(0.1, 0.3).await;
    fault.inject(rig).await?;
    rig.settle(&mut load).await
}

/// The folder stays; a database on a mount of its own is copied into it first.
fn keep(folder: &mut TempDir, rig: &Rig) -> std::path::PathBuf {
    if rig.setup.data != rig.setup.folder {
        for entry in std::fs::read_dir(&rig.setup.data).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let _ = std::fs::copy(entry.path(), rig.setup.folder.join(format!("data-{name}")));
        }
    }
    folder.disable_cleanup(true);
    folder.path().to_owned()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}
