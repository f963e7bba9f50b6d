//! The agent's own processes, by name: what they use, and when they end.
//!
//! The oldest process that a name matches is its *main* process; what matches besides (workers,
//! a command that somebody types) is younger, and may end without a word. When the main process
//! ends, that is an error: `process_restarted` if another has started in its place, `process_gone` if
//! not. A zombie has ended, though its parent has not noticed.
//!
//! All of `/proc` is walked only every few samples, or when a known process is gone; in between, one
//! file a known process is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attributes::{Attributes, seconds};
use super::cpu::NANOS_PER_TICK;
use super::files::Files;
use super::parse::{self, Stat};
use super::sample::Incident;
use super::tasks::age;

/// Matching processes that are followed at once; more are not looked at.
const MAX_KNOWN: usize = 64;
/// A name matches in the first words of a command line. Further on stand things that a command is
/// about (`tail -f /data/openclaw.log`).
const WORDS: usize = 3;
/// What starts a command is not that command, though it has its name among its arguments; and this
/// program is not the agent, though it bears its name.
const NOT_THE_AGENT: [&str; 17] = [
    "openclaw-trace",
    "sh",
    "bash",
    "dash",
    "ash",
    "zsh",
    "su",
    "sudo",
    "env",
    "tini",
    "docker-init",
    "dumb-init",
    "catatonit",
    "s6-supervise",
    "runsv",
    "supervisord",
    "tail",
];
/// Descriptors are counted up to here: a leak of more is told as well by this number.
const MAX_FDS: usize = 100_000;

/// One followed process. A pid alone may come to mean another; with the start it does not.
#[derive(Debug, Clone)]
struct Known {
    pid: u32,
    start: u64,
    /// Which of the names.
    name: usize,
    /// First seen at this sample.
    fresh: bool,
    /// Since the sample before; `None` when there was none.
    ticks_grew: Option<u64>,
    ticks: u64,
    rss: u64,
    threads: u64,
}

#[derive(Debug)]
struct Name {
    text: String,
    main: Option<(u32, u64)>,
    /// Main process that ended, until another takes its place.
    gone: Option<(u32, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Processes {
    names: Vec<Name>,
    known: Vec<Known>,
    zombies: Option<u64>,
    own_pid: u32,
    page_size: u64,
}

impl Processes {
    /// Follows `names`. `own_pid` is this process, which is none of them.
    pub(super) fn new(names: &[String], own_pid: u32) -> Self {
        let names = names.iter().map(|text| Name { text: text.clone(), main: None, gone: None }).collect();
        Self { names, known: Vec::new(), zombies: None, own_pid, page_size: rustix::param::page_size() as u64 }
    }

    /// Adds what is known to `out`; answers an incident for each main process that ended.
    /// `boot` is the number of seconds since boot.
    pub(super) fn observe(
        &mut self,
        files: &mut Files,
        elapsed: Option<Duration>,
        look_up: bool,
        boot: Option<f64>,
        out: &mut Attributes,
    ) -> Vec<Incident> {
        let before = self.known.len();
        self.refresh(files);
        if look_up || self.known.len() < before {
            self.scan(files);
        }
        out.count("openclaw_trace.processes.zombies", self.zombies);
        let mut incidents = Vec::new();
        for (at, name) in self.names.iter_mut().enumerate() {
            let known: Vec<&Known> = self.known.iter().filter(|known| known.name == at).collect();
            incidents.extend(name.follow(&known));
            let pages = known.iter().map(|known| known.rss).fold(0, u64::saturating_add);
            let sums = Sums { rss: pages.saturating_mul(self.page_size), elapsed, boot };
            name.describe(&known, &sums, files.proc_root(), out);
        }
        incidents
    }

    /// Looks at the known ones again, and forgets those that ended.
    fn refresh(&mut self, files: &mut Files) {
        self.known.retain_mut(|known| {
            let path = process_file(files.proc_root(), known.pid, "stat");
            let text = files.read_if_there(&path);
            let Some(stat) = text.as_ref().and_then(|text| parse::stat(text)).filter(is_alive) else { return false };
            if stat.start != known.start {
                return false;
            }
            known.fresh = false;
            known.ticks_grew = stat.ticks.checked_sub(known.ticks);
            (known.ticks, known.rss, known.threads) = (stat.ticks, stat.rss_pages, stat.threads);
            true
        });
    }

    /// Walks all processes: counts zombies, and finds those that match a name and are not known.
    fn scan(&mut self, files: &mut Files) {
        let root = files.proc_root().to_owned();
        let entries = match std::fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) => return files.say_once(&root, &error),
        };
        let seen: BTreeSet<u32> = self.known.iter().map(|known| known.pid).collect();
        let mut zombies = 0;
        let mut found = Vec::new();
        for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if pid == self.own_pid || seen.contains(&pid) {
                continue;
            }
            let Some(text) = files.read_if_there(&process_file(&root, pid, "stat")) else { continue };
            let Some(stat) = parse::stat(&text) else { continue };
            if !is_alive(&stat) {
                zombies += u64::from(stat.state == 'Z');
                continue;
            }
            let mut known = Known {
                pid,
                start: stat.start,
                name: 0,
                fresh: true,
                ticks_grew: None,
                ticks: stat.ticks,
                rss: stat.rss_pages,
                threads: stat.threads,
            };
            let comm = stat.comm.to_owned();
            // Kernel threads have no memory and no command line.
            if stat.rss_pages == 0 || NOT_THE_AGENT.contains(&comm.as_str()) {
                continue;
            }
            let by_comm = self.names.iter().position(|name| comm.contains(&name.text));
            let name = by_comm.or_else(|| {
                let line = files.read_if_there(&process_file(&root, pid, "cmdline"))?;
                let line = command(&line)?;
                self.names.iter().position(|name| line.contains(&name.text))
            });
            if let Some(name) = name {
                known.name = name;
                found.push(known);
            }
        }
        self.zombies = Some(zombies);
        // The oldest first, so that a cap never leaves out a main process.
        found.sort_by_key(|known| (known.start, known.pid));
        found.truncate(MAX_KNOWN.saturating_sub(self.known.len()));
        self.known.append(&mut found);
    }
}

