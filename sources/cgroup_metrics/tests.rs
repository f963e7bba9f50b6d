//! Recorded trees of files, each at two moments ten seconds apart, and the machine of the test.
//!
//! A tree is one text file: `== t0` and `== t1` begin a moment, `@ path` a file, `@! path` removes
//! what stands at a path. `hybrid.tree` is recorded from a machine (cgroup v1 and a v2 tree without
//! controllers), the others are written after the kernel's documentation.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::{Event, Kind, Status};
use serde_json::{Value, json};

use super::CgroupMetrics;
use super::disk::Space;
use super::sample::{Sample, Sampler};

struct Tree {
    folder: tempfile::TempDir,
    moments: Vec<&'static str>,
    sampler: Sampler,
    started: Instant,
    observed: u32,
}

impl Tree {
    fn new(text: &'static str) -> Self {
        Self::with(text, |_| {})
    }

    fn with(text: &'static str, change: impl FnOnce(&mut CgroupMetrics)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = CgroupMetrics {
            proc_root: folder.path().join("proc"),
            cgroup_root: folder.path().join("cg"),
            agent_id: Some("agent-1".into()),
            ..CgroupMetrics::default()
        };
        change(&mut config);
        let ask = |path: &Path| match path.to_str() {
            Some("/data") => Ok(Space { capacity: 1 << 30, used: 900 << 20, available: 100 << 20, files_available: 5 }),
            Some("/") => Ok(Space { capacity: 8 << 30, used: 1 << 30, available: 7 << 30, files_available: 9 }),
            _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        let sampler = Sampler::new(&config, Box::new(ask));
        let moments = text.split("== t").skip(1).collect();
        Self { folder, moments, sampler, started: Instant::now(), observed: 0 }
    }

