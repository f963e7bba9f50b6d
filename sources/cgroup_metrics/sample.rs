//! One look at everything: a wide event, and errors for what happened to the agent.

use std::path::PathBuf;
use std::time::Instant;

use engine::{Event, Kind, Status};

use super::attributes::Attributes;
use super::cpu::Cpu;
use super::disk::{Ask, DiskIo, Disks};
use super::files::Files;
use super::find::{self, Bounds};
use super::memory::Memory;
use super::net::Network;
use super::processes::Processes;
use super::psi::Pressure;
use super::{CgroupMetrics, tasks};

/// What seldom changes (which cgroup, how many CPUs, which processes) is looked up at the first
/// sample and every so many after it: once a minute by default.
const LOOK_UP_EVERY: u32 = 4;

/// Something that happened to the agent.
#[derive(Debug)]
pub(super) struct Incident {
    /// The event's name.
    pub(super) name: &'static str,
    /// For people: what happened, and what to do.
    pub(super) message: String,
    pub(super) attributes: Attributes,
}

/// What one look gives.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// `None` for the first look: rates have no meaning yet.
    pub(super) metric: Option<Event>,
    /// Events of kind `error`.
    pub(super) errors: Vec<Event>,
}

/// Keeps what a sample is compared with.
pub(super) struct Sampler {
    files: Files,
    cgroup_root: PathBuf,
    agent_id: Option<String>,
    bounds: Bounds,
    samples: u32,
    last: Option<Instant>,
    cpu: Cpu,
    memory: Memory,
    pressure: Pressure,
    disks: Disks,
    disk_io: DiskIo,
    network: Network,
    processes: Processes,
}

impl Sampler {
    /// A sampler that has looked at nothing yet.
    pub(super) fn new(config: &CgroupMetrics, ask: Ask) -> Self {
        Self {
            files: Files::new(config.proc_root.clone()),
            cgroup_root: config.cgroup_root.clone(),
            agent_id: config.agent_id.clone().filter(|id| !id.is_empty()),
            bounds: Bounds::machine(),
            samples: 0,
            last: None,
            cpu: Cpu::default(),
            memory: Memory::default(),
            pressure: Pressure::default(),
            disks: Disks::new(&config.disk_paths, config.disk_warn_percent, ask),
            disk_io: DiskIo::default(),
            network: Network::default(),
            processes: Processes::new(&config.watch, std::process::id()),
        }
    }

    /// Looks at everything. `now` is a clock that never goes back.
    pub(super) fn observe(&mut self, now: Instant) -> Sample {
        let look_up = self.samples.is_multiple_of(LOOK_UP_EVERY);
        self.samples = self.samples.wrapping_add(1);
        if look_up {
            self.find();
        }
        let elapsed = self.last.replace(now).map(|last| now.saturating_duration_since(last));
        let (files, bounds) = (&mut self.files, &self.bounds);
        let mut out = Attributes::default();
        out.set("scope", bounds.scope.as_str());
        out.fraction("openclaw_trace.sample.interval", elapsed.map(|elapsed| elapsed.as_secs_f64()));
        self.cpu.observe(files, bounds, elapsed, look_up, &mut out);
        let mut incidents: Vec<_> = self.memory.observe(files, bounds, look_up, &mut out).into_iter().collect();
        self.pressure.observe(files, bounds, &mut out);
        self.disk_io.observe(files, bounds, &mut out);
        self.network.observe(files, &mut out);
        let boot = tasks::observe(files, bounds, &mut out);
        incidents.extend(self.processes.observe(files, elapsed, look_up, boot, &mut out));
        incidents.extend(self.disks.observe(files, &mut out));
        Sample {
            metric: elapsed.map(|_| self.event(Kind::METRIC, "container.resources", out)),
            errors: incidents.into_iter().map(|incident| self.error(incident)).collect(),
        }
    }

    fn find(&mut self) {
        let found = find::find(&mut self.files, &self.cgroup_root);
        if found != self.bounds {
            tracing::debug!(scope = found.scope.as_str(), memory = ?found.memory.own(), cpu = ?found.cpu.own(), "found what bounds this process");
            self.bounds = found;
            // Counters of another cgroup are no base for these.
            self.cpu = Cpu::default();
            self.memory = Memory::default();
            self.pressure = Pressure::default();
            self.disk_io = DiskIo::default();
        }
    }

    fn event(&self, kind: Kind, name: &str, attributes: Attributes) -> Event {
        let mut event = Event::new(kind);
        event.name = Some(name.to_owned());
        event.agent_id.clone_from(&self.agent_id);
        event.attributes = attributes.into_json();
        event
    }

    fn error(&self, incident: Incident) -> Event {
        let mut attributes = incident.attributes;
        attributes.set("error.type", incident.name);
        let mut event = self.event(Kind::ERROR, incident.name, attributes);
        event.status = Some(Status::Error);
        event.error = Some(incident.message);
        event
    }
}
