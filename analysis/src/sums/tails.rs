//! Tails: how skewed the values of units are, from a second pass that knows their means.

use sidetrack_stats::float;
use sidetrack_stats::ratio;

use super::{Summation, Sums, Values};
use crate::answer::Role;
use crate::join::UnitTable;
use crate::metric::{Measure, Metric};

/// The powers of residuals `y − R x` of the units of a slot, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tails {
    pub(crate) units: u64,
    pub(crate) squares: f64,
    pub(crate) cubes: f64,
}

impl Tails {
    fn add(&mut self, residual: f64) {
        self.units += 1;
        self.squares += residual * residual;
        self.cubes += residual * residual * residual;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.units += other.units;
        self.squares += other.squares;
        self.cubes += other.cubes;
    }

    /// The third moment in units of the standard deviation; `None` if all residuals are 0.
    pub(crate) fn skewness(&self) -> Option<f64> {
        let (squares, cubes) = (self.squares / float(self.units), self.cubes / float(self.units));
        (squares > 0.0).then(|| cubes / squares.powf(1.5))
    }

    /// Sums of residuals, for tests.
    #[cfg(test)]
    pub(crate) fn of(residuals: &[f64]) -> Self {
        let mut tails = Self::default();
        residuals.iter().for_each(|residual| tails.add(*residual));
        tails
    }
}

/// Whether the test of a metric is one of means that decide. Shares have a score of their own.
pub(crate) fn needs_tails(metric: &Metric) -> bool {
    let is_mean = matches!(metric.measure, Measure::Mean | Measure::Ratio) && !metric.is_share();
    is_mean && metric.role != Role::Exploratory
}

impl Summation<'_> {
    /// The second pass over a shard: by metric, the tails by slot; empty for metrics that do not need them.
    pub(super) fn tails(&self, table: &UnitTable, sums: &Sums) -> Vec<Vec<Tails>> {
        let mut values = Values::new();
        let of = |(index, metric): (usize, &Metric)| {
            let pairs = sums.metrics.get(index).map_or(&[][..], |of| &of.pairs);
            if pairs.is_empty() || !needs_tails(metric) {
                return Vec::new();
            }
            let ratio = |pairs| ratio::ratio(pairs).ok().map(|ratio| ratio.value);
            let ratios: Vec<Option<f64>> = pairs.iter().map(ratio).collect();
            let mut tails = vec![Tails::default(); pairs.len()];
            for unit in table.units() {
                let Some((first, _)) = unit.first() else { continue };
                self.values(index, metric, table, unit, first, &mut values);
                for value in &values {
                    let ratio = ratios.get(value.slot).copied().flatten();
                    let tails = tails.get_mut(value.slot);
                    if let (Some(ratio), Some(tails)) = (ratio, tails) {
                        tails.add(value.y - ratio * value.x);
                    }
                }
            }
            tails
        };
        self.metrics.iter().enumerate().map(of).collect()
    }
}
