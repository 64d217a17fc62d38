//! How much slower a candidate is, if the shares of requests above the quantile differ by a given amount; and back.
//!
//! In a stratum, let `d` be how much larger the candidate's share above is than the baseline's. Both together have `1 − q` of their
//! requests above, so `d` gives both shares, the shares give both quantiles, and these their difference. It falls as `d` rises.

use sidetrack_stats::score::Stratum;

use crate::histogram::Inverse;

/// Halvings of an interval: to the last digit of a share or a latency.
const HALVINGS: u32 = 64;

/// How latencies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Candidate minus baseline, in seconds.
    Difference,
    /// The logarithm of candidate over baseline.
    Ratio,
}

impl Scale {
    fn of(self, (one, two): (f64, f64)) -> f64 {
        match self {
            Self::Difference => two - one,
            Self::Ratio => (two / one).ln(),
        }
    }
}

/// A variant in one stratum.
#[derive(Clone, Debug)]
pub(super) struct Arm {
    pub(super) inverse: Inverse,
    /// As many independent requests as these are worth.
    pub(super) trials: f64,
}

/// Both variants in one stratum.
#[derive(Clone, Debug)]
pub(super) struct Table {
    share: f64,
    pub(super) weight: f64,
    baseline: Arm,
    candidate: Arm,
}

impl Table {
    pub(super) const fn new(share: f64, weight: f64, baseline: Arm, candidate: Arm) -> Self {
        Self { share, weight, baseline, candidate }
    }

    /// The part of a difference by which the baseline's share moves, and the candidate's: the smaller one moves farther.
    fn parts(&self) -> (f64, f64) {
        let all = self.baseline.trials + self.candidate.trials;
        (self.candidate.trials / all, self.baseline.trials / all)
    }

    /// The shares below the quantile of both variants, if the candidate's share above is larger by `d`.
    fn below(&self, d: f64) -> (f64, f64) {
        let (one, two) = self.parts();
        (self.share + d * one, self.share - d * two)
    }

    /// The smallest and the largest `d`: beyond them, a share would not be between 0 and 1.
    fn limits(&self) -> (f64, f64) {
        let ((one, two), q) = (self.parts(), self.share);
        (-(q / one).min((1.0 - q) / two), ((1.0 - q) / one).min(q / two))
    }

    /// Both quantiles in seconds.
    fn quantiles(&self, d: f64) -> (f64, f64) {
        let (one, two) = self.below(d);
        (self.baseline.inverse.at(one) / 1000.0, self.candidate.inverse.at(two) / 1000.0)
    }

    /// How much slower the candidate is.
    fn shift(&self, scale: Scale, d: f64) -> f64 {
        scale.of(self.quantiles(d))
    }

    /// The `d` of a candidate that is slower by `shift`.
    fn difference(&self, scale: Scale, shift: f64) -> f64 {
        let (mut low, mut high) = self.limits();
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if self.shift(scale, middle) > shift { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// The variance of `d`, and the parts of it that are the baseline's and the candidate's.
    fn variances(&self) -> (f64, f64) {
        let one = self.share * (1.0 - self.share);
        (one / self.baseline.trials, one / self.candidate.trials)
    }

    /// Seconds per share: how much faster the candidate is for each part of its requests that is above, near `d` = 0.
    fn slope(&self, z: f64) -> f64 {
        let (low, high) = self.limits();
        let (one, two) = self.variances();
        let d = (z * (one + two).sqrt()).min(high).min(-low);
        (self.shift(Scale::Difference, -d) - self.shift(Scale::Difference, d)) / (2.0 * d)
    }
}

/// Both variants in all strata.
#[derive(Clone, Debug)]
pub(super) struct Shifts(Vec<Table>);

impl Shifts {
    /// Strata whose weights sum to 1.
    pub(super) const fn new(tables: Vec<Table>) -> Self {
        Self(tables)
    }

    fn sum(&self, term: impl Fn(&Table) -> f64) -> f64 {
        self.0.iter().map(term).sum()
    }

    /// The shares above the quantile of both variants together, stratum by stratum.
    pub(super) fn shares(&self) -> impl Iterator<Item = Stratum> {
        self.0.iter().map(|table| {
            let (one, two) = table.below(table.difference(Scale::Difference, 0.0));
            Stratum {
                weight: table.weight,
                baseline: (1.0 - one, table.baseline.trials),
                candidate: (1.0 - two, table.candidate.trials),
            }
        })
    }

    /// How much slower the candidate is, if the merged difference of the shares is `target`; infinite if no latency of the requests is
    /// so far.
    pub(super) fn at(&self, scale: Scale, target: f64) -> f64 {
        if target > self.sum(|table| table.weight * table.limits().1) {
            return f64::NEG_INFINITY;
        }
        if target < self.sum(|table| table.weight * table.limits().0) {
            return f64::INFINITY;
        }
        // Where all strata have the target, or what is next to it. One that cannot have it leaves more to the others.
        let is_beyond = |table: &Table| {
            let (low, high) = table.limits();
            (target < low, target > high)
        };
        let clamped = |table: &Table| {
            let (low, high) = table.limits();
            target.clamp(low, high)
        };
        let is_above = self.0.iter().any(|table| is_beyond(table).1);
        let is_below = self.0.iter().any(|table| is_beyond(table).0);
        let least = self.0.iter().map(|table| {
            table.shift(scale, if is_above { table.limits().1 } else { clamped(table) })
        });
        let most = self.0.iter().map(|table| {
            table.shift(scale, if is_below { table.limits().0 } else { clamped(table) })
        });
        let mut low = least.fold(f64::INFINITY, f64::min);
        let mut high = most.fold(f64::NEG_INFINITY, f64::max);
        // Of one stratum, both are the result. The logarithm of 0 has no middle.
        if low == high || !low.is_finite() || !high.is_finite() {
            return if low.is_finite() { high } else { low };
        }
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            let found = self.sum(|table| table.weight * table.difference(scale, middle));
            if found > target { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// The baseline's quantile in seconds, and the variances of the baseline's and the candidate's part of the difference.
    ///
    /// Strata weigh as they do in the difference, where those in which latencies are close together show most.
    pub(super) fn baseline(&self, z: f64, stretch: f64) -> (f64, (f64, f64)) {
        let slopes: Vec<f64> = self.0.iter().map(|table| table.slope(z)).collect();
        let all: f64 = self.0.iter().zip(&slopes).map(|(table, slope)| table.weight / slope).sum();
        let (mut value, mut variances) = (0.0, (0.0, 0.0));
        for (table, slope) in self.0.iter().zip(&slopes) {
            value += table.weight / slope / all * table.quantiles(0.0).0;
            let (one, two) = table.variances();
            let square = (table.weight / all).powi(2) * stretch;
            variances.0 += square * one;
            variances.1 += square * two;
        }
        (value, variances)
    }
}
