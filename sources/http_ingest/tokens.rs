//! The file of tokens: one line for each, which says whose it is.
//!
//! ```text
//! # SHA-256 of the token, the agent, and its organisation where it has one
//! 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 agent-7 acme
//! ```
//!
//! It holds hashes, so whoever reads it cannot send. A token is 32 random bytes: no table undoes its hash, so one
//! round of SHA-256 without salt is enough, and a token is found by its hash at once. That look-up need not take
//! the same time for each token: what it tells, if anything, is of hashes, and nobody can choose a token by the
//! beginning of its hash.
//!
//! A file is taken whole or not at all: every wrong line is told, and what was in force before stays.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use engine::event::MAX_ID_BYTES;
use sha2::{Digest as _, Sha256};

/// Largest file: some 150,000 tokens.
const MAX_FILE: u64 = 16 << 20;

/// So many wrong lines are told; the rest is counted.
const MAX_TOLD: usize = 20;

/// How every token begins that is made here, so that people and scanners know one.
const PREFIX: &str = "oct_";

/// By what a token is known.
pub type Hash = [u8; 32];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the token.
    pub hash: Hash,
    /// Whose it is.
    pub agent: String,
    /// The organisation that the agent belongs to.
    pub org: Option<String>,
}

/// The hash of a token.
#[must_use]
pub fn hash(token: &[u8]) -> Hash {
    Sha256::digest(token).into()
}

/// A new token, and the line that makes it known.
///
/// # Errors
/// What is wrong with the names, or that the system gave no random bytes.
pub fn fresh(agent: &str, org: Option<&str>) -> Result<(String, String), String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| format!("the system gave no random bytes: {error}"))?;
    let token = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&random));
    let mut line = format!("{} {agent}", HEXLOWER.encode(&hash(token.as_bytes())));
    if let Some(org) = org {
        line = format!("{line} {org}");
    }
    // What would be refused later is refused now: a name with a space reads as two.
    let expected = Entry { hash: hash(token.as_bytes()), agent: agent.to_owned(), org: org.map(str::to_owned) };
    match entry(&line) {
        Ok(Some(read)) if read == expected => Ok((token, line)),
        Err(message) => Err(message),
        Ok(_) => Err("the names of agent and organisation must be words without spaces".to_owned()),
    }
}

/// Adds a line to a file, which is made, readable by its owner alone, where there is none.
///
/// # Errors
/// Why not; the file is as it was then.
pub fn append(path: &Path, line: &str) -> Result<(), String> {
    let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).append(true).create(true).mode(0o600).open(path).map_err(|error| problem(&error))?;
    let before = text_of(&mut file, path)?;
    let mut added = String::new();
    if !before.is_empty() && !before.ends_with('\n') {
        added.push('\n');
    }
    added.push_str(line);
    added.push('\n');
    if (before.len() + added.len()) as u64 > MAX_FILE {
        return Err(problem(&format!("would be larger than {MAX_FILE} bytes")));
    }
    parse(&format!("{before}{added}")).map_err(|problems| told(path, &problems))?;
    // In one write, so that a gateway that reads it now sees a whole line.
    file.seek(std::io::SeekFrom::End(0))
        .and_then(|_| file.write_all(added.as_bytes()))
        .and_then(|()| file.sync_all())
        .map_err(|error| problem(&error))
}

/// Reads a file.
///
/// # Errors
/// All that is wrong with it, each with file and line, in one text.
pub fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let mut file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text_of(&mut file, path)?;
    let entries = parse(&text).map_err(|problems| told(path, &problems))?;
    if entries.is_empty() {
        let make = "openclaw-trace token --agent ID --file FILE";
        return Err(format!("{}: holds no token, so nobody could send; add one with `{make}`", path.display()));
    }
    Ok(entries)
}

/// Within the bound: the name may lead to something without an end.
fn text_of(file: &mut File, path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{}: is larger than {MAX_FILE} bytes", path.display()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}: is not UTF-8", path.display())
    })
}

/// Something wrong, and the line it is in, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) message: String,
}

fn told(path: &Path, problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems
        .iter()
        .take(MAX_TOLD)
        .map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.message))
        .collect();
    if problems.len() > MAX_TOLD {
        lines.push(format!("and {} more", problems.len() - MAX_TOLD));
    }
    lines.join("; ")
}

/// Reads the lines; comments and empty lines say nothing.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    let mut seen: HashMap<Hash, usize> = HashMap::new();
    for (line, words) in (1..).zip(text.lines()) {
        match entry(words) {
            Ok(None) => {}
            Ok(Some(entry)) => match seen.insert(entry.hash, line) {
                None => entries.push(entry),
                Some(first) => {
                    let message = format!("is the token of line {first} too; a token is one agent's, remove one");
                    problems.push(Problem { line, message });
                }
            },
            Err(message) => problems.push(Problem { line, message }),
        }
    }
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

