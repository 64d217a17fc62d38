//! Strata in which the same units come again: merged by their sizes, with the covariance that such units make.
//!
//! Phases are never pooled. When the weights change while the metric drifts, the candidate's units come from other days than the
//! baseline's, and the pooled difference shows the drift (Simpson's paradox). The merged difference is a mean of the phases' differences.
//! Weights of one over the variance would be wrong: of rare errors or skewed revenue the variance goes up and down with the mean, so the
//! smaller mean gets the larger weight. Here the weights depend on numbers of units only, and the caller adds what units in several
//! strata contribute, since a user seen in two phases is one user.

use crate::input::Fraction;
use crate::means::of_estimate;
use crate::numeric::float;
use crate::result::{Comparison, Estimate, Undefined};

/// One variant in one stratum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Side {
    /// The mean, the ratio, the quantile.
    pub value: f64,
    /// The variance of the value's error.
    pub variance: f64,
    /// How many units it is made of.
    pub units: u64,
}

/// The weights of strata by their sizes, `n₁ n₂ / (n₁ + n₂)`, which sum to one: the precision that each would have, did units vary alike.
///
/// All 0 when no stratum has units of both.
#[must_use]
pub fn weights(sizes: &[(u64, u64)]) -> Vec<f64> {
    let size = |(one, two): &(u64, u64)| {
        let (one, two) = (float(*one), float(*two));
        if one * two > 0.0 { one / (one + two) * two } else { 0.0 }
    };
    let sum: f64 = sizes.iter().map(size).sum();
    sizes.iter().map(|sizes| if sum > 0.0 { size(sizes) / sum } else { 0.0 }).collect()
}

/// The candidate's values against the baseline's, stratum by stratum, merged with `weights`.
///
/// `covariance` is what units in several strata add to the variance of the merged difference: twice the sum over pairs of strata of
/// their weights and the covariance of their differences; 0 when each unit is in one stratum. Judged by the normal distribution.
///
/// # Errors
/// `TooFew` when no stratum has units of both.
pub fn merge(
    strata: &[(Side, Side)],
    covariance: f64,
    level: Fraction,
) -> Result<Comparison, Undefined> {
    let sizes: Vec<(u64, u64)> = strata.iter().map(|(one, two)| (one.units, two.units)).collect();
    let weights = weights(&sizes);
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(Undefined::TooFew);
    }
    let counted = || weights.iter().zip(strata).filter(|(weight, _)| **weight > 0.0);
    let sum = |term: &dyn Fn(f64, &(Side, Side)) -> f64| -> f64 {
        counted().map(|(w, s)| term(*w, s)).sum()
    };
    let values = (sum(&|w, (one, _)| w * one.value), sum(&|w, (_, two)| w * two.value));
    let difference = sum(&|w, (one, two)| w * (two.value - one.value));
    let own = (sum(&|w, (one, _)| w * w * one.variance), sum(&|w, (_, two)| w * w * two.variance));
    let apart = own.0 + own.1;
    let variance = (apart + covariance).max(0.0);
    // The covariance is divided between both sides.
    let stretch = if apart > 0.0 { variance / apart } else { 1.0 };
    let estimate = Estimate { difference, variance, df: None };
    Ok(of_estimate(values, (own.0 * stretch, own.1 * stretch), estimate, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn side(value: f64, variance: f64, units: u64) -> Side {
        Side { value, variance, units }
    }

    #[test]
    fn one_stratum_is_itself() {
        let merged =
            merge(&[(side(2.0, 0.01, 50), side(2.5, 0.02, 70))], 0.0, Fraction::FIVE_PERCENT)
                .unwrap();
        assert!((merged.estimate.difference - 0.5).abs() < 1e-15);
        assert!((merged.estimate.variance - 0.03).abs() < 1e-15);
        assert!((merged.lift.unwrap() - 0.25).abs() < 1e-15);
    }

    #[test]
    fn a_drift_between_phases_is_no_difference() {
        // Both variants rise from 1 to 3 while the candidate's share rises from a tenth to a half: pooled, the candidate would win.
        let strata = [
            (side(1.0, 1e-4, 9000), side(1.0, 1e-3, 1000)),
            (side(3.0, 2e-4, 5000), side(3.0, 2e-4, 5000)),
        ];
        let merged = merge(&strata, 0.0, Fraction::FIVE_PERCENT).unwrap();
        assert!(merged.estimate.difference.abs() < 1e-15);
        let weights = weights(&[(9000, 1000), (5000, 5000)]);
        assert!(
            (weights[0] - 900.0 / 3400.0).abs() < 1e-15
                && (weights[1] - 2500.0 / 3400.0).abs() < 1e-15
        );
    }

    #[test]
    fn the_same_units_in_both_strata_are_no_new_evidence() {
        // Two equal strata of the very same units, each counting a half: the covariance is 2 · ½ · ½ · Var, and the variance that of one.
        let stratum = (side(1.0, 0.02, 100), side(1.3, 0.02, 100));
        let merged = merge(&[stratum, stratum], 0.5 * 0.04, Fraction::FIVE_PERCENT).unwrap();
        assert!((merged.estimate.variance - 0.04).abs() < 1e-15);
    }

    #[test]
    fn strata_without_units_of_both_are_left_out() {
        let empty = side(f64::NAN, f64::NAN, 0);
        let merged = merge(
            &[(side(1.0, 0.1, 10), empty), (side(1.0, 0.1, 10), side(2.0, 0.1, 10))],
            0.0,
            Fraction::FIVE_PERCENT,
        );
        assert!((merged.unwrap().estimate.difference - 1.0).abs() < 1e-15);
        assert_eq!(
            merge(&[(side(1.0, 0.1, 10), empty)], 0.0, Fraction::FIVE_PERCENT),
            Err(Undefined::TooFew)
        );
    }
}
