//! Response times of a variant, as the buckets of a Prometheus histogram made of counters.
//!
//! A filter cannot choose the buckets of Envoy's own histograms, so the buckets are counters. Each
//! time is counted here in the one bucket that it falls into. The counts become cumulative, as
//! Prometheus expects them, when they are published once a second: up to fourteen calls to the
//! proxy for a variant with traffic.
//!
//! Counters are integers, and a sum of seconds is not. Only whole seconds are published, and the
//! remainder is carried over. It starts at half a second, so the published sum of each worker and
//! configuration is never more than half a second off.

use core::time::Duration;
use std::cell::Cell;

use sidetrack::names::{label, metric};
use sidetrack::outcome::TIME_BOUNDS as BOUNDS;

use crate::host::{Kind, Sink};
use crate::series::Series;

/// The last bucket has no upper bound.
const BUCKETS: usize = BOUNDS.len() + 1;
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// The response times of one variant.
pub(crate) struct Latency {
    /// Cumulative; the last one counts all times.
    buckets: [Series; BUCKETS],
    count: Series,
    sum: Series,
    /// Not cumulative.
    unpublished: [Cell<u32>; BUCKETS],
    unpublished_sum: Cell<Duration>,
}

impl Latency {
    pub(crate) fn define(sink: &impl Sink, labels: &[(&str, &str)]) -> Self {
        let counter =
            |labels: &[(&str, &str)], metric| Series::define(sink, Kind::Counter, labels, metric);
        let bucket = |index: usize| {
            let le = BOUNDS.get(index).map_or("+Inf", |(_, le)| le);
            counter(&[labels, &[(label::LE, le)]].concat(), metric::RESPONSE_TIME_BUCKET)
        };
        Self {
            buckets: core::array::from_fn(bucket),
            count: counter(labels, metric::RESPONSE_TIME_COUNT),
            sum: counter(labels, metric::RESPONSE_TIME_SUM),
            unpublished: Default::default(),
            unpublished_sum: Cell::new(HALF_A_SECOND),
        }
    }

    /// Counts a response time.
    #[inline]
    pub(crate) fn count(&self, time: Duration) {
        let bucket = BOUNDS.iter().position(|(bound, _)| time <= Duration::from_millis(*bound));
        if let Some(unpublished) = self.unpublished.get(bucket.unwrap_or(BUCKETS - 1)) {
            unpublished.set(unpublished.get().saturating_add(1));
        }
        self.unpublished_sum.set(self.unpublished_sum.get().saturating_add(time));
    }

    /// Publishes the times that were counted since the last call.
    pub(crate) fn publish(&self, sink: &impl Sink) {
        let mut so_far = 0_u32;
        for (bucket, unpublished) in self.buckets.iter().zip(&self.unpublished) {
            so_far = so_far.saturating_add(unpublished.take());
            bucket.add(sink, so_far);
        }
        self.count.add(sink, so_far);
        let sum = self.unpublished_sum.get();
        self.sum.add(sink, u32::try_from(sum.as_secs()).unwrap_or(u32::MAX));
        self.unpublished_sum.set(Duration::from_nanos(sum.subsec_nanos().into()));
    }
}
