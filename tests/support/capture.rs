//! Recorded requests of OpenClaw's exporter, to be sent again.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Request;

/// The folders of `tests/captures`.
pub const FOLDERS: [&str; 6] = [
    "content-proto",
    "content-proto-gzip",
    "content-json",
    "retry-503-then-200",
    "v2026.4.29-gateway-part",
    "v2026.9.6-local-3turns",
];

/// One recorded request.
#[derive(Debug, Clone)]
pub struct Capture {
    pub path: String,
    pub content_type: String,
    pub encoding: String,
    pub body: Vec<u8>,
}

impl Capture {
    /// As it was sent: the length told, or in chunks as OpenClaw does it.
    pub fn request(&self, chunked: bool) -> Request {
        let request = Request::new("POST", &self.path)
            .header("content-type", &self.content_type)
            .header("content-encoding", &self.encoding);
        if !chunked {
            return request.body(self.body.clone());
        }
        let mut body = Vec::new();
        for chunk in self.body.chunks(1000) {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        request.header("transfer-encoding", "chunked").body(body)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name)
}

/// The requests of a folder, in the order they were sent.
pub fn captures(name: &str) -> Vec<Capture> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap_or_else(|error| panic!("captures {name}: {error}"))
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(".headers.json")))
        .collect();
    files.sort();
    files.iter().map(|file| capture(file)).collect()
}

fn capture(headers: &Path) -> Capture {
    let text = std::fs::read_to_string(headers).expect("headers can be read");
    let head: Value = serde_json::from_str(&text).expect("headers are JSON");
    let find = |name: &str| {
        let list = head["headers"].as_array().expect("a list of headers");
        let found = list.iter().find(|pair| pair[0].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name)));
        found.and_then(|pair| pair[1].as_str()).unwrap_or_default().to_owned()
    };
    let body = headers.to_str().expect("a path of ours").replace(".headers.json", ".body.bin");
    Capture {
        path: head["path"].as_str().expect("a path").to_owned(),
        content_type: find("content-type"),
        encoding: find("content-encoding"),
        body: std::fs::read(body).expect("a body can be read"),
    }
}

/// A JSON file of a folder, or one beside the folders.
pub fn told(name: &str) -> Value {
    let text = std::fs::read_to_string(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).expect("what is told is JSON")
}
