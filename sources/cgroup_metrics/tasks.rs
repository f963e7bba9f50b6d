//! How many tasks there are, how many there may be, and since when.

use super::attributes::Attributes;
use super::cpu::NANOS_PER_TICK;
use super::files::Files;
use super::find::{Bounds, Scope};
use super::parse;

/// Adds what is known to `out`; answers the seconds since boot.
pub(super) fn observe(files: &mut Files, bounds: &Bounds, out: &mut Attributes) -> Option<f64> {
    let scope = bounds.scope_of(&bounds.pids);
    match bounds.pids.own() {
        Some(own) => {
            out.count(
                "openclaw_trace.pids.current",
                files.read(&own.join("pids.current")).and_then(|t| parse::number(&t)),
            );
            let limit = bounds.pids.least(|f| files.read_if_there(&f.join("pids.max")).and_then(|t| parse::number(&t)));
            out.count("openclaw_trace.pids.limit", limit);
        }
        None => {
            // As cgroups do, this counts threads.
            let load = files.read_proc("loadavg").and_then(|text| parse::loadavg(&text));
            out.count("openclaw_trace.pids.current", load.map(|(_, threads)| threads));
            let limit = files.read_proc("sys/kernel/threads-max").and_then(|text| parse::number(&text));
            out.count("openclaw_trace.pids.limit", limit);
            out.fraction(
                "system.cpu.load_average.1m",
                load.map(|(load, _)| load).filter(|_| bounds.scope == Scope::Machine),
            );
        }
    }
    if scope != bounds.scope {
        out.set("openclaw_trace.scope.pids", scope.as_str());
    }
    let boot = files.read_proc("uptime").and_then(|text| parse::uptime(&text));
    // The container is as old as its first process; the first of a machine starts at boot.
    let first = files.read_proc("1/stat").and_then(|text| parse::stat(&text).map(|stat| stat.start));
    out.fraction("container.uptime", boot.zip(first).map(|(boot, first)| age(boot, first)));
    boot
}

/// Seconds that a process has run, `boot` seconds after boot.
pub(super) fn age(boot: f64, start: u64) -> f64 {
    let started = super::attributes::seconds(start.saturating_mul(NANOS_PER_TICK));
    // Rounded to the tick, which is all that the start is known to.
    ((boot - started).max(0.0) * 100.0).round() / 100.0
}
