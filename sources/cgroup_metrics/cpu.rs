//! CPU: time used since the last sample, over the quota.

use std::time::Duration;

use super::attributes::{Attributes, Counter, ratio, seconds};
use super::files::Files;
use super::find::{Bounds, Scope};
use super::parse;

/// Nanoseconds of one tick: `USER_HZ` is 100 on every architecture that we build for.
pub(super) const NANOS_PER_TICK: u64 = 10_000_000;

/// Counters of the last sample.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    usage: Counter,
    user: Counter,
    system: Counter,
    steal: Counter,
    periods: Counter,
    throttled: Counter,
    throttled_time: Counter,
    /// CPUs that are online, looked up now and then.
    online: Option<u64>,
}

/// What the counters say now; times in nanoseconds.
#[derive(Debug, Default)]
struct Reading {
    usage: Option<u64>,
    user: Option<u64>,
    system: Option<u64>,
    steal: Option<u64>,
    periods: Option<u64>,
    throttled: Option<u64>,
    throttled_time: Option<u64>,
}

impl Cpu {
    /// Adds what is known to `out`. `elapsed` is `None` at the first sample; `look_up` asks for
    /// what seldom changes.
    pub(super) fn observe(
        &mut self,
        files: &mut Files,
        bounds: &Bounds,
        elapsed: Option<Duration>,
        look_up: bool,
        out: &mut Attributes,
    ) {
        if look_up || self.online.is_none() {
            self.online = files.read_proc("stat").map(|text| parse::online_cpus(&text)).filter(|count| *count > 0);
        }
        let scope = bounds.scope_of(&bounds.cpuacct);
        let now = match scope {
            Scope::Cgroup2 => cgroup2(files, bounds),
            Scope::Cgroup1 => cgroup1(files, bounds),
            Scope::Machine => machine(files),
        };
        let limit = limit(files, bounds, self.online);
        let used = self.usage.grew(now.usage).map(seconds);
        let cpus = used.zip(elapsed.filter(|e| !e.is_zero())).map(|(used, elapsed)| used / elapsed.as_secs_f64());
        out.fraction("container.cpu.time", used);
        out.fraction("container.cpu.usage", cpus);
        out.fraction("openclaw_trace.cpu.limit", limit);
        out.fraction("openclaw_trace.cpu.utilization", cpus.zip(limit).map(|(cpus, limit)| cpus / limit));
        out.fraction("container.cpu.time.user", self.user.grew(now.user).map(seconds));
        out.fraction("container.cpu.time.system", self.system.grew(now.system).map(seconds));
        out.fraction("openclaw_trace.cpu.steal", self.steal.grew(now.steal).map(seconds));
        let periods = self.periods.grew(now.periods);
        let throttled = self.throttled.grew(now.throttled);
        out.count("openclaw_trace.cpu.throttling.periods", throttled);
        let share = throttled.zip(periods).and_then(|(throttled, periods)| ratio(throttled, periods));
        out.fraction("openclaw_trace.cpu.throttling.share", share);
        out.fraction("openclaw_trace.cpu.throttling.time", self.throttled_time.grew(now.throttled_time).map(seconds));
        if scope != bounds.scope {
            out.set("openclaw_trace.scope.cpu", scope.as_str());
        }
    }
}

fn cgroup2(files: &mut Files, bounds: &Bounds) -> Reading {
    let Some(text) = bounds.cpuacct.own().and_then(|own| files.read(&own.join("cpu.stat"))) else {
        return Reading::default();
    };
    let time = |key: &str| parse::keyed(&text, key)?.checked_mul(1000);
    Reading {
        usage: time("usage_usec"),
        user: time("user_usec"),
        system: time("system_usec"),
        steal: None,
        periods: parse::keyed(&text, "nr_periods"),
        throttled: parse::keyed(&text, "nr_throttled"),
        throttled_time: time("throttled_usec"),
    }
}

fn cgroup1(files: &mut Files, bounds: &Bounds) -> Reading {
    let mut reading = Reading::default();
    if let Some(own) = bounds.cpuacct.own() {
        reading.usage = files.read(&own.join("cpuacct.usage")).and_then(|text| parse::number(&text));
        if let Some(text) = files.read(&own.join("cpuacct.stat")) {
            reading.user = parse::keyed(&text, "user").and_then(nanos);
            reading.system = parse::keyed(&text, "system").and_then(nanos);
        }
    }
    if let Some(text) = bounds.cpu.own().and_then(|own| files.read(&own.join("cpu.stat"))) {
        reading.periods = parse::keyed(&text, "nr_periods");
        reading.throttled = parse::keyed(&text, "nr_throttled");
        reading.throttled_time = parse::keyed(&text, "throttled_time");
    }
    reading
}

fn machine(files: &mut Files) -> Reading {
    let Some(ticks) = files.read_proc("stat").and_then(|text| parse::machine_ticks(&text)) else {
        return Reading::default();
    };
    Reading {
        usage: ticks.user.checked_add(ticks.system).and_then(nanos),
        user: nanos(ticks.user),
        system: nanos(ticks.system),
        steal: nanos(ticks.steal),
        ..Reading::default()
    }
}

/// The CPUs that this process may use: the least of quotas, CPU set and CPUs online.
#[allow(clippy::cast_precision_loss)]
fn limit(files: &mut Files, bounds: &Bounds, online: Option<u64>) -> Option<f64> {
    let quota = bounds.cpu.least(|folder| {
        if bounds.scope == Scope::Cgroup2 {
            return files.read_if_there(&folder.join("cpu.max")).and_then(|text| parse::cpu_max(&text));
        }
        let quota = files.read_if_there(&folder.join("cpu.cfs_quota_us")).and_then(|text| parse::number(&text))?;
        let period = files.read_if_there(&folder.join("cpu.cfs_period_us")).and_then(|text| parse::number(&text))?;
        parse::quota(quota, period)
    });
    let file = if bounds.scope == Scope::Cgroup2 { "cpuset.cpus.effective" } else { "cpuset.cpus" };
    let set = bounds.cpuset.own().and_then(|own| files.read(&own.join(file))).and_then(|text| parse::cpu_list(&text));
    [quota, set.map(|n| n as f64), online.map(|n| n as f64)].into_iter().flatten().reduce(f64::min)
}

/// Ticks as nanoseconds.
fn nanos(ticks: u64) -> Option<u64> {
    ticks.checked_mul(NANOS_PER_TICK)
}
