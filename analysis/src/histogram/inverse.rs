//! The inverse of a distribution of latencies, for many look-ups: from a share of the requests to the latency below which they are.

use super::{Counts, edge};

/// A bin that has requests.
#[derive(Clone, Copy, Debug)]
struct Bin {
    /// Requests in it, and in it and below it.
    count: f64,
    upto: f64,
    /// Where it begins and ends, in milliseconds.
    low: f64,
    high: f64,
}

/// The inverse of the distribution of a variant's latencies.
#[derive(Clone, Debug)]
pub(crate) struct Inverse {
    bins: Vec<Bin>,
    all: f64,
}

impl Inverse {
    /// `None` without requests.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(crate) fn new(counts: &Counts) -> Option<Self> {
        let mut upto = 0;
        let mut bins = Vec::new();
        for (bin, &count) in counts.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            upto += count;
            let (low, high) = (edge(bin), edge(bin + 1));
            bins.push(Bin { count: count as f64, upto: upto as f64, low, high });
        }
        (upto > 0).then_some(Self { bins, all: upto as f64 })
    }

    /// How many requests.
    pub(crate) const fn count(&self) -> f64 {
        self.all
    }

    /// The latency in milliseconds below which this share of the requests is, from 0 to 1; those of a bin are evenly spread.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let rank = share * self.all;
        let index = self.bins.partition_point(|bin| bin.upto < rank);
        let Some(bin) = self.bins.get(index).or_else(|| self.bins.last()) else { return 0.0 };
        let part = ((rank - (bin.upto - bin.count)) / bin.count).clamp(0.0, 1.0);
        bin.low + (bin.high - bin.low) * part
    }
}
