//! What goes in: checked once, so that nothing behind it can fail.

use std::fmt;

use crate::numeric::float;

/// Counts from here on would lose digits as floats.
const MOST: u64 = 1 << 53;

/// A value that cannot be used: what was found, what is allowed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: &'static str,
    /// What to do; may be empty.
    pub hint: &'static str,
}

impl Invalid {
    pub(crate) fn new(found: impl Into<String>, allowed: &'static str, hint: &'static str) -> Self {
        Self { found: found.into(), allowed, hint }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, allowed: {}", self.found, self.allowed)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

impl std::error::Error for Invalid {}

/// So many of so many: `successes ≤ trials`, at least one trial.
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
                "at least one unit",
                "a group without units shows nothing",
            ));
        }
        if successes > trials {
            let hint = "the first number counts units with a success, the second all units";
            return Err(Invalid::new(found(), "no more successes than units", hint));
        }
        if trials >= MOST {
            return Err(Invalid::new(found(), "fewer than 2^53 units", ""));
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

    /// Variance of one unit: p (1 − p).
    pub(crate) fn variance(self) -> f64 {
        self.share() * (float(self.trials - self.successes) / self.n())
    }

    pub(crate) const fn x(self) -> f64 {
        float(self.successes)
    }

    pub(crate) const fn n(self) -> f64 {
        float(self.trials)
    }

    /// `other`'s share minus this one's, from whole numbers: two shares near each other lose no digits.
    pub(crate) fn difference(self, other: Self) -> f64 {
        self.cross(other) / (self.n() * other.n())
    }

    /// `x₂ n₁ − x₁ n₂`, rounded once.
    #[expect(clippy::cast_precision_loss, reason = "this is the one rounding")]
    pub(crate) fn cross(self, other: Self) -> f64 {
        let product = |a: u64, b: u64| i128::from(a) * i128::from(b);
        (product(other.successes, self.trials) - product(self.successes, other.trials)) as f64
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
            return Err(Invalid::new(format!("mean {mean}"), "a number up to 1e150", ""));
        }
        if !(sd.is_finite() && (0.0..=LARGEST).contains(&sd)) {
            let hint = "the standard deviation of single units, not the standard error of the mean";
            return Err(Invalid::new(
                format!("standard deviation {sd}"),
                "0 or more, up to 1e150",
                hint,
            ));
        }
        if !(2..MOST).contains(&n) {
            let hint = "one unit has no standard deviation";
            return Err(Invalid::new(format!("{n} units"), "from 2 to 2^53", hint));
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
            "percent are written as a fraction: 5 % is 0.05"
        } else {
            ""
        };
        Err(Invalid::new(value.to_string(), "strictly between 0 and 1", hint))
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