/// One line. No message repeats a word of it: the first may be a token that somebody took for its hash.
fn entry(line: &str) -> Result<Option<Entry>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let hash = words.next().and_then(|word| HEXLOWER_PERMISSIVE.decode(word.as_bytes()).ok());
    let Some(hash) = hash.and_then(|bytes| Hash::try_from(bytes).ok()) else {
        let make = "openclaw-trace token --agent ID";
        return Err(format!("must begin with the SHA-256 of a token, 64 hex digits; `{make}` makes both"));
    };
    let Some(agent) = words.next() else {
        return Err("names no agent; a line is SHA256 AGENT, or SHA256 AGENT ORGANISATION".to_owned());
    };
    let org = words.next();
    if words.next().is_some() {
        return Err("has more than three words; a line is SHA256 AGENT, or SHA256 AGENT ORGANISATION".to_owned());
    }
    for (what, name) in [("agent", Some(agent)), ("organisation", org)] {
        let name = name.unwrap_or_default();
        if name.len() > MAX_ID_BYTES {
            return Err(format!("has an {what} of {} bytes; the most is {MAX_ID_BYTES}", name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(format!("has a control character in the name of its {what}"));
        }
    }
    Ok(Some(Entry { hash, agent: agent.to_owned(), org: org.map(str::to_owned) }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line_of(agent: &str, org: Option<&str>) -> String {
        fresh(agent, org).unwrap().1
    }

    #[test]
    fn a_fresh_token_is_found_by_its_line_and_no_two_are_alike() {
        let (token, line) = fresh("a", Some("acme")).unwrap();
        assert_eq!(token.len(), PREFIX.len() + 43);
        assert_eq!(
            parse(&line).unwrap()[0],
            Entry { hash: hash(token.as_bytes()), agent: "a".into(), org: Some("acme".into()) }
        );
        assert_ne!(fresh("a", None).unwrap().0, token);
        assert!(!line.contains(&token));
    }

    #[test]
    fn the_hash_is_sha_256_as_any_tool_makes_it() {
        let known = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(HEXLOWER.encode(&hash(b"test")), known);
        assert_eq!(parse(&format!("{} a", known.to_uppercase())).unwrap()[0].hash, hash(b"test"));
    }

    #[test]
    fn names_that_are_no_single_words_make_no_line() {
        for (agent, org) in
            [("", None), ("a b", None), ("a", Some("")), ("a", Some("x y")), ("a\u{7}", None), ("a\nb", None)]
        {
            assert!(fresh(agent, org).is_err(), "{agent:?} {org:?}");
        }
        assert!(fresh(&"a".repeat(MAX_ID_BYTES), None).is_ok());
        let long = fresh(&"a".repeat(MAX_ID_BYTES + 1), None).unwrap_err();
        assert!(long.contains("257 bytes"), "{long}");
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number_and_none_of_its_words() {
        let good = line_of("a", None);
        let secret = "a-token-somebody-took-for-its-hash";
        let text = format!("# tokens\n\n{good}\r\n{secret} b\n{}\n{good} acme more\n  {good}\n", &good[..64]);
        let problems = parse(&text).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [4, 5, 6, 7]);
        assert!(problems[3].message.contains("line 3 too"), "{problems:?}");
        let all = told(Path::new("/etc/tokens"), &problems);
        assert!(all.starts_with("/etc/tokens:4: must begin with the SHA-256"), "{all}");
        assert!(!all.contains(secret), "{all}");
        let many = parse(&"x\n".repeat(30)).unwrap_err();
        assert!(told(Path::new("t"), &many).ends_with("; and 10 more"));
    }

    #[test]
    fn a_file_is_made_private_and_grows_by_whole_lines() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        append(&path, &line_of("a", None)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // An editor left the last line open.
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        append(&path, &line_of("b", Some("acme"))).unwrap();
        let agents: Vec<String> = read(&path).unwrap().into_iter().map(|entry| entry.agent).collect();
        assert_eq!(agents, ["a", "b"]);
        // Nothing is added to a file that would be refused.
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(append(&path, &line_of("c", None)).unwrap_err().contains("tokens:1:"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense\n");
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_so_is_one_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "# nobody yet\n").unwrap();
        assert!(read(&path).unwrap_err().contains("holds no token"));
        std::fs::write(&path, b"# a\n\xff").unwrap();
        assert!(read(&path).unwrap_err().ends_with("tokens:2: is not UTF-8"));
        assert!(read(Path::new("/dev/zero")).unwrap_err().contains("larger than"));
        assert!(read(&folder.path().join("none")).unwrap_err().contains("none: "));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
