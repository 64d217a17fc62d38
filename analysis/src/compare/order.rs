//! Quantiles from order statistics: one test of a difference, which gives the estimate, the intervals and the p-value.
//!
//! Are the candidate's latencies at a quantile longer by δ? If so, and the candidate's latencies were shorter by δ, then as many
//! requests of both variants would be above the quantile of both together. The score test of shares says how far apart the observed
//! shares are. It is right for a small arm, where an estimate of the quantile's own variance is not, and needs no density of latencies.
//! Shares are ratios over units, so each has a design effect (Deng, Knoblich & Lu, KDD 2018). In several strata, the differences of
//! the shares are merged with fixed weights, as in other scores.
//!
//! - The p-value is that of δ = 0.
//! - The interval has all δ that the test does not reject, and the estimate is the δ at which the merged shares are equal. So an
//!   interval excludes 0 exactly where the p-value is below the level, and always holds the estimate.
//! - The lift is the same with a factor instead of δ.
//!
//! The smaller δ is, the larger is the difference of the shares, so each end has one place ([`shift`]).

mod shift;

use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::{Comparison, Estimate, Interval, Test, Undefined};
use sidetrack_stats::score::{Score, Stratum as Shares};
use sidetrack_stats::strata;

use crate::histogram::{Histogram, Inverse};
use shift::{Arm, Scale, Shifts, Table};

/// A quantile of two variants, stratum by stratum.
#[derive(Clone, Debug)]
pub(crate) struct Quantiles {
    shifts: Shifts,
    score: Score,
    /// How many times larger units in several strata make the variance of the merged difference.
    stretch: f64,
}

/// A stratum's histograms of the baseline and the candidate, and the units behind them.
pub(crate) type Stratum<'h> = ((&'h Histogram, u64), (&'h Histogram, u64));

impl Quantiles {
    /// The quantile below which `share` of the requests are, in strata that have both variants; `0 < share < 1`.
    ///
    /// # Errors
    /// `TooFew` without strata, or where a variant has no requests.
    pub(crate) fn new(share: f64, strata: &[Stratum<'_>]) -> Result<Self, Undefined> {
        let sizes: Vec<(u64, u64)> = strata.iter().map(|(one, two)| (one.1, two.1)).collect();
        let mut tables = Vec::new();
        let mut residuals = Vec::new();
        for (((one, _), (two, _)), weight) in strata.iter().zip(strata::weights(&sizes)) {
            let (one, two) = (Sample::new(share, one)?, Sample::new(share, two)?);
            let effects = one.effects(&two);
            let table = Table::new(share, weight, one.arm(effects.0), two.arm(effects.1));
            tables.push(table);
            residuals.push((one.residuals, two.residuals));
        }
        let stretch = crossed(&tables, &residuals);
        let shifts = Shifts::new(tables);
        let shares: Vec<Shares> = shifts.shares().collect();
        let score = Score::of_strata(&shares, stretch)?;
        Ok(Self { shifts, score, stretch })
    }

    /// The test that both variants have the same quantile.
    pub(crate) fn test(&self) -> Result<Test, Undefined> {
        self.score.test()
    }

    /// The interval of the difference at `z` standard errors, in seconds; an end is infinite if the data do not bound it.
    pub(crate) fn interval(&self, z: f64) -> Interval {
        self.ends(Scale::Difference, z)
    }

    /// The interval of the difference over the baseline's quantile.
    pub(crate) fn lift_interval(&self, z: f64) -> Interval {
        let Interval { low, high } = self.ends(Scale::Ratio, z);
        Interval { low: low.exp_m1(), high: high.exp_m1() }
    }

    fn ends(&self, scale: Scale, z: f64) -> Interval {
        let (below, above) = self.score.reach(z);
        // More of the candidate's requests are above, if it is slower by less.
        Interval { low: self.shifts.at(scale, above), high: self.shifts.at(scale, below) }
    }

    /// Everything at once, for a single look.
    pub(crate) fn comparison(&self, level: Fraction) -> Comparison {
        let z = Estimate { difference: 0.0, variance: 1.0, df: None }.critical(level);
        let difference = self.shifts.at(Scale::Difference, 0.0);
        let (baseline, variances) = self.shifts.baseline(z, self.stretch);
        Comparison {
            values: (baseline, baseline + difference),
            variances,
            estimate: Estimate { difference, variance: variances.0 + variances.1, df: None },
            interval: Some(self.interval(z)),
            lift: Ok(self.shifts.at(Scale::Ratio, 0.0).exp_m1()),
            lift_interval: Ok(self.lift_interval(z)),
            power: None,
            test: self.test(),
        }
    }
}

/// The requests of a variant in one stratum.
struct Sample {
    inverse: Inverse,
    /// The variance of the share below the quantile, if requests were independent.
    independent: f64,
    /// By group: requests below the quantile minus their share of the group's requests, over all requests.
    residuals: Vec<f64>,
}

impl Sample {
    fn new(share: f64, histogram: &Histogram) -> Result<Self, Undefined> {
        let counts = histogram.total();
        let inverse = Inverse::new(&counts).ok_or(Undefined::TooFew)?;
        let position = counts.position(share).ok_or(Undefined::TooFew)?;
        let all = inverse.count();
        let residual = |(below, requests): (f64, f64)| (below - share * requests) / all;
        let residuals = histogram.below(position).map(residual).collect();
        Ok(Self { inverse, independent: share * (1.0 - share) / all, residuals })
    }

    /// The design effects of this variant and of the other one: the larger of its own and the common one, since a small arm shows
    /// little of its own.
    fn effects(&self, other: &Self) -> (f64, f64) {
        let own = |sample: &Self| {
            (product(&sample.residuals, &sample.residuals) / sample.independent).max(1.0)
        };
        let (one, two) = (own(self), own(other));
        let (n1, n2) = (self.inverse.count(), other.inverse.count());
        let common = (one * n1 + two * n2) / (n1 + n2);
        (one.max(common), two.max(common))
    }

    fn arm(&self, effect: f64) -> Arm {
        Arm { trials: self.inverse.count() / effect, inverse: self.inverse.clone() }
    }
}

/// What units in several strata do to the variance of the merged difference of shares; at least 1.
///
/// All requests of a unit are in one group, so products of residuals of a group in two strata show it.
fn crossed(tables: &[Table], residuals: &[(Vec<f64>, Vec<f64>)]) -> f64 {
    let pull = |(table, (one, two)): (&Table, &(Vec<f64>, Vec<f64>))| -> Vec<f64> {
        one.iter().zip(two).map(|(one, two)| table.weight * (two - one)).collect()
    };
    let pulls: Vec<Vec<f64>> = tables.iter().zip(residuals).map(pull).collect();
    let apart: f64 = pulls.iter().map(|pull| product(pull, pull)).sum();
    let mut covariance = 0.0;
    for (index, one) in pulls.iter().enumerate() {
        let later = pulls.iter().skip(index + 1);
        covariance += 2.0 * later.map(|two| product(one, two)).sum::<f64>();
    }
    if apart > 0.0 { (1.0 + covariance / apart).max(1.0) } else { 1.0 }
}

fn product(one: &[f64], two: &[f64]) -> f64 {
    one.iter().zip(two).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests;
