//! Network: bytes, errors and connections of this process's network namespace.

use super::attributes::{Attributes, Counter};
use super::files::Files;
use super::parse;

/// Counters of the last sample.
#[derive(Debug, Default)]
pub(super) struct Network {
    received: Counter,
    sent: Counter,
    errors: Counter,
    dropped: Counter,
}

impl Network {
    /// Adds what is known to `out`.
    pub(super) fn observe(&mut self, files: &mut Files, out: &mut Attributes) {
        let net = files.read_proc("net/dev").map(|text| parse::net_dev(&text));
        let net = net.as_ref();
        out.count("container.network.io.receive", self.received.grew(net.map(|net| net.received)));
        out.count("container.network.io.transmit", self.sent.grew(net.map(|net| net.sent)));
        out.count("openclaw_trace.network.errors", self.errors.grew(net.map(|net| net.errors)));
        out.count("openclaw_trace.network.dropped", self.dropped.grew(net.map(|net| net.dropped)));

        // The summary; a list of connections would cost a line for each of them.
        let (tcp, waiting) = match files.read_proc("net/sockstat") {
            Some(text) => (parse::sockstat(&text, "TCP", "inuse"), parse::sockstat(&text, "TCP", "tw")),
            None => (None, None),
        };
        // Where IPv6 is off, there is no such file.
        let tcp6 = files.read_proc("net/sockstat6").and_then(|text| parse::sockstat(&text, "TCP6", "inuse"));
        let connections = tcp.map(|tcp| tcp.saturating_add(tcp6.unwrap_or(0)));
        out.count("openclaw_trace.network.connections.tcp", connections);
        out.count("openclaw_trace.network.connections.time_wait", waiting);
    }
}
