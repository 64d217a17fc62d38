//! A few looks that were planned before: bounds for the z statistic at each, so that all looks together keep the level.
//!
//! More powerful than looking whenever one likes, and only right when the largest sample was fixed before. The level is spent along the
//! information (Lan & DeMets, Biometrika 1983), so the looks need not be evenly spaced; the bounds come from the recursive integration of
//! Armitage, McPherson & Rowe (1969). Two-sided and symmetric; bounds for futility are absent.

use crate::distribution::normal;
use crate::input::{Fraction, Invalid};
use crate::numeric::quadrature::gauss_legendre;
use crate::numeric::root::rising;
use crate::result::PValue;

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

/// How long a look lasts, as a part of the way to the next one: data seldom have exactly the planned number of units.
const LASTS: f64 = 0.25;

/// How many times a look is assumed to be taken while it lasts: at its beginning, in the middle, and at its end.
const TIMES: u32 = 3;

/// A look of a plan with equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Within this look; the first one is 1.
    At(u32),
    /// Before this look.
    Before(u32),
}

/// Where this share of the planned units is among `looks` looks at equal parts. A look lasts a quarter of the way to the next one; the
/// last one lasts.
#[must_use]
pub fn place(share: f64, looks: u32) -> Place {
    let of = f64::from(looks);
    let passed = (1..=looks).rev().find(|look| f64::from(*look) / of <= share * (1.0 + 1e-12));
    match passed {
        Some(look) if look == looks || share * of <= f64::from(look) + LASTS => Place::At(look),
        Some(look) => Place::Before(look + 1),
        None => Place::Before(1),
    }
}

/// The levels whose bounds are known: parts of the logarithm of the level, and the level times parts.
const LEVELS: [f64; 14] = [
    1.0 / 6.0,
    1.0 / 3.0,
    0.5,
    2.0 / 3.0,
    5.0 / 6.0,
    1.0,
    0.5,
    0.25,
    0.1,
    1e-2,
    1e-4,
    1e-6,
    1e-9,
    1e-13,
];
/// How many of them are parts of the logarithm.
const LARGE: usize = 6;

/// Bounds at a look for all levels: the p-value of a look is the smallest level whose bound is reached (Jennison & Turnbull's repeated
/// p-value), so it holds at all looks together and can be adjusted for other tests.
///
/// It is interpolated between fixed levels, along the square of the bound, which it hardly bends on; at the level itself it is exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeated {
    level: Fraction,
    bounds: [f64; LEVELS.len()],
}

impl Repeated {
    /// At this share of the planned units, within a look of `looks` (see [`place`]), by O'Brien and Fleming's spending.
    ///
    /// Whether the earlier looks were taken is unknown, so all are taken as taken, however often while they lasted: a look that was
    /// missed costs power and no error.
    ///
    /// # Errors
    /// More than 33 looks, or a share that is not positive.
    pub fn new(share: f64, looks: u32, level: Fraction) -> Result<Self, Invalid> {
        let taken = taken(share, looks);
        let mut found = [f64::INFINITY; LEVELS.len()];
        for (index, slot) in found.iter_mut().enumerate() {
            let level = Fraction::new(at(index, level).exp())?;
            *slot = bounds(&taken, Spending::ObrienFleming, level)?.last().copied().unwrap_or(38.0);
        }
        Ok(Self { level, bounds: found })
    }

    /// How many standard errors a difference must have at this look to be significant.
    #[must_use]
    pub fn critical(&self) -> f64 {
        self.bounds.get(LARGE - 1).copied().unwrap_or(f64::INFINITY)
    }

    /// The p-value of a difference of `z` standard errors at this look.
    #[must_use]
    pub fn p_value(&self, z: f64) -> PValue {
        let square = z * z;
        let squares = |index: usize| self.bounds.get(index).map(|bound| bound * bound);
        let reached =
            (0..LEVELS.len()).rev().find(|index| squares(*index).is_some_and(|it| it <= square));
        let Some(low) = reached else { return PValue::of_ln(0.0) };
        let start = squares(low).unwrap_or_default();
        let ln = at(low, self.level);
        // Beyond the smallest level, the tail of the normal distribution.
        let next = squares(low + 1).filter(|next| next.is_finite() && *next > start);
        let slope = next.map_or(-0.5, |next| (at(low + 1, self.level) - ln) / (next - start));
        PValue::of_ln(ln + slope * (square - start))
    }
}

