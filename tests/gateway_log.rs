//! OpenClaw's own log, followed by the built program.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;
use support::{Home, Setup, eventually, stored};

fn line(level: &str, text: &str) -> String {
    format!(
        r#"{{"0":"{{\"subsystem\":\"agent/embedded\"}}","1":"{text}","_meta":{{"name":"{{\"subsystem\":\"agent/embedded\"}}","logLevelName":"{level}","date":"2026-11-25T07:00:00.000Z"}},"time":"2026-11-25T07:00:00.000+00:00","message":"{text}"}}
"#
    )
}

fn append(log: &Path, text: &str) {
    std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap().write_all(text.as_bytes()).unwrap();
}

fn setup(home: &Home) -> Setup {
    let folder = home.path("logs");
    std::fs::create_dir_all(&folder).unwrap();
    home.setup().keep_forever().set("transforms.assemble.inputs", r#"["dedupe", "gateway"]"#).more(&format!(
        "\n[sources.gateway]\ntype = \"gateway_log\"\ndirectory = \"{}\"\npoll_interval = \"100ms\"\nfrom_start = true\n",
        folder.display()
    ))
}

fn texts(home: &Home) -> Vec<String> {
    stored(&home.db()).into_iter().map(|event| event.output.unwrap_or_default()).collect()
}

#[tokio::test]
async fn its_warnings_arrive_once_over_kills_and_a_new_day() {
    let home = Home::new();
    let setup = setup(&home);
    let day = |day: u32| home.path("logs").join(format!("openclaw-2026-11-{day}.log"));
    append(&day(24), &format!("{}{}{}", line("WARN", "first"), line("INFO", "not taken"), line("ERROR", "second")));
    let mut sidecar = setup.start().await;
    eventually("two lines are stored", async || texts(&home).len() == 2).await;
    sidecar.signal(Signal::KILL);
    sidecar.exit_code().await;

    // Written while it was down: the end of one day and the start of the next, its last line not complete.
    append(&day(24), &line("WARN", "third"));
    append(&day(25), &line("FATAL", "fourth"));
    let last = line("WARN", "fifth");
    append(&day(25), &last[..30]);
    let sidecar = setup.start().await;
    eventually("four lines are stored", async || texts(&home).len() == 4).await;
    append(&day(25), &last[30..]);
    eventually("five lines are stored", async || texts(&home).len() == 5).await;
    sidecar.stop().await;
    let expected = ["first", "second", "third", "fourth", "fifth"].map(|text| format!("\"{text}\""));
    assert_eq!(texts(&home), expected);
    let kinds: Vec<_> = stored(&home.db()).into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["log", "error", "log", "error", "log"]);
}
