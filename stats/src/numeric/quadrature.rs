//! Integrals of log-concave functions over the line, in logarithms.
//!
//! Posteriors, their tails and products of both are log-concave in the right variable (for Beta: the logit). So there
//! is one peak; the function is followed from it until nothing is left, and integrated by Gauss and Legendre's rule, halving
//! where two halves give more than the whole. Quadrature instead of simulation: the same result every time, also for 1e−100.

use std::sync::LazyLock;

/// The rule's points in (0, 1) and their weights, by Newton's method on the Legendre polynomial.
static RULE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| gauss_legendre(20));

/// Below the peak by so much, a function adds nothing to fifteen digits.
const DEPTH: f64 = 44.0;

/// A rule of so many points on (0, 1).
pub(crate) fn gauss_legendre(points: u32) -> Vec<(f64, f64)> {
    let n = f64::from(points);
    let point = |i: u32| {
        let mut x = (std::f64::consts::PI * (f64::from(i) + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..20 {
            let (mut before, mut value) = (1.0, x);
            for k in 2..=points {
                let k = f64::from(k);
                (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
            }
            slope = n * (x * value - before) / (x * x - 1.0);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-16 {
                break;
            }
        }
        (0.5 + 0.5 * x, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..points).map(point).collect()
}

/// `∫ f` from `low` to `high` by one rule.
fn once(low: f64, high: f64, f: &impl Fn(f64) -> f64) -> f64 {
    let width = high - low;
    RULE.iter().map(|&(x, weight)| weight * f(low + width * x)).sum::<f64>() * width
}

/// `ln ∫ e^g` over the line, for concave `g`; the search for the peak begins at `start`, with steps of `scale`.
///
/// Minus infinity when `g` is that everywhere.
pub(crate) fn ln_integral(start: f64, scale: f64, g: impl Fn(f64) -> f64) -> f64 {
    let peak = peak(start, scale, &g);
    let top = g(peak);
    if top == f64::NEG_INFINITY {
        return top;
    }
    let reach = |direction: f64| {
        let below = |distance: f64| top - g(peak + direction * distance) - DEPTH;
        let mut far = scale;
        while below(far) < 0.0 && far < 1e300 {
            far *= 2.0;
        }
        let mut near = 0.0;
        // Ten per cent too far costs little.
        while far - near > 0.1 * far {
            let middle = 0.5 * (near + far);
            if below(middle) < 0.0 { near = middle } else { far = middle }
        }
        far
    };
    let f = |x: f64| (g(x) - top).exp();
    let side = |direction: f64| {
        let length = reach(direction);
        let part = |from: f64, to: f64| {
            let at = |x: f64| f(peak + direction * length * x);
            halved(from, to, once(from, to, &at), 0, &at) * length
        };
        // Most lies near the peak.
        part(0.0, 0.125) + part(0.125, 0.375) + part(0.375, 1.0)
    };
    top + (side(-1.0) + side(1.0)).ln()
}

/// The peak is 1 and the side's length is 1, so what is below 1e−14 here is never seen.
fn halved(low: f64, high: f64, whole: f64, depth: u32, f: &impl Fn(f64) -> f64) -> f64 {
    let middle = 0.5 * (low + high);
    let (left, right) = (once(low, middle, f), once(middle, high, f));
    let both = left + right;
    // Twelve halvings, so that the rounding errors of parameters of 10^12 are not chased for ever.
    if (both - whole).abs() <= 1e-12 * both + 1e-14 || depth >= 12 {
        return both;
    }
    halved(low, middle, left, depth + 1, f) + halved(middle, high, right, depth + 1, f)
}

/// Where a concave function is largest, roughly: golden section, after a bracket is found by doubling steps.
fn peak(start: f64, scale: f64, g: &impl Fn(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (start - scale, start + scale);
    let mut step = scale;
    while g(low) > g(low + 0.5 * step) && step < 1e300 {
        step *= 2.0;
        low -= step;
    }
    step = scale;
    while g(high) > g(high - 0.5 * step) && step < 1e300 {
        step *= 2.0;
        high += step;
    }
    let (mut left, mut right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_left, mut at_right) = (g(left), g(right));
    for _ in 0..200 {
        // A peak that is missed by a little costs nothing: the values around it are equal.
        if (at_left - at_right).abs() < 1e-3 && (high - low) < 0.1 * scale {
            break;
        }
        if high - low <= f64::EPSILON * (low.abs() + high.abs()) {
            break;
        }
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - GOLDEN * (high - low);
            at_left = g(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + GOLDEN * (high - low);
            at_right = g(right);
        }
    }
    0.5 * (low + high)
}
