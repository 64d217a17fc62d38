//! The standard normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

use crate::numeric::gamma::LN_SQRT_2PI;

/// The upper tail: the probability of more than `z`.
#[must_use]
pub fn upper(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// The logarithm of the upper tail, for any finite `z`.
#[must_use]
pub fn ln_upper(z: f64) -> f64 {
    if z < 0.0 {
        return (-upper(-z)).ln_1p();
    }
    if z < 20.0 {
        return upper(z).ln();
    }
    // Laplace's asymptotic series (Abramowitz & Stegun 26.2.12): at z = 20 its terms fall below 1e−16 at the seventh.
    let w = 1.0 / (z * z);
    let series = (1..=9).rev().fold(1.0, |rest, k| 1.0 - (2.0 * f64::from(k) - 1.0) * w * rest);
    -0.5 * z * z - LN_SQRT_2PI - z.ln() + series.ln()
}

/// The logarithm of the probability of something at least as far from zero as `z`.
#[must_use]
pub fn ln_two_sided(z: f64) -> f64 {
    let z = z.abs();
    if z < 1.0 { (-libm::erf(z * FRAC_1_SQRT_2)).ln_1p() } else { LN_2 + ln_upper(z) }
}

/// The density.
#[must_use]
pub fn density(z: f64) -> f64 {
    (-0.5 * z * z - LN_SQRT_2PI).exp()
}

/// The `z` whose upper tail is `tail`, for 0 < tail < 1.
#[must_use]
pub fn quantile(tail: f64) -> f64 {
    if tail > 0.5 {
        return -quantile(1.0 - tail);
    }
    if tail > 0.2 {
        // Near the center: by the distance from one half, which is exact.
        let aim = 0.5 - tail;
        let mut z = aim * 2.5;
        for _ in 0..10 {
            z -= (0.5 * libm::erf(z * FRAC_1_SQRT_2) - aim) / density(z);
        }
        return z;
    }
    quantile_of_ln(tail.ln())
}

/// The `z` whose upper tail has this logarithm, for logarithms below `ln 0.3`.
///
/// Newton's method on the logarithm, which is nearly a parabola: from the start of Abramowitz & Stegun 26.2.23 a few steps
/// give every digit.
#[must_use]
pub fn quantile_of_ln(ln_tail: f64) -> f64 {
    let t = (-2.0 * ln_tail).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut z = t - top / bottom;
    for _ in 0..6 {
        let ln_upper = ln_upper(z);
        // The hazard: density over tail.
        let hazard = (-0.5 * z * z - LN_SQRT_2PI - ln_upper).exp();
        z += (ln_upper - ln_tail) / hazard;
    }
    z
}
