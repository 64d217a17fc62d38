//! Random numbers that are the same on every machine and with every version of any crate: xoshiro256** and what is made of it.

use sidetrack_stats::distribution::normal;

pub(crate) struct Dice([u64; 4]);

impl Dice {
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
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    pub(crate) fn normal(&mut self) -> f64 {
        normal::quantile(self.uniform())
    }

    /// Pareto with this tail index, from 1 on: a few heavy users.
    pub(crate) fn pareto(&mut self, index: f64) -> f64 {
        self.uniform().powf(-1.0 / index)
    }

    /// How many of `n` happen: one by one where that is quick, else by the normal distribution.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n <= 400 {
            return (0..n).filter(|_| self.happens(p)).count() as u64;
        }
        let n_float = n as f64;
        let drawn = n_float * p + self.normal() * (n_float * p * (1.0 - p)).sqrt();
        drawn.round().clamp(0.0, n_float) as u64
    }
}