    /// Brings the files to a moment.
    fn to(&self, moment: usize) {
        for entry in self.moments[moment].split("\n@").skip(1) {
            let (head, text) = entry.split_once('\n').unwrap_or((entry, ""));
            let (mark, path) = head.split_once(' ').unwrap();
            let path = self.folder.path().join(path);
            if mark == "!" {
                fs::remove_dir_all(path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
    }

    /// Looks, ten seconds after the last look.
    fn observe(&mut self) -> Sample {
        let now = self.started + Duration::from_secs(10) * self.observed;
        self.observed += 1;
        self.sampler.observe(now)
    }

    /// The second sample's attributes, and what happened.
    fn both(&mut self) -> (Value, Vec<Event>) {
        self.to(0);
        let first = self.observe();
        assert!(first.metric.is_none(), "the first sample is discarded");
        self.to(1);
        let second = self.observe();
        let metric = second.metric.unwrap();
        assert_eq!((&metric.kind, metric.name.as_deref()), (&Kind::METRIC, Some("container.resources")));
        assert_eq!(metric.agent_id.as_deref(), Some("agent-1"));
        (attributes(&metric), second.errors)
    }
}

fn attributes(event: &Event) -> Value {
    serde_json::from_str(event.attributes.as_ref().unwrap().as_str()).unwrap()
}

/// Every expected attribute is there with its very value; `null` expects none.
fn assert_has(found: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(found.get(name).unwrap_or(&Value::Null), value, "{name} in {found:#}");
    }
}

fn names(errors: &[Event]) -> Vec<&str> {
    errors.iter().map(|event| event.name.as_deref().unwrap()).collect()
}

#[test]
fn a_version_2_container_is_measured_against_its_own_limits() {
    let (found, errors) = Tree::new(include_str!("trees/v2_limits.tree")).both();
    // All of it: an attribute that comes or goes changes the contract in docs/resource-sampler.md.
    let expected: Value = serde_json::from_str(include_str!("trees/v2_limits.json")).unwrap();
    assert_eq!(found, expected, "{found:#}");
    assert_eq!(names(&errors), ["oom_kill", "process_restarted"]);
    for error in &errors {
        assert_eq!((&error.kind, error.status), (&Kind::ERROR, Some(Status::Error)));
        assert_eq!(attributes(error)["error.type"], error.name.clone().unwrap());
    }
    let text = "the kernel killed 1 process for want of memory (limit of 256 MiB)";
    assert!(errors[0].error.as_ref().unwrap().starts_with(text), "{errors:?}");
    assert_has(&attributes(&errors[1]), &json!({"openclaw_trace.process.old_pid": 42, "process.pid": 60}));
}

#[test]
fn every_attribute_is_in_the_reference() {
    let reference = include_str!("../../docs/resource-sampler.md");
    let trees =
        [include_str!("trees/v2_limits.tree"), include_str!("trees/fly_vm.tree"), include_str!("trees/hybrid.tree")];
    for tree in trees {
        let (found, _) = Tree::new(tree).both();
        for name in found.as_object().unwrap().keys() {
            let mut name = name.replace(".process.openclaw.", ".process.NAME.");
            if let Some(rest) = name.strip_prefix("openclaw_trace.pressure.") {
                let last = rest.rsplit('.').next().unwrap();
                name = format!("openclaw_trace.pressure.RESOURCE.LINE.{last}");
            }
            assert!(reference.contains(&format!("`{name}`")), "{name} is missing in docs/resource-sampler.md");
        }
    }
}

#[test]
fn without_limits_the_machine_is_the_limit_and_counters_that_went_back_give_nothing() {
    let (found, errors) = Tree::new(include_str!("trees/v2_max.tree")).both();
    let expected = json!({
        "scope": "cgroup2",
        "openclaw_trace.cpu.limit": 2.0,
        "container.cpu.usage": 0.8,
        "openclaw_trace.cpu.utilization": 0.4,
        "container.cpu.time.user": null,
        "container.cpu.time.system": 8.4,
        "openclaw_trace.cpu.throttling.periods": 0,
        "openclaw_trace.cpu.throttling.share": null,
        "openclaw_trace.memory.limit": 1_048_576_000,
        "container.memory.available": 958_576_000,
        "openclaw_trace.memory.oom_kills": null,
        "openclaw_trace.scope.pids": "machine",
        "openclaw_trace.scope.pressure": "machine",
        "container.network.io.receive": null,
        "openclaw_trace.process.openclaw.count": 0,
    });
    assert_has(&found, &expected);
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_virtual_machine_whose_root_cgroup_bounds_nothing_is_measured_as_a_machine() {
    let mut tree = Tree::new(include_str!("trees/fly_vm.tree"));
    let (found, errors) = tree.both();
    let expected = json!({
        "scope": "machine",
        "container.cpu.time": 3.6,
        "container.cpu.usage": 0.36,
        "openclaw_trace.cpu.limit": 1.0,
        "openclaw_trace.cpu.utilization": 0.36,
        "openclaw_trace.cpu.steal": 0.5,
        "openclaw_trace.memory.limit": 221_184 << 10,
        "container.memory.usage": 159_744 << 10,
        "container.memory.working_set": 118_784 << 10,
        "container.memory.available": 112_640 << 10,
        "container.memory.rss": 81_920 << 10,
        "openclaw_trace.memory.swap": 1024 << 10,
        "openclaw_trace.memory.oom_kills": 2,
        "openclaw_trace.pressure.cpu.some.avg10": 0.005,
        "openclaw_trace.pressure.cpu.some.time": 0.0,
        "openclaw_trace.pressure.io.some.avg10": null,
        "container.disk.io.read": 88 * 512,
        "container.disk.io.write": 500 * 512,
        "openclaw_trace.disk.operations.read": 11,
        "openclaw_trace.disk.operations.write": 25,
        "openclaw_trace.network.connections.tcp": 9,
        "openclaw_trace.pids.current": 77,
        "openclaw_trace.pids.limit": 1500,
        "system.cpu.load_average.1m": 0.42,
        "container.uptime": 609.5,
        "openclaw_trace.processes.zombies": 1,
        // The worker is left; its main process is a zombie, which is as good as gone.
        "openclaw_trace.process.openclaw.count": 1,
        "openclaw_trace.process.openclaw.pid": null,
        "openclaw_trace.scope.cpu": null,
    });
    assert_has(&found, &expected);
    assert_eq!(names(&errors), ["oom_kill", "process_gone"]);
    assert!(tree.observe().errors.is_empty(), "what happened once is told once");
}

#[test]
fn the_tightest_limit_of_all_cgroups_above_is_the_limit() {
    let (found, errors) = Tree::new(include_str!("trees/v2_nested.tree")).both();
    let expected = json!({
        "scope": "cgroup2",
        // Its own usage, though it has no controller of its own.
        "container.cpu.usage": 0.3,
        "openclaw_trace.cpu.limit": 1.5,
        "openclaw_trace.cpu.utilization": 0.2,
        // The nearest cgroup that counts memory, and the slice's limit, which is less than its own.
        "container.memory.usage": 400_000_000,
        "container.memory.working_set": 300_000_000,
        "openclaw_trace.memory.limit": 1_000_000_000,
        "openclaw_trace.pids.current": 20,
        "openclaw_trace.pids.limit": 50,
        "openclaw_trace.scope.disk_io": "machine",
    });
    assert_has(&found, &expected);
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_version_1_container_is_found_by_the_part_that_is_mounted() {
    let (found, errors) = Tree::new(include_str!("trees/v1_container.tree")).both();
    let expected = json!({
        "scope": "cgroup1",
        "container.cpu.time": 4.0,
        "container.cpu.time.user": 3.0,
        "container.cpu.time.system": 1.0,
        "container.cpu.usage": 0.4,
        "openclaw_trace.cpu.limit": 0.5,
        "openclaw_trace.cpu.utilization": 0.8,
        "openclaw_trace.cpu.throttling.periods": 50,
        "openclaw_trace.cpu.throttling.share": 0.5,
        "openclaw_trace.cpu.throttling.time": 1.5,
        "container.memory.usage": 300_000_000,
        "container.memory.working_set": 200_000_000,
        "container.memory.rss": 150_000_000,
        "openclaw_trace.memory.limit": 512 << 20,
        "container.memory.available": (512 << 20) - 200_000_000,
        "openclaw_trace.memory.swap": 4096,
        "openclaw_trace.memory.oom_kills": 2,
        "container.disk.io.read": 4100,
        "container.disk.io.write": 8192,
        "openclaw_trace.disk.operations.read": 1,
        "openclaw_trace.disk.operations.write": 5,
        "openclaw_trace.pids.current": 8,
        "openclaw_trace.pids.limit": null,
        "openclaw_trace.scope.pressure": "machine",
    });
    assert_has(&found, &expected);
    assert_eq!(names(&errors), ["oom_kill"]);
}

#[test]
fn on_a_hybrid_machine_version_1_bounds_and_the_empty_version_2_tree_does_not() {
    let (found, errors) = Tree::new(include_str!("trees/hybrid.tree")).both();
    let expected = json!({
        "scope": "cgroup1",
        "container.memory.usage": 254_763_008,
        "container.memory.working_set": 82_862_080,
        "container.memory.rss": 3_145_728,
        "openclaw_trace.memory.limit": 24_683_656u64 << 10,
        "openclaw_trace.memory.oom_kills": 0,
        // The root cgroup of the CPU controller bounds nothing: these are the machine's.
        "openclaw_trace.scope.cpu": "machine",
        "container.cpu.time": 6.45,
        "container.cpu.usage": 0.645,
        "openclaw_trace.cpu.limit": 2.0,
        "openclaw_trace.cpu.steal": 0.03,
        "openclaw_trace.scope.disk_io": "machine",
        "container.disk.io.read": 312 * 512,
        "container.disk.io.write": 78_192 * 512,
        "openclaw_trace.pressure.cpu.some.avg10": 0.9932,
        "openclaw_trace.pressure.cpu.some.time": 3.268371,
        "openclaw_trace.scope.pids": "machine",
        "openclaw_trace.pids.current": 166,
        "openclaw_trace.pids.limit": 192_729,
        "container.network.io.receive": 0,
        "container.uptime": 7194.81,
    });
    assert_has(&found, &expected);
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_process_that_comes_back_later_is_told_as_restarted() {
    let mut tree = Tree::new(include_str!("trees/fly_vm.tree"));
    let (_, errors) = tree.both();
    assert_eq!(names(&errors), ["oom_kill", "process_gone"]);
    let stat = fs::read_to_string(tree.folder.path().join("proc/301/stat")).unwrap();
    let again = tree.folder.path().join("proc/400");
    fs::create_dir_all(&again).unwrap();
    fs::write(
        again.join("stat"),
        stat.replacen("301 (node)", "400 (openclaw)", 1).replace(" 300 900000000", " 61500 900000000"),
    )
    .unwrap();
    // Found at the next walk through all processes.
    let told: Vec<_> = (0..4).flat_map(|_| tree.observe().errors).collect();
    assert_eq!(names(&told), ["process_restarted"]);
    assert_has(&attributes(&told[0]), &json!({"openclaw_trace.process.old_pid": 300, "process.pid": 400}));
}

#[test]
fn a_disk_over_the_threshold_is_told_of_even_at_the_first_sample_and_then_no_more() {
    let mut tree = Tree::new(include_str!("trees/v2_max.tree"));
    tree.to(0);
    let first = tree.observe();
    assert_eq!(names(&first.errors), ["disk_over_threshold"]);
    let text = "/data is 90 % full, over 80 % (100 MiB left); remove files or extend the volume";
    assert_eq!(first.errors[0].error.as_deref(), Some(text));
    assert!(tree.observe().errors.is_empty());
}

#[test]
fn where_no_path_exists_the_root_is_watched_and_a_second_path_has_its_own_names() {
    let text = include_str!("trees/v2_max.tree");
    let (found, _) = Tree::with(text, |config| config.disk_paths = vec!["/gone".into()]).both();
    assert_has(&found, &json!({"system.filesystem.mountpoint": "/", "container.filesystem.usage": 1u64 << 30}));
    let (found, _) =
        Tree::with(text, |config| config.disk_paths = vec!["/gone".into(), "/data".into(), "/".into()]).both();
    let expected = json!({
        "system.filesystem.mountpoint": "/data",
        "container.filesystem.available": 100u64 << 20,
        "openclaw_trace.filesystem./.available": 7u64 << 30,
    });
    assert_has(&found, &expected);
}

#[test]
fn with_no_files_at_all_a_sample_still_says_what_it_can() {
    let mut tree = Tree::new("");
    tree.observe();
    let sample = tree.observe();
    assert_has(&attributes(&sample.metric.unwrap()), &json!({"scope": "machine", "container.cpu.usage": null}));
}

#[test]
fn another_cgroup_is_noticed_and_its_counters_are_not_compared_with_the_old_ones() {
    let mut tree = Tree::new(include_str!("trees/v2_nested.tree"));
    tree.both();
    fs::write(tree.folder.path().join("proc/self/cgroup"), "0::/agents.slice/openclaw.service\n").unwrap();
    let usages: Vec<_> =
        (0..4).map(|_| attributes(&tree.observe().metric.unwrap())["container.cpu.usage"].clone()).collect();
    assert_eq!(usages, [json!(0.0), json!(0.0), Value::Null, json!(0.0)]);
}

#[test]
fn this_machine_gives_plausible_figures_and_a_busy_thread_shows() {
    let config = CgroupMetrics { disk_paths: vec!["/".into()], ..CgroupMetrics::default() };
    let mut sampler = Sampler::new(&config, Box::new(Space::of));
    assert!(sampler.observe(Instant::now()).metric.is_none());
    let started = Instant::now();
    let mut spins = 0u64;
    while started.elapsed() < Duration::from_millis(300) {
        spins = std::hint::black_box(spins + 1);
    }
    let found = attributes(&sampler.observe(Instant::now()).metric.unwrap());
    let number = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name} in {found:#}"));
    assert!(number("container.cpu.usage") > 0.0);
    assert!(number("openclaw_trace.cpu.limit") > 0.0);
    assert!(number("container.memory.usage") > 0.0);
    assert!(number("openclaw_trace.memory.limit") >= number("container.memory.working_set"));
    assert!(number("container.filesystem.capacity") >= number("container.filesystem.usage"));
    assert!(number("openclaw_trace.pids.current") >= 1.0);
    assert!(number("container.uptime") > 0.0);
}

#[test]
fn a_real_process_is_followed_to_its_end_and_found_again() {
    let watched = || {
        let child = std::process::Command::new("sleep").arg("54321.25").spawn().unwrap();
        // Until exec has happened, the child still bears this test's name.
        let cmdline = format!("/proc/{}/cmdline", child.id());
        while !fs::read_to_string(&cmdline).unwrap().starts_with("sleep") {
            std::thread::yield_now();
        }
        child
    };
    let config = CgroupMetrics { watch: vec!["sleep 54321.25".into()], ..CgroupMetrics::default() };
    let mut first = watched();
    let mut sampler = Sampler::new(&config, Box::new(Space::of));
    sampler.observe(Instant::now());
    let found = attributes(&sampler.observe(Instant::now()).metric.unwrap());
    let expected = json!({
        "openclaw_trace.process.sleep 54321.25.count": 1,
        "openclaw_trace.process.sleep 54321.25.pid": first.id(),
        "openclaw_trace.process.sleep 54321.25.threads": 1,
    });
    assert_has(&found, &expected);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(process_news(&sampler.observe(Instant::now())), ["process_gone"]);
    let mut second = watched();
    let told: Vec<_> = (0..5).flat_map(|_| process_news(&sampler.observe(Instant::now()))).collect();
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(told, ["process_restarted"]);
}

/// What is told of processes; this machine's disk may be full.
fn process_news(sample: &Sample) -> Vec<String> {
    names(&sample.errors).into_iter().filter(|name| name.starts_with("process")).map(str::to_owned).collect()
}
