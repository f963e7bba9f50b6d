//! `deploy/start.sh` with a real sidecar and an agent of a few lines.

use std::collections::HashSet;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::support::{Home, Request, eventually, marked, post, stored};
use super::{PROGRAM, repository};

/// Says when it starts, and at TERM, half a second later, sends its last event and ends with 7.
const AGENT: &str = r#"
import http.client, json, os, signal, sys, time

port, started = int(sys.argv[1]), sys.argv[2]

def stop(signum, frame):
    time.sleep(0.5)
    event = {"kind": "session", "name": "end", "attributes": {"marker": "last"}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/events", json.dumps(event), {"content-type": "application/json"})
    assert connection.getresponse().status == 200
    os._exit(7)

signal.signal(signal.SIGTERM, stop)
with open(started, "a") as file:
    file.write(f"{os.getpid()}\n")
while True:
    signal.pause()
"#;

/// A machine whose entry point is the script.
struct Machine {
    home: Home,
    script: Child,
    port: u16,
}

impl Machine {
    /// With the agent above.
    fn start() -> Self {
        let (home, port) = (Home::new(), free_port());
        std::fs::write(home.path("agent.py"), AGENT).unwrap();
        let agent = ["python3", "agent.py", &port.to_string(), "agents"].map(str::to_owned);
        Self::with(home, port, &agent, &[])
    }

    /// With any agent, and more variables.
    fn with(home: Home, port: u16, agent: &[String], env: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(home.path("log")).unwrap();
        // A signal that was ignored by who runs the tests (a job in the background) could not be trapped by a shell.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM,HUP", "sh"]);
        command.arg(repository("deploy/start.sh")).args(agent).current_dir(home.path("."));
        for variable in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRACE_")) {
            command.env_remove(variable.0);
        }
        command
            .env("TRACE_BIN", PROGRAM)
            .env("TRACE_PORT", port.to_string())
            .env("TRACE_API_PORT", free_port().to_string())
            .env("TRACE_DB_PATH", home.db())
            .env("TRACE_LOG_LEVEL", "info")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // As in a terminal: a signal to the group reaches all that did not leave it.
            .process_group(0);
        let script = command.spawn().unwrap();
        Self { home, script, port }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.script)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path("log")).unwrap_or_default()
    }

    /// The agents that were ever started.
    fn agents(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.home.path("agents")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// The sidecar's process, once it takes events.
    async fn sidecar(&self) -> Option<u32> {
        let listens = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
        descendants(self.script.id()).into_iter().find(|pid| listens && name(*pid) == "openclaw-trace")
    }

    /// Until agent and sidecar run.
    async fn up(&self) {
        eventually("agent and sidecar run", async || self.agents().len() == 1 && self.sidecar().await.is_some()).await;
    }

    async fn send(&self, marker: &str) {
        let answer = post(([127, 0, 0, 1], self.port).into(), &Request::events(marked(marker).to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the script ends", async || {
            code = self.script.try_wait().unwrap();
            code.is_some()
        })
        .await;
        code.unwrap().code()
    }

    fn markers(&self) -> HashSet<String> {
        stored(&self.home.db()).iter().map(|event| event.marker()).filter(|marker| !marker.is_empty()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the machine's log:\n{}", self.log());
        }
        for pid in descendants(self.script.id()).into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            // An error means that it has ended.
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// All processes below this one.
fn descendants(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().map(|child| child.parse().unwrap()).collect();
    children.iter().flat_map(|child| std::iter::once(*child).chain(descendants(*child))).collect()
}

#[tokio::test]
async fn a_signal_stops_both_and_the_agent_s_last_event_and_exit_code_are_kept() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut machine = Machine::start();
        machine.up().await;
        machine.send("first").await;
        let everything = descendants(machine.script.id());
        kill_process(machine.pid(), signal).unwrap();
        assert_eq!(machine.exit_code().await, Some(7), "{}", machine.log());
        assert!(machine.log().contains("stopped; everything was drained"), "{}", machine.log());
        assert_eq!(machine.markers(), ["first", "last"].map(str::to_owned).into());
        assert_eq!(machine.agents().len(), 1, "started once");
        eventually("nothing is left behind", async || {
            everything.iter().all(|pid| !["openclaw-trace", "python3"].contains(&&*name(*pid)))
        })
        .await;
    }
}

