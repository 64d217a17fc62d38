//! The distribution of a difference of shares: its variance and its skewness, and the way to the normal distribution.

/// A difference's distribution around its mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    se: f64,
    skewness: f64,
}

impl Law {
    pub(super) fn new(variance: f64, third: f64) -> Self {
        let se = variance.sqrt();
        Self { se, skewness: if variance > 0.0 { third / (variance * se) } else { 0.0 } }
    }

    /// The normal score of a distance from the mean, by Wilson and Hilferty's cube root, which fits a shifted gamma distribution.
    pub(super) fn score(self, distance: f64) -> f64 {
        if self.se <= 0.0 {
            return f64::INFINITY.copysign(distance);
        }
        let z = distance / self.se;
        if self.skewness == 0.0 {
            return z;
        }
        // Below −1 the distribution ends: the score of its end.
        let root = (0.5 * self.skewness * z).max(-1.0).ln_1p() / 3.0;
        6.0 / self.skewness * root.exp_m1() + self.skewness / 6.0
    }

    /// The distance with this normal score; infinite if the distribution ends before.
    pub(super) fn distance(self, score: f64) -> f64 {
        if self.skewness == 0.0 {
            return score * self.se;
        }
        let step = self.skewness / 6.0 * (score - self.skewness / 6.0);
        if step <= -1.0 {
            return f64::INFINITY.copysign(score);
        }
        2.0 / self.skewness * (3.0 * step.ln_1p()).exp_m1() * self.se
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_has_the_score_that_it_is_made_of() {
        for skewness in [-1.5, -0.2, -1e-9, 0.0, 1e-9, 0.3, 2.0] {
            let law = Law { se: 0.01, skewness };
            for score in [-2.5, -0.5, 0.0, 1.0, 1.96, 4.0] {
                let distance = law.distance(score);
                let back = law.score(distance);
                assert!(
                    distance.is_infinite() || (back - score).abs() < 1e-9,
                    "{skewness} {score}"
                );
            }
        }
        // A gamma distribution with skewness 2 begins one standard error below its mean.
        assert_eq!(Law { se: 0.01, skewness: 2.0 }.distance(-3.0), f64::NEG_INFINITY);
        assert_eq!(Law::new(0.0, 0.0).score(0.1), f64::INFINITY);
    }
}
