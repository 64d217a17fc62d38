//! CUPED: what a unit did before the experiment explains part of what it does in it, and that part can be taken away.
//!
//! Deng, Xu, Kohavi & Walker, WSDM 2013. The covariate must be measured before the unit was assigned: one that the variant can change
//! also removes the effect, which cannot be detected here; the caller is responsible. θ is one for both groups, from covariances
//! within each group, so that a difference between the groups does not enter it.

mod strata;

pub use strata::{Fit, fit};

use crate::accumulate::Pairs;
use crate::input::Fraction;
use crate::means::{of_estimate, satterthwaite};
use crate::numeric::float;
use crate::result::{Comparison, Estimate, Undefined};
use crate::vectors::Vectors;

/// A comparison with the noise of the past taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjusted {
    /// Of the adjusted means. The values are around the covariate's mean over both groups.
    pub comparison: Comparison,
    /// How much of the outcome goes with one unit of the covariate.
    pub theta: f64,
    /// The share of the difference's variance that went away: 0.5 is as good as twice the units.
    pub reduction: f64,
}

/// Compares outcomes (the first numbers) adjusted by covariates (the second numbers).
///
/// A covariate that does not vary adjusts nothing.
///
/// # Errors
/// `TooFew` when a group has fewer than two units.
pub fn compare(
    baseline: &Pairs,
    candidate: &Pairs,
    level: Fraction,
) -> Result<Adjusted, Undefined> {
    if baseline.count() < 2 || candidate.count() < 2 {
        return Err(Undefined::TooFew);
    }
    let (n1, n2) = (float(baseline.count()), float(candidate.count()));
    let within = baseline.covariance() * (n1 - 1.0) + candidate.covariance() * (n2 - 1.0);
    let spread = baseline.variances().1 * (n1 - 1.0) + candidate.variances().1 * (n2 - 1.0);
    let theta = if spread > 0.0 { within / spread } else { 0.0 };
    let variance = |group: &Pairs, n: f64| {
        let (vy, vx) = group.variances();
        (vy - 2.0 * theta * group.covariance() + theta * theta * vx).max(0.0) / n
    };
    let (v1, v2) = (variance(baseline, n1), variance(candidate, n2));
    let (difference_y, difference_x) = baseline.differences(candidate);
    let estimate = Estimate {
        difference: difference_y - theta * difference_x,
        variance: v1 + v2,
        df: Some(satterthwaite((v1, n1 - 1.0), (v2, n2 - 1.0))),
    };
    // Each mean, moved to the covariate's mean over both groups.
    let share = n2 / (n1 + n2);
    let values = (
        baseline.means().0 + theta * difference_x * share,
        candidate.means().0 - theta * difference_x * (1.0 - share),
    );
    let before = baseline.variances().0 / n1 + candidate.variances().0 / n2;
    let reduction = if before > 0.0 { 1.0 - (v1 + v2) / before } else { 0.0 };
    Ok(Adjusted { comparison: of_estimate(values, (v1, v2), estimate, level), theta, reduction })
}
