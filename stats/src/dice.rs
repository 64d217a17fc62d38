//! Random numbers for simulations, the same on every machine and with every version of any crate: xoshiro256** and what is made of it.
//!
//! No statistic uses them: they simulate the experiments that measure how often the statistics err.

use crate::numeric::float;

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub struct Dice([u64; 4]);

impl Dice {
    /// A generator that a seed fixes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // SplitMix64 fills the state, as the authors advise.
        let mut z = seed;
        Self([(); 4].map(|()| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        }))
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Strictly between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        (float(self.bits() >> 12) + 0.5) / float(1 << 52)
    }

    /// Whether something with this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Pareto with this tail index, from 1 on: a few heavy users.
    pub fn pareto(&mut self, index: f64) -> f64 {
        self.uniform().powf(-1.0 / index)
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        // Box and Muller's way.
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Exponential, with a mean of 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// How many of `n` happen, exactly: from the most probable number outward, so that it takes about as many steps as the
    /// standard deviation.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
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
    let ln_factorial = |k: u64| libm::lgamma(float(k) + 1.0);
    let ln = ln_factorial(n) - ln_factorial(x) - ln_factorial(n - x)
        + float(x) * p.ln()
        + float(n - x) * (-p).ln_1p();
    ln.exp()
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
    fn normal_and_pareto_numbers_have_their_moments_and_tails() {
        let mut dice = Dice::new(5);
        let drawn: Vec<f64> = (0..100_000).map(|_| dice.normal()).collect();
        let mean = |of: &dyn Fn(f64) -> f64| drawn.iter().map(|z| of(*z)).sum::<f64>() / 1e5;
        assert!(mean(&|z| z).abs() < 0.02 && (mean(&|z| z * z) - 1.0).abs() < 0.02);
        let tail = mean(&|z| f64::from(u8::from(z.abs() > 1.96)));
        assert!((tail - 0.05).abs() < 0.003, "{tail}");
        let above = (0..10_000).filter(|_| dice.pareto(2.0) > 10.0).count();
        assert!((60..140).contains(&above), "{above}");
        let happened = (0..10_000).filter(|_| dice.happens(0.3)).count();
        assert!((2800..3200).contains(&happened), "{happened}");
    }
}
