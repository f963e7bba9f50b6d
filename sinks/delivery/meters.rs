//! What the push says of itself.

use engine::metrics::{IntCounter, IntCounterVec, IntGauge, Metrics};

/// The metrics of one push.
#[derive(Clone)]
pub(crate) struct Meters {
    pub(super) confirmed: IntCounter,
    pub(super) quarantined: IntCounter,
    pub(super) left_out: IntCounter,
    requests: IntCounterVec,
    pub(super) retries: IntCounter,
    pub(super) pending: IntGauge,
    pub(super) breaker_open: IntGauge,
    pub(super) last_success: IntGauge,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics, component: &str) -> Self {
        let requests = "Push requests by class of status; \"error\" where no whole answer came.";
        Self {
            confirmed: metrics.counter(component, "push_events_total", "Events that the receiver confirmed."),
            quarantined: metrics.counter(
                component,
                "push_rejected_total",
                "Events set aside because the receiver will never take them.",
            ),
            left_out: metrics.counter(
                component,
                "push_left_out_total",
                "Events that this receiver is not sent, by the settings.",
            ),
            requests: metrics.counter_by(component, "push_requests_total", requests, "status"),
            retries: metrics.counter(component, "push_retries_total", "Push requests that repeated a failed one."),
            pending: metrics.gauge(component, "push_pending", "Events that wait to be pushed, counted up to 10000."),
            breaker_open: metrics.gauge(component, "push_breaker_open", "1 while the circuit breaker is open."),
            last_success: metrics.gauge(
                component,
                "push_last_success_timestamp_seconds",
                "Unix time of the last confirmation; 0 before the first.",
            ),
        }
    }

    /// Counts a request by its answer.
    pub(super) fn answered(&self, status: Option<u16>) {
        let class = match status {
            Some(200..=299) => "2xx",
            Some(300..=399) => "3xx",
            Some(400..=499) => "4xx",
            Some(500..=599) => "5xx",
            _ => "error",
        };
        self.requests.with_label_values(&[class]).inc();
    }
}
