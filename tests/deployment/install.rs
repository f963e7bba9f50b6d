//! `deploy/install.sh`: what it installs is what is meant, or nothing is changed.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::repository;
use super::support::Home;

/// A file that runs, as the binary would, and says its version.
const RELEASE: &str = "#!/bin/sh\necho openclaw-trace 9.9.9\n";

/// A folder as deploy/build-static leaves it, and where to install.
struct Release {
    home: Home,
}

/// What the script left.
#[derive(Debug)]
struct Installed {
    code: Option<i32>,
    said: String,
}

impl Release {
    fn new() -> Self {
        let home = Home::new();
        std::fs::create_dir(home.path("dist")).unwrap();
        let release = Self { home };
        release.put("openclaw-trace", RELEASE);
        release.put("openclaw-trace.sha256", &format!("{}  openclaw-trace\n", sha256(RELEASE)));
        for (name, from) in [
            ("openclaw-trace.service", "deploy/systemd/openclaw-trace.service"),
            ("openclaw-trace.schema.json", "config/openclaw-trace.schema.json"),
            ("install.sh", "deploy/install.sh"),
        ] {
            std::fs::copy(repository(from), release.dist().join(name)).unwrap();
        }
        release
    }

    fn dist(&self) -> PathBuf {
        self.home.path("dist")
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.dist().join(name), text).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.home.path("root")
    }

    fn binary(&self) -> PathBuf {
        self.root().join("usr/local/bin/openclaw-trace")
    }

    fn install(&self, args: &[&str]) -> Installed {
        let mut command = Command::new("sh");
        command.arg(self.dist().join("install.sh")).args(args).env("DESTDIR", self.root());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        Installed { code: output.status.code(), said }
    }

    /// Nothing but what was there before.
    fn assert_untouched(&self, before: Option<&str>) {
        let bin = self.root().join("usr/local/bin");
        let files: Vec<_> = match std::fs::read_dir(&bin) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            Err(_) => Vec::new(),
        };
        match before {
            Some(text) => {
                assert_eq!(files, ["openclaw-trace"], "and no half of a file");
                assert_eq!(std::fs::read_to_string(self.binary()).unwrap(), text);
            }
            None => assert!(files.is_empty(), "{files:?}"),
        }
    }
}

fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_folder_is_installed_without_a_network_with_its_unit_and_its_schema() {
    let release = Release::new();
    let done = release.install(&["--systemd"]);
    assert_eq!(done.code, Some(0), "{}", done.said);
    assert!(done.said.contains("openclaw-trace 9.9.9"), "{}", done.said);
    assert_eq!(std::fs::read_to_string(release.binary()).unwrap(), RELEASE);
    assert_eq!(std::fs::metadata(release.binary()).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(release.root().join("etc/systemd/system/openclaw-trace.service").is_file());
    assert!(release.root().join("usr/local/share/openclaw-trace/openclaw-trace.schema.json").is_file());
}

#[test]
fn another_prefix_stands_in_the_unit_too() {
    let release = Release::new();
    let done = release.install(&["--systemd", "--prefix", "/opt/trace"]);
    assert_eq!(done.code, Some(0), "{}", done.said);
    let unit = std::fs::read_to_string(release.root().join("etc/systemd/system/openclaw-trace.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/trace/bin/openclaw-trace run\n"), "{unit}");
    assert!(release.root().join("opt/trace/bin/openclaw-trace").is_file());
}

#[test]
fn a_wrong_checksum_is_refused_and_the_file_that_was_there_stays() {
    let wrong = "0".repeat(64);
    for before in [None, Some("the old one")] {
        let release = Release::new();
        if let Some(old) = before {
            std::fs::create_dir_all(release.binary().parent().unwrap()).unwrap();
            std::fs::write(release.binary(), old).unwrap();
        }
        for (sum, code) in [(&*wrong, 1), ("not-one", 1), ("", 2)] {
            let refused = release.install(&["--sha256", sum]);
            assert_eq!(refused.code, Some(code), "{sum:?}: {}", refused.said);
            release.assert_untouched(before);
        }
        release.put("openclaw-trace.sha256", &format!("{wrong}  openclaw-trace\n"));
        let refused = release.install(&[]);
        assert_eq!(refused.code, Some(1), "{}", refused.said);
        assert!(refused.said.contains("nothing was changed"), "{}", refused.said);
        release.assert_untouched(before);
        // By hand it is told what is meant.
        let done = release.install(&["--sha256", &sha256(RELEASE).to_uppercase()]);
        assert_eq!(done.code, Some(0), "{}", done.said);
    }
}

#[test]
fn what_has_no_checksum_or_does_not_run_is_refused() {
    let release = Release::new();
    std::fs::remove_file(release.dist().join("openclaw-trace.sha256")).unwrap();
    let refused = release.install(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(refused.said.contains("give one by --sha256"), "{}", refused.said);
    release.assert_untouched(None);

    let broken = "#!/bin/sh\nexit 1\n";
    release.put("openclaw-trace", broken);
    let refused = release.install(&["--sha256", &sha256(broken)]);
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(refused.said.contains("does not run"), "{}", refused.said);
    release.assert_untouched(None);

    for wrong in [vec!["--prefix"], vec!["--no-such-flag"], vec!["a", "b"], vec!["--prefix", "relative"]] {
        assert_eq!(release.install(&wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(release.install(&["/nowhere/at/all"]).code, Some(1));
    release.assert_untouched(None);
}

/// One answer for each path, over plain HTTP on loopback.
fn serve(answers: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let found = answers.iter().find(|(path, _)| head.starts_with(&format!("GET {path} ")));
            let missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
            let _ = stream.write_all(found.map_or(&missing, |(_, answer)| answer));
        }
    });
    format!("http://{address}")
}

fn answer(length: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

#[test]
fn from_an_address_a_whole_file_is_installed_and_half_of_one_is_not() {
    if !["curl", "wget"].iter().any(|tool| Command::new(tool).arg("--version").output().is_ok()) {
        eprintln!("skipped: there is neither curl nor wget here");
        return;
    }
    let release = Release::new();
    let url = serve(vec![
        ("/whole", answer(RELEASE.len(), RELEASE)),
        ("/half", answer(RELEASE.len(), &RELEASE[..RELEASE.len() / 2])),
        ("/other", answer(4, "else")),
    ]);
    let sum = sha256(RELEASE);
    for path in ["/half", "/other", "/missing"] {
        let refused = release.install(&["--sha256", &sum, &format!("{url}{path}")]);
        assert_eq!(refused.code, Some(1), "{path}: {}", refused.said);
        release.assert_untouched(None);
    }
    // Whoever can change the file on its way can change the checksum too.
    assert_eq!(release.install(&[&format!("{url}/whole")]).code, Some(2));
    let done = release.install(&["--sha256", &sum, &format!("{url}/whole")]);
    assert_eq!(done.code, Some(0), "{}", done.said);
    assert_eq!(std::fs::read_to_string(release.binary()).unwrap(), RELEASE);
}

#[test]
fn a_place_that_cannot_be_written_is_said() {
    let release = Release::new();
    std::fs::create_dir_all(release.root().join("usr/local")).unwrap();
    std::fs::write(release.root().join("usr/local/bin"), "a file where a folder should be").unwrap();
    let refused = release.install(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(refused.said.contains("usr/local/bin cannot be made"), "{}", refused.said);
    assert!(Path::new(&release.root()).join("usr/local/bin").is_file());
}
