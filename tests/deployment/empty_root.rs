//! The static binary in a root without libraries, certificates, name service, `/proc` or users.

use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use super::root::{NOBODY, Root, alone, complaints};
use super::support::{Behaviour, Home, Receiver, Request, eventually, get, id_of, marked, post, stored};
use super::tls::{Authority, Terminator};

/// What the receiver is called: no such name is known outside.
const NAME: &str = "receiver.test";

/// A name server on 127.0.0.1:53 that knows one name; answers what it was asked.
fn name_server() -> Arc<Mutex<Vec<String>>> {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let query = &query[..length];
            let (name, end) = question(query);
            let wants_v4 = query[end..end + 2] == [0, 1];
            seen.lock().unwrap().push(name.clone());
            // An answer to this query, with one record or none.
            let found = name == NAME && wants_v4;
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, if name == NAME { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
            answer.extend(&query[12..end + 4]);
            if found {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    asked
}

/// The name that a query asks for, and where its type stands.
fn question(query: &[u8]) -> (String, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).into_owned());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}

/// A receiver behind TLS for [`NAME`], whose authority is written into the root's `/data`.
async fn receiver(root: &Root<'_>) -> (Receiver, Terminator, String) {
    let authority = Authority::new();
    authority.write(&root.at("data/ca.pem"));
    let receiver = Receiver::start(Behaviour::Accept).await;
    let tls = Terminator::start(receiver.address, authority.certificate_for(NAME, 2035)).await;
    let endpoint = format!("https://{NAME}:{}/api/traces/ingest", tls.address.port());
    (receiver, tls, endpoint)
}

fn pushing(root: &Root<'_>, endpoint: &str) -> super::support::Setup {
    root.setup(NOBODY)
        .env("TRACE_PUSH_ENDPOINT", endpoint)
        .env("TRACE_AGENT_ID", "agent-7")
        .env("TRACE_SINKS__PUSH__CA_FILE", "/data/ca.pem")
        .env("TRACE_PUSH_INTERVAL", "100ms")
        .env("TRACE_SINKS__PUSH__BASE_DELAY", "50ms")
        .env("TRACE_SINKS__PUSH__MAX_DELAY", "200ms")
}

/// The embedded configuration on its own ports, as nobody, with a `/data` and a name server's address.
#[tokio::test]
async fn it_starts_takes_events_and_pushes_over_tls() {
    if !alone("empty_root::it_starts_takes_events_and_pushes_over_tls") {
        return;
    }
    let home = Home::new();
    let root = Root::new(&home);
    root.folder("data", NOBODY);
    root.file("etc/resolv.conf", "nameserver 127.0.0.1\n");
    let asked = name_server();
    let (receiver, _tls, endpoint) = receiver(&root).await;

    let mut sidecar = pushing(&root, &endpoint).start().await;
    assert_eq!(sidecar.ingest.to_string(), "127.0.0.1:9090");
    assert_eq!(sidecar.api.to_string(), "127.0.0.1:9091");
    let event = marked("from nowhere");
    assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    eventually("it is pushed", async || receiver.kept().contains_key(&id_of(&event))).await;
    assert!(asked.lock().unwrap().iter().all(|name| name == NAME));
    assert_eq!(get(sidecar.api, "/").await.status, 200, "the dashboard");
    let health = root.setup(NOBODY).arg("health").output();
    assert_eq!(health.code, Some(0), "{}", health.stderr);
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.exit_code().await, Some(0), "{}", sidecar.log());
    assert!(complaints(&sidecar.log()).is_empty(), "{}", sidecar.log());

    let db = root.at("data/openclaw-trace.db");
    let meta = std::fs::metadata(&db).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (NOBODY, 0o600));
    assert!(stored(&db).iter().any(|event| event.marker() == "from nowhere" && event.pushed));
    let made: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made.len(), 3, "nothing but /data was written to: {made:?}");
}

/// glibc's own resolver is linked in, and asks neither nsswitch.conf nor a shared library.
#[tokio::test]
async fn names_are_resolved_from_hosts_and_without_a_resolv_conf_by_a_server_on_this_machine() {
    if !alone("empty_root::names_are_resolved_from_hosts_and_without_a_resolv_conf_by_a_server_on_this_machine") {
        return;
    }
    // No server is there yet.
    let home = Home::new();
    let root = Root::new(&home);
    root.folder("data", NOBODY);
    root.file("etc/hosts", &format!("127.0.0.1 localhost {NAME}\n"));
    let (receiver_by_hosts, _tls, endpoint) = receiver(&root).await;
    let sidecar = pushing(&root, &endpoint).start().await;
    let event = marked("by hosts");
    assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200);
    eventually("it is pushed", async || receiver_by_hosts.kept().contains_key(&id_of(&event))).await;
    sidecar.stop().await;

    let home = Home::new();
    let root = Root::new(&home);
    root.folder("data", NOBODY);
    let (receiver, _tls, endpoint) = receiver(&root).await;
    let sidecar = pushing(&root, &endpoint).env("TRACE_SINKS__PUSH__BREAKER_FAILURES", "1000").start().await;
    let event = marked("without any name service");
    assert_eq!(post(sidecar.ingest, &Request::events(event.to_string())).await.status, 200, "events are taken");
    eventually("it is said once", async || sidecar.log().contains("push failed; events are kept and sent later")).await;
    assert!(sidecar.log().contains("failed to lookup address information"), "{}", sidecar.log());
    assert!(receiver.pushed().is_empty());
    let asked = name_server();
    eventually("it is pushed", async || receiver.kept().contains_key(&id_of(&event))).await;
    assert!(asked.lock().unwrap().iter().any(|name| name == NAME));
    sidecar.stop().await;
}
