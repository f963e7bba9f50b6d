//! Where events go: an ingest port, a database, or nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::config::{Inputs, Section, Size};
use engine::plugin::AnySink;
use engine::{
    Admission, Batch, BuildContext, Event, Outcome, Problems, Registry, Sink, SinkConfig as _, Transform,
    TransformConfig as _,
};
use sinks::sqlite_store::SqliteStore;
use sinks::{Answered, IngestClient, Taken};
use sources::HttpIngest;
use transforms::Redact;

use super::{Request, token_of};
use crate::cli::Failure;
use crate::logging::say;

/// How long one request may take: longer than a port waits for its store.
const TIMEOUT: Duration = Duration::from_secs(30);

/// See the module's description.
pub(crate) enum Target {
    /// A running instance.
    Port(Box<IngestClient>),
    /// A database, written as the sink of a running instance writes it.
    Store(Store),
    /// A dry run.
    Nothing,
}

/// A database, and what cleans before it.
pub(crate) struct Store {
    path: PathBuf,
    redact: Box<dyn Transform>,
    sink: Box<dyn Sink>,
    admission: Admission,
}

impl Target {
    /// Finds out where to, and opens it.
    pub(crate) async fn open(request: &Request, inputs: &Inputs, registry: &Registry) -> Result<Self, Failure> {
        if let Some(db) = &request.db {
            return Store::open(db).await.map(Self::Store);
        }
        let named = request.token_file.as_deref().map(token_of).transpose()?;
        let (address, token) = match &request.to {
            // A token of this machine's port is nobody else's business.
            Some(to) if named.is_some() || !is_here(to) => (to.clone(), named.unwrap_or_default()),
            Some(to) => (to.clone(), configured(inputs, registry)?.map(|port| port.token).unwrap_or_default()),
            None => {
                let message = "the configuration has not one http_ingest; name a port with --to";
                let port =
                    configured(inputs, registry)?.ok_or_else(|| Failure { code: 2, message: message.to_owned() })?;
                (format!("http://{}/v1/events", reachable(port.bind)), named.unwrap_or(port.token))
            }
        };
        let client = IngestClient::new(&address, token, TIMEOUT)
            .map_err(|why| Failure { code: 2, message: format!("--to {why}") })?;
        if client.exposes_token() {
            say("the token and the events travel unencrypted: use https");
        }
        Ok(Self::Port(Box::new(client)))
    }

    pub(crate) async fn send(&mut self, events: &[Event]) -> Answered {
        match self {
            Self::Port(client) => client.send(events).await,
            Self::Store(store) => store.send(events).await,
            Self::Nothing => Answered::Taken(Taken { accepted: events.len(), ..Taken::default() }),
        }
    }

    pub(crate) async fn close(self) -> Result<(), String> {
        match self {
            Self::Store(mut store) => store.sink.close().await.map_err(|error| error.to_string()),
            Self::Port(_) | Self::Nothing => Ok(()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(client) => client.fmt(f),
            Self::Store(store) => store.path.display().fmt(f),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl Store {
    async fn open(path: &Path) -> Result<Self, Failure> {
        let cx = BuildContext::new("replay");
        // What is replayed may be old, and much: what to keep is the business of the instance that runs on it.
        let config = SqliteStore {
            path: Some(path.to_owned()),
            retention_days: 0,
            max_bytes: Size(1 << 50),
            ..SqliteStore::default()
        };
        let AnySink::Stream(mut sink) = config.build(&cx).map_err(wrong)? else {
            return Err(Failure::failed("the store takes no stream"));
        };
        // Nothing is kept unredacted, whatever the file is from.
        let redact = Redact::default().build(&cx).map_err(wrong)?;
        sink.open().await.map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { path: path.to_owned(), redact, sink, admission: Admission::new(usize::MAX, usize::MAX) })
    }

    async fn send(&mut self, events: &[Event]) -> Answered {
        let credits = self.admission.acquire(events.len(), 0).await;
        let (mut batch, mut receipt) = Batch::new(events.to_vec(), credits, false);
        self.redact.apply(&mut batch);
        self.sink.write(vec![batch]).await;
        match receipt.outcome().await {
            Outcome::Stored { duplicates } => {
                Answered::Taken(Taken { accepted: events.len(), duplicates, rejected: Vec::new() })
            }
            Outcome::Failed(refusal) => Answered::Later { wait: Some(refusal.retry_after), why: refusal.message },
        }
    }
}

fn wrong(problems: Problems) -> Failure {
    let all: Vec<String> =
        problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
    Failure { code: 2, message: all.join("; ") }
}

/// The ingest port of the configuration, where it has just one.
fn configured(inputs: &Inputs, registry: &Registry) -> Result<Option<HttpIngest>, Failure> {
    let settings = engine::config::load(inputs, registry)?;
    let ports: Vec<_> = settings
        .components
        .iter()
        .filter(|one| one.section == Section::Sources && one.r#type == "http_ingest" && one.enabled)
        .collect();
    match ports.as_slice() {
        // The table was checked with the rest.
        [port] => Ok(engine::config::typed(&port.table).ok()),
        _ => Ok(None),
    }
}

/// What listens everywhere is reached here.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let local: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(local, address.port())
}

/// Whether an address is of this machine.
fn is_here(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Without secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_this_machine_goes_to_this_machine_alone() {
        for here in ["http://127.0.0.1:9090/v1/events", "http://localhost", "http://[::1]:9090", "http://127.9.9.9/"] {
            assert!(is_here(here), "{here}");
        }
        for there in [
            "https://localhost.example/",
            "http://10.0.0.1:9090",
            "http://127.0.0.1@evil.example/",
            "http://localhost:x@evil/",
        ] {
            assert!(!is_here(there), "{there}");
        }
    }
}
