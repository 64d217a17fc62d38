//! The chi-square distribution.

use crate::numeric::incomplete_gamma;

/// The logarithm of the upper tail beyond `x`, with `df` > 0 degrees of freedom.
#[must_use]
pub fn ln_upper(x: f64, df: f64) -> f64 {
    incomplete_gamma::ln_upper(0.5 * df, 0.5 * x)
}
