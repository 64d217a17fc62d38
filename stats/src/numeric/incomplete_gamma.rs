//! The regularised incomplete gamma functions, as logarithms: what chi-square tails are made of.

use super::gamma::{LN_SQRT_2PI, deviance, stirling_error};
use super::ln_one_minus_exp;

/// More than any argument needs: the number of steps grows like the root of the larger argument.
const STEPS: u32 = 10_000_000;

/// `ln Q(a, x)`: the logarithm of the upper tail, for a > 0 and x ≥ 0.
///
/// The series of P below `a + 1`, Lentz's continued fraction of Q above (Abramowitz & Stegun 6.5.29 and 6.5.31).
pub(crate) fn ln_upper(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x < a + 1.0 {
        return ln_one_minus_exp((ln_density(a, x, a - x) + series(a, x).ln()).min(0.0));
    }
    ln_density(a, x, a - x) + fraction(a, x).ln()
}

/// `ln(x^a e^−x / Γ(a))`, given `difference = a − x`.
pub(crate) fn ln_density(a: f64, x: f64, difference: f64) -> f64 {
    0.5 * a.ln() - LN_SQRT_2PI - stirling_error(a) - deviance(x, difference)
}

fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut next) = (1.0 / a, 1.0 / a, a);
    for _ in 0..STEPS {
        next += 1.0;
        term *= x / next;
        sum += term;
        if term < sum * f64::EPSILON * 0.1 {
            break;
        }
    }
    sum
}

fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut result = d;
    for step in 1..STEPS {
        let i = f64::from(step);
        let numerator = -i * (i - a);
        b += 2.0;
        d = 1.0 / nonzero(numerator * d + b, TINY);
        c = nonzero(b + numerator / c, TINY);
        let factor = d * c;
        result *= factor;
        if (factor - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    result
}

const fn nonzero(value: f64, tiny: f64) -> f64 {
    if value.abs() < tiny { tiny } else { value }
}
