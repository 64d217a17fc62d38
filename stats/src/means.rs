//! Means: of revenue, of latency, of anything that each unit has one number of.
//!
//! Welch's t test, unless the common variance of both groups makes the error larger: then Student's. A small group of skewed values
//! (revenue, of which most units have none) has often missed the few large ones, and with them nearly all of its variance. Welch's test
//! alone then calls equal variants different in up to half of the experiments. Student's alone is wrong when the smaller group varies
//! more. With equal sizes both are the same.

use crate::accumulate::Moments;
use crate::input::{Fraction, Sample};
use crate::result::{Comparison, Estimate, Interval, Undefined};
use crate::strata::{self, Side};

/// The candidate's mean against the baseline's.
#[must_use]
pub fn compare(baseline: Sample, candidate: Sample, level: Fraction) -> Comparison {
    let means = (baseline.mean(), candidate.mean());
    let (estimate, variances) = larger(baseline, candidate);
    of_estimate(means, variances, estimate, level)
}

/// Whether the common variance of both groups decides, since the smaller group varies less than the larger one.
#[must_use]
pub fn is_pooled(baseline: Sample, candidate: Sample) -> bool {
    // Of groups of the same size both errors are equal, up to rounding.
    const ROUNDING: f64 = 1e-12;
    let common = pooled(baseline, candidate).0;
    common.variance > welch(baseline, candidate).variance * (1.0 + ROUNDING)
}

/// Welch's error or that with the common variance, whichever is larger; and the variance of each mean.
pub(crate) fn larger(baseline: Sample, candidate: Sample) -> (Estimate, (f64, f64)) {
    if is_pooled(baseline, candidate) {
        return pooled(baseline, candidate);
    }
    (welch(baseline, candidate), (baseline.mean_variance(), candidate.mean_variance()))
}

/// The difference of the means with the common variance, which has `n₁ + n₂ − 2` degrees of freedom.
fn pooled(baseline: Sample, candidate: Sample) -> (Estimate, (f64, f64)) {
    let (df1, df2) = (baseline.n() - 1.0, candidate.n() - 1.0);
    // Shares of the degrees of freedom, so that no square overflows.
    let (s1, s2) = (df1 / (df1 + df2), df2 / (df1 + df2));
    let common = s1 * baseline.sd() * baseline.sd() + s2 * candidate.sd() * candidate.sd();
    let variances = (common / baseline.n(), common / candidate.n());
    let estimate = Estimate {
        difference: candidate.mean() - baseline.mean(),
        variance: variances.0 + variances.1,
        df: Some(df1 + df2),
    };
    (estimate, variances)
}

/// The same of raw data, which keeps the digits of a small difference between large means.
///
/// # Errors
/// `TooFew` when a group has fewer than two units.
pub fn compare_raw(
    baseline: &Moments,
    candidate: &Moments,
    level: Fraction,
) -> Result<Comparison, Undefined> {
    let sample = |moments: &Moments| moments.sample().map_err(|_| Undefined::TooFew);
    let (one, two) = (sample(baseline)?, sample(candidate)?);
    let (estimate, variances) = larger(one, two);
    let estimate = Estimate { difference: baseline.difference(candidate), ..estimate };
    Ok(of_estimate((one.mean(), two.mean()), variances, estimate, level))
}

/// The candidate's means against the baseline's over several phases, each compared within itself and merged by size (`strata`).
///
/// # Errors
/// `TooFew` without phases.
pub fn stratified(phases: &[(Sample, Sample)], level: Fraction) -> Result<Comparison, Undefined> {
    if let [(baseline, candidate)] = phases {
        return Ok(compare(*baseline, *candidate, level));
    }
    let side = |sample: &Sample, variance: f64| Side {
        value: sample.mean(),
        variance,
        units: sample.count(),
    };
    let sides = phases.iter().map(|(one, two)| {
        let (_, variances) = larger(*one, *two);
        (side(one, variances.0), side(two, variances.1))
    });
    strata::merge(&sides.collect::<Vec<_>>(), 0.0, level)
}

/// The difference of the means with Welch and Satterthwaite's degrees of freedom.
#[must_use]
pub fn welch(baseline: Sample, candidate: Sample) -> Estimate {
    let (v1, v2) = (baseline.mean_variance(), candidate.mean_variance());
    Estimate {
        difference: candidate.mean() - baseline.mean(),
        variance: v1 + v2,
        df: Some(satterthwaite((v1, baseline.n() - 1.0), (v2, candidate.n() - 1.0))),
    }
}

/// The degrees of freedom of a sum of two variances, each with its own.
pub(crate) fn satterthwaite((v1, df1): (f64, f64), (v2, df2): (f64, f64)) -> f64 {
    let sum = v1 + v2;
    if sum <= 0.0 {
        return df1 + df2;
    }
    // Shares of the sum, so that no square overflows or vanishes.
    let (s1, s2) = (v1 / sum, v2 / sum);
    1.0 / (s1 * s1 / df1 + s2 * s2 / df2)
}

/// Test, interval, lift and power of two values with the variances of their errors.
pub(crate) fn of_estimate(
    values: (f64, f64),
    variances: (f64, f64),
    estimate: Estimate,
    level: Fraction,
) -> Comparison {
    let test = estimate.test();
    let critical = estimate.critical(level);
    Comparison {
        values,
        variances,
        estimate,
        interval: test
            .is_ok()
            .then(|| Interval::around(estimate.difference, critical * estimate.se())),
        lift: if values.0 == 0.0 {
            Err(Undefined::ZeroBaseline)
        } else {
            Ok(estimate.difference / values.0.abs())
        },
        lift_interval: test
            .and_then(|_| lift_interval(values, variances, estimate.difference, critical)),
        power: estimate.power(estimate.difference, level),
        test,
    }
}

/// By the delta method: the variance of m₂/m₁ is (v₂ + (m₂/m₁)² v₁) / m₁².
fn lift_interval(
    (m1, m2): (f64, f64),
    (v1, v2): (f64, f64),
    difference: f64,
    critical: f64,
) -> Result<Interval, Undefined> {
    // If the baseline is not distinguishable from zero, the ratio has no variance and the method is invalid.
    if m1.abs() <= critical * v1.sqrt() {
        return Err(Undefined::ZeroBaseline);
    }
    let ratio = m2 / m1;
    let half = critical * (v2 + ratio * ratio * v1).sqrt() / m1.abs();
    Ok(Interval::around(difference / m1.abs(), half))
}
