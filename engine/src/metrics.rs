//! Self-metrics: what the pipeline says of itself, in the Prometheus text format.
//!
//! One registry for a process; each component asks for its own families through
//! [`Metrics::counter`] and its siblings, always with the label `component`.
//!
//! Asking twice gives the same one: a component that is exchanged for another of its name counts on
//! where the first stopped. What was asked for by none that is left is forgotten (`Metrics::forget`),
//! so that no figure of a component that is gone stands still as if it were true.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
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
#[derive(Clone, Default)]
pub struct Metrics {
    registry: prometheus::Registry,
    asked: Arc<Mutex<Asked>>,
}

/// What was asked for, by component and name.
#[derive(Default)]
struct Asked {
    families: BTreeMap<(String, String), Family>,
    times: u64,
}

struct Family {
    metric: Box<dyn Any + Send>,
    collector: Box<dyn Collector>,
    /// The last time that it was asked for.
    last: u64,
}

/// A moment, between what was asked for before and after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.registry).finish()
    }
}

impl Metrics {
    /// A counter `openclaw_trace_{name}` of one component. `name` ends in `_total`.
    #[must_use]
    pub fn counter(&self, component: &str, name: &str, help: &str) -> IntCounter {
        self.obtain(component, name, || IntCounter::with_opts(opts(component, name, help)))
    }

    /// A counter with one more label.
    #[must_use]
    pub fn counter_by(&self, component: &str, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.obtain(component, name, || IntCounterVec::new(opts(component, name, help), &[label]))
    }

    /// A gauge.
    #[must_use]
    pub fn gauge(&self, component: &str, name: &str, help: &str) -> IntGauge {
        self.obtain(component, name, || IntGauge::with_opts(opts(component, name, help)))
    }

    /// A histogram of seconds; `name` ends in `_seconds`.
    #[must_use]
    pub fn seconds(&self, component: &str, name: &str, help: &str) -> Histogram {
        let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
        let options =
            HistogramOpts::new(format!("{PREFIX}_{name}"), help).const_label("component", component).buckets(buckets);
        self.obtain(component, name, || Histogram::with_opts(options))
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

    /// This moment.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.asked().times)
    }

    /// Forgets what a component asked for before `mark` and not again since.
    pub(crate) fn forget(&self, component: &str, mark: Mark) {
        let mut asked = self.asked();
        let families = std::mem::take(&mut asked.families);
        let (gone, left) = families.into_iter().partition(|((of, _), family)| of == component && family.last <= mark.0);
        asked.families = left;
        for (_, family) in gone as BTreeMap<_, Family> {
            // Fails where it is not registered, which is what is wanted.
            let _ = self.registry.unregister(family.collector);
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obtain<M>(&self, component: &str, name: &str, make: impl FnOnce() -> prometheus::Result<M>) -> M
    where
        M: Collector + Clone + 'static,
    {
        let mut asked = self.asked();
        asked.times += 1;
        let now = asked.times;
        let key = (component.to_owned(), name.to_owned());
        if let Some(family) = asked.families.get_mut(&key)
            && let Some(metric) = family.metric.downcast_ref::<M>().cloned()
        {
            family.last = now;
            return metric;
        }
        // Names are constants of this code base, so neither fails but by a mistake that the first test of that
        // component meets.
        let metric = make().unwrap_or_else(|error| panic!("metric {name}: {error}"));
        if let Some(other) = asked.families.remove(&key) {
            let _ = self.registry.unregister(other.collector);
        }
        if let Err(error) = self.registry.register(Box::new(metric.clone())) {
            // Another plugin tells of the same name in another way. In a graph that is loaded while the process
            // runs that must not end it.
            debug_assert!(false, "metric {name}: {error}");
            tracing::error!(component, metric = name, %error, "a metric is counted and cannot be shown");
        }
        let family = Family { metric: Box::new(metric.clone()), collector: Box::new(metric.clone()), last: now };
        asked.families.insert(key, family);
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

    #[test]
    fn a_figure_goes_on_where_its_component_was_exchanged_and_goes_where_it_is_gone() {
        let metrics = Metrics::default();
        for component in ["a", "b"] {
            metrics.counter(component, "events_total", "Events.").inc_by(5);
            metrics.gauge(component, "bytes", "Bytes.").set(1);
        }
        let mark = metrics.mark();
        metrics.counter("a", "events_total", "Events.").inc();
        for gone in ["a", "b"] {
            metrics.forget(gone, mark);
        }
        let figures: Vec<_> = metrics.figures().into_iter().map(|it| (it.name, it.component, it.value)).collect();
        assert_eq!(figures, [("events_total".to_owned(), "a".to_owned(), 6.0)]);
        metrics.counter("b", "events_total", "Events.").inc();
        assert!(metrics.render().contains("openclaw_trace_events_total{component=\"b\"} 1\n"), "it begins anew");
    }
}
