//! How long a variant takes to its response headers, as the buckets of a Prometheus histogram.
//!
//! Envoy's own histograms would be sampled per request, and their buckets cannot be chosen by a filter. So the buckets
//! are counters. Here each time is counted once, in the one bucket where it falls; Prometheus wants them cumulative, and they become so
//! when Envoy is told, once a second: that takes up to fourteen calls of the host for a variant with traffic.
//!
//! Envoy's counters are whole numbers and a sum in seconds is not. Only whole seconds are told and the rest waits here, from a
//! start of half a second, so that the published sum is never further than half a second from the true one for each
//! worker and configuration.

use core::time::Duration;
use std::cell::Cell;

use sidetrack::names::{label, metric};
use sidetrack::outcome::TIME_BOUNDS as BOUNDS;

use crate::host::Kind;
use crate::series::Series;

/// The last bucket has no bound.
const BUCKETS: usize = BOUNDS.len() + 1;
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// The times of one variant.
pub(crate) struct Latency {
    /// Cumulative, with that of all times at last.
    buckets: [Series; BUCKETS],
    count: Series,
    sum: Series,
    /// Not cumulative, and not told yet.
    untold: [Cell<u32>; BUCKETS],
    untold_sum: Cell<Duration>,
}

impl Latency {
    pub(crate) fn define(labels: &[(&str, &str)]) -> Self {
        let of = |metric| Series::define(Kind::Counter, labels, metric);
        let bucket = |index: usize| {
            let le = BOUNDS.get(index).map_or("+Inf", |(_, le)| le);
            let labels = [labels, &[(label::LE, le)]].concat();
            Series::define(Kind::Counter, &labels, metric::RESPONSE_TIME_BUCKET)
        };
        Self {
            buckets: core::array::from_fn(bucket),
            count: of(metric::RESPONSE_TIME_COUNT),
            sum: of(metric::RESPONSE_TIME_SUM),
            untold: Default::default(),
            untold_sum: Cell::new(HALF_A_SECOND),
        }
    }

    /// Counts a time.
    pub(crate) fn took(&self, time: Duration) {
        let bucket = BOUNDS.iter().position(|(bound, _)| time <= Duration::from_millis(*bound));
        if let Some(untold) = self.untold.get(bucket.unwrap_or(BUCKETS - 1)) {
            untold.set(untold.get().saturating_add(1));
        }
        self.untold_sum.set(self.untold_sum.get().saturating_add(time));
    }

    /// Tells Envoy what is new.
    pub(crate) fn tell(&self) {
        let mut so_far = 0_u32;
        for (bucket, untold) in self.buckets.iter().zip(&self.untold) {
            so_far = so_far.saturating_add(untold.take());
            bucket.add(so_far);
        }
        self.count.add(so_far);
        let sum = self.untold_sum.get();
        self.sum.add(u32::try_from(sum.as_secs()).unwrap_or(u32::MAX));
        self.untold_sum.set(Duration::from_nanos(sum.subsec_nanos().into()));
    }
}
