//! Units, services, `fly.toml`, the bill of materials and the schema, held against what reads them.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::support::{Home, Request, eventually, marked, post, stored};
use super::{PROGRAM, repository};

fn text(name: &str) -> String {
    std::fs::read_to_string(repository(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn is_here(tool: &str, package: &str) -> bool {
    let here = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !here {
        eprintln!("skipped: {tool} is not here (Debian: {package})");
    }
    here
}

#[test]
fn the_schema_is_the_one_that_the_program_prints_and_every_configuration_names_it() {
    let printed = Home::new().bare().arg("schema").output().stdout;
    let kept = text("config/openclaw-trace.schema.json");
    assert!(printed == kept, "write it anew: cargo run -- schema > config/openclaw-trace.schema.json");
    for entry in std::fs::read_dir(repository("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().next(), Some("#:schema ./openclaw-trace.schema.json"), "{}", path.display());
        }
    }
}

/// A root with systemd's own units and ours, and an agent's unit with our drop-in.
fn units(home: &Home) -> std::path::PathBuf {
    let root = home.path("root");
    let system = root.join("usr/lib/systemd/system");
    std::fs::create_dir_all(&system).unwrap();
    let own = ["/usr/lib/systemd/system", "/lib/systemd/system"].into_iter().find(|folder| Path::new(folder).is_dir());
    let copied = Command::new("cp").arg("-r").arg(format!("{}/.", own.unwrap())).arg(&system).status().unwrap();
    assert!(copied.success());
    let etc = root.join("etc/systemd/system");
    std::fs::create_dir_all(etc.join("openclaw.service.d")).unwrap();
    std::fs::copy(repository("deploy/systemd/openclaw-trace.service"), etc.join("openclaw-trace.service")).unwrap();
    std::fs::copy(repository("deploy/systemd/agent.conf"), etc.join("openclaw.service.d/openclaw-trace.conf")).unwrap();
    let agent = "[Unit]\nDescription=an agent\n[Service]\nExecStart=/usr/local/bin/openclaw gateway\n";
    std::fs::write(etc.join("openclaw.service"), agent).unwrap();
    let bin = root.join("usr/local/bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["openclaw", "openclaw-trace"] {
        std::fs::copy("/bin/true", bin.join(name)).unwrap();
    }
    root
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_that_is_open() {
    if !is_here("systemd-analyze", "systemd") {
        return;
    }
    let home = Home::new();
    let root = units(&home);
    let analyze = |words: &[&str]| {
        let root = format!("--root={}", root.display());
        Command::new("systemd-analyze").args(words).arg(root).output().unwrap()
    };
    let verified = analyze(&["verify", "--man=no", "openclaw-trace.service", "openclaw.service"]);
    assert!(verified.status.success() && said(&verified).trim().is_empty(), "{}", said(&verified));
    // Of 100: what the unit leaves open to the service.
    let secure = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager", "openclaw-trace.service"]);
    assert!(secure.status.success(), "{}", said(&secure));

    // A mistake is found: the check checks.
    let unit = root.join("etc/systemd/system/openclaw-trace.service");
    let wrong = std::fs::read_to_string(&unit).unwrap().replace("ProtectSystem=strict", "ProtectSystem=very");
    std::fs::write(&unit, wrong).unwrap();
    let verified = analyze(&["verify", "--man=no", "openclaw-trace.service"]);
    assert!(said(&verified).contains("protect system"), "{}", said(&verified));
}

#[test]
fn the_unit_holds_what_keeps_the_agent_alive() {
    let unit = text("deploy/systemd/openclaw-trace.service");
    for line in [
        "ExecStart=/usr/local/bin/openclaw-trace run",
        "MemoryMax=64M",
        "ProtectSystem=strict",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "TimeoutStopSec=30",
        "RestartPreventExitStatus=2",
    ] {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
    let drop_in = text("deploy/systemd/agent.conf");
    assert!(drop_in.contains("Wants=openclaw-trace.service") && drop_in.contains("After=openclaw-trace.service"));
    assert!(!drop_in.contains("Requires=") && !drop_in.contains("BindsTo="), "the agent never stops with it");
}

#[test]
fn fly_stops_with_time_to_drain_keeps_the_volume_and_checks_health() {
    let fly = text("deploy/fly.toml");
    let line = |start: &str| fly.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"));
    assert_eq!(line("kill_signal"), "kill_signal = \"SIGTERM\"");
    assert_eq!(line("kill_timeout"), "kill_timeout = 30");
    assert_eq!(line("destination"), "destination = \"/data\"");
    assert_eq!(line("path"), "path = \"/healthz\"");
    assert_eq!(line("memory"), "memory = \"256mb\"");
    // What start.sh may take for the sidecar alone leaves half for the agent.
    assert!(text("deploy/start.sh").contains("TRACE_STOP_SECONDS:-15"));
}

#[test]
fn its_variables_are_taken_by_the_program() {
    let fly = text("deploy/fly.toml");
    let unit = text("deploy/systemd/openclaw-trace.service");
    let of_fly = fly.lines().filter_map(|line| line.split_once(" = ")).filter(|(name, _)| name.starts_with("TRACE_"));
    let of_unit = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let home = Home::new();
    let mut setup = home.bare();
    let mut seen = 0;
    for (name, value) in of_fly.chain(of_unit) {
        setup = setup.env(name, value.trim_matches('"'));
        seen += 1;
    }
    assert!(seen >= 2);
    let output = setup.arg("validate").output();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
}

#[test]
fn the_service_of_s6_overlay_is_whole() {
    let folder = "deploy/s6-overlay/s6-rc.d/openclaw-trace";
    assert_eq!(text(&format!("{folder}/type")), "longrun\n");
    assert_eq!(text(&format!("{folder}/dependencies.d/base")), "");
    assert_eq!(text("deploy/s6-overlay/s6-rc.d/user/contents.d/openclaw-trace"), "");
    let kill: u64 = text(&format!("{folder}/timeout-kill")).trim().parse().unwrap();
    let down: u64 = text(&format!("{folder}/timeout-down")).trim().parse().unwrap();
    assert!(kill > 10_000 && down > kill, "milliseconds, over the drain's 10 s");
    let finish = |code: &str| {
        Command::new("sh")
            .arg(repository(&format!("{folder}/finish")))
            .args([code, "0"])
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!((finish("2"), finish("1"), finish("256")), (Some(125), Some(0), Some(0)));
}

/// Under s6 itself: killed, it is started again; told to stop, it drains.
#[tokio::test]
async fn s6_starts_it_again_and_stops_it_in_order() {
    if Command::new("s6-supervise").stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: s6-supervise is not here (Debian: s6)");
        return;
    }
    let home = Home::new();
    let service = home.path("service");
    std::fs::create_dir(&service).unwrap();
    let folder = repository("deploy/s6-overlay/s6-rc.d/openclaw-trace");
    for name in ["finish", "timeout-kill"] {
        std::fs::copy(folder.join(name), service.join(name)).unwrap();
    }
    // s6-overlay's own shell is not here, and the program stands elsewhere.
    let run = std::fs::read_to_string(folder.join("run")).unwrap();
    assert!(run.starts_with("#!/command/with-contenv sh\n") && run.contains("/usr/local/bin/openclaw-trace"));
    let run = run.replace("#!/command/with-contenv sh", "#!/bin/sh").replace("/usr/local/bin/openclaw-trace", PROGRAM);
    std::fs::write(service.join("run"), run).unwrap();
    std::fs::set_permissions(service.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = std::fs::File::create(home.path("log")).unwrap();
    let mut supervisor = Command::new("s6-supervise")
        .arg(&service)
        .env("TRACE_PORT", port.to_string())
        .env("TRACE_API__BIND", "127.0.0.1:0")
        .env("TRACE_DB_PATH", home.db())
        .env("TRACE_LOG_LEVEL", "info")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let control = |word: &str| assert!(Command::new("s6-svc").arg(word).arg(&service).status().unwrap().success());
    let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    let starts = || std::fs::read_to_string(home.path("log")).unwrap().matches("ingest listening").count();
    eventually("it takes events", async || starts() == 1 && listens().await).await;
    let answer = post(([127, 0, 0, 1], port).into(), &Request::events(marked("before").to_string())).await;
    assert_eq!(answer.status, 200);
    control("-k");
    eventually("it is there again", async || starts() == 2 && listens().await).await;
    control("-dx");
    eventually("the supervisor ends", async || supervisor.try_wait().unwrap().is_some()).await;
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    assert!(log.contains("stopped; everything was drained"), "{log}");
    assert!(stored(&home.db()).iter().any(|event| event.marker() == "before"));
}

/// What the schema of CycloneDX 1.5 requires, and that nothing of the binary is missing.
#[test]
fn the_bill_of_materials_names_every_crate_with_version_licence_and_checksum() {
    if !is_here("python3", "python3") {
        return;
    }
    let output = Command::new(repository("deploy/sbom")).arg(PROGRAM).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let bill: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"], &bill["version"]),
        (&"CycloneDX".into(), &"1.5".into(), &1.into())
    );
    assert!(bill["serialNumber"].as_str().unwrap().starts_with("urn:uuid:"));
    let root = &bill["metadata"]["component"];
    assert_eq!((&root["type"], &root["name"]), (&"application".into(), &"openclaw-trace".into()));
    let components = bill["components"].as_array().unwrap();
    let mut known: HashSet<&str> = HashSet::from([root["bom-ref"].as_str().unwrap()]);
    for component in components.iter().chain([root]) {
        let told = |key: &str| component[key].as_str().unwrap_or_else(|| panic!("{key} in {component}"));
        assert!(["library", "application"].contains(&told("type")));
        assert!(told("purl").contains(&format!("{}@{}", told("name"), told("version"))));
        assert!(!component["licenses"].as_array().is_none_or(Vec::is_empty), "{component}");
        for hash in component["hashes"].as_array().into_iter().flatten() {
            assert_eq!((&hash["alg"], hash["content"].as_str().unwrap().len()), (&"SHA-256".into(), 64));
        }
        if component != root {
            assert!(known.insert(told("bom-ref")), "{} is there twice", told("bom-ref"));
        }
        // Everything of the registry has the checksum that Cargo.lock holds.
        if told("purl").starts_with("pkg:cargo/") && !told("name").starts_with("openclaw-trace") {
            assert!(component["hashes"].is_array(), "{component}");
        }
    }
    for edge in bill["dependencies"].as_array().unwrap() {
        assert!(known.contains(edge["ref"].as_str().unwrap()), "{edge}");
        assert!(
            edge["dependsOn"].as_array().unwrap().iter().all(|one| known.contains(one.as_str().unwrap())),
            "{edge}"
        );
    }
    let named = |name: &str| components.iter().any(|component| component["name"] == name);
    for name in ["tokio", "rustls", "ring", "rusqlite", "sqlite", "zstd", "glibc", "rust-std", "preact"] {
        assert!(named(name), "{name}");
    }
    for name in ["tempfile", "proptest", "shuttle", "insta"] {
        assert!(!named(name), "{name} is not in the binary");
    }
}

#[test]
fn the_plugin_in_the_documentation_is_the_example_and_it_is_a_plugin_like_the_others() {
    let (document, example) = (text("docs/plugins.md"), text("examples/own_plugin.rs"));
    let code = document.split_once("```rust\n").unwrap().1.split_once("```\n").unwrap().0;
    assert!(example.ends_with(code), "docs/plugins.md and examples/own_plugin.rs differ");

    // Beside the test's own file; made by `cargo test`, and not by `cargo test --test deployment`.
    let this = std::env::current_exe().unwrap();
    let program = this.ancestors().nth(2).unwrap().join("examples/own_plugin");
    if !program.is_file() {
        eprintln!("not run: the example is not built");
        return;
    }
    let run = |words: &[&str]| Command::new(&program).args(words).env_clear().output().unwrap();
    let shown = run(&["plugins", "name_agent"]);
    assert!(shown.status.success() && said(&shown).contains("agent_id"), "{}", said(&shown));
    assert!(said(&run(&["plugins"])).contains("http_ingest"), "and those that come with the program");
    let wrong = "[sources.in]\ntype = \"http_ingest\"\n[transforms.name]\ntype = \"name_agent\"\ninputs = [\"in\"]\n\
                 agent_id = \"\"\n[sinks.out]\ntype = \"console\"\ninputs = [\"name\"]\n";
    let home = Home::new();
    std::fs::write(home.path("own.toml"), wrong).unwrap();
    let refused = run(&["validate", "--config", home.path("own.toml").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("transforms.name.agent_id: is empty; give the agent's name"), "{}", said(&refused));
}

/// The rules of hadolint that concern this file.
#[test]
fn the_dockerfile_keeps_the_rules() {
    let instructions = super::image::instructions();
    let all = |word: &str| {
        instructions.iter().filter(|(name, _)| name == word).map(|(_, rest)| rest.clone()).collect::<Vec<_>>()
    };
    let stages = all("FROM");
    for from in &stages {
        let image = from.split_whitespace().next().unwrap();
        assert!(image == "scratch" || image.contains(':') && !image.ends_with(":latest"), "{from}");
    }
    assert!(stages.last().unwrap().starts_with("scratch"));
    assert!(all("ADD").is_empty() && all("MAINTAINER").is_empty());
    for word in ["ENTRYPOINT", "CMD", "HEALTHCHECK", "USER", "STOPSIGNAL", "VOLUME"] {
        assert_eq!(all(word).len(), 1, "{word}");
    }
    for word in ["ENTRYPOINT", "CMD"] {
        let list: Vec<String> = serde_json::from_str(&all(word)[0]).unwrap_or_else(|_| panic!("{word} is no list"));
        assert!(!list.is_empty());
    }
    assert!(all("WORKDIR").iter().all(|folder| folder.starts_with('/')));
    assert!(!all("USER")[0].starts_with("0") && !all("USER")[0].starts_with("root"));
    let named =
        stages.iter().filter_map(|from| from.split_once(" AS ")).map(|(_, name)| name.to_owned()).collect::<Vec<_>>();
    for copy in all("COPY") {
        let from = copy.split_whitespace().find_map(|word| word.strip_prefix("--from=").map(str::to_owned));
        assert!(from.is_none_or(|from| named.contains(&from)), "{copy}");
    }
}
