//! The Beta distribution, in the logit of its variable.
//!
//! The logit `s = ln(x / (1 − x))` has no ends, resolves both corners alike, and makes every Beta density log-concave, also those
//! with parameters below one.

use crate::numeric::incomplete_beta::{Point, ln_kernel, ln_tails};
use crate::numeric::root::rising;

/// A Beta distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beta {
    a: f64,
    b: f64,
}

impl Beta {
    /// Every value is equally probable.
    pub const UNIFORM: Self = Self { a: 1.0, b: 1.0 };

    /// A Beta distribution; `None` unless both parameters are positive and finite.
    #[must_use]
    pub fn new(a: f64, b: f64) -> Option<Self> {
        let good = |x: f64| x.is_finite() && x > 0.0;
        (good(a) && good(b)).then_some(Self { a, b })
    }

    /// With so many more successes and failures.
    pub(crate) fn plus(self, successes: f64, failures: f64) -> Self {
        Self { a: self.a + successes, b: self.b + failures }
    }

    /// The distribution of one minus the variable.
    pub(crate) const fn mirrored(self) -> Self {
        Self { a: self.b, b: self.a }
    }

    /// The first parameter: successes and their share of the prior.
    #[must_use]
    pub const fn a(self) -> f64 {
        self.a
    }

    /// The second parameter: failures and their share of the prior.
    #[must_use]
    pub const fn b(self) -> f64 {
        self.b
    }

    /// The mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// The logarithms of the lower and the upper tail at `x`.
    #[must_use]
    pub fn ln_tails(self, x: f64) -> (f64, f64) {
        let x = x.clamp(0.0, 1.0);
        let y = 1.0 - x;
        ln_tails(self.a, self.b, self.point(x, y))
    }

    /// The `x` with this much probability below it, for 0 < probability < 1.
    #[must_use]
    pub fn quantile(self, probability: f64) -> f64 {
        let aim = probability.ln();
        let s = rising(-800.0, 800.0, |s| self.ln_tails_at(s).0 - aim);
        logistic(s).0
    }

    /// The logarithms of both tails at a logit.
    pub(crate) fn ln_tails_at(self, s: f64) -> (f64, f64) {
        let (x, y) = logistic(s);
        ln_tails(self.a, self.b, self.point(x, y))
    }

    /// The logarithm of the density of the logit.
    pub(crate) fn ln_density_at(self, s: f64) -> f64 {
        let (x, y) = logistic(s);
        ln_kernel(self.a, self.b, self.point(x, y))
    }

    /// Where the logit's density is largest, and about how wide it is there.
    pub(crate) fn logit(self) -> (f64, f64) {
        ((self.a / self.b).ln(), (1.0 / self.a + 1.0 / self.b).sqrt())
    }

    fn point(self, x: f64, y: f64) -> Point {
        // From the smaller of the two, which is the precise one.
        let sum = self.a + self.b;
        let lambda = if x <= y { self.a - sum * x } else { sum * y - self.b };
        Point { x, y, lambda }
    }
}

/// `x` and `1 − x` of a logit.
pub(crate) fn logistic(s: f64) -> (f64, f64) {
    let small = 1.0 / (1.0 + s.abs().exp());
    if s < 0.0 { (small, 1.0 - small) } else { (1.0 - small, small) }
}