/// The looks until this share, which is one of them.
fn taken(share: f64, looks: u32) -> Vec<f64> {
    let now = share.min(1.0);
    let of = f64::from(looks);
    let times = |look: u32| {
        (0..TIMES).map(move |time| {
            (f64::from(look) + LASTS * f64::from(time) / f64::from(TIMES - 1)) / of
        })
    };
    let before = (1..looks).flat_map(times).take_while(|taken| *taken < now - 1e-9);
    before.chain([now]).collect()
}

/// The logarithm of the level with this index.
fn at(index: usize, level: Fraction) -> f64 {
    let (part, ln) = (LEVELS.get(index).copied().unwrap_or(1.0), level.get().ln());
    if index < LARGE { part * ln } else { ln + part.ln() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const LEVEL: Fraction = Fraction::FIVE_PERCENT;

    #[test]
    fn a_look_lasts_a_quarter_of_the_way_to_the_next_one() {
        let of = |shares: &[f64]| shares.iter().map(|share| place(*share, 5)).collect::<Vec<_>>();
        let found = of(&[0.19, 0.2, 0.25, 0.251, 0.6, 0.999, 1.0, 1.3]);
        let wanted = [
            Place::Before(1),
            Place::At(1),
            Place::At(1),
            Place::Before(2),
            Place::At(3),
            Place::Before(5),
            Place::At(5),
            Place::At(5),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_p_value_reaches_a_level_where_its_bound_is() {
        for (share, looks) in [(0.63, 3), (0.5, 2), (1.0, 1)] {
            let repeated = Repeated::new(share, looks, LEVEL).unwrap();
            let critical = repeated.critical();
            let p = |z: f64| repeated.p_value(z).get();
            assert!((p(critical) - 0.05).abs() < 1e-12, "{share} {looks}");
            assert!(repeated.p_value(-critical - 1e-9).below(LEVEL));
            assert!(!repeated.p_value(critical - 1e-9).below(LEVEL));
            // Between the levels, what a bound at the p-value says.
            for z in [1.1 * critical, 2.0 * critical] {
                let own = p(z).min(0.9);
                let level = Fraction::new(own).unwrap();
                let found = Repeated::new(share, looks, level).unwrap().critical();
                assert!(
                    own > 0.8 || (found / z - 1.0).abs() < 0.02,
                    "{share} {looks}: {z} {found}"
                );
            }
            let rising: Vec<f64> =
                (0..80).map(|step| repeated.p_value(f64::from(step) * 0.1).ln()).collect();
            assert!(rising.windows(2).all(|pair| pair[1] <= pair[0]), "{rising:?}");
        }
        // A single look is a fixed test.
        let fixed = Repeated::new(1.0, 1, LEVEL).unwrap();
        assert!((fixed.critical() - 1.959_963_984_540_054).abs() < 1e-9);
    }

    #[test]
    fn looks_as_often_as_they_last_keep_the_level() {
        // 60 looks on the way to the plan, of which those within a planned look count.
        const STEPS: u32 = 60;
        for looks in [2, 5] {
            let limits: Vec<Option<f64>> = (1..=STEPS)
                .map(|step| {
                    let share = f64::from(step) / f64::from(STEPS);
                    let Place::At(_) = place(share, looks) else { return None };
                    let taken = taken(share, looks);
                    Some(*bounds(&taken, Spending::ObrienFleming, LEVEL).unwrap().last().unwrap())
                })
                .collect();
            let mut dice = Dice::new(u64::from(looks));
            let runs = 20_000;
            let wrong = (0..runs)
                .filter(|_| {
                    let mut sum = 0.0;
                    limits.iter().zip(1..).any(|(bound, step)| {
                        sum += dice.normal();
                        bound.is_some_and(|bound| sum > bound * f64::from(step).sqrt())
                    })
                })
                .count();
            // One side: 2.5 %; three standard errors are 0.3 points.
            let rate = wrong as f64 / f64::from(runs);
            assert!(rate < 0.0285 && rate > 0.02, "{looks}: {rate}");
        }
    }
}
