//! TLS against a server whose certificate a private authority has signed.
//!
//! The authority is made anew by each run: no key stands in this repository.

use std::io::{Read, Write};
use std::path::PathBuf;

use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

use super::memory::Memory;
use super::*;

/// Answers every request on TLS with 200 and an empty body, then closes. Its certificate, which
/// signs itself, is written into `folder`.
fn server(folder: &TempDir) -> (String, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, tcp);
            let mut buffer = [0; 65_536];
            if stream.read(&mut buffer).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (url, ca)
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_ca_file_names_it_and_nowhere_else() {
    let folder = TempDir::new().unwrap();
    let (url, ca) = server(&folder);
    let outbox = Memory::with(&events(3));
    let strict = AugmiPush { breaker_failures: 1000, timeout: Time::seconds(5), ..config(&url) };
    let running = Running::start(strict.clone(), &outbox);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let metrics = running.stop().await;
    assert_eq!(outbox.counts(), (3, 0, 0));
    assert!(metrics.contains("status=\"error\""), "{metrics}");

    let running = Running::start(AugmiPush { ca_file: Some(ca), ..strict }, &outbox);
    until("all confirmed", || outbox.counts() == (0, 3, 0)).await;
    running.stop().await;
}
