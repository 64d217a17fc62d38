//! Which of several normally distributed values is the best: for means, ratios and quantiles, where `posterior` has shares.
//!
//! With a flat prior and many units, what is believed of a value after the data is a normal distribution around its estimate. The integrals
//! are quadratures by Gauss and Legendre, so the same data give the same answer. Panels are a standard error wide around each value, and
//! as wide as the gap where nothing changes, so errors of very different sizes cost no more than equal ones.

use std::sync::LazyLock;

use crate::distribution::normal;
use crate::numeric::quadrature::gauss_legendre;

/// How far around a value its distribution changes, in standard errors.
const REACH: i32 = 12;

/// The points and weights of a panel.
static RULE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| gauss_legendre(12));

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
    let edges = arms
        .iter()
        .flat_map(|(value, se)| (-REACH..=REACH).map(move |step| value + f64::from(step) * se));
    let mut edges: Vec<f64> = edges.collect();
    edges.sort_by(f64::total_cmp);
    let mut sums = vec![(0.0, 0.0); arms.len()];
    for (low, high) in edges.iter().zip(edges.iter().skip(1)) {
        let width = high - low;
        for (part, weight) in RULE.iter().filter(|_| width > 0.0) {
            add(&arms, low + width * part, weight * width, &mut sums);
        }
    }
    Some(sums.into_iter().map(|(p, loss)| (p.min(1.0), loss)).collect())
}

/// Adds both integrands at `x`, times `weight`, to each arm's sums.
fn add(arms: &[(f64, f64)], x: f64, weight: f64, sums: &mut [(f64, f64)]) {
    let below: Vec<f64> = arms.iter().map(|(value, se)| normal::upper((value - x) / se)).collect();
    for (index, ((value, se), sum)) in arms.iter().zip(sums).enumerate() {
        let others = below.iter().enumerate().filter(|(other, _)| *other != index);
        let others: f64 = others.map(|(_, p)| p).product();
        let own = below.get(index).copied().unwrap_or_default();
        sum.0 += normal::density((x - value) / se) / se * others * weight;
        // E max(best of the others − this, 0) = ∫ F_this (1 − Π F_other) dx.
        sum.1 += own * (1.0 - others) * weight;
    }
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
    fn errors_of_very_different_sizes_are_as_exact() {
        // The narrow one is a number beside the wide one.
        for narrow in [1e-3, 1e-9] {
            let found = best(&[(10.0, narrow), (10.7, 1.0), (-1e6, 2.0)], false).unwrap();
            let p = normal::upper(-0.7 / (1.0 + narrow * narrow).sqrt());
            assert!((found[1].0 - p).abs() < 1e-10, "{found:?} {p}");
            assert!((found[0].0 + found[1].0 - 1.0).abs() < 1e-10, "{found:?}");
            assert!((found[2].1 / 1e6 - 1.0).abs() < 2e-5, "{found:?}");
        }
    }

    #[test]
    fn equals_share_the_probability() {
        let found = best(&[(1.0, 0.1); 4], false).unwrap();
        assert!(found.iter().all(|(p, _)| (p - 0.25).abs() < 1e-9));
        assert_eq!(best(&[(1.0, 0.0), (1.0, 1.0)], false), None);
    }
}
