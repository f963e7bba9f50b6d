//! Starts under bad conditions: each says one line that tells what, where and what to do, and does what
//! docs/operations.md says.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use super::PROGRAM;
use super::root::{NOBODY, Root, complaints, root_or_skip};
use super::support::{Behaviour, Home, Receiver, Request, Setup, array, eventually, get, marked, post, stored};

/// On ports that are free.
fn anywhere(setup: Setup) -> Setup {
    setup.set("api.bind", "127.0.0.1:0").set("sources.ingest.bind", "127.0.0.1:0")
}

/// Ends with this code, having said these lines and no other.
async fn ends_with(setup: Setup, code: i32, lines: &[&str]) {
    let mut sidecar = setup.spawn();
    assert_eq!(sidecar.exit_code().await, Some(code), "{}", sidecar.log());
    let said = complaints(&sidecar.log());
    assert_eq!(said.len(), lines.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(lines) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_with_the_port_and_its_variable() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (key, variable) in [("sources.http.bind", "TRACE_PORT"), ("api.bind", "TRACE_API_PORT")] {
        let mut sidecar = home.setup().set(key, &address).spawn();
        assert_eq!(sidecar.exit_code().await, Some(1), "{}", sidecar.log());
        let said = complaints(&sidecar.log());
        assert_eq!(said.len(), 1, "{said:#?}");
        for part in [&*address, "another process has the port: choose another one or stop that process", variable] {
            assert!(said[0].contains(part), "{}", said[0]);
        }
    }
}

#[tokio::test]
async fn a_data_folder_that_may_not_be_written_ends_the_start() {
    if !root_or_skip() {
        return;
    }
    let line = "ERROR cannot start: sinks.store: database /data/openclaw-trace.db: Permission denied (os error 13); \
                choose a place that can be written (key path, or TRACE_DB_PATH)";
    // The folder, then a file of somebody else's in a folder of one's own.
    let home = Home::new();
    let root = Root::new(&home);
    root.folder("data", 0);
    ends_with(anywhere(root.setup(NOBODY)), 1, &[line]).await;
    root.folder("data", NOBODY);
    root.file("data/openclaw-trace.db", "");
    std::fs::set_permissions(root.at("data/openclaw-trace.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
    ends_with(anywhere(root.setup(NOBODY)), 1, &[line]).await;
    assert_eq!(std::fs::read(root.at("data/openclaw-trace.db")).unwrap(), b"", "left as it was");
}

#[tokio::test]
async fn a_file_system_that_is_read_only_ends_the_start_also_where_a_database_is_there() {
    if !root_or_skip() {
        return;
    }
    let home = Home::new();
    let root = Root::new(&home);
    root.folder("data", NOBODY);
    let script = "mount --bind \"$ROOT\" \"$ROOT\" && mount -o remount,bind,ro \"$ROOT\"";
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-c", script]).env("ROOT", root.path());
    if !probe.output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let setup = |root: &Root| anywhere(root.setup_in_mounts(script, NOBODY));
    let line = "ERROR cannot start: sinks.store: database /data/openclaw-trace.db: Read-only file system (os error 30); \
                choose a place that can be written (key path, or TRACE_DB_PATH)";
    ends_with(setup(&root), 1, &[line]).await;
    anywhere(root.setup(NOBODY)).start().await.stop().await;
    ends_with(setup(&root), 1, &[line]).await;
}

#[tokio::test]
async fn without_a_data_folder_the_database_is_in_the_working_directory_and_that_is_said() {
    if !root_or_skip() {
        return;
    }
    let home = Home::new();
    let root = Root::new(&home);
    let said = "WARN /data does not exist: the database is in the working directory";
    let mut sidecar = anywhere(root.setup(0)).start().await;
    assert_eq!(post(sidecar.ingest, &Request::events(marked("here").to_string())).await.status, 200);
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0));
    let lines = complaints(&sidecar.log());
    assert!(lines.len() == 1 && lines[0].starts_with(said), "{lines:#?}");
    assert!(stored(&root.at("openclaw-trace.db")).iter().any(|event| event.marker() == "here"));
    // And where that may not be written either.
    let home = Home::new();
    let root = Root::new(&home);
    let line = "ERROR cannot start: sinks.store: database ./openclaw-trace.db: Permission denied";
    ends_with(anywhere(root.setup(NOBODY)), 1, &[said, line]).await;
}

#[tokio::test]
async fn a_database_that_is_not_on_the_volume_is_said_and_used() {
    if !root_or_skip() {
        return;
    }
    let home = Home::new();
    let root = Root::new(&home);
    root.folder("data", NOBODY);
    root.folder("tmp", NOBODY);
    let mut sidecar = anywhere(root.setup(NOBODY)).env("TRACE_DB_PATH", "/tmp/trace.db").start().await;
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0));
    let lines = complaints(&sidecar.log());
    assert!(
        lines.len() == 1 && lines[0].contains("the database is not on /data: a deploy may delete it"),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn cgroup_files_that_may_not_be_read_cost_one_line_and_their_figures() {
    if !root_or_skip() {
        return;
    }
    for closed in ["files", "folder"] {
        let home = Home::new();
        let root = Root::new(&home);
        root.folder("data", NOBODY);
        root.file("proc/self/cgroup", "0::/\n");
        root.file("proc/self/mountinfo", "");
        root.file("proc/meminfo", "MemTotal: 262144 kB\nMemAvailable: 131072 kB\n");
        root.file("proc/stat", "cpu  10 0 10 100 0 0 0 0 0 0\n");
        for file in ["cgroup.controllers", "memory.current", "memory.max", "memory.stat", "cpu.max", "cpu.stat"] {
            let name = format!("sys/fs/cgroup/{file}");
            root.file(&name, "1\n");
            if closed == "files" {
                std::fs::set_permissions(root.at(&name), std::fs::Permissions::from_mode(0o000)).unwrap();
            }
        }
        if closed == "folder" {
            std::fs::set_permissions(root.at("sys/fs/cgroup"), std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        let mut sidecar = anywhere(root.setup(NOBODY)).env("TRACE_METRICS_INTERVAL", "1s").start().await;
        let db = root.at("data/openclaw-trace.db");
        eventually("samples are taken", async || stored(&db).iter().filter(|event| event.kind == "metric").count() > 0)
            .await;
        assert_eq!(post(sidecar.ingest, &Request::events(marked("x").to_string())).await.status, 200);
        sidecar.signal(rustix::process::Signal::TERM);
        assert_eq!(sidecar.exit_code().await, Some(0));
        let lines = complaints(&sidecar.log());
        let said = "WARN this user may not read it; what it and others like it tell is left out of resource samples Permission denied";
        assert!(lines.len() == 1 && lines[0].starts_with(said), "{closed}: {lines:#?}");
        assert!(lines[0].contains("/sys/fs/cgroup"), "{lines:#?}");
    }
}

/// The static binary asks the kernel for the time without a library that could be replaced. Under an emulator it asks the
/// emulator, and that one's library can be: libfaketime.
fn at(setup: Setup, time: &str) -> Option<Setup> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let emulator = Command::new("qemu-x86_64").arg("--version").output().is_ok();
    if !emulator || !std::path::Path::new(library).exists() {
        eprintln!("skipped: another clock needs qemu-x86_64 and libfaketime (Debian: qemu-user, libfaketime)");
        return None;
    }
    let script = format!(
        "PATH=/usr/local/bin:/usr/bin:/bin; exec env LD_PRELOAD={library} FAKETIME='{time}' TZ=UTC0 qemu-x86_64 \"$0\" \"$@\""
    );
    Some(setup.under(&["/bin/sh", "-c", &script]))
}

#[tokio::test]
async fn a_clock_before_2020_is_said_and_what_came_then_is_kept_and_pushed_once_it_is_right() {
    let home = Home::new();
    let receiver = Receiver::start(Behaviour::Accept).await;
    let setup = home.setup();
    let Some(unset) = at(setup.clone(), "@1970-01-01 00:00:07") else { return };
    let mut sidecar = unset.start().await;
    let mut early = marked("early");
    early.as_object_mut().unwrap().remove("trace_id");
    assert_eq!(post(sidecar.ingest, &Request::events(early.to_string())).await.status, 200);
    assert_eq!(get(sidecar.api, "/readyz").await.status, 200);
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    let lines = complaints(&sidecar.log());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("WARN the clock says 1970-01-01T00:00:"), "{lines:#?}");

    // The clock is right; retention runs, and what is old goes.
    let mut old = marked("old");
    old["timestamp"] = json!("2021-01-01T00:00:00Z");
    let push = "[sinks.push]\ntype = \"augmi_push\"\ninputs = [\"store\"]\nagent_id = \"a\"\ninterval = \"100ms\"\n";
    let setup = setup.more(push).more(&format!("endpoint = \"{}\"\n", receiver.url()));
    let sidecar = setup.set("sinks.store.retention_interval", "100ms").start().await;
    assert!(complaints(&sidecar.log()).is_empty(), "{}", sidecar.log());
    let sent = array(&[old, marked("new")]);
    assert_eq!(post(sidecar.ingest, &Request::events(sent)).await.status, 200);
    let markers = || stored(&home.db()).iter().map(super::support::Stored::marker).collect::<Vec<_>>();
    eventually("what is old is deleted", async || markers() == ["early", "new"]).await;
    eventually("what came early is pushed", async || stored(&home.db())[0].pushed).await;
    sidecar.stop().await;
}

/// The tests stand for the file that ships: it too is linked statically.
#[test]
fn the_program_that_is_tried_is_static() {
    let ldd = Command::new("ldd").arg(PROGRAM).output().unwrap();
    let said = String::from_utf8_lossy(&ldd.stdout).into_owned() + &String::from_utf8_lossy(&ldd.stderr);
    assert!(said.contains("statically linked") || said.contains("not a dynamic executable"), "{said}");
}
