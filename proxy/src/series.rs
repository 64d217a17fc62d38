//! Single series of the proxy's statistics.
//!
//! The proxy finds a series by its name and labels, so counts survive updates of the configuration
//! and a restart of the filter.

use std::cell::Cell;

use crate::host::{Kind, SeriesId, Sink};

/// A series. If the proxy refused to define it, its counts are lost.
#[derive(Clone, Copy)]
pub(crate) struct Series(Option<SeriesId>);

impl Series {
    pub(crate) fn define(
        sink: &impl Sink,
        kind: Kind,
        labels: &[(&str, &str)],
        metric: &str,
    ) -> Self {
        Self(sink.define(kind, labels, metric))
    }

    /// Counts one event in the proxy's statistics at once: for rare events.
    pub(crate) fn count(self, sink: &impl Sink) {
        self.add(sink, 1);
    }

    #[inline]
    pub(crate) fn add(self, sink: &impl Sink, count: u32) {
        if let Some(id) = self.0
            && count > 0
        {
            sink.add(id, count);
        }
    }

    pub(crate) fn value(self, sink: &impl Sink) -> Option<u64> {
        sink.value(self.0?)
    }

    pub(crate) fn set(self, sink: &impl Sink, value: u64) {
        if let Some(id) = self.0 {
            sink.set(id, value);
        }
    }
}

/// A counter that accumulates locally and is published on the tick: one call to the proxy per tick
/// instead of one per request.
pub(crate) struct Counter {
    series: Series,
    unpublished: Cell<u32>,
}

impl Counter {
    pub(crate) fn define(sink: &impl Sink, labels: &[(&str, &str)], metric: &str) -> Self {
        let series = Series::define(sink, Kind::Counter, labels, metric);
        Self { series, unpublished: Cell::new(0) }
    }

    #[inline]
    pub(crate) fn count(&self) {
        self.unpublished.set(self.unpublished.get().saturating_add(1));
    }

    #[inline]
    pub(crate) fn publish(&self, sink: &impl Sink) {
        self.series.add(sink, self.unpublished.take());
    }
}
