//! Raw data, one unit at a time: means, variances and covariances in one pass.
//!
//! Welford's updates, because the textbook's sum of squares loses every digit of values like 1e9 + 0.1, counted from the first value,
//! because Welford's mean alone keeps only seven of them; and Chan, Golub & LeVeque's merge, so that shards may be read apart. A unit is what was randomised: a user adds once, with all his requests summed up.

use crate::input::{Invalid, Sample};
use crate::numeric::float;

/// Mean and variance of one number per unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    n: u64,
    column: Column,
}

/// One number of each unit, seen from the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Column {
    origin: f64,
    /// The mean's distance from the origin.
    offset: f64,
    squares: f64,
}

impl Column {
    /// Adds a value as the `n`-th; gives its distance from the mean before, and after.
    fn add(&mut self, value: f64, n: f64) -> (f64, f64) {
        if n <= 1.0 {
            self.origin = value;
        }
        let value = value - self.origin;
        let before = value - self.offset;
        self.offset += before / n;
        let after = value - self.offset;
        self.squares += before * after;
        (before, after)
    }

    /// Adds another column, of `n2` beside `n1`; gives the distance of the means.
    fn merge(&mut self, other: &Self, n1: f64, n2: f64) -> f64 {
        if n1 <= 0.0 {
            *self = *other;
            return 0.0;
        }
        let step = self.distance(other);
        self.offset += step * (n2 / (n1 + n2));
        self.squares += other.squares + step * step * (n1 * n2 / (n1 + n2));
        step
    }

    /// The other mean minus this one, without the digits that both have.
    fn distance(&self, other: &Self) -> f64 {
        (other.origin - self.origin) + (other.offset - self.offset)
    }

    fn mean(&self) -> f64 {
        self.origin + self.offset
    }

    /// With n − 1; 0 below two units.
    fn variance(&self, n: u64) -> f64 {
        if n < 2 { 0.0 } else { self.squares.max(0.0) / (float(n) - 1.0) }
    }
}

impl Column {
    const fn parts(&self) -> [f64; 3] {
        [self.origin, self.offset, self.squares]
    }

    const fn of_parts([origin, offset, squares]: [f64; 3]) -> Self {
        Self { origin, offset, squares }
    }
}

impl Moments {
    /// Adds a unit's number.
    ///
    /// # Errors
    /// A number that is not finite.
    pub fn add(&mut self, value: f64) -> Result<(), Invalid> {
        finite(value)?;
        self.n += 1;
        self.column.add(value, float(self.n));
        Ok(())
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &Self) {
        if other.n > 0 {
            self.column.merge(&other.column, float(self.n), float(other.n));
            self.n += other.n;
        }
    }

    /// How many units.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.n
    }

    /// The mean; 0 without units.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.column.mean()
    }

    /// The variance of one unit, with n − 1; 0 below two units.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.column.variance(self.n)
    }

    /// The other mean minus this one: of means of 10^9 that differ by 0.1 it keeps all digits.
    #[must_use]
    pub fn difference(&self, other: &Self) -> f64 {
        self.column.distance(&other.column)
    }

    /// What a table keeps of it beside the count: origin, the mean's distance from it, and squared deviations. They give
    /// back the same bits.
    #[must_use]
    pub const fn parts(&self) -> [f64; 3] {
        self.column.parts()
    }

    /// Of a count and its [`Moments::parts`].
    #[must_use]
    pub const fn of_parts(n: u64, parts: [f64; 3]) -> Self {
        Self { n, column: Column::of_parts(parts) }
    }

    /// The summary, for `means`.
    ///
    /// # Errors
    /// Fewer than two units, or numbers beyond 1e150.
    pub fn sample(&self) -> Result<Sample, Invalid> {
        Sample::new(self.mean(), self.variance().sqrt(), self.n)
    }
}

/// Means, variances and the covariance of two numbers per unit: numerator and denominator, or outcome and covariate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pairs {
    n: u64,
    y: Column,
    x: Column,
    products: f64,
}

