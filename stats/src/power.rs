//! How many units it takes, and what a number of units can show.
//!
//! Each size comes with the name of its formula, since two respectable ones differ by some percent when the split is uneven.

use crate::distribution::{normal, student};
use crate::input::{Fraction, Invalid, Sample};
use crate::means::satterthwaite;
use crate::numeric::float;
use crate::numeric::root::rising;
use crate::score::{FEWEST_EVENTS, power_for_rates};

/// What an experiment must be able to detect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The level of the two-sided test.
    pub level: Fraction,
    /// The probability of finding the difference.
    pub power: Fraction,
    /// The candidate's share of all units of the experiment.
    pub share: Fraction,
}

/// How many units each variant needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Of the baseline.
    pub baseline: u64,
    /// Of the candidate.
    pub candidate: u64,
    /// By which formula.
    pub formula: Formula,
}

impl Size {
    /// Of both together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.baseline + self.candidate
    }
}

/// Formulas for sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// For shares: the score test, which decides everywhere.
    Score,
    /// For shares: Cohen's h, the difference of arcsines.
    CohenH,
    /// For means: Welch's t test, by the non-central t distribution.
    WelchT,
}

impl Formula {
    /// One stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::CohenH => "cohen_h",
            Self::WelchT => "welch_t",
        }
    }

    /// The formula itself.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Score => "the smallest n₁, n₂ = k n₁, at which the score test has the power",
            Self::CohenH => {
                "n₁ = (1 + 1/k) ((z_{α/2} + z_β) / h)², n₂ = k n₁, h = 2 asin √p₂ − 2 asin √p₁"
            }
            Self::WelchT => {
                "the smallest n₁, n₂ = k n₁, at which the non-central t distribution gives the power"
            }
        }
    }
}

/// The size for a share of `rate` that changes by `difference`.
///
/// # Errors
/// A changed share that is not strictly between 0 and 1, no difference, another formula than those for shares, or a size beyond 10^15.
pub fn size_for_rate(
    rate: Fraction,
    difference: f64,
    goal: Goal,
    formula: Formula,
) -> Result<Size, Invalid> {
    let (p1, p2) = (rate.get(), rate.get() + difference);
    if difference == 0.0 || !(p2 > 0.0 && p2 < 1.0) {
        let found = format!("{difference} beside a rate of {p1}");
        return Err(Invalid::new(
            found,
            "leave the rate between 0 and 1, exclusive",
            "the difference is absolute: from 10 % to 12 % is 0.02",
        ));
    }
    let k = goal.share.get() / goal.share.rest();
    let n1 = match formula {
        Formula::Score => sized_for_score((p1, p2), k, goal),
        Formula::CohenH => {
            let z = normal::quantile(0.5 * goal.level.get()) + normal::quantile(goal.power.rest());
            let h = 2.0 * p2.sqrt().asin() - 2.0 * p1.sqrt().asin();
            (z / h).powi(2) * (1.0 + 1.0 / k)
        }
        Formula::WelchT => {
            return Err(Invalid::new("welch_t", "be score or cohen_h", "welch_t is for means"));
        }
    };
    sized(n1, k * n1, formula)
}

/// The baseline's size at which the score test has the power, and each group five expected events and five units without one.
fn sized_for_score((p1, p2): (f64, f64), k: f64, goal: Goal) -> f64 {
    let short = |n1: f64| power_for_rates(p1, p2, (n1, k * n1), goal.level) - goal.power.get();
    let mean = (p1 + k * p2) / (1.0 + k);
    let fewest = FEWEST_EVENTS / (mean.min(1.0 - mean) * k.min(1.0));
    if short(fewest) >= 0.0 {
        return fewest;
    }
    let mut high = 2.0 * fewest;
    while short(high) < 0.0 && high < 1e16 {
        high *= 2.0;
    }
    rising(0.5 * high, high, short)
}

