//! The regularised incomplete beta function as logarithms of both tails: what Student's and the Beta distribution are
//! made of.
//!
//! Three things keep the digits that libraries lose. The prefactor is Loader's, so parameters of 10^9 cancel nothing
//! (see `gamma`). Both `x` and `1 − x` are passed in. The continued fraction starts from `λ = a − (a + b) x`, passed in as well, which
//! is the small difference that decides everything near the center (DiDonato & Morris, "Algorithm 708", ACM TOMS 18, 1992, BFRAC).

use super::gamma::{LN_SQRT_2PI, deviance, stirling_error};
use super::ln_one_minus_exp;

/// More than any argument needs: the number of steps grows like the root of the smaller parameter.
const STEPS: u32 = 10_000_000;

/// A point of the unit interval, seen from a Beta(a, b).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// The point, and its distance from one, each to full precision.
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// `a − (a + b) x`: positive left of the mean.
    pub(crate) lambda: f64,
}

/// The logarithms of the lower and the upper tail at a point, for a, b > 0.
pub(crate) fn ln_tails(a: f64, b: f64, at: Point) -> (f64, f64) {
    if at.x <= 0.0 {
        return (f64::NEG_INFINITY, 0.0);
    }
    if at.y <= 0.0 {
        return (0.0, f64::NEG_INFINITY);
    }
    let kernel = ln_kernel(a, b, at);
    if at.lambda >= 0.0 {
        let lower = (kernel + fraction(a, b, at.x, at.y, at.lambda).ln()).min(0.0);
        (lower, ln_one_minus_exp(lower))
    } else {
        let upper = (kernel + fraction(b, a, at.y, at.x, -at.lambda).ln()).min(0.0);
        (ln_one_minus_exp(upper), upper)
    }
}

/// `ln(x^a y^b / B(a, b))`.
pub(crate) fn ln_kernel(a: f64, b: f64, at: Point) -> f64 {
    let corrections = stirling_error(a + b) - stirling_error(a) - stirling_error(b);
    // Both with the same λ, so that its rounding error cancels. That of the means hardly matters beside it.
    let deviances = deviance((a + b) * at.x, at.lambda) + deviance((a + b) * at.y, -at.lambda);
    0.5 * (a.ln() + b.ln() - (a + b).ln()) - LN_SQRT_2PI + corrections - deviances
}

/// `I_x(a, b)` over its kernel, for λ ≥ 0.
fn fraction(a: f64, b: f64, x: f64, y: f64, lambda: f64) -> f64 {
    let c = 1.0 + lambda;
    let (c0, c1) = (b / a, 1.0 + 1.0 / a);
    let (mut p, mut s) = (1.0, a + 1.0);
    let (mut an, mut bn, mut next_an, mut next_bn) = (0.0, 1.0, 1.0, c / c1);
    let mut result = c1 / c;
    for step in 1..STEPS {
        let n = f64::from(step);
        let t = n / a;
        let w = n * (b - n) * x;
        let e = a / s;
        let alpha = p * (p + c0) * e * e * (w * x);
        let e = (1.0 + t) / (c1 + t + t);
        let beta = n + w / s + e * (c + n * (1.0 + y));
        p = 1.0 + t;
        s += 2.0;
        (an, next_an) = (next_an, alpha * an + beta * next_an);
        (bn, next_bn) = (next_bn, alpha * bn + beta * next_bn);
        let before = result;
        result = next_an / next_bn;
        if (result - before).abs() <= f64::EPSILON * result {
            break;
        }
        an /= next_bn;
        bn /= next_bn;
        next_an = result;
        next_bn = 1.0;
    }
    result
}
