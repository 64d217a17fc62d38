//! Single series in Envoy's statistics.
//!
//! A stat's name carries its labels the way Istio's `extraStatTags` expects them, `label=.=value;.;` before the
//! metric's name; Envoy's `stats_tags` turn them into labels. Envoy finds a stat by its name, so counts survive
//! updates of the configuration and a restart of the filter.

use std::cell::Cell;

use crate::host::{self, Kind, Level};

/// A series that may be missing: a host that refuses a metric costs its count, not the request.
#[derive(Clone, Copy)]
pub(crate) struct Series(Option<u32>);

impl Series {
    pub(crate) fn define(kind: Kind, labels: &[(&str, &str)], metric: &str) -> Self {
        let labels: String =
            labels.iter().map(|(label, value)| format!("{label}=.={value};.;")).collect();
        let name = labels + metric;
        let id = host::define_metric(kind, &name);
        if let Err(failed) = id {
            let text = format!("sidetrack: Envoy refused the metric {name} (status {})", failed.0);
            host::log(Level::Warn, &text);
        }
        Self(id.ok())
    }

    /// Counts at once: for what happens rarely, and must be seen by other workers.
    pub(crate) fn count(self) {
        self.add(1);
    }

    pub(crate) fn add(self, more: u32) {
        // A count that Envoy refuses is lost; there is nobody to tell on the request path.
        self.0.filter(|_| more > 0).map(|id| host::increment(id, more.into()).ok());
    }

    pub(crate) fn value(self) -> Option<u64> {
        host::metric(self.0?).ok()
    }

    pub(crate) fn set(self, value: u64) {
        self.0.map(|id| host::set_gauge(id, value).ok());
    }
}

/// A counter that is added up here and told to Envoy on the tick: a call of the host for each tick instead of each
/// request.
pub(crate) struct Counter {
    series: Series,
    untold: Cell<u32>,
}

impl Counter {
    pub(crate) fn define(labels: &[(&str, &str)], metric: &str) -> Self {
        Self { series: Series::define(Kind::Counter, labels, metric), untold: Cell::new(0) }
    }

    pub(crate) fn count(&self) {
        self.untold.set(self.untold.get().saturating_add(1));
    }

    pub(crate) fn tell(&self) {
        self.series.add(self.untold.take());
    }
}
