//! Accepting, serving, stopping.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::deadline::{Phase, TimedStream};

/// Who sent a request: the other end of its connection. Among the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a request's head.
    pub header: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a client to read some of its answer.
    pub write: Duration,
    /// Connections at once.
    pub connections: usize,
}

/// The address could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}{advice}")]
pub struct BindError {
    address: SocketAddr,
    reason: std::io::Error,
    advice: &'static str,
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 44\r\n\r\n{\"error\":\"too many connections; try again\"}\n";

/// Largest head (request line and headers), and with it each connection's read buffer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    limits: Limits,
}

/// Requests being served.
#[derive(Debug, Default)]
struct InFlight {
    count: AtomicUsize,
    none: Notify,
}

struct Serving(Arc<InFlight>, Phase);

impl Serving {
    fn begin(in_flight: &Arc<InFlight>, phase: &Phase) -> Self {
        in_flight.count.fetch_add(1, Ordering::Relaxed);
        phase.serving(true);
        Self(Arc::clone(in_flight), phase.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.1.serving(false);
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// [`BindError`] says which address, why, and what to do.
    pub async fn bind(address: SocketAddr, limits: Limits) -> Result<Self, BindError> {
        let tcp = TcpListener::bind(address).await.map_err(|reason| {
            let advice = match reason.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "; another process has the port: choose another one or stop that process"
                }
                std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one",
                std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
                _ => "",
            };
            BindError { address, reason, advice }
        })?;
        Ok(Self { tcp, limits })
    }

    /// The address, with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `shutdown`, then until no request is in flight, then closes everything.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        let in_flight = Arc::new(InFlight::default());
        let connections = TaskTracker::new();
        let closing = CancellationToken::new();
        let stop = async {
            shutdown.cancelled().await;
            loop {
                let none = in_flight.none.notified();
                tokio::pin!(none);
                none.as_mut().enable();
                if in_flight.count.load(Ordering::Relaxed) == 0 {
                    break;
                }
                none.await;
            }
        };
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&permits).try_acquire_owned() {
                    Ok(permit) => {
                        let connection = connection(
                            stream,
                            Peer(peer),
                            router.clone(),
                            self.limits,
                            Arc::clone(&in_flight),
                            closing.clone(),
                        );
                        connections.spawn(async move {
                            connection.await;
                            drop(permit);
                        });
                    }
                    Err(_) => refuse(&stream),
                },
                Err(error) => {
                    // Out of descriptors, mostly: passing, and a tight loop would make it worse.
                    tracing::warn!(%error, "cannot accept a connection; trying again in 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.tcp);
        closing.cancel();
        connections.close();
        connections.wait().await;
    }
}

fn refuse(stream: &TcpStream) {
    // A fresh socket has room for these bytes; if not, closing says it too.
    let _ = stream.try_write(FULL);
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
    in_flight: Arc<InFlight>,
    closing: CancellationToken,
) {
    // Small answers to small requests: waiting to fill a segment would only add latency.
    let _ = stream.set_nodelay(true);
    let phase = Phase::default();
    let io = TokioIo::new(TimedStream::new(stream, phase.clone(), limits));
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let serving = Serving::begin(&in_flight, &phase);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(serving);
            answer.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new().max_buf_size(MAX_HEAD).half_close(true).serve_connection(io, service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_on_this_machine_is_known_as_such_whichever_family_it_comes_by() {
        for (address, local) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("[::ffff:10.0.0.1]:1", false),
            ("[fdaa::3]:1", false),
        ] {
            assert!(address.parse().is_ok_and(|address| Peer(address).is_local() == local), "{address}");
        }
    }
}
