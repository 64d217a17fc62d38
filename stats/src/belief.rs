//! A normal prior on a difference, and what is believed of it after the data.
//!
//! The estimate is taken as normal around the true difference with its standard error, so the posterior is normal again, with the sum of both
//! precisions (Gelman et al., Bayesian Data Analysis, 2.5). A narrow prior around 0 pulls a surprising difference towards 0.
//!
//! Choosing by a posterior is right on average over the prior. It does not bound how often equal variants are called different, above all
//! when one looks often.

use crate::distribution::normal;
use crate::input::{Fraction, Invalid};
use crate::result::{Comparison, Interval};

/// A normal distribution of differences, before the data or after them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    mean: f64,
    sd: f64,
}

impl Belief {
    /// With this mean and standard deviation.
    ///
    /// # Errors
    /// Numbers that are not finite, or a standard deviation that is not above 0.
    pub fn new(mean: f64, sd: f64) -> Result<Self, Invalid> {
        if mean.is_finite() && sd > 0.0 && sd.is_finite() {
            return Ok(Self { mean, sd });
        }
        let found = format!("mean {mean}, standard deviation {sd}");
        Err(Invalid::new(found, "be finite, with a standard deviation above 0", ""))
    }

    /// After an estimate with the variance of its error. `None` without a variance.
    #[must_use]
    pub fn after(self, estimate: f64, variance: f64) -> Option<Self> {
        if !(variance > 0.0 && variance.is_finite() && estimate.is_finite()) {
            return None;
        }
        let prior = self.sd * self.sd;
        // The share of the estimate.
        let share = prior / (prior + variance);
        let mean = self.mean + share * (estimate - self.mean);
        Some(Self { mean, sd: (share * variance).sqrt() })
    }

    /// The probability of an estimate at least as far from the prior's mean, if the prior is right: the prior predictive p-value
    /// (Box, JRSS A 1980). A small one says that data and prior contradict each other.
    #[must_use]
    pub fn surprise(self, estimate: f64, variance: f64) -> f64 {
        2.0 * normal::upper((estimate - self.mean).abs() / (self.sd * self.sd + variance).sqrt())
    }

    /// The mean.
    #[must_use]
    pub const fn mean(self) -> f64 {
        self.mean
    }

    /// The standard deviation.
    #[must_use]
    pub const fn sd(self) -> f64 {
        self.sd
    }

    /// The interval that has the difference with a probability of one minus the level, both tails alike.
    #[must_use]
    pub fn interval(self, level: Fraction) -> Interval {
        Interval::around(self.mean, self.sd * normal::quantile(0.5 * level.get()))
    }

    /// The probability that the difference is above 0.
    #[must_use]
    pub fn above_zero(self) -> f64 {
        normal::upper(-self.mean / self.sd)
    }

    /// The probability that the difference is smaller than this, in both directions.
    #[must_use]
    pub fn within(self, margin: f64) -> f64 {
        let above = |edge: f64| normal::upper((edge - self.mean) / self.sd);
        (above(-margin) - above(margin)).max(0.0)
    }

    /// What choosing the higher value costs on average: the mean of the part of the difference below 0, as a positive number.
    #[must_use]
    pub fn loss(self) -> f64 {
        let z = self.mean / self.sd;
        (self.sd * normal::density(z) - self.mean * normal::upper(z)).max(0.0)
    }

    /// The same of minus the difference, for values of which less is better.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { mean: -self.mean, ..self }
    }
}

/// The difference as a share of the baseline's value, with the variance of its error by the delta method. `None` for a baseline of 0.
#[must_use]
pub fn relative(comparison: &Comparison) -> Option<(f64, f64)> {
    let (one, two) = comparison.values;
    let lift = comparison.lift.ok()?;
    let ratio = two / one;
    let variance = (comparison.variances.1 + ratio * ratio * comparison.variances.0) / (one * one);
    Some((lift, variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12 * wanted.abs().max(1.0), "{found} {wanted}");
    }

    #[test]
    fn an_estimate_and_a_prior_of_the_same_error_meet_in_the_middle() {
        let belief = Belief::new(0.0, 0.05).unwrap().after(0.04, 0.0025).unwrap();
        close(belief.mean(), 0.02);
        close(belief.sd(), 0.05 / 2f64.sqrt());
        // SciPy: norm(0.02, 0.05 / sqrt(2)): sf(0), interval(0.95), cdf(0.01) - cdf(-0.01), expect(max(-x, 0)).
        close(belief.above_zero(), 0.714_196_177_523_334_2);
        let interval = belief.interval(Fraction::FIVE_PERCENT);
        close(interval.low, 0.02 - 1.959_963_984_540_054 * belief.sd());
        close(interval.high, 0.02 + 1.959_963_984_540_054 * belief.sd());
        close(belief.within(0.01), 0.190_576_750_818_723_72);
        close(belief.loss(), 0.006_303_189_785_958_033);
        close(belief.reversed().above_zero(), 1.0 - belief.above_zero());
        close(belief.reversed().loss() - belief.loss(), belief.mean());
    }

    #[test]
    fn without_an_error_there_is_no_posterior() {
        let prior = Belief::new(0.0, 1.0).unwrap();
        assert!(prior.after(1.0, 0.0).is_none() && prior.after(f64::NAN, 1.0).is_none());
        for (mean, sd) in [(0.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(Belief::new(mean, sd).is_err());
        }
        // Many data leave nothing of the prior.
        close(prior.after(0.3, 1e-14).unwrap().mean(), 0.3 / (1.0 + 1e-14));
    }

    /// How often a candidate that is equal is better with 95 %, in so many looks at a difference whose error is 1 at the end.
    fn promoted(sd: f64, looks: u32) -> f64 {
        let mut dice = crate::dice::Dice::new(11);
        let prior = Belief::new(0.0, sd).unwrap();
        let runs = 20_000u32;
        let wrong = (0..runs).filter(|_| {
            let (mut sum, all) = (0.0, f64::from(looks));
            let mut found = false;
            for look in 1..=looks {
                let n = f64::from(look);
                sum += dice.normal() * all.sqrt();
                found |= prior.after(sum / n, all / n).unwrap().above_zero() >= 0.95;
            }
            found
        });
        wrong.count() as f64 / f64::from(runs)
    }

    #[test]
    fn peeking_at_a_posterior() {
        // As docs/statistics.md says: a wide prior, and one that is as wide as the error at the end.
        let found =
            [(100.0, 1), (100.0, 14), (1.0, 1), (1.0, 14)].map(|(sd, looks)| promoted(sd, looks));
        println!("{found:?}");
        assert!((found[0] - 0.05).abs() < 0.01 && found[1] > 2.0 * found[0], "{found:?}");
        assert!(found[2] < 0.02 && found[3] < 0.03, "{found:?}");
    }
}
