//! Which of several normally distributed values is the best: for means, ratios and quantiles, where `posterior` has shares.
//!
//! With a flat prior and many units, what is believed of a value after the data is a normal distribution around its estimate. The integrals
//! are sums over a fine grid (the trapezoidal rule, which for smooth functions that vanish at both ends converges faster than any power of
//! the step), so the same data give the same answer.

use crate::distribution::normal;

/// How far beyond the outermost value the grid reaches, in standard errors.
const REACH: f64 = 12.0;
/// Grid points per smallest standard error.
const FINE: f64 = 8.0;
/// The most points: with errors a thousand times apart the wide ones need no fine grid.
const MOST: f64 = 200_000.0;

/// For each `(value, standard error)`: the probability that it is the largest (with `lowest`: the smallest), and by how much the best
/// one is above it on average. `None` when an error is not positive.
#[must_use]
pub fn best(arms: &[(f64, f64)], lowest: bool) -> Option<Vec<(f64, f64)>> {
    if arms.is_empty()
        || arms.iter().any(|(value, se)| !(value.is_finite() && *se > 0.0 && se.is_finite()))
    {
        return None;
    }
    let sign = if lowest { -1.0 } else { 1.0 };
    let arms: Vec<(f64, f64)> = arms.iter().map(|(value, se)| (sign * value, *se)).collect();
    let bound = |side: f64| {
        arms.iter().map(|(v, se)| side * (v + side * REACH * se)).fold(f64::MIN, f64::max) * side
    };
    let (low, high) = (bound(-1.0), bound(1.0));
    let finest = arms.iter().map(|(_, se)| *se).fold(f64::MAX, f64::min);
    let count = ((high - low) / finest * FINE).clamp(100.0, MOST).ceil();
    let step = (high - low) / count;
    let mut sums = vec![(0.0, 0.0); arms.len()];
    let mut x = low;
    while x <= high {
        let below: Vec<f64> =
            arms.iter().map(|(value, se)| normal::upper((value - x) / se)).collect();
        for (index, ((value, se), sum)) in arms.iter().zip(&mut sums).enumerate() {
            let others: f64 = below
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, p)| p)
                .product();
            let own = below.get(index).copied().unwrap_or_default();
            sum.0 += normal::density((x - value) / se) / se * others * step;
            // E max(best of the others − this, 0) = ∫ F_this (1 − Π F_other) dx.
            sum.1 += own * (1.0 - others) * step;
        }
        x += step;
    }
    Some(sums.into_iter().map(|(p, loss)| (p.min(1.0), loss)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_it_is_the_normal_distribution_of_the_difference() {
        for (difference, se) in [(0.0, 1.0), (1.0, 0.5), (-0.3, 2.0), (4.0, 1.0)] {
            let found = best(&[(10.0, se * 0.6), (10.0 + difference, se * 0.8)], false).unwrap();
            let z = difference / se;
            // For X ~ N(d, s): E max(X, 0) = s φ(d/s) + d Φ(d/s).
            let (p, loss) =
                (normal::upper(-z), se * normal::density(z) + difference * normal::upper(-z));
            assert!((found[1].0 - p).abs() < 1e-9, "{found:?} {p}");
            assert!((found[0].1 - loss).abs() < 1e-9, "{found:?} {loss}");
            let mirrored = best(&[(10.0, se * 0.6), (10.0 + difference, se * 0.8)], true).unwrap();
            assert!((mirrored[0].0 - p).abs() < 1e-9);
        }
    }

    #[test]
    fn equals_share_the_probability() {
        let found = best(&[(1.0, 0.1); 4], false).unwrap();
        assert!(found.iter().all(|(p, _)| (p - 0.25).abs() < 1e-9));
        assert_eq!(best(&[(1.0, 0.0), (1.0, 1.0)], false), None);
    }
}
