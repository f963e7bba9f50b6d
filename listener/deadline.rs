//! A stream that gives up on a peer who is too slow.
//!
//! hyper has one timeout, for a request's head, which also runs while a kept-alive connection is
//! idle. Here the two differ, so the deadline stands where the bytes arrive: the stream knows
//! whether a request is being served (the service says so through [`Phase`]) and measures the rest.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Limits;

const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 51\r\n\r\n{\"error\":\"the request's head did not come in time\"}";

/// Whether the connection's request is being served. Shared by the stream and the service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    serving: AtomicBool,
    /// One began since the stream last asked. A request that came whole is served between two
    /// reads, so the stream would otherwise never see `serving`.
    begun: AtomicBool,
}

impl Phase {
    pub(crate) fn serving(&self, yes: bool) {
        self.0.serving.store(yes, Ordering::Relaxed);
        if yes {
            self.0.begun.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the first byte of a request.
    Idle,
    /// For the rest of its head.
    Head,
    /// For nothing that is timed here.
    No,
}

pub(crate) struct TimedStream {
    stream: TcpStream,
    phase: Phase,
    limits: Limits,
    waiting: Waiting,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    pub(crate) fn new(stream: TcpStream, phase: Phase, limits: Limits) -> Self {
        // A new connection is somebody who is about to ask: the head's time, not the idle time.
        let read_deadline = Box::pin(sleep_until(Instant::now() + limits.header));
        Self { stream, phase, limits, waiting: Waiting::Head, read_deadline, write_deadline: None }
    }

    fn wait_for(&mut self, what: Waiting, time: Duration) {
        self.waiting = what;
        self.read_deadline.as_mut().reset(Instant::now() + time);
    }

    /// Bounds how long a write may make no progress.
    fn write_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let time = self.limits.write;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer"))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let begun = this.phase.0.begun.swap(false, Ordering::Relaxed);
        if this.phase.0.serving.load(Ordering::Relaxed) {
            this.waiting = Waiting::No;
        } else if begun || this.waiting == Waiting::No {
            this.wait_for(Waiting::Idle, this.limits.idle);
        }
        let before = buf.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            if this.waiting == Waiting::Idle && buf.filled().len() > before {
                this.wait_for(Waiting::Head, this.limits.header);
            }
            return Poll::Ready(done);
        }
        if this.waiting == Waiting::No {
            return Poll::Pending;
        }
        ready!(this.read_deadline.as_mut().poll(cx));
        if this.waiting == Waiting::Head {
            // Best effort: the connection is given up either way.
            let _ = this.stream.try_write(TOO_SLOW);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")))
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_write(cx, buf) {
            self.write_deadline = None;
            return Poll::Ready(done);
        }
        self.write_pending(cx).map(Err)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            self.write_deadline = None;
            return Poll::Ready(done);
        }
        self.write_pending(cx).map(Err)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Listener;

    #[tokio::test]
    async fn a_connection_that_asks_again_and_again_is_kept_beyond_the_head_s_time() {
        let header = Duration::from_millis(200);
        let long = Duration::from_secs(60);
        let limits = Limits { header, idle: long, write: long, connections: 1 };
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "well" }));
        let serving = tokio::spawn(listener.serve(router, stop.clone()));

        let mut client = TcpStream::connect(address).await.unwrap();
        let mut answer = [0; 1024];
        let end = Instant::now() + 4 * header;
        while Instant::now() < end {
            client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let length = client.read(&mut answer).await.unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
            tokio::time::sleep(header / 10).await;
        }
        // A pause between two requests has the longer, idle time.
        tokio::time::sleep(2 * header).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(client.read(&mut answer).await.unwrap() > 0);
        drop(client);
        stop.cancel();
        serving.await.unwrap();
    }
}
