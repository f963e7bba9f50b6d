//! What the figures of the resource sampler are (`docs/resource-sampler.md`): their units, and which of them tell what was
//! added since the sample before.

/// How long ago the sample before was, in seconds. It is each sum's start, and no figure of its own.
pub(super) const INTERVAL: &str = "openclaw_trace.sample.interval";

/// Whether it is what was added in the interval, and not what there is.
pub(super) fn is_added(key: &str) -> bool {
    const NAMES: [&str; 6] = [
        "openclaw_trace.cpu.steal",
        "openclaw_trace.cpu.throttling.periods",
        "openclaw_trace.cpu.throttling.time",
        "openclaw_trace.memory.oom_kills",
        "openclaw_trace.network.errors",
        "openclaw_trace.network.dropped",
    ];
    const BEGINNINGS: [&str; 4] =
        ["container.cpu.time", "container.disk.io.", "container.network.io.", "openclaw_trace.disk.operations."];
    NAMES.contains(&key)
        || BEGINNINGS.iter().any(|beginning| key.starts_with(beginning))
        || (key.starts_with("openclaw_trace.pressure.") && key.ends_with(".time"))
}

/// Its unit (UCUM), empty where it has none that is known.
pub(super) fn unit(key: &str) -> &'static str {
    let (start, end) = (|text: &str| key.starts_with(text), |text: &str| key.ends_with(text));
    if end(".utilization") || end(".share") || end(".avg10") {
        "1"
    } else if start("container.cpu.time") || end(".time") || end(".uptime") || end(".steal") {
        "s"
    } else if end(".cpu.usage") || end(".cpu.limit") {
        "{cpu}"
    } else if end(".files_available") {
        "{file}"
    } else if start("container.memory.")
        || start("openclaw_trace.memory.") && !end(".oom_kills")
        || end(".memory.rss")
        || start("container.filesystem.")
        || start("openclaw_trace.filesystem.")
        || start("container.disk.io.")
        || start("container.network.io.")
    {
        "By"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_units_that_the_sampler_tells_them_in() {
        for (key, added, expected) in [
            ("container.cpu.time", true, "s"),
            ("container.cpu.time.user", true, "s"),
            ("container.cpu.usage", false, "{cpu}"),
            ("openclaw_trace.cpu.limit", false, "{cpu}"),
            ("openclaw_trace.cpu.throttling.share", false, "1"),
            ("openclaw_trace.cpu.throttling.time", true, "s"),
            ("openclaw_trace.pressure.io.some.time", true, "s"),
            ("openclaw_trace.pressure.io.some.avg10", false, "1"),
            ("container.memory.working_set", false, "By"),
            ("openclaw_trace.memory.limit", false, "By"),
            ("openclaw_trace.memory.utilization", false, "1"),
            ("openclaw_trace.memory.oom_kills", true, ""),
            ("container.disk.io.read", true, "By"),
            ("container.network.io.receive", true, "By"),
            ("openclaw_trace.filesystem.files_available", false, "{file}"),
            ("openclaw_trace.filesystem./logs.usage", false, "By"),
            ("openclaw_trace.process.openclaw.memory.rss", false, "By"),
            ("openclaw_trace.process.openclaw.cpu.usage", false, "{cpu}"),
            ("openclaw_trace.process.openclaw.threads", false, ""),
            ("container.uptime", false, "s"),
        ] {
            assert_eq!((is_added(key), unit(key)), (added, expected), "{key}");
        }
    }
}
