//! Input values, checked once by their constructors, so that all later functions are total.

use std::fmt;

use crate::numeric::float;

/// Larger counts would lose digits as floats.
const MOST: u64 = 1 << 53;

/// A value that cannot be used: the value, the requirement, and a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The value.
    pub found: String,
    /// The requirement, as a verb phrase that follows "must": `be 0 or more`.
    pub requirement: &'static str,
    /// How to correct it; may be empty.
    pub hint: &'static str,
}

impl Invalid {
    pub(crate) fn new(
        found: impl Into<String>,
        requirement: &'static str,
        hint: &'static str,
    ) -> Self {
        Self { found: found.into(), requirement, hint }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, but it must {}", self.found, self.requirement)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

impl std::error::Error for Invalid {}

/// Successes among trials: `successes ≤ trials`, at least one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proportion {
    successes: u64,
    trials: u64,
}

impl Proportion {
    /// Checks the counts.
    ///
    /// # Errors
    /// No trials, more successes than trials, or 2^53 trials and more.
    pub fn new(successes: u64, trials: u64) -> Result<Self, Invalid> {
        let found = || format!("{successes} of {trials}");
        if trials == 0 {
            return Err(Invalid::new(
                found(),
                "have at least one unit",
                "a group without units has no result",
            ));
        }
        if successes > trials {
            let hint = "the first number is the units with a success, the second is all units";
            return Err(Invalid::new(found(), "not have more successes than units", hint));
        }
        if trials >= MOST {
            return Err(Invalid::new(found(), "have fewer than 2^53 units", ""));
        }
        Ok(Self { successes, trials })
    }

    /// Units with a success.
    #[must_use]
    pub const fn successes(self) -> u64 {
        self.successes
    }

    /// All units.
    #[must_use]
    pub const fn trials(self) -> u64 {
        self.trials
    }

    /// The share of successes.
    #[must_use]
    pub fn share(self) -> f64 {
        self.x() / self.n()
    }

    /// The share of failures.
    pub(crate) const fn failures(self) -> Self {
        Self { successes: self.trials - self.successes, trials: self.trials }
    }

    pub(crate) const fn x(self) -> f64 {
        float(self.successes)
    }

    pub(crate) const fn n(self) -> f64 {
        float(self.trials)
    }
}

/// A sample of numbers by its mean, its standard deviation (with n − 1) and its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    mean: f64,
    sd: f64,
    n: u64,
}

impl Sample {
    /// Checks a summary.
    ///
    /// # Errors
    /// A mean or standard deviation that is not finite, a negative standard deviation, fewer than two units.
    pub fn new(mean: f64, sd: f64, n: u64) -> Result<Self, Invalid> {
        // Squares of these are finite, so nothing behind can overflow.
        const LARGEST: f64 = 1e150;
        if !mean.is_finite() || mean.abs() > LARGEST {
            return Err(Invalid::new(format!("mean {mean}"), "have a mean up to 1e150", ""));
        }
        if !(sd.is_finite() && (0.0..=LARGEST).contains(&sd)) {
            let hint =
                "use the standard deviation of the units, not the standard error of the mean";
            return Err(Invalid::new(
                format!("standard deviation {sd}"),
                "have a standard deviation from 0 to 1e150",
                hint,
            ));
        }
        if !(2..MOST).contains(&n) {
            let hint = "a single unit has no standard deviation";
            return Err(Invalid::new(
                format!("{n} units"),
                "have at least 2 and fewer than 2^53 units",
                hint,
            ));
        }
        Ok(Self { mean, sd, n })
    }

    /// The mean.
    #[must_use]
    pub const fn mean(self) -> f64 {
        self.mean
    }

    /// The standard deviation of one unit.
    #[must_use]
    pub const fn sd(self) -> f64 {
        self.sd
    }

    /// How many units.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.n
    }

    pub(crate) const fn n(self) -> f64 {
        float(self.n)
    }

    /// The variance of the mean.
    pub(crate) fn mean_variance(self) -> f64 {
        self.sd * self.sd / self.n()
    }
}

/// A number strictly between 0 and 1: a level of significance, a power, a rate, a share.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// The usual level of significance.
    pub const FIVE_PERCENT: Self = Self(0.05);
    /// The usual power.
    pub const EIGHTY_PERCENT: Self = Self(0.8);
    /// One half.
    pub const HALF: Self = Self(0.5);

    /// Checks the number.
    ///
    /// # Errors
    /// Not strictly between 0 and 1.
    pub fn new(value: f64) -> Result<Self, Invalid> {
        if value > 0.0 && value < 1.0 {
            return Ok(Self(value));
        }
        let hint = if (1.0..100.0).contains(&value) {
            "write percentages as fractions: 5 % is 0.05"
        } else {
            ""
        };
        Err(Invalid::new(value.to_string(), "be between 0 and 1, exclusive", hint))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// What is missing to one.
    #[must_use]
    pub const fn rest(self) -> f64 {
        1.0 - self.0
    }
}
