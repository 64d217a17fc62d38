//! Random numbers that are the same on every machine and with every version of any crate: xoshiro256** and what is made of it.

use sidetrack_stats::distribution::normal;
use sidetrack_stats::float;

/// A generator of random numbers.
pub(crate) struct Dice([u64; 4]);

impl Dice {
    /// A generator that a seed fixes.
    pub(crate) fn new(seed: u64) -> Self {
        // SplitMix64 fills the state, as the authors advise.
        let mut z = seed;
        Self([(); 4].map(|()| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Strictly between 0 and 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (float(self.next() >> 12) + 0.5) / float(1 << 52)
    }

    /// Standard normal.
    pub(super) fn normal(&mut self) -> f64 {
        normal::quantile(self.uniform())
    }

    /// Exponential, with a mean of 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// How many of `n` happen, exactly: from the most probable number outward, so that it takes about as many steps as the
    /// standard deviation.
    pub(super) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        let odds = p / (1.0 - p);
        let all = float(n);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below n")]
        let mode = (((all + 1.0) * p) as u64).min(n);
        let top = probability(n, mode, p);
        let mut rest = self.uniform() - top;
        let (mut low, mut high) = ((mode, top), (mode, top));
        while rest > 0.0 && (low.0 > 0 || high.0 < n) {
            if high.0 < n {
                high.1 *= float(n - high.0) / float(high.0 + 1) * odds;
                high.0 += 1;
                rest -= high.1;
                if rest <= 0.0 {
                    return high.0;
                }
            }
            if low.0 > 0 {
                low.1 *= float(low.0) / float(n - low.0 + 1) / odds;
                low.0 -= 1;
                rest -= low.1;
                if rest <= 0.0 {
                    return low.0;
                }
            }
            // What rounding leaves over is nothing.
            if low.1 + high.1 < 1e-18 {
                break;
            }
        }
        mode
    }
}

/// The probability of exactly `x` of `n`.
fn probability(n: u64, x: u64, p: f64) -> f64 {
    let ln_factorial = |k: u64| ln_gamma(float(k) + 1.0);
    let ln = ln_factorial(n) - ln_factorial(x) - ln_factorial(n - x)
        + float(x) * p.ln()
        + float(n - x) * (-p).ln_1p();
    ln.exp()
}

/// Stirling's series, after a shift that makes it exact to twelve digits.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let w = 1.0 / (x * x);
    let series = (1.0 / 12.0 - w * (1.0 / 360.0 - w * (1.0 / 1260.0 - w / 1680.0))) / x;
    const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
    shift + (x - 0.5) * x.ln() - x + HALF_LN_TAU + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_events_have_their_mean_variance_and_ends() {
        for (n, p) in [(10, 0.3), (500, 0.004), (40_000, 0.5), (1000, 0.98)] {
            let mut dice = Dice::new(n);
            let runs = 20_000;
            let drawn: Vec<f64> = (0..runs).map(|_| float(dice.binomial(n, p))).collect();
            let mean = drawn.iter().sum::<f64>() / float(runs);
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / float(runs);
            let (center, spread) = (float(n) * p, float(n) * p * (1.0 - p));
            assert!((mean - center).abs() < 4.0 * (spread / float(runs)).sqrt(), "{n} {p}: {mean}");
            assert!((variance / spread - 1.0).abs() < 0.05, "{n} {p}: {variance}");
        }
        let mut dice = Dice::new(1);
        assert_eq!(
            (dice.binomial(0, 0.5), dice.binomial(9, 0.0), dice.binomial(9, 1.0)),
            (0, 0, 9)
        );
    }

    #[test]
    fn the_gamma_function_is_that_of_factorials() {
        for (n, factorial) in [(0u64, 1.0f64), (1, 1.0), (5, 120.0), (12, 479_001_600.0)] {
            assert!((ln_gamma(float(n) + 1.0) - factorial.ln()).abs() < 1e-11, "{n}");
        }
    }
}
