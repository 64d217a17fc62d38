//! A few looks that were planned before: bounds for the z statistic at each, so that all looks together keep the level.
//!
//! More powerful than looking whenever one likes, and only right when the largest sample was fixed before. The level is spent along the
//! information (Lan & DeMets, Biometrika 1983), so the looks need not be evenly spaced; the bounds come from the recursive integration of
//! Armitage, McPherson & Rowe (1969). Two-sided and symmetric; bounds for futility are absent.

use crate::distribution::normal;
use crate::input::{Fraction, Invalid};
use crate::numeric::quadrature::gauss_legendre;
use crate::numeric::root::rising;

/// How the level is spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spending {
    /// Little at first, like O'Brien and Fleming: 4 (1 − Φ(z_{α/4} / √t)). The usual choice: the last bound is close to the fixed test's.
    ObrienFleming,
    /// Evenly, like Pocock: α ln(1 + (e − 1) t).
    Pocock,
    /// α t^ρ, ρ positive.
    Power(f64),
}

impl Spending {
    /// How much is spent when this share of the information is there.
    #[must_use]
    pub fn spent(self, share: f64, level: Fraction) -> f64 {
        let alpha = level.get();
        match self {
            Self::ObrienFleming => {
                4.0 * normal::upper(normal::quantile(0.25 * alpha) / share.sqrt())
            }
            Self::Pocock => alpha * (share * (std::f64::consts::E - 1.0)).ln_1p(),
            Self::Power(rho) => alpha * share.powf(rho),
        }
    }
}

/// The bound at each look: a |z| at or above it ends the experiment.
///
/// `looks` are shares of the planned information (units, for means and shares), rising to at most 1.
///
/// # Errors
/// No looks, more than 100, looks that do not rise within 0 and 1, or an exponent that is not positive.
pub fn bounds(looks: &[f64], spending: Spending, level: Fraction) -> Result<Vec<f64>, Invalid> {
    let rising = looks.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let inside = looks.iter().all(|look| *look > 0.0 && *look <= 1.0);
    if looks.is_empty() || looks.len() > 100 || !rising || !inside {
        let found = looks.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        return Err(Invalid::new(
            found,
            "be 1 to 100 increasing shares of the planned units, at most 1",
            "for example 0.5,1",
        ));
    }
    if let Spending::Power(rho) = spending
        && !(rho > 0.0 && rho.is_finite())
    {
        return Err(Invalid::new(rho.to_string(), "be a positive exponent", ""));
    }
    let rule = gauss_legendre(24);
    let mut bounds = Vec::with_capacity(looks.len());
    let (mut paths, mut before, mut spent) = (Paths::Start, 0.0, 0.0);
    for share in looks {
        let now = spending.spent(*share, level);
        let bound = paths.bound((now - spent).max(0.0), *share, before);
        paths = paths.go_on(bound, *share, before, &rule);
        bounds.push(bound);
        (before, spent) = (*share, now);
    }
    Ok(bounds)
}

/// The density of the score on the paths that no look has ended, times the weights of a quadrature.
enum Paths {
    Start,
    At(Vec<(f64, f64)>),
}

impl Paths {
    /// The bound that ends paths of so much probability.
    fn bound(&self, probability: f64, share: f64, before: f64) -> f64 {
        if probability <= 0.0 {
            return f64::INFINITY;
        }
        let root = share.sqrt();
        match self {
            Self::Start => normal::quantile(0.5 * probability),
            Self::At(points) => {
                let step = (share - before).sqrt();
                let ends = |bound: f64| -> f64 {
                    let edge = bound * root;
                    let beyond = |score: f64| {
                        normal::upper((edge - score) / step) + normal::upper((edge + score) / step)
                    };
                    points.iter().map(|(score, weight)| weight * beyond(*score)).sum()
                };
                rising(0.0, 38.0, |bound| probability - ends(bound))
            }
        }
    }

    /// The paths that stay inside the bound.
    fn go_on(&self, bound: f64, share: f64, before: f64, rule: &[(f64, f64)]) -> Self {
        // Beyond ten standard deviations, the density is negligible.
        let edge = bound.min(10.0) * share.sqrt();
        let step = (share - before).sqrt();
        let density = |score: f64| match self {
            Self::Start => normal::density(score / share.sqrt()) / share.sqrt(),
            Self::At(points) => {
                points
                    .iter()
                    .map(|(from, weight)| weight * normal::density((score - from) / step))
                    .sum::<f64>()
                    / step
            }
        };
        // Panels no wider than two steps, since the density changes within one.
        let panels = (edge / step).ceil().clamp(4.0, 200.0);
        let width = 2.0 * edge / panels;
        let mut points = Vec::new();
        let mut low = -edge;
        while low < edge - 0.5 * width {
            for (x, weight) in rule {
                let score = low + width * x;
                points.push((score, weight * width * density(score)));
            }
            low += width;
        }
        Self::At(points)
    }
}
