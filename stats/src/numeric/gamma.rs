//! The parts of the gamma function from which densities are put together without cancellation.
//!
//! Source: C. Loader, "Fast and accurate computation of binomial probabilities", 2000. `Γ(z)` is written as Stirling's
//! formula times a small correction, and the large terms that remain meet in one deviance, which is small where the
//! density is large. So a density with parameters of 10^9 keeps all its digits, where `exp(lgamma…)` keeps seven.

/// `ln √(2π)`.
pub(crate) const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_7;

/// What Stirling's formula lacks: `ln Γ(z) − ((z − ½) ln z − z + ln √2π)`, for z > 0.
pub(crate) fn stirling_error(z: f64) -> f64 {
    if z < 10.0 {
        return libm::lgamma(z) - ((z - 0.5) * z.ln() - z + LN_SQRT_2PI);
    }
    // Bernoulli numbers: B(2k) / (2k (2k − 1) z^(2k−1)).
    let w = 1.0 / (z * z);
    let terms =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0];
    terms.iter().rev().fold(0.0, |sum, term| sum * w + term) / z
}

/// The deviance `x ln(x / expected) + expected − x`, given `difference = x − expected`.
///
/// The caller passes the difference because only the caller knows it without cancellation.
pub(crate) fn deviance(expected: f64, difference: f64) -> f64 {
    if expected <= 0.0 {
        return if difference > 0.0 { f64::INFINITY } else { 0.0 };
    }
    expected * excess(difference / expected)
}

/// `(1 + u) ln(1 + u) − u`, for u ≥ −1.
fn excess(u: f64) -> f64 {
    if u <= -1.0 {
        return 1.0;
    }
    if u.abs() >= 0.1 {
        return (1.0 + u) * u.ln_1p() - u;
    }
    // Σ (−u)^k / (k (k − 1)), from k = 2; beyond k = 18 nothing is left of a term at u = 0.1.
    let series = (2..=18).rev().fold(0.0, |sum, k| {
        let k = f64::from(k);
        1.0 / (k * (k - 1.0)) - u * sum
    });
    u * u * series
}
