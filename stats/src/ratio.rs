//! Ratios of sums: errors per request, revenue per session, when users were randomized and have many of each.
//!
//! The requests of one user are not independent, so a test that counts requests is too sure of itself: it called two equal variants
//! different in a quarter of our simulations, not in a twentieth. Here the unit stays the user, with a numerator and a denominator, and
//! the delta method gives the variance of the ratio (Deng, Knoblich & Lu, KDD 2018).

use crate::accumulate::Pairs;
use crate::input::Fraction;
use crate::means::of_estimate;
use crate::numeric::float;
use crate::result::{Comparison, Estimate, Undefined};

/// A ratio, and the variance of its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Sum of numerators over sum of denominators.
    pub value: f64,
    /// The variance of the value's error.
    pub variance: f64,
}

/// The ratio of the first numbers' sum to that of the second numbers.
///
/// # Errors
/// `TooFew` below two units, `ZeroBaseline` when the denominators sum to nothing.
pub fn ratio(units: &Pairs) -> Result<Ratio, Undefined> {
    if units.count() < 2 {
        return Err(Undefined::TooFew);
    }
    let (y, x) = units.means();
    if x == 0.0 {
        return Err(Undefined::ZeroBaseline);
    }
    let value = y / x;
    let (vy, vx) = units.variances();
    // Var(R) = (s_y² − 2 R s_xy + R² s_x²) / (n x̄²)
    let spread = vy - 2.0 * value * units.covariance() + value * value * vx;
    Ok(Ratio { value, variance: spread.max(0.0) / (float(units.count()) * x * x) })
}

/// The variances that both ratios would have, if the units of both arms varied alike: the residuals of both, together.
///
/// A floor for the arms' own variances. A small arm that by chance has none of the rare large values does not vary, and its own
/// variance would make its low value significant. (0, 0) when an arm cannot be judged.
#[must_use]
pub fn common_variances(baseline: &Pairs, candidate: &Pairs) -> (f64, f64) {
    let (Ok(one), Ok(two)) = (ratio(baseline), ratio(candidate)) else { return (0.0, 0.0) };
    let scale = |pairs: &Pairs| float(pairs.count()) * pairs.means().1 * pairs.means().1;
    let (n1, n2) = (float(baseline.count()), float(candidate.count()));
    let spread = (one.variance * scale(baseline) * (n1 - 1.0)
        + two.variance * scale(candidate) * (n2 - 1.0))
        / (n1 + n2 - 2.0);
    (spread / scale(baseline), spread / scale(candidate))
}

/// The candidate's ratio against the baseline's, by the normal distribution: the method is one for large samples.
///
/// # Errors
/// As for `ratio`.
pub fn compare(
    baseline: &Pairs,
    candidate: &Pairs,
    level: Fraction,
) -> Result<Comparison, Undefined> {
    let (one, two) = (ratio(baseline)?, ratio(candidate)?);
    let estimate = estimate(baseline, candidate)?;
    Ok(of_estimate((one.value, two.value), (one.variance, two.variance), estimate, level))
}

/// The difference of the two ratios.
///
/// # Errors
/// As for `ratio`.
pub fn estimate(baseline: &Pairs, candidate: &Pairs) -> Result<Estimate, Undefined> {
    let (one, two) = (ratio(baseline)?, ratio(candidate)?);
    Ok(Estimate {
        difference: two.value - one.value,
        variance: one.variance + two.variance,
        df: None,
    })
}
