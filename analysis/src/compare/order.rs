//! Quantiles from order statistics: the test and the intervals of a difference, from histograms of groups of units.
//!
//! Which latency is the 95th percentile is uncertain because the *share* of requests below any latency is. That share is a ratio over
//! units, so its error has a design effect (Deng, Knoblich & Lu, KDD 2018), and the latencies at the share's bounds are the bounds of the
//! quantile, however skewed latencies are and without an estimate of their density. Two of them combine to an interval of the difference
//! (MOVER: Zou & Donner, Statistics in Medicine 2008), as in Newcombe's interval of two shares.
//!
//! The test asks how many requests of each variant are above the quantile of both together, by the score test of shares: right
//! for a small arm, where an estimate of the quantile's own variance is not.

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::distribution::normal;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::{Comparison, Estimate, Interval, Test, Undefined};
use sidetrack_stats::score::{Score, reach_of_share};
use sidetrack_stats::{float, strata};

use crate::histogram::{Counts, Histogram, Position};

/// How many standard errors always-valid intervals reach, once there are enough units for a decision.
const WIDEST: f64 = 4.0;

/// A quantile of two variants, stratum by stratum.
#[derive(Clone, Debug)]
pub(crate) struct Quantiles {
    share: f64,
    tables: Vec<Table>,
    score: Score,
    /// How many times larger units in several strata make the variance of the merged difference.
    stretch: f64,
}

/// Both variants in one stratum.
#[derive(Clone, Debug)]
struct Table {
    weight: f64,
    baseline: Arm,
    candidate: Arm,
}

/// A variant in one stratum.
#[derive(Clone, Debug)]
struct Arm {
    counts: Counts,
    value: f64,
    /// The standard error of the share of requests below the quantile.
    error: f64,
    /// By group: requests below the quantile minus their share of the group's requests, over all requests.
    residuals: Vec<f64>,
}

/// A merged value and how far its bounds are below and above it.
#[derive(Clone, Copy)]
struct Reach {
    value: f64,
    below: f64,
    above: f64,
}

impl Reach {
    /// Half of the interval, or its lower half if the upper one has no end.
    const fn half(self) -> f64 {
        if self.above.is_finite() { 0.5 * (self.below + self.above) } else { self.below }
    }
}