#[tokio::test]
async fn ctrl_c_reaches_the_group_and_the_sidecar_is_there_until_the_agent_is_gone() {
    if Command::new("setsid").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no setsid here");
        return;
    }
    let mut machine = Machine::start();
    machine.up().await;
    kill_process_group(machine.pid(), Signal::INT).unwrap();
    assert_eq!(machine.exit_code().await, Some(7), "{}", machine.log());
    assert!(machine.markers().contains("last"));
    assert!(!machine.log().contains("starting it again"), "{}", machine.log());
}

#[tokio::test]
async fn a_sidecar_that_is_killed_comes_back_and_the_agent_goes_on() {
    let mut machine = Machine::start();
    machine.up().await;
    machine.send("before").await;
    let killed = machine.sidecar().await.unwrap();
    kill_process(Pid::from_raw(killed.cast_signed()).unwrap(), Signal::KILL).unwrap();
    eventually("another sidecar takes events", async || machine.sidecar().await.is_some_and(|pid| pid != killed)).await;
    assert!(machine.log().contains("ended with code 137; starting it again in 1 s"), "{}", machine.log());
    machine.send("after").await;
    assert_eq!(name(machine.agents()[0]), "python3", "the agent runs");
    kill_process(machine.pid(), Signal::TERM).unwrap();
    assert_eq!(machine.exit_code().await, Some(7), "{}", machine.log());
    assert_eq!(machine.markers(), ["before", "after", "last"].map(str::to_owned).into());
    assert_eq!(machine.agents().len(), 1, "the agent was started once");
}

#[tokio::test]
async fn an_agent_that_ends_by_itself_ends_the_machine_with_its_code() {
    let (home, port) = (Home::new(), free_port());
    let agent = ["sh", "-c", "echo once >>agents; sleep 2; exit 3"].map(str::to_owned);
    let mut machine = Machine::with(home, port, &agent, &[]);
    assert_eq!(machine.exit_code().await, Some(3), "{}", machine.log());
    assert!(machine.log().contains("stopped; everything was drained"), "{}", machine.log());
    assert_eq!(std::fs::read_to_string(machine.home.path("agents")).unwrap(), "once\n");
}

#[tokio::test]
async fn a_sidecar_that_cannot_run_is_said_and_never_stops_the_agent() {
    let agent = ["sh", "-c", "sleep 4; exit 5"].map(str::to_owned);
    for (env, said) in [
        (("TRACE_RETENTION_DAYS", "a week"), "refused its configuration; the agent goes on without it"),
        (("TRACE_BIN", "./no-such-program"), "ended with code 127; starting it again in 2 s"),
    ] {
        let mut machine = Machine::with(Home::new(), free_port(), &agent, &[env]);
        assert_eq!(machine.exit_code().await, Some(5), "{}", machine.log());
        assert!(machine.log().contains(said), "{}", machine.log());
    }
}

#[tokio::test]
async fn a_sidecar_that_does_not_stop_is_ended_and_the_agent_s_code_is_kept() {
    let home = Home::new();
    let deaf = "#!/bin/sh\ntrap '' TERM INT\nwhile :; do sleep 1; done\n";
    std::fs::write(home.path("deaf"), deaf).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path("deaf"), executable).unwrap();
    let agent = ["sh", "-c", "sleep 1; exit 9"].map(str::to_owned);
    let env = [("TRACE_BIN", "./deaf"), ("TRACE_STOP_SECONDS", "1")];
    let mut machine = Machine::with(home, free_port(), &agent, &env);
    eventually("the sidecar runs", async || descendants(machine.script.id()).iter().any(|pid| name(*pid) == "deaf"))
        .await;
    let deaf = descendants(machine.script.id()).into_iter().find(|pid| name(*pid) == "deaf").unwrap();
    assert_eq!(machine.exit_code().await, Some(9), "{}", machine.log());
    assert!(machine.log().contains("./deaf did not stop within 1 s"), "{}", machine.log());
    eventually("the sidecar is gone", async || name(deaf) != "deaf").await;
}

#[test]
fn without_an_agent_it_says_how_it_is_used() {
    let output = Command::new("sh").arg(repository("deploy/start.sh")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: start.sh AGENT"));
}