/// The size for a mean whose units have the standard deviation `sd`, when it changes by `difference`.
///
/// # Errors
/// A standard deviation that is not positive, no difference, or a size beyond 10^15.
pub fn size_for_mean(sd: f64, difference: f64, goal: Goal) -> Result<Size, Invalid> {
    if !(sd > 0.0 && sd < 1e150) {
        return Err(Invalid::new(
            sd.to_string(),
            "be a positive standard deviation",
            "use the standard deviation of the units, not of their mean",
        ));
    }
    if difference == 0.0 || !difference.is_finite() {
        return Err(Invalid::new(difference.to_string(), "be a difference other than 0", ""));
    }
    let k = goal.share.get() / goal.share.rest();
    let effect = difference.abs() / sd;
    // The normal distribution's answer is a little too small; the true one is not far above.
    let z = normal::quantile(0.5 * goal.level.get()) + normal::quantile(goal.power.rest());
    let start = ((z / effect).powi(2) * (1.0 + 1.0 / k)).max(2.0);
    sized(start, k * start, Formula::WelchT)?;
    let reached = |n1: f64| power_for_mean(effect, n1, up(k * n1), goal.level) >= goal.power.get();
    let (mut low, mut high) = (1.0, start.ceil().max(2.0));
    while !reached(high) {
        low = high;
        high = (high * 1.01 + 2.0).ceil();
    }
    if low < 0.98 * high {
        low = low.max((0.98 * high).floor().min(high - 8.0).max(1.0));
        if reached(low) {
            low = 1.0;
        }
    }
    while high - low > 1.0 {
        let middle = (0.5 * (low + high)).floor();
        if reached(middle) { high = middle } else { low = middle }
    }
    sized(high, k * high, Formula::WelchT)
}

/// The power of Welch's test for a difference of so many standard deviations.
fn power_for_mean(effect: f64, n1: f64, n2: f64, level: Fraction) -> f64 {
    if n1 < 2.0 || n2 < 2.0 {
        return 0.0;
    }
    let (v1, v2) = (1.0 / n1, 1.0 / n2);
    let df = satterthwaite((v1, n1 - 1.0), (v2, n2 - 1.0));
    student::two_sided_power(
        effect / (v1 + v2).sqrt(),
        df,
        student::quantile(0.5 * level.get(), df),
    )
}

/// The smallest rise of a share that the score test of groups of these sizes finds with this power; `None` when not even a rise to 1 is
/// found.
#[must_use]
pub fn detectable_for_rate(
    rate: Fraction,
    sizes: (u64, u64),
    level: Fraction,
    power: Fraction,
) -> Option<f64> {
    let sizes = (float(sizes.0), float(sizes.1));
    let found =
        |rise: f64| power_for_rates(rate.get(), rate.get() + rise, sizes, level) - power.get();
    (found(rate.rest()) > 0.0).then(|| rising(0.0, rate.rest(), found))
}

/// The smallest difference of means that samples of these sizes and spreads find with this power; `None` at zero variance.
#[must_use]
pub fn detectable_for_means(
    baseline: Sample,
    candidate: Sample,
    level: Fraction,
    power: Fraction,
) -> Option<f64> {
    let estimate = crate::means::larger(baseline, candidate).0;
    let found = |differences: f64| {
        estimate
            .power(differences * estimate.se(), level)
            .map_or(f64::NAN, |found| found - power.get())
    };
    (estimate.variance > 0.0)
        .then(|| estimate.se() * rising(0.0, estimate.critical(level) + 60.0, found))
}

fn sized(baseline: f64, candidate: f64, formula: Formula) -> Result<Size, Invalid> {
    let (baseline, candidate) = (whole(baseline), whole(candidate));
    match (baseline, candidate) {
        (Some(baseline), Some(candidate)) => Ok(Size { baseline, candidate, formula }),
        _ => Err(Invalid::new(
            "a difference that needs more than 10^15 units",
            "be found with at most 10^15 units",
            "choose a larger difference",
        )),
    }
}

/// Rounded up; at least 2.
fn whole(n: f64) -> Option<u64> {
    let up = up(n);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be from 2 to 10^15"
    )]
    (up <= 1e15).then(|| up.max(2.0) as u64)
}

/// Rounded up, except what only rounding errors lift above a whole number.
fn up(n: f64) -> f64 {
    let rounded = n.round();
    if (n - rounded).abs() < 1e-9 * n { rounded } else { n.ceil() }
}
