//! The fault rig: it breaks what is around openclaw-trace, on purpose and by a seed, and counts what
//! was lost.
//!
//! A run is one fault. It has a temporary folder, the real program with a usual graph, a receiver of
//! pushes, and 8 to 32 clients that send single events, arrays and NDJSON, plain and compressed, some
//! with secrets, some twice, and all of it again until it is acknowledged (`load.rs`, `event.rs`).
//! What was acknowledged is written into a ledger (`ledger.rs`): that is the truth. The fault
//! (`faults/`) is injected at random moments; then everything is made whole again, what is open is
//! sent until it is acknowledged, what is stored is pushed, and the program is stopped (`rig.rs`).
//!
//! What is left is compared with the ledger (`check.rs`):
//!
//! 1. An acknowledged event is in the store, once, and as it was sent but for what redaction and
//!    truncation do. Only where the fault destroyed the file may events be gone, and only those that
//!    were acknowledged before.
//! 2. The receiver has it too, and was not sent it again after it confirmed it, but where the
//!    confirmation could not be kept (`receiver.rs`).
//! 3. No planted secret is in any file, log or push.
//! 4. The program never ended by itself, ended with 0 where it was asked to, and stayed within
//!    its memory.
//!
//! The choices of a run come from its seed. What the scheduler makes of them does not, so a run that
//! failed may need a few tries to fail again.

mod check;
mod event;
mod faults;
mod http;
mod ledger;
mod load;
mod machine;
mod options;
mod program;
mod receiver;
mod report;
mod rig;
mod seed;
mod setup;
mod sidecar;
mod table;
mod world;

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser as _;

use faults::Fault;
use options::Options;
use report::{Kind, Outcome, Run};

fn main() -> ExitCode {
    let options = Options::parse();
    let faults: Vec<&'static dyn Fault> = faults::all().into_iter().filter(|fault| wanted(*fault, &options)).collect();
    if options.list {
        faults.iter().for_each(|fault| println!("{:<16} {}", fault.name(), fault.about()));
        return ExitCode::SUCCESS;
    }
    if faults.is_empty() {
        eprintln!("no fault has such a name; --list lists them");
        return ExitCode::from(2);
    }
    let bin = match program::find(options.bin.as_deref()) {
        Ok(bin) => bin,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    machine::own_mounts();
    println!("{}, built {}; base seed {}", bin.display(), program::age(&bin), options.seed);
    let began = Instant::now();
    let runs = all(&faults, &options, &bin);
    let table = table::markdown(&faults, &runs);
    println!("\n{table}\n{}", table::LEGEND);
    println!("{} runs in {:.0} s", runs.len(), began.elapsed().as_secs_f64());
    if let Some(file) = &options.markdown {
        let text = format!("{}\n{table}\n{}", machine::heading(&options), table::LEGEND);
        if let Err(error) = std::fs::write(file, text) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    if runs.iter().all(|run| run.findings.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wanted(fault: &dyn Fault, options: &Options) -> bool {
    // A name means that fault; what is no name means all that begin so.
    let named = |word: &String| {
        let exact = faults::all().iter().any(|fault| fault.name() == word);
        if exact { fault.name() == word } else { fault.name().starts_with(word.as_str()) }
    };
    if options.only.is_empty() { !options.quick || fault.quick() } else { options.only.iter().any(named) }
}

/// All runs, several at a time.
fn all(faults: &[&'static dyn Fault], options: &Options, bin: &Path) -> Vec<Run> {
    let count = if options.quick { faults.len() as u64 } else { options.runs };
    let todo: Mutex<VecDeque<u64>> = Mutex::new((0..count).collect());
    let done: Mutex<Vec<Run>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(number) = todo.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
                    let at = usize::try_from(number).unwrap_or(0) % faults.len();
                    let run = one(faults[at], seed::of_run(options.seed, number), options, bin);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push(run);
                    tell(&done, count);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One run. A panic is the rig's own giving up, and a finding like others.
fn one(fault: &'static dyn Fault, seed: u64, options: &Options, bin: &Path) -> Run {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(rig::run(fault, seed, options, bin))
    }));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        let mut run = Run::new(fault.name(), seed);
        run.findings.push(report::Finding { kind: Kind::Broken, count: 1, text: format!("the run broke off: {text}") });
        run
    })
}

/// Tells of the last run where it failed, and how far it is.
fn tell(done: &[Run], count: u64) {
    let Some(run) = done.last() else { return };
    if let Outcome::Skipped(why) = &run.outcome {
        println!("\n{}: skipped: {why}", run.fault);
    }
    if !run.findings.is_empty() {
        println!("\n{}: FAILED; again by: --only {} --runs 1 --seed {}", run.fault, run.fault, run.seed);
        for finding in &run.findings {
            println!("    {:?} {}: {}", finding.kind, finding.count, finding.text.replace('\n', "\n        "));
        }
        if let Some(folder) = &run.folder {
            println!("    kept: {}", folder.display());
        }
    }
    let failed = done.iter().filter(|run| !run.findings.is_empty()).count();
    let acknowledged: u64 = done.iter().map(|run| run.acknowledged).sum();
    let line = format!("{} of {count} runs, {failed} failed, {acknowledged} events acknowledged", done.len());
    let mut out = std::io::stdout();
    if out.is_terminal() {
        print!("\r{line} ");
    } else if done.len().is_multiple_of(10) {
        println!("{line}");
    }
    // A progress line nobody can see is no reason to stop.
    let _ = out.flush();
}
