//! Memory: usage, limit, working set; and OOM kills.

use super::attributes::{Attributes, Counter, ratio};
use super::files::Files;
use super::find::{Bounds, Scope};
use super::parse;
use super::sample::Incident;

/// Counters of the last sample.
#[derive(Debug, Default)]
pub(super) struct Memory {
    oom_kills: Counter,
    /// Memory of the machine, looked up now and then.
    machine: Option<u64>,
}

/// Bytes.
#[derive(Debug, Default)]
struct Reading {
    usage: Option<u64>,
    inactive_file: Option<u64>,
    rss: Option<u64>,
    swap: Option<u64>,
    /// The limit along the chain; `None` where there is none.
    limit: Option<u64>,
    /// Where the kernel says it better than "limit less working set".
    available: Option<u64>,
    oom_kills: Option<u64>,
}

impl Memory {
    /// Adds what is known to `out`; answers an incident for OOM kills since the last sample.
    pub(super) fn observe(
        &mut self,
        files: &mut Files,
        bounds: &Bounds,
        look_up: bool,
        out: &mut Attributes,
    ) -> Option<Incident> {
        let scope = bounds.scope_of(&bounds.memory);
        if scope != Scope::Machine && (look_up || self.machine.is_none()) {
            self.machine = files.read_proc("meminfo").and_then(|text| parse::meminfo(&text, "MemTotal"));
        }
        let now = match scope {
            Scope::Cgroup2 => cgroup2(files, bounds),
            Scope::Cgroup1 => cgroup1(files, bounds),
            Scope::Machine => machine(files),
        };
        // "Unlimited" is `max` in version 2 and a number near 2^63 in version 1; neither is more
        // than the machine has.
        let limit = [now.limit, self.machine.filter(|_| scope != Scope::Machine)].into_iter().flatten().min();
        let working_set = now.usage.map(|usage| usage.saturating_sub(now.inactive_file.unwrap_or(0)));
        let left = limit.zip(working_set).map(|(limit, used)| limit.saturating_sub(used));
        out.count("container.memory.usage", now.usage);
        out.count("container.memory.working_set", working_set);
        out.count("container.memory.rss", now.rss);
        out.count("container.memory.available", now.available.or(left));
        out.count("openclaw_trace.memory.limit", limit);
        let share = working_set.zip(limit).and_then(|(used, limit)| ratio(used, limit));
        out.fraction("openclaw_trace.memory.utilization", share);
        out.count("openclaw_trace.memory.swap", now.swap);
        let kills = self.oom_kills.grew(now.oom_kills);
        out.count("openclaw_trace.memory.oom_kills", kills);
        if scope != bounds.scope {
            out.set("openclaw_trace.scope.memory", scope.as_str());
        }
        kills.filter(|kills| *kills > 0).map(|kills| incident(kills, scope, now.usage, limit))
    }
}

fn incident(kills: u64, scope: Scope, usage: Option<u64>, limit: Option<u64>) -> Incident {
    let mut attributes = Attributes::default();
    attributes.set("scope", scope.as_str());
    attributes.set("openclaw_trace.memory.oom_kills", kills);
    attributes.count("container.memory.usage", usage);
    attributes.count("openclaw_trace.memory.limit", limit);
    let limit = limit.map_or_else(|| "of unknown size".to_owned(), |limit| format!("of {} MiB", limit >> 20));
    let message = format!(
        "the kernel killed {kills} process{} for want of memory (limit {limit}); give the machine more or the agent less to do at once",
        if kills == 1 { "" } else { "es" }
    );
    Incident { name: "oom_kill", message, attributes }
}

fn cgroup2(files: &mut Files, bounds: &Bounds) -> Reading {
    let Some(own) = bounds.memory.own() else { return Reading::default() };
    let mut reading = Reading {
        usage: files.read(&own.join("memory.current")).and_then(|text| parse::number(&text)),
        limit: bounds
            .memory
            .least(|f| files.read_if_there(&f.join("memory.max")).and_then(|text| parse::number(&text))),
        swap: files.read(&own.join("memory.swap.current")).and_then(|text| parse::number(&text)),
        // Counts the cgroups below, too.
        oom_kills: files.read(&own.join("memory.events")).and_then(|text| parse::keyed(&text, "oom_kill")),
        ..Reading::default()
    };
    if let Some(text) = files.read(&own.join("memory.stat")) {
        reading.inactive_file = parse::keyed(&text, "inactive_file");
        reading.rss = parse::keyed(&text, "anon");
    }
    reading
}

fn cgroup1(files: &mut Files, bounds: &Bounds) -> Reading {
    let Some(own) = bounds.memory.own() else { return Reading::default() };
    let limit = bounds
        .memory
        .least(|f| files.read_if_there(&f.join("memory.limit_in_bytes")).and_then(|text| parse::number(&text)));
    let mut reading = Reading {
        usage: files.read(&own.join("memory.usage_in_bytes")).and_then(|text| parse::number(&text)),
        oom_kills: files.read(&own.join("memory.oom_control")).and_then(|text| parse::keyed(&text, "oom_kill")),
        ..Reading::default()
    };
    let mut hierarchical = None;
    if let Some(text) = files.read(&own.join("memory.stat")) {
        // Cgroups below are in `total_*`, as they are in the usage.
        reading.inactive_file = parse::keyed(&text, "total_inactive_file");
        reading.rss = parse::keyed(&text, "total_rss");
        reading.swap = parse::keyed(&text, "total_swap");
        // Tells of limits above what a container can see.
        hierarchical = parse::keyed(&text, "hierarchical_memory_limit");
    }
    reading.limit = [limit, hierarchical].into_iter().flatten().min();
    reading
}

fn machine(files: &mut Files) -> Reading {
    let mut reading = Reading {
        oom_kills: files.read_proc("vmstat").and_then(|text| parse::keyed(&text, "oom_kill")),
        ..Reading::default()
    };
    if let Some(text) = files.read_proc("meminfo") {
        let value = |key: &str| parse::meminfo(&text, key);
        let less = |(whole, part): (u64, u64)| whole.saturating_sub(part);
        reading.limit = value("MemTotal");
        reading.available = value("MemAvailable");
        reading.usage = value("MemTotal").zip(value("MemFree")).map(less);
        reading.inactive_file = value("Inactive(file)");
        reading.rss = value("AnonPages");
        reading.swap = value("SwapTotal").zip(value("SwapFree")).map(less);
    }
    reading
}
