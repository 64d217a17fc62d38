//! Student's t distribution, central for tests and non-central for their power.

use std::f64::consts::LN_2;

use super::normal;
use crate::numeric::incomplete_beta::{Point, ln_tails};
use crate::numeric::quadrature::ln_integral;
use crate::numeric::root::rising;
use crate::numeric::{incomplete_gamma, ln_one_minus_exp};

/// The logarithm of the probability of something at least as far from zero as `t`, with `df` > 0 degrees of freedom.
#[must_use]
pub fn ln_two_sided(t: f64, df: f64) -> f64 {
    if t == 0.0 {
        return 0.0;
    }
    let (a, b) = (0.5 * df, 0.5);
    let square = t * t;
    let (x, y) = if square.is_finite() {
        (df / (df + square), square / (df + square))
    } else {
        (df / t / t, 1.0)
    };
    // a − (a + b) x, without the large terms.
    let lambda = a * y - b * x;
    if square < 2.0 {
        return ln_one_minus_exp(ln_inner(a, x, y));
    }
    ln_tails(a, b, Point { x, y, lambda }).0
}

/// `ln I_y(½, a)` for `y` below its mean or near: the power series of the incomplete beta function (A&S 26.5.4).
fn ln_inner(a: f64, x: f64, y: f64) -> f64 {
    // I_y(½, a) = y^½ x^a / (½ B(½, a)) · Σ (a + ½)_k / (3/2)_k · y^k, all terms positive.
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 0..2000 {
        let k = f64::from(k);
        term *= (a + 0.5 + k) / (1.5 + k) * y;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    let kernel = crate::numeric::incomplete_beta::ln_kernel(
        0.5,
        a,
        Point { x: y, y: x, lambda: 0.5 * x - a * y },
    );
    kernel + LN_2 + sum.ln()
}

/// The `t` whose upper tail is `tail`, for 0 < tail < ½.
#[must_use]
pub fn quantile(tail: f64, df: f64) -> f64 {
    let aim = LN_2 + tail.ln();
    let above = |ln_t: f64| aim - ln_two_sided(ln_t.exp(), df);
    let start = normal::quantile(tail).max(1e-300).ln();
    // Student's tail is heavier than the normal one: the quantile lies above the normal one.
    let (low, mut step) = (start - 1e-6, 0.01);
    while above(start + step) < 0.0 && step < 700.0 {
        step *= 2.0;
    }
    rising(low, start + step, above).exp()
}

/// The power of a two-sided t test: the probability that a t with non-centrality `delta` is further from zero than `critical`.
///
/// Over the distribution of the estimated standard deviation, by quadrature: given it, the power is that of a normal test.
#[must_use]
pub fn two_sided_power(delta: f64, df: f64, critical: f64) -> f64 {
    if df > 1e12 {
        return normal_power(delta, critical);
    }
    let a = 0.5 * df;
    // w = ln S with S² = χ²/df: everything is log-concave in it.
    let side = |delta: f64| {
        let integrand = |w: f64| {
            let (gamma, difference) = (a * (2.0 * w).exp(), -a * (2.0 * w).exp_m1());
            LN_2 + incomplete_gamma::ln_density(a, gamma, difference)
                + normal::ln_upper(critical * w.exp() - delta)
        };
        ln_integral(0.0, (0.5 / df).sqrt().min(1.0), integrand).exp()
    };
    (side(delta) + side(-delta)).min(1.0)
}

fn normal_power(delta: f64, critical: f64) -> f64 {
    normal::upper(critical - delta) + normal::upper(critical + delta)
}
