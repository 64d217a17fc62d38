//! The most likely two shares that differ by a given amount.

use super::{Counts, Share};

/// The shares of largest likelihood among those whose difference, candidate minus baseline, is `delta`.
///
/// The root of Miettinen & Nurminen's cubic in the baseline's share, in closed form, and then a few of Newton's steps on the cubic as
/// a sum of products, which loses no digits of rare events. Shares near one are those of the others, mirrored.
pub(super) fn shares_at(baseline: Counts, candidate: Counts, delta: f64) -> (Share, Share) {
    if baseline.x + candidate.x > baseline.y + candidate.y {
        let (one, two) = shares_at(baseline.mirrored(), candidate.mirrored(), -delta);
        return (one.mirrored(), two.mirrored());
    }
    if delta == 0.0 {
        let pooled = Share::of((baseline.x + candidate.x) / (baseline.n + candidate.n));
        return (pooled, pooled);
    }
    let (low, high) = ((-delta).max(0.0), (1.0 - delta).min(1.0));
    let cubic = Cubic::new(baseline, candidate, delta);
    let mut p = cubic.root().clamp(low, high);
    for _ in 0..3 {
        let slope = cubic.slope(p);
        let next = p - cubic.value(p) / slope;
        if !next.is_finite() {
            break;
        }
        p = next.clamp(low, high);
    }
    (Share::of(p), Share::of((p + delta).clamp(0.0, 1.0)))
}

/// The derivative of the likelihood's logarithm, times all its denominators.
struct Cubic {
    baseline: Counts,
    candidate: Counts,
    delta: f64,
    coefficients: [f64; 4],
}

impl Cubic {
    fn new(baseline: Counts, candidate: Counts, delta: f64) -> Self {
        let (x1, x2, n1, n2) = (baseline.x, candidate.x, baseline.n, candidate.n);
        let (all, events) = (n1 + n2, x1 + x2);
        let coefficients = [
            x1 * delta * (1.0 - delta),
            (n1 * delta - all - 2.0 * x1) * delta + events,
            (n2 + 2.0 * n1) * delta - all - events,
            all,
        ];
        Self { baseline, candidate, delta, coefficients }
    }

    fn root(&self) -> f64 {
        let [l0, l1, l2, l3] = self.coefficients;
        let third = l2 / (3.0 * l3);
        let q = third.powi(3) - l1 * l2 / (6.0 * l3 * l3) + l0 / (2.0 * l3);
        let radius = (third * third - l1 / (3.0 * l3)).max(0.0).sqrt().copysign(q);
        let cosine = if radius == 0.0 { 1.0 } else { (q / radius.powi(3)).clamp(-1.0, 1.0) };
        let angle = (std::f64::consts::PI + cosine.acos()) / 3.0;
        2.0 * radius * angle.cos() - third
    }

    /// The cubic at `p`, with its sign turned, as a sum of products.
    fn value(&self, p: f64) -> f64 {
        let (one, two, d) = (self.baseline, self.candidate, self.delta);
        let (own, other) = (p * (1.0 - p), (p + d) * (1.0 - p - d));
        (one.n * p - one.x) * other + (two.n * (p + d) - two.x) * own
    }

    /// The slope of `value`.
    fn slope(&self, p: f64) -> f64 {
        let (one, two, d) = (self.baseline, self.candidate, self.delta);
        let (own, other) = (p * (1.0 - p), (p + d) * (1.0 - p - d));
        one.n * other
            + (one.n * p - one.x) * (1.0 - 2.0 * (p + d))
            + two.n * own
            + (two.n * (p + d) - two.x) * (1.0 - 2.0 * p)
    }
}
