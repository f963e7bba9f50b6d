//! The commands that ask the running instance, over its API port: `health` and `reload`.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use engine::Registry;
use engine::config::{Inputs, RuntimeSettings};
use serde_json::Value;

use crate::api::{ApiSettings, Reloaded};
use crate::cli::Failure;

/// How long the running instance may take for an answer that is there.
const SOON: Duration = Duration::from_secs(3);

/// The longest answer.
const MOST_BYTES: u64 = 1024 * 1024;

/// Only `[api]` is read: a file that is wrong says nothing of the process that runs.
pub(crate) fn health(inputs: &Inputs, registry: &Registry, ready: bool) -> Result<String, Failure> {
    let api: ApiSettings = engine::config::table(inputs, registry, "api")?;
    let path = if ready { "/readyz" } else { "/healthz" };
    let request = Request { head: format!("GET {path}"), token: "", patience: SOON };
    let answer = request.send(api.bind).map_err(|error| {
        Failure::failed(format!("no answer from {}: {error}; is openclaw-trace running?", local(api.bind)))
    })?;
    if answer.status == 200 { Ok(format!("{}\n", answer.body)) } else { Err(Failure::failed(answer.body)) }
}

/// Only `[api]` is read here, as well as it can be: what the file is worth says the process that is to take it, whose
/// variables may be others than ours.
pub(crate) fn reload(inputs: &Inputs, registry: &Registry) -> Result<String, Failure> {
    let api: ApiSettings = engine::config::table(inputs, registry, "api")?;
    let runtime: RuntimeSettings = engine::config::table(inputs, registry, "runtime").unwrap_or_default();
    if !api.enabled {
        let message = "the API port is off (api.enabled), so the running instance cannot be asked; send it SIGHUP";
        return Err(Failure::failed(message));
    }
    // Forth and back, each within the time of a drain.
    let patience = SOON + 4 * runtime.drain_timeout.0;
    let request = Request { head: "POST /api/v1/reload".to_owned(), token: api.token.reveal(), patience };
    let answer = request.send(api.bind).map_err(|error| {
        Failure::failed(format!(
            "no answer from {}: {error}; is openclaw-trace running? Where the file names another api.bind than at its \
             start, ask at the address that it has: --set api.bind=ADDRESS",
            local(api.bind)
        ))
    })?;
    if answer.status == 200 {
        return serde_json::from_str::<Reloaded>(&answer.body)
            .map(|done| told(&done))
            .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")));
    }
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let mut message = body["error"].as_str().map_or(answer.body.clone(), str::to_owned);
    for error in body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = write!(message, "\n{error}");
    }
    Err(Failure { code: if answer.status == 422 { 2 } else { 1 }, message })
}

/// What a reload has done, for a person.
fn told(done: &Reloaded) -> String {
    let mut out = String::new();
    let lists = [
        ("added", &done.added),
        ("removed", &done.removed),
        ("changed", &done.changed),
        ("restarted", &done.restarted),
        ("rejoined", &done.rejoined),
    ];
    for (what, components) in lists {
        if !components.is_empty() {
            let _ = writeln!(out, "{what}: {}", components.join(", "));
        }
    }
    let head = if out.is_empty() { "nothing to change" } else { "reloaded" };
    if !done.needs_restart.is_empty() {
        let _ = writeln!(out, "takes effect at the next start: {}", done.needs_restart.join(", "));
    }
    for warning in &done.warnings {
        let _ = writeln!(out, "note: {warning}");
    }
    format!("{}: {head}\n{out}", done.configuration)
}

/// One request to our own API, which answers in one piece and closes.
struct Request<'a> {
    /// Method and path.
    head: String,
    token: &'a str,
    patience: Duration,
}

struct Answer {
    status: u16,
    body: String,
}

impl Request<'_> {
    fn send(&self, bind: SocketAddr) -> std::io::Result<Answer> {
        let address = local(bind);
        let mut stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(SOON))?;
        let token =
            if self.token.is_empty() { String::new() } else { format!("authorization: Bearer {}\r\n", self.token) };
        let head = &self.head;
        stream.write_all(
            format!("{head} HTTP/1.1\r\nhost: {address}\r\n{token}content-length: 0\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let mut answer = String::new();
        stream.take(MOST_BYTES).read_to_string(&mut answer)?;
        let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        let (status, Some((_, body))) = (status, answer.split_once("\r\n\r\n")) else {
            return Err(std::io::Error::other("what answers there is no openclaw-trace"));
        };
        Ok(Answer { status: status.unwrap_or(0), body: body.to_owned() })
    }
}

/// What listens everywhere is asked here.
fn local(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let local: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(local);
    }
    address
}
