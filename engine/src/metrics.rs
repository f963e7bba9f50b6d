//! Self-metrics: what the pipeline says of itself, in the Prometheus text format.
//!
//! One registry for a process; each component registers its own families through
//! [`Metrics::counter`] and its siblings, always with the label `component`.

use std::collections::BTreeMap;

use prometheus::proto::MetricType;
use prometheus::{Encoder as _, HistogramOpts, Opts, TextEncoder};
pub use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use schemars::JsonSchema;
use serde::Serialize;

/// One figure of [`Metrics::figures`].
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Figure {
    /// Without the prefix that all have.
    pub name: String,
    /// The component's name in the configuration, or `runtime`.
    pub component: String,
    /// Its other labels.
    pub labels: BTreeMap<String, String>,
    /// The figure.
    pub value: f64,
}

/// Prefix of every family.
const PREFIX: &str = "openclaw_trace";

/// The registry. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: prometheus::Registry,
}

impl Metrics {
    /// A counter `openclaw_trace_{name}` of one component. `name` ends in `_total`.
    #[must_use]
    pub fn counter(&self, component: &str, name: &str, help: &str) -> IntCounter {
        let metric = IntCounter::with_opts(opts(component, name, help));
        self.register(metric, name)
    }

    /// A counter with one more label.
    #[must_use]
    pub fn counter_by(&self, component: &str, name: &str, help: &str, label: &str) -> IntCounterVec {
        let metric = IntCounterVec::new(opts(component, name, help), &[label]);
        self.register(metric, name)
    }

    /// A gauge.
    #[must_use]
    pub fn gauge(&self, component: &str, name: &str, help: &str) -> IntGauge {
        let metric = IntGauge::with_opts(opts(component, name, help));
        self.register(metric, name)
    }

    /// A histogram of seconds; `name` ends in `_seconds`.
    #[must_use]
    pub fn seconds(&self, component: &str, name: &str, help: &str) -> Histogram {
        let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
        let options =
            HistogramOpts::new(format!("{PREFIX}_{name}"), help).const_label("component", component).buckets(buckets);
        self.register(Histogram::with_opts(options), name)
    }

    /// All of it, as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap_or_default(),
            Err(error) => format!("# not readable: {error}\n"),
        }
    }

    /// All of it, figure by figure: of a histogram how many (`_count`) and their sum (`_sum`).
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for family in self.registry.gather() {
            let name = family.name().strip_prefix(PREFIX).map_or(family.name(), |name| &name[1..]).to_owned();
            for metric in family.get_metric() {
                let mut labels: BTreeMap<String, String> =
                    metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
                let component = labels.remove("component").unwrap_or_default();
                let mut add = |name: String, value: f64| {
                    figures.push(Figure { name, component: component.clone(), labels: labels.clone(), value });
                };
                match family.get_field_type() {
                    MetricType::COUNTER => add(name.clone(), metric.get_counter().get_value()),
                    MetricType::GAUGE => add(name.clone(), metric.get_gauge().get_value()),
                    MetricType::HISTOGRAM => {
                        let histogram = metric.get_histogram();
                        #[allow(clippy::cast_precision_loss)]
                        add(format!("{name}_count"), histogram.get_sample_count() as f64);
                        add(format!("{name}_sum"), histogram.get_sample_sum());
                    }
                    // None of ours is of another type.
                    _ => {}
                }
            }
        }
        figures
    }

    /// The largest value of the gauges `openclaw_trace_{name}` over all components; `None` where no
    /// component has one.
    #[must_use]
    pub fn largest(&self, name: &str) -> Option<f64> {
        let families = self.registry.gather();
        let family =
            families.iter().find(|family| family.name().strip_prefix(PREFIX).is_some_and(|n| n[1..] == *name))?;
        family.get_metric().iter().map(|metric| metric.get_gauge().get_value()).reduce(f64::max)
    }

    fn register<M: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<M>, name: &str) -> M {
        // Names are constants of this code base and a component is built once, so neither fails
        // but by a mistake that the first test of that component meets.
        let metric = made.unwrap_or_else(|error| panic!("metric {name}: {error}"));
        if let Err(error) = self.registry.register(Box::new(metric.clone())) {
            panic!("metric {name}: {error}");
        }
        metric
    }
}

fn opts(component: &str, name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}_{name}"), help).const_label("component", component)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_rendered_by_component_and_its_largest_gauge_is_found() {
        let metrics = Metrics::default();
        metrics.gauge("a", "bytes", "Bytes.").set(3);
        metrics.gauge("b", "bytes", "Bytes.").set(7);
        metrics.gauge("a", "bytes_more", "More.").set(9);
        let text = metrics.render();
        assert!(text.contains("openclaw_trace_bytes{component=\"b\"} 7\n"), "{text}");
        assert_eq!(metrics.largest("bytes"), Some(7.0));
        assert_eq!(metrics.largest("byte"), None);
    }
}
