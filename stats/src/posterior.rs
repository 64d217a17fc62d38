//! Posteriors of shares: how probable it is that a variant is the best, and what choosing it may cost.
//!
//! A uniform prior and binomial data make a Beta posterior. The integrals are quadratures over the logit, in
//! logarithms: reproducible, and as exact for one in 10^30 as for one half. They do not bound
//! the error rate of a decision rule; `score` and `sequential` do.

use crate::distribution::beta::{Beta, logistic};
use crate::numeric::quadrature::ln_integral;

/// For each variant: the probability that its share is the largest (with `lowest`: the smallest).
#[must_use]
pub fn best(arms: &[Beta], lowest: bool) -> Vec<f64> {
    let arms: Vec<Beta> =
        arms.iter().map(|arm| if lowest { arm.mirrored() } else { *arm }).collect();
    let of = |index: usize, arm: &Beta| {
        let others = || arms.iter().enumerate().filter(move |(other, _)| *other != index);
        let integrand = |s: f64| {
            arm.ln_density_at(s) + others().map(|(_, other)| other.ln_tails_at(s).0).sum::<f64>()
        };
        let (center, scale) = arm.logit();
        ln_integral(center, scale, integrand).exp().min(1.0)
    };
    arms.iter().enumerate().map(|(index, arm)| of(index, arm)).collect()
}

/// For each variant: by how much, on average, the best one's share is above it (with `lowest`: below it).
///
/// Zero for a variant that is surely the best. A rule that chooses when this falls below what one cares about needs no level.
#[must_use]
pub fn expected_loss(arms: &[Beta], lowest: bool) -> Vec<f64> {
    let arms: Vec<Beta> =
        arms.iter().map(|arm| if lowest { arm.mirrored() } else { *arm }).collect();
    let of = |index: usize, arm: &Beta| {
        let others: Vec<&Beta> =
            arms.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, arm)| arm).collect();
        // E max(best of the others − this, 0) = ∫ F_this (1 − Π F_other) dx, and 1 − Π F telescopes into log-concave terms:
        // the sum over j of (1 − F_j) times all F before it.
        let terms = others.iter().enumerate().map(|(j, other)| {
            let integrand = |s: f64| {
                let (x, y) = logistic(s);
                let before: f64 = others.iter().take(j).map(|before| before.ln_tails_at(s).0).sum();
                arm.ln_tails_at(s).0 + other.ln_tails_at(s).1 + before + x.ln() + y.ln()
            };
            let ((one, width), (two, wider)) = (arm.logit(), other.logit());
            ln_integral(0.5 * (one + two), width.max(wider), integrand).exp()
        });
        terms.sum()
    };
    arms.iter().enumerate().map(|(index, arm)| of(index, arm)).collect()
}