impl Pairs {
    /// Adds a unit's two numbers.
    ///
    /// # Errors
    /// A number that is not finite.
    pub fn add(&mut self, y: f64, x: f64) -> Result<(), Invalid> {
        finite(y)?;
        finite(x)?;
        self.n += 1;
        let (before, _) = self.y.add(y, float(self.n));
        let (_, after) = self.x.add(x, float(self.n));
        self.products += before * after;
        Ok(())
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        let (n1, n2) = (float(self.n), float(other.n));
        let (step_y, step_x) = (self.y.merge(&other.y, n1, n2), self.x.merge(&other.x, n1, n2));
        self.products += other.products + step_y * step_x * (n1 * n2 / (n1 + n2));
        self.n += other.n;
    }

    /// How many units.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.n
    }

    /// The means of both numbers.
    #[must_use]
    pub fn means(&self) -> (f64, f64) {
        (self.y.mean(), self.x.mean())
    }

    /// The other means minus these.
    #[must_use]
    pub fn differences(&self, other: &Self) -> (f64, f64) {
        (self.y.distance(&other.y), self.x.distance(&other.x))
    }

    /// The variances of one unit's two numbers; 0 below two units.
    #[must_use]
    pub fn variances(&self) -> (f64, f64) {
        (self.y.variance(self.n), self.x.variance(self.n))
    }

    /// The covariance of one unit's two numbers; 0 below two units.
    #[must_use]
    pub fn covariance(&self) -> f64 {
        if self.n < 2 { 0.0 } else { self.products / (float(self.n) - 1.0) }
    }

    /// What a table keeps of it beside the count: the parts of the first number, those of the second, and the products
    /// of both deviations. They give back the same bits.
    #[must_use]
    pub const fn parts(&self) -> [f64; 7] {
        let ([a, b, c], [d, e, f]) = (self.y.parts(), self.x.parts());
        [a, b, c, d, e, f, self.products]
    }

    /// Of a count and its [`Pairs::parts`].
    #[must_use]
    pub const fn of_parts(n: u64, [a, b, c, d, e, f, products]: [f64; 7]) -> Self {
        Self { n, y: Column::of_parts([a, b, c]), x: Column::of_parts([d, e, f]), products }
    }

    /// The first number alone.
    #[must_use]
    pub const fn first(&self) -> Moments {
        Moments { n: self.n, column: self.y }
    }

    /// Of a summary: size, means, variances (with n − 1) and covariance.
    ///
    /// # Errors
    /// Fewer than two units, a number that is not finite, a negative variance, or a covariance that the variances do not allow.
    pub fn of_summary(
        n: u64,
        means: (f64, f64),
        variances: (f64, f64),
        covariance: f64,
    ) -> Result<Self, Invalid> {
        for value in [means.0, means.1, variances.0, variances.1, covariance] {
            finite(value)?;
        }
        Sample::new(means.0, variances.0.max(0.0).sqrt(), n)?;
        if variances.0 < 0.0 || variances.1 < 0.0 {
            return Err(Invalid::new("a negative variance", "be 0 or more", ""));
        }
        if covariance.abs() > (variances.0.sqrt() * variances.1.sqrt()) * (1.0 + 1e-9) {
            let found = format!(
                "covariance {covariance} with variances {} and {}",
                variances.0, variances.1
            );
            return Err(Invalid::new(found, "have a correlation between -1 and 1", ""));
        }
        let df = float(n) - 1.0;
        let column =
            |mean: f64, variance: f64| Column { origin: mean, offset: 0.0, squares: variance * df };
        let (y, x) = (column(means.0, variances.0), column(means.1, variances.1));
        Ok(Self { n, y, x, products: covariance * df })
    }
}

fn finite(value: f64) -> Result<(), Invalid> {
    if value.is_finite() && value.abs() <= 1e150 {
        return Ok(());
    }
    Err(Invalid::new(value.to_string(), "be a number up to 1e150", "omit units without a value"))
}