/// The part of a command line in which a name counts, with spaces between its words. `None` where the
/// command is this program or a shell under another name.
fn command(cmdline: &str) -> Option<String> {
    let words: Vec<&str> = cmdline.split('\0').filter(|word| !word.is_empty()).take(WORDS).collect();
    let program = words.first()?.rsplit('/').next()?;
    (!NOT_THE_AGENT.contains(&program)).then(|| words.join(" "))
}

fn is_alive(stat: &Stat<'_>) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x')
}

fn process_file(root: &Path, pid: u32, file: &str) -> PathBuf {
    root.join(pid.to_string()).join(file)
}

struct Sums {
    rss: u64,
    elapsed: Option<Duration>,
    boot: Option<f64>,
}

impl Name {
    /// Follows the main process from one sample to the next.
    fn follow(&mut self, known: &[&Known]) -> Option<Incident> {
        let oldest = |fresh_only: bool| {
            let ids = known.iter().filter(|known| known.fresh || !fresh_only).map(|known| (known.start, known.pid));
            ids.min().map(|(start, pid)| (pid, start))
        };
        if let Some(main) = self.main {
            if known.iter().any(|known| (known.pid, known.start) == main) {
                return None;
            }
            self.main = oldest(true);
            if self.main.is_none() {
                self.gone = Some(main);
                return Some(self.incident("process_gone", main, None));
            }
            return Some(self.incident("process_restarted", main, self.main));
        }
        // Workers that outlive a main process do not take its place; a new process does.
        self.main = oldest(self.gone.is_some());
        let (main, gone) = (self.main?, self.gone.take()?);
        Some(self.incident("process_restarted", gone, Some(main)))
    }

    fn incident(&self, name: &'static str, old: (u32, u64), new: Option<(u32, u64)>) -> Incident {
        let text = &self.text;
        let mut attributes = Attributes::default();
        attributes.set("openclaw_trace.process.name", text.clone());
        attributes.set("openclaw_trace.process.old_pid", old.0);
        let message = match new {
            Some((pid, _)) => {
                attributes.set("process.pid", pid);
                format!("process {text:?} was restarted: pid {} ended, pid {pid} is in its place", old.0)
            }
            None => format!("process {text:?} (pid {}) is gone and none is in its place", old.0),
        };
        Incident { name, message, attributes }
    }

