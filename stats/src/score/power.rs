//! The power of the score test.
//!
//! The test rejects beyond two bounds, which depend on both groups together. They are taken where both shares together are what they are
//! on average. The difference then falls beyond them with the variance and the skewness that it has in truth.

use super::{Counts, Law, Score, Share, Table};
use crate::distribution::normal;
use crate::input::Fraction;
use crate::result::critical;

impl Score {
    /// The probability that a test of groups of these sizes finds a difference, were the shares those observed; `None` where nothing
    /// varies.
    #[must_use]
    pub fn power(&self, level: Fraction) -> Option<f64> {
        let pooled = |table: &Table| {
            let (one, two) = (table.baseline, table.candidate);
            let n = one.n + two.n;
            let share = Share { p: (one.x + two.x) / n, q: (one.y + two.y) / n };
            (share, share)
        };
        let varies = self.sum(|table| table.weight * pooled(table).0.variance()) > 0.0;
        let null = self.law(pooled);
        let truth = self.law(|table| (table.baseline.share(), table.candidate.share()));
        varies.then(|| rejected(null, truth, self.difference(), self.continuity(), level))
    }
}

/// The probability that a difference around `mean` is beyond the bounds of the test.
fn rejected(null: Law, truth: Law, mean: f64, continuity: f64, level: Fraction) -> f64 {
    let z = critical(None, level);
    let (low, high) = (null.distance(-z) - continuity, null.distance(z) + continuity);
    let above = normal::upper(truth.score(high - mean));
    let below = if low.is_finite() { normal::upper(-truth.score(low - mean)) } else { 0.0 };
    (above + below).min(1.0)
}

/// The power of the score test for shares `p1` and `p2` of groups of these sizes, which need not be whole.
#[must_use]
pub fn power_for_rates(p1: f64, p2: f64, (n1, n2): (f64, f64), level: Fraction) -> f64 {
    let counts = |p: f64, n: f64| Counts { x: n * p, y: n * (1.0 - p), n };
    let (baseline, candidate) = (counts(p1, n1), counts(p2, n2));
    let score = Score { tables: vec![Table { baseline, candidate, weight: 1.0 }], stretch: 1.0 };
    score.power(level).unwrap_or(0.0)
}
