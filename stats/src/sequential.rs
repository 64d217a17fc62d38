//! Looking as often as one likes: intervals and p-values that hold at every moment at once.
//!
//! A fixed-sample test that is repeated every day for two weeks calls 22 percent of equal variants different. These do so for at most the
//! level, however often one looks and whenever one stops. Both are one mixture of normal distributions over the true difference; they differ in how the
//! mixture's width is chosen:
//!
//! - `ConfidenceSequence`: so that the interval is narrowest around a planned number of units (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas,
//!   "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024). The one to take when nothing else is known.
//! - `Msprt`: by the size of differences that are expected, in the metric's unit (Johari, Koomen, Pekelis & Walsh, Operations Research 2022).
//!
//! They are asymptotic: they require about a hundred units before the first look.

use crate::input::{Fraction, Invalid};
use crate::numeric::float;
use crate::result::{Estimate, Interval, PValue, Undefined};

/// The smallest number of units with an interval: below, the normal approximation does not hold.
pub const FEWEST: u64 = 100;

/// Whether a look at `units` units is the planned one, at which a fixed test decides: up to a tenth beyond `planned`, since nobody looks
/// at exactly that number.
///
/// A fixed test that is repeated after the plan calls equal variants different in 13 % of the experiments by twice the plan. So all looks
/// before and beyond are always valid.
#[must_use]
pub const fn is_planned_look(planned: u64, units: u64) -> bool {
    planned <= units && units <= planned.saturating_add(planned / 10)
}

/// A confidence sequence, tuned to a planned number of units of both variants together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfidenceSequence {
    planned: u64,
    level: Fraction,
}

impl ConfidenceSequence {
    /// A sequence that is narrowest around `planned` units of both variants together.
    ///
    /// # Errors
    /// Fewer planned units than `FEWEST`.
    pub fn new(planned: u64, level: Fraction) -> Result<Self, Invalid> {
        if !(FEWEST..1 << 53).contains(&planned) {
            return Err(Invalid::new(
                format!("{planned} planned units"),
                "be 100 or more",
                "`sidetrack size` computes the number",
            ));
        }
        Ok(Self { planned, level })
    }

    /// The interval after `units` units of both variants together.
    ///
    /// # Errors
    /// `ZeroVariance`; `TooFew` below `FEWEST` units.
    pub fn interval(self, estimate: Estimate, units: u64) -> Result<Interval, Undefined> {
        mixture(estimate, self.ratio(units)?, self.level)
    }

    /// The p-value at this look: the level whose interval would just reach zero, the width of the mixture held fixed. Keep the smallest
    /// of all looks.
    ///
    /// # Errors
    /// As for `interval`.
    pub fn p_value(self, estimate: Estimate, units: u64) -> Result<PValue, Undefined> {
        mixture_p(estimate, self.ratio(units)?)
    }

    /// How many standard errors the interval reaches after `units` units of both variants together.
    ///
    /// # Errors
    /// `TooFew` below `FEWEST` units.
    pub fn critical(self, units: u64) -> Result<f64, Undefined> {
        Ok(bound(self.ratio(units)?, self.level))
    }

    /// The p-value of a difference of `z` standard errors at this look. Never below that of a single look.
    ///
    /// # Errors
    /// `TooFew` below `FEWEST` units.
    pub fn p_of_score(self, z: f64, units: u64) -> Result<PValue, Undefined> {
        Ok(p_of(z, self.ratio(units)?))
    }

    /// The p-value of a chi-square statistic at this look: the mixture in as many dimensions as there are degrees of freedom,
    /// `(r + 1)^(df/2) · exp(−χ² r / (2 (r + 1)))`. With one degree of freedom, it is `p_of_score`.
    ///
    /// # Errors
    /// `TooFew` below `FEWEST` units.
    pub fn p_of_chi_square(self, statistic: f64, df: f64, units: u64) -> Result<PValue, Undefined> {
        let ratio = self.ratio(units)?;
        let ln = 0.5 * df * ratio.ln_1p() - 0.5 * statistic * (ratio / (ratio + 1.0));
        Ok(PValue::of_ln(ln))
    }

    /// n ρ², with ρ² = (−2 ln α + ln(−2 ln α + 1)) / planned.
    fn ratio(self, units: u64) -> Result<f64, Undefined> {
        if units < FEWEST {
            return Err(Undefined::TooFew);
        }
        let twice = -2.0 * self.level.get().ln();
        Ok(float(units) / float(self.planned) * (twice + twice.ln_1p()))
    }
}

/// A mixture sequential probability ratio test, tuned to differences of about `effect`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Msprt {
    effect: f64,
}

impl Msprt {
    /// Tuned to differences of about `effect` (the mixture's standard deviation, τ), in the metric's unit.
    ///
    /// # Errors
    /// Not a positive number.
    pub fn new(effect: f64) -> Result<Self, Invalid> {
        if effect > 0.0 && effect < 1e150 {
            return Ok(Self { effect });
        }
        Err(Invalid::new(
            effect.to_string(),
            "be a positive difference",
            "choose about the smallest one that matters",
        ))
    }

    /// The interval at this look.
    ///
    /// # Errors
    /// `ZeroVariance`.
    pub fn interval(self, estimate: Estimate, level: Fraction) -> Result<Interval, Undefined> {
        mixture(estimate, self.ratio(estimate), level)
    }

    /// One over the likelihood ratio, at most 1. Keep the smallest of all looks: `running`.
    ///
    /// # Errors
    /// `ZeroVariance`.
    pub fn p_value(self, estimate: Estimate) -> Result<PValue, Undefined> {
        mixture_p(estimate, self.ratio(estimate))
    }

    fn ratio(self, estimate: Estimate) -> f64 {
        self.effect * self.effect / estimate.variance
    }
}

/// The p-value after another look: the smaller of both, since evidence that was there at any look counts.
#[must_use]
pub const fn running(before: PValue, now: PValue) -> PValue {
    PValue::of_ln(before.ln().min(now.ln()))
}

/// `± se √((r + 1)/r · (ln(r + 1) − 2 ln α))`, where r is the mixture's variance over the estimate's.
fn mixture(estimate: Estimate, ratio: f64, level: Fraction) -> Result<Interval, Undefined> {
    varies(estimate)?;
    Ok(Interval::around(estimate.difference, estimate.se() * bound(ratio, level)))
}

fn bound(ratio: f64, level: Fraction) -> f64 {
    ((ratio + 1.0) / ratio * (ratio.ln_1p() - 2.0 * level.get().ln())).sqrt()
}

/// `√(r + 1) · exp(−z² r / (2 (r + 1)))`.
fn mixture_p(estimate: Estimate, ratio: f64) -> Result<PValue, Undefined> {
    varies(estimate)?;
    Ok(p_of(estimate.difference / estimate.se(), ratio))
}

fn p_of(z: f64, ratio: f64) -> PValue {
    PValue::of_ln(0.5 * ratio.ln_1p() - 0.5 * z * z * (ratio / (ratio + 1.0)))
}

fn varies(estimate: Estimate) -> Result<(), Undefined> {
    if estimate.variance > 0.0 { Ok(()) } else { Err(Undefined::ZeroVariance) }
}