/// A stratum's histograms of the baseline and the candidate, and the units behind them.
pub(crate) type Stratum<'h> = ((&'h Histogram, u64), (&'h Histogram, u64));

impl Quantiles {
    /// The quantile below which `share` of the requests are, in strata that have both variants.
    ///
    /// # Errors
    /// `TooFew` without strata.
    pub(crate) fn new(share: f64, strata: &[Stratum<'_>]) -> Result<Self, Undefined> {
        let sizes: Vec<(u64, u64)> = strata.iter().map(|(one, two)| (one.1, two.1)).collect();
        let mut tables = Vec::new();
        let mut pairs = Vec::new();
        for (((one, _), (two, _)), weight) in strata.iter().zip(strata::weights(&sizes)) {
            let (first, second) = (one.total(), two.total());
            let mut both = first.clone();
            both.merge(&second);
            let common = both.position(share).ok_or(Undefined::TooFew)?;
            pairs.push((above(one, common), above(two, common)));
            let arm = |histogram: &Histogram, counts: Counts| Arm::new(share, histogram, counts);
            let mut table = Table {
                weight,
                baseline: arm(one, first).ok_or(Undefined::TooFew)?,
                candidate: arm(two, second).ok_or(Undefined::TooFew)?,
            };
            table.share_design(share);
            tables.push(table);
        }
        let score = Score::of_groups(&pairs, &sizes, 1.0)?;
        let mut found = Self { share, tables, score, stretch: 1.0 };
        found.stretch = found.crossed();
        if found.stretch > 1.0 {
            found.score = Score::of_groups(&pairs, &sizes, found.stretch)?;
        }
        Ok(found)
    }

    /// Whether the requests of both variants bound the quantile on both sides, in each stratum.
    pub(crate) fn is_bounded(&self) -> bool {
        let arms = self.tables.iter().flat_map(|table| [&table.baseline, &table.candidate]);
        let mut reach = arms.map(|arm| WIDEST * arm.error);
        reach.all(|reach| reach < self.share && self.share + reach < 1.0)
    }

    /// The test that both variants have the same quantile.
    pub(crate) fn test(&self) -> Result<Test, Undefined> {
        self.score.test()
    }

    /// The interval of the difference at `z` standard errors; an end is infinite if the data do not bound it.
    pub(crate) fn interval(&self, z: f64) -> Interval {
        let (one, two) = self.reaches(z);
        let difference = two.value - one.value;
        Interval {
            low: difference - two.below.hypot(one.above),
            high: difference + two.above.hypot(one.below),
        }
    }

    /// The interval of the difference over the baseline's quantile, on the logarithm of the ratio.
    pub(crate) fn lift_interval(&self, z: f64) -> Result<Interval, Undefined> {
        let (one, two) = self.reaches(z);
        if one.value <= 0.0 || two.value <= 0.0 {
            return Err(Undefined::ZeroBaseline);
        }
        let below = |reach: Reach| -((reach.value - reach.below).max(0.0) / reach.value).ln();
        let above = |reach: Reach| ((reach.value + reach.above) / reach.value).ln();
        let center = (two.value / one.value).ln();
        Ok(Interval {
            low: (center - below(two).hypot(above(one))).exp_m1(),
            high: (center + above(two).hypot(below(one))).exp_m1(),
        })
    }

    /// Everything at once, for a single look.
    pub(crate) fn comparison(&self, level: Fraction) -> Comparison {
        let z = Estimate { difference: 0.0, variance: 1.0, df: None }.critical(level);
        let (one, two) = self.reaches(z);
        let variance = |reach: Reach| (reach.half() / z).powi(2);
        let variances = (variance(one), variance(two));
        let difference = two.value - one.value;
        let lift =
            if one.value > 0.0 { Ok(difference / one.value) } else { Err(Undefined::ZeroBaseline) };
        Comparison {
            values: (one.value, two.value),
            variances,
            estimate: Estimate { difference, variance: variances.0 + variances.1, df: None },
            interval: Some(self.interval(z)),
            lift,
            lift_interval: self.lift_interval(z),
            power: None,
            test: self.test(),
        }
    }

    /// Both merged values with the reach of their bounds.
    fn reaches(&self, z: f64) -> (Reach, Reach) {
        let of = |arm: fn(&Table) -> &Arm| {
            let mut merged = Reach { value: 0.0, below: 0.0, above: 0.0 };
            for table in &self.tables {
                let reach = arm(table).reach(self.share, z);
                merged.value += table.weight * reach.value;
                merged.below = merged.below.hypot(table.weight * reach.below);
                merged.above = merged.above.hypot(table.weight * reach.above);
            }
            let stretch = self.stretch.sqrt();
            Reach { below: merged.below * stretch, above: merged.above * stretch, ..merged }
        };
        (of(|table| &table.baseline), of(|table| &table.candidate))
    }

    /// What units in several strata do to the variance of the merged difference; at least 1.
    ///
    /// All requests of a unit are in one group, so products of residuals of a group in two strata show it.
    fn crossed(&self) -> f64 {
        let z = normal::quantile(0.025);
        // How far each group moves the merged difference in a stratum, in seconds.
        let pull = |table: &Table| -> Vec<f64> {
            let scaled = |arm: &Arm, sign: f64| -> Vec<f64> {
                let by = sign * table.weight * arm.reach(self.share, z).half() / (z * arm.error);
                arm.residuals.iter().map(|residual| by * residual).collect()
            };
            let (one, two) = (scaled(&table.baseline, -1.0), scaled(&table.candidate, 1.0));
            one.iter().zip(two).map(|(a, b)| a + b).collect()
        };
        let pulls: Vec<Vec<f64>> = self.tables.iter().map(pull).collect();
        let product =
            |one: &[f64], two: &[f64]| one.iter().zip(two).map(|(a, b)| a * b).sum::<f64>();
        let apart: f64 = pulls.iter().map(|pull| product(pull, pull)).sum();
        let mut covariance = 0.0;
        for (index, one) in pulls.iter().enumerate() {
            let later = pulls.iter().skip(index + 1);
            covariance += 2.0 * later.map(|two| product(one, two)).sum::<f64>();
        }
        if apart > 0.0 { (1.0 + covariance / apart).max(1.0) } else { 1.0 }
    }
}

impl Table {
    /// Takes the larger of both variants' common design effect and each one's own: a small arm shows little of its own.
    fn share_design(&mut self, share: f64) {
        let independent = |arm: &Arm| share * (1.0 - share) / float(arm.counts.count());
        let own = |arm: &Arm| {
            let spread: f64 = arm.residuals.iter().map(|residual| residual * residual).sum();
            (spread / independent(arm)).max(1.0)
        };
        let (one, two) = (own(&self.baseline), own(&self.candidate));
        let (n1, n2) = (float(self.baseline.counts.count()), float(self.candidate.counts.count()));
        let common = (one * n1 + two * n2) / (n1 + n2);
        self.baseline.error = (one.max(common) * independent(&self.baseline)).sqrt();
        self.candidate.error = (two.max(common) * independent(&self.candidate)).sqrt();
    }
}

impl Arm {
    fn new(share: f64, histogram: &Histogram, counts: Counts) -> Option<Self> {
        let value = counts.quantile(share)? / 1000.0;
        let position = counts.position(share)?;
        let all = float(counts.count());
        let residual = |(below, requests): (f64, f64)| (below - share * requests) / all;
        let residuals = histogram.below(position).map(residual).collect();
        Some(Self { counts, value, error: 0.0, residuals })
    }

    /// The latencies at the bounds of the share.
    fn reach(&self, share: f64, z: f64) -> Reach {
        let at = |share: f64| self.counts.quantile(share).map_or(0.0, |value| value / 1000.0);
        // Of as many independent requests as have this error.
        let requests = share * (1.0 - share) / (self.error * self.error);
        let (below, above) = reach_of_share(share, requests, z);
        let (low, high) = (share - below, share + above);
        Reach {
            value: self.value,
            below: self.value - at(low.max(0.0)),
            above: if high < 1.0 { at(high) - self.value } else { f64::INFINITY },
        }
    }
}

/// By group: requests above a position, and all.
fn above(histogram: &Histogram, position: Position) -> Pairs {
    let mut pairs = Pairs::default();
    for (below, requests) in histogram.below(position) {
        // Counts are finite.
        let _ = pairs.add(requests - below, requests);
    }
    pairs
}

#[cfg(test)]
mod tests;
