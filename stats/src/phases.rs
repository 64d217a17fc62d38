//! Several phases of one experiment: estimated apart, merged by their precision.
//!
//! Phases are never pooled. When the weights change while the metric drifts, the candidate's units come from other days than the
//! baseline's, and the pooled difference shows the drift (Simpson's paradox). Within a phase the weights are constant, so each phase has
//! an honest difference; the merged one is their mean, weighted by one over the variance. Shares have their own way, since the variance of
//! a share depends on the share: `proportions::stratified`.

use crate::distribution::chi_square;
use crate::input::Fraction;
use crate::numeric::float;
use crate::result::{Estimate, Interval, PValue, Test, Undefined};

/// Differences of phases, merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merged {
    /// The merged difference; judged by the normal distribution.
    pub estimate: Estimate,
    /// Cochran's Q: whether the difference is the same in all phases; `None` for one phase.
    pub heterogeneity: Option<Test>,
}

impl Merged {
    /// The two-sided interval.
    #[must_use]
    pub fn interval(&self, level: Fraction) -> Interval {
        self.estimate.interval(level)
    }
}

/// Merges by inverse variance: the fixed-effect estimate.
///
/// A single phase keeps its degrees of freedom; several are judged by the normal distribution.
///
/// # Errors
/// `TooFew` without phases; `ZeroVariance` when a phase has none, since it would outweigh all others.
pub fn merge(phases: &[Estimate]) -> Result<Merged, Undefined> {
    let first = phases.first().ok_or(Undefined::TooFew)?;
    if phases.iter().any(|phase| phase.variance.is_nan() || phase.variance <= 0.0) {
        return Err(Undefined::ZeroVariance);
    }
    if phases.len() == 1 {
        return Ok(Merged { estimate: *first, heterogeneity: None });
    }
    let precision: f64 = phases.iter().map(|phase| 1.0 / phase.variance).sum();
    // Around the first phase, so that close differences lose no digits.
    let shift = phases
        .iter()
        .map(|phase| (phase.difference - first.difference) / phase.variance)
        .sum::<f64>();
    let difference = first.difference + shift / precision;
    let q: f64 =
        phases.iter().map(|phase| (phase.difference - difference).powi(2) / phase.variance).sum();
    let df = float(phases.len() as u64) - 1.0;
    let heterogeneity =
        Test { statistic: q, df: Some(df), p: PValue::of_ln(chi_square::ln_upper(q, df)) };
    let estimate = Estimate { difference, variance: 1.0 / precision, df: None };
    Ok(Merged { estimate, heterogeneity: Some(heterogeneity) })
}
