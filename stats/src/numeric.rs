//! The numerical ground: special functions as logarithms, and quadrature. Nothing here knows what a test is.

pub(crate) mod gamma;
pub(crate) mod incomplete_beta;
pub(crate) mod incomplete_gamma;
pub(crate) mod quadrature;
pub(crate) mod root;

/// A count as a float: exact below 2^53, which the types of `input` guarantee for every count of units.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
#[must_use]
pub const fn float(count: u64) -> f64 {
    count as f64
}

/// `ln(1 − e^x)` for `x ≤ 0`, exact at both ends.
pub(crate) fn ln_one_minus_exp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}
