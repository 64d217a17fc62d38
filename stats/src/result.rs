//! What comes out, the same for every kind of metric.

use std::fmt;

use crate::distribution::{normal, student};
use crate::input::{Fraction, Invalid};

/// A p-value, kept as its natural logarithm.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PValue {
    ln: f64,
}

impl PValue {
    /// Of a probability.
    ///
    /// # Errors
    /// Not between 0 and 1.
    pub fn new(p: f64) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&p) {
            return Ok(Self { ln: p.ln() });
        }
        Err(Invalid::new(p.to_string(), "be a probability from 0 to 1", ""))
    }

    /// Of a natural logarithm; what is above 0 by rounding is 0.
    pub(crate) const fn of_ln(ln: f64) -> Self {
        Self { ln: ln.min(0.0) }
    }

    /// The p-value; 0 when it is below what a double can hold, and then `log10` has it.
    #[must_use]
    pub fn get(self) -> f64 {
        self.ln.exp()
    }

    /// Its natural logarithm, 0 or less.
    #[must_use]
    pub const fn ln(self) -> f64 {
        self.ln
    }

    /// Its decimal logarithm, 0 or less: −400 for 1e−400.
    #[must_use]
    pub fn log10(self) -> f64 {
        // No minus zero for people to wonder about.
        if self.ln == 0.0 { 0.0 } else { self.ln / std::f64::consts::LN_10 }
    }

    /// Whether it is below the level.
    #[must_use]
    pub fn below(self, level: Fraction) -> bool {
        self.ln < level.get().ln()
    }
}

/// An interval with both its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    pub(crate) const fn around(center: f64, half: f64) -> Self {
        Self { low: center - half, high: center + half }
    }
}

/// Why a number is undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefined {
    /// No unit differs from another: there is nothing to compare a difference with.
    ZeroVariance,
    /// The baseline is zero, or not distinguishable from zero.
    ZeroBaseline,
    /// Fewer data than the question needs.
    TooFew,
    /// Fewer events than a test of shares needs (`score::FEWEST_EVENTS`).
    FewEvents,
    /// Nothing is tested between two planned looks.
    BetweenLooks,
    /// The data contradict the prior, and both come to other conclusions.
    PriorConflict,
}

impl Undefined {
    /// One stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ZeroVariance => "zero_variance",
            Self::ZeroBaseline => "zero_baseline",
            Self::TooFew => "too_few",
            Self::FewEvents => "few_events",
            Self::BetweenLooks => "between_looks",
            Self::PriorConflict => "prior_conflict",
        }
    }

    /// The reason as part of a sentence.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ZeroVariance => "zero variance",
            Self::ZeroBaseline => "the baseline is zero, or not distinguishable from zero",
            Self::TooFew => "too few data",
            Self::FewEvents => "too few events (each variant needs 5, observed or expected)",
            Self::BetweenLooks => "nothing is decided between two planned looks",
            Self::PriorConflict => {
                "the data contradict the prior, and both come to other conclusions"
            }
        }
    }
}

impl fmt::Display for Undefined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "undefined: {}", self.reason())
    }
}

impl std::error::Error for Undefined {}

/// A difference with the variance of its error: what phases are merged by, and what sequential tests look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Candidate minus baseline.
    pub difference: f64,
    /// The variance of the difference's error; 0 or more.
    pub variance: f64,
    /// Degrees of freedom behind the variance; `None`: taken as known.
    pub df: Option<f64>,
}

impl Estimate {
    /// The standard error.
    #[must_use]
    pub fn se(self) -> f64 {
        self.variance.sqrt()
    }

    /// The test that the true difference is zero, by Student's t or, without degrees of freedom, the normal distribution.
    ///
    /// # Errors
    /// `ZeroVariance`.
    pub fn test(self) -> Result<Test, Undefined> {
        if self.variance.is_nan() || self.variance <= 0.0 {
            return Err(Undefined::ZeroVariance);
        }
        let statistic = self.difference / self.se();
        let ln = self.df.map_or_else(
            || normal::ln_two_sided(statistic),
            |df| student::ln_two_sided(statistic, df),
        );
        Ok(Test { statistic, df: self.df, p: PValue::of_ln(ln) })
    }

    /// The two-sided interval; no wider than a point at zero variance.
    #[must_use]
    pub fn interval(self, level: Fraction) -> Interval {
        Interval::around(self.difference, self.critical(level) * self.se())
    }

    /// How many standard errors the interval reaches.
    #[must_use]
    pub fn critical(self, level: Fraction) -> f64 {
        critical(self.df, level)
    }

    /// The probability that a test like this one finds a true difference of this size.
    #[must_use]
    pub fn power(self, difference: f64, level: Fraction) -> Option<f64> {
        if self.variance.is_nan() || self.variance <= 0.0 {
            return None;
        }
        let delta = difference / self.se();
        let critical = self.critical(level);
        Some(match self.df {
            Some(df) => student::two_sided_power(delta, df, critical),
            None => (normal::upper(critical - delta) + normal::upper(critical + delta)).min(1.0),
        })
    }
}

pub(crate) fn critical(df: Option<f64>, level: Fraction) -> f64 {
    let tail = 0.5 * level.get();
    df.map_or_else(|| normal::quantile(tail), |df| student::quantile(tail, df))
}

/// A test's outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// In standard errors, or the chi-square statistic.
    pub statistic: f64,
    /// Degrees of freedom; `None`: the normal distribution.
    pub df: Option<f64>,
    /// Two-sided.
    pub p: PValue,
}

/// A candidate against the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The baseline's and the candidate's value.
    pub values: (f64, f64),
    /// The variances of the errors of both values; of shares, those after a uniform prior, which are never 0.
    pub variances: (f64, f64),
    /// The difference, with the variance that intervals and merging take (not pooled).
    pub estimate: Estimate,
    /// The interval of the difference; `None` where nothing varies.
    pub interval: Option<Interval>,
    /// The difference as a share of the baseline: 0.1 is ten percent more.
    pub lift: Result<f64, Undefined>,
    /// Its interval.
    pub lift_interval: Result<Interval, Undefined>,
    /// The test of the null hypothesis of equal variants.
    pub test: Result<Test, Undefined>,
    /// The power of this test, were the true difference the one found.
    pub power: Option<f64>,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The candidate is better, significantly.
    Better,
    /// The candidate is worse, significantly.
    Worse,
    /// Neither was shown; which is not: they are equal.
    NoDifferenceShown,
    /// The data allow no test.
    Undefined,
}

impl Decision {
    /// One stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifferenceShown => "no_difference_shown",
            Self::Undefined => "undefined",
        }
    }
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// More is better: conversions, revenue.
    Higher,
    /// Less is better: errors, latency.
    Lower,
}

impl Comparison {
    /// Better or worse, when the p-value is below the level.
    #[must_use]
    pub fn decision(&self, goal: Goal, level: Fraction) -> Decision {
        decision(self.estimate.difference, self.test.map(|test| test.p), goal, level)
    }
}

/// Better or worse, when the p-value is below the level.
#[must_use]
pub fn decision(
    difference: f64,
    p: Result<PValue, Undefined>,
    goal: Goal,
    level: Fraction,
) -> Decision {
    let Ok(p) = p else { return Decision::Undefined };
    if !p.below(level) || difference == 0.0 {
        return Decision::NoDifferenceShown;
    }
    if (difference > 0.0) == (goal == Goal::Higher) { Decision::Better } else { Decision::Worse }
}
