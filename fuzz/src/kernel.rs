//! The files of the kernel: cgroups, pressure, `/proc`.

#[path = "../../sources/cgroup_metrics/parse.rs"]
mod parse;

/// Any text as any of the files.
pub fn kernel(data: &[u8]) {
    // As `files.rs` reads them.
    let text = String::from_utf8_lossy(data);
    let text = text.as_ref();
    let _ = parse::number(text);
    for key in ["anon", "inactive_file", "MemTotal", "nr_throttled", "oom_kill"] {
        let _ = (parse::keyed(text, key), parse::meminfo(text, key));
    }
    if let Some(cpus) = parse::cpu_max(text) {
        assert!(cpus.is_finite() && cpus > 0.0, "{cpus} CPUs");
    }
    let _ = (parse::cpu_list(text), parse::machine_ticks(text), parse::online_cpus(text));
    for line in ["some", "full"] {
        if let Some(stall) = parse::pressure(text, line) {
            assert!(stall.avg10.is_finite());
        }
    }
    let _ = (parse::io_stat(text), parse::blkio(text), parse::diskstats(text), parse::net_dev(text));
    let _ = parse::sockstat(text, "TCP", "inuse");
    if let Some((load, _)) = parse::loadavg(text) {
        assert!(load.is_finite(), "a load of {load}");
    }
    if let Some(seconds) = parse::uptime(text) {
        assert!(seconds.is_finite(), "up for {seconds} s");
    }
    if let Some(stat) = parse::stat(text) {
        assert!(text.contains(stat.comm));
    }
}