    fn describe(&self, known: &[&Known], sums: &Sums, proc_root: &Path, out: &mut Attributes) {
        let prefix = format!("openclaw_trace.process.{}", self.text);
        out.set(format!("{prefix}.count"), known.len());
        let Some((pid, start)) = self.main else { return };
        out.set(format!("{prefix}.pid"), pid);
        out.fraction(format!("{prefix}.uptime"), sums.boot.map(|boot| age(boot, start)));
        out.set(format!("{prefix}.memory.rss"), sums.rss);
        out.set(format!("{prefix}.threads"), known.iter().map(|known| known.threads).fold(0, u64::saturating_add));
        // Others' descriptors may be counted by root and by their owner only.
        out.count(format!("{prefix}.fds"), count_fds(&process_file(proc_root, pid, "fd")));
        let grew: Vec<u64> = known.iter().filter_map(|known| known.ticks_grew).collect();
        let used = seconds(grew.iter().copied().fold(0, u64::saturating_add).saturating_mul(NANOS_PER_TICK));
        let cpus = sums.elapsed.filter(|e| !e.is_zero() && !grew.is_empty()).map(|e| used / e.as_secs_f64());
        out.fraction(format!("{prefix}.cpu.usage"), cpus);
    }
}

fn count_fds(folder: &Path) -> Option<u64> {
    Some(std::fs::read_dir(folder).ok()?.take(MAX_FDS).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pid: u32, start: u64, fresh: bool) -> Known {
        Known { pid, start, name: 0, fresh, ticks_grew: None, ticks: 0, rss: 1, threads: 1 }
    }

    fn follow(name: &mut Name, known: &[Known]) -> Option<&'static str> {
        name.follow(&known.iter().collect::<Vec<_>>()).map(|incident| incident.name)
    }

    fn name() -> Name {
        Name { text: "openclaw".into(), main: None, gone: None }
    }

    #[test]
    fn the_first_process_of_a_name_is_no_news_and_its_workers_come_and_go() {
        let mut name = name();
        assert_eq!(follow(&mut name, &[]), None);
        assert_eq!(follow(&mut name, &[known(9, 100, true), known(8, 200, true)]), None);
        assert_eq!(name.main, Some((9, 100)));
        assert_eq!(follow(&mut name, &[known(9, 100, false)]), None);
    }

    #[test]
    fn a_new_start_under_the_same_pid_is_a_restart() {
        let mut name = name();
        follow(&mut name, &[known(9, 100, true)]);
        assert_eq!(follow(&mut name, &[known(9, 300, true)]), Some("process_restarted"));
        assert_eq!(follow(&mut name, &[known(9, 300, false)]), None);
    }

    #[test]
    fn a_worker_that_outlives_the_main_process_does_not_hide_its_end() {
        let mut name = name();
        follow(&mut name, &[known(9, 100, true), known(10, 110, true)]);
        assert_eq!(follow(&mut name, &[known(10, 110, false)]), Some("process_gone"));
        assert_eq!(follow(&mut name, &[known(10, 110, false)]), None);
        assert_eq!(follow(&mut name, &[known(10, 110, false), known(11, 500, true)]), Some("process_restarted"));
        assert_eq!(name.main, Some((11, 500)));
    }

    #[test]
    fn a_name_counts_in_the_program_and_its_first_arguments_only() {
        assert!(command("node\0/app/openclaw.mjs\0gateway\0").is_some_and(|line| line.contains("openclaw")));
        assert!(command("less\0-R\0-X\0/data/openclaw.log\0").is_some_and(|line| !line.contains("openclaw")));
        assert_eq!(command("/bin/sh\0-c\0exec openclaw gateway\0"), None);
        assert_eq!(command("/usr/bin/openclaw-trace\0run\0"), None);
        assert_eq!(command(""), None);
    }
}
