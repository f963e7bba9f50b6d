//! `deploy/Dockerfile` without an engine: its last stage is built in a folder, step by step, and run as an engine would.

use std::os::unix::fs::chown;
use std::process::Command;

use rustix::process::Signal;

use super::root::{Root, alone, complaints};
use super::support::{Home, Request, get, marked, post, stored};
use super::{PROGRAM, repository};

/// Each instruction with the rest of its line, lines joined.
pub(crate) fn instructions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository("deploy/Dockerfile")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = joined.lines().filter(|line| !line.trim().is_empty()).map(|line| line.split_once(' ').unwrap());
    split.map(|(word, rest)| (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

/// What the image is run with.
#[derive(Debug, Default)]
struct Run {
    user: u32,
    entry: Vec<String>,
    command: Vec<String>,
    health: Vec<String>,
    stop: String,
}

/// Builds the last stage in `root`, from a build stage in which the program is built already.
fn build(home: &Home, root: &Root) -> Run {
    let build = home.path("build");
    let list = |text: &str| -> Vec<String> { serde_json::from_str(text).unwrap() };
    let (mut run, mut stage) = (Run::default(), 0);
    for (word, rest) in instructions() {
        match (&*word, stage) {
            ("FROM", _) => stage += 1,
            ("WORKDIR", 1) => {
                std::fs::create_dir_all(build.join(rest.trim_start_matches('/'))).unwrap();
            }
            ("COPY", 1) => assert_eq!(rest, ". ."),
            // Everything that it does, but in a folder, and without the minutes of the compiler.
            ("RUN", 1) => {
                let source = build.join("src");
                std::fs::create_dir_all(source.join("target/dist")).unwrap();
                std::fs::create_dir_all(source.join("deploy")).unwrap();
                std::fs::hard_link(root.at("openclaw-trace"), source.join("target/dist/openclaw-trace")).unwrap();
                std::fs::write(source.join("target/dist/openclaw-trace.cdx.json"), "{}").unwrap();
                std::fs::remove_file(root.at("openclaw-trace")).unwrap();
                for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
                    std::fs::copy(repository(licence), source.join(licence)).unwrap();
                }
                let steps = rest
                    .replace("deploy/build-static", "true")
                    .replace("/empty", &build.join("empty").display().to_string());
                let done = Command::new("sh").args(["-euc", &steps]).current_dir(&source).status().unwrap();
                assert!(done.success(), "{steps}");
            }
            ("COPY", 2) => {
                let mut words: Vec<&str> = rest.split(' ').collect();
                words.retain(|word| *word != "--from=build");
                let owner = words.iter().find_map(|word| word.strip_prefix("--chown=")).map(str::to_owned);
                words.retain(|word| !word.starts_with("--chown="));
                let (from, to) =
                    (build.join(words[0].trim_start_matches('/')), root.at(words[1].trim_start_matches('/')));
                let from = if words[0].ends_with('/') { from.join(".") } else { from };
                let mut copy = Command::new("cp");
                copy.arg("-r");
                assert!(copy.arg(from).arg(to).status().unwrap().success(), "{rest}");
                if let Some(owner) = owner {
                    let (user, group) = owner.split_once(':').unwrap();
                    for name in ["data", "tmp"] {
                        chown(root.at(name), user.parse().ok(), group.parse().ok()).unwrap();
                    }
                }
            }
            ("USER", 2) => run.user = rest.split(':').next().unwrap().parse().unwrap(),
            ("ENTRYPOINT", 2) => run.entry = list(&rest),
            ("CMD", 2) => run.command = list(&rest),
            ("HEALTHCHECK", 2) => run.health = list(rest.split_once("CMD ").unwrap().1),
            ("STOPSIGNAL", 2) => run.stop = rest,
            ("WORKDIR" | "VOLUME", 2) => assert!(root.at(rest.trim_start_matches('/')).is_dir(), "{rest}"),
            (other, stage) => panic!("{other} in stage {stage} is not known here"),
        }
    }
    run
}

#[tokio::test]
async fn the_image_starts_as_nobody_is_healthy_and_keeps_its_volume() {
    if !alone("image::the_image_starts_as_nobody_is_healthy_and_keeps_its_volume") {
        return;
    }
    let home = Home::new();
    let root = Root::new(&home);
    let run = build(&home, &root);
    assert!(run.user > 0);
    assert_eq!(run.entry, ["/openclaw-trace"], "what is started below");
    assert_eq!(run.stop, "SIGTERM");
    let mut made: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    made.sort();
    assert_eq!(made, ["data", "licences", "openclaw-trace", "tmp"], "nothing else is in the image");
    assert_eq!(std::fs::read_dir(root.at("licences")).unwrap().count(), 3);
    assert_eq!(std::fs::metadata(root.at("openclaw-trace")).unwrap().len(), std::fs::metadata(PROGRAM).unwrap().len());

    // Its health check, while nothing runs and while it does; then a second container on the same volume.
    let health = || run.health[1..].iter().fold(root.setup(run.user), |setup, word| setup.arg(word)).output().code;
    assert_eq!(run.health[0], "/openclaw-trace");
    assert_eq!(health(), Some(1));
    for round in ["first", "second"] {
        let mut sidecar = run.command.iter().fold(root.setup(run.user), |setup, word| setup.arg(word)).start().await;
        assert_eq!(health(), Some(0));
        assert_eq!(get(sidecar.api, "/healthz").await.status, 200);
        assert_eq!(post(sidecar.ingest, &Request::events(marked(round).to_string())).await.status, 200);
        sidecar.signal(Signal::TERM);
        assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
        assert!(complaints(&sidecar.log()).is_empty(), "{}", sidecar.log());
    }
    let markers: Vec<_> =
        stored(&root.at("data/openclaw-trace.db")).iter().map(super::support::Stored::marker).collect();
    assert!(markers.contains(&"first".to_owned()) && markers.contains(&"second".to_owned()), "{markers:?}");
}
