//! Seeded randomness: SplitMix64 (Steele, Lea and Flood, 2014), which never changes with a library.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5EED)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to just below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from((u128::from(self.next()) * end as u128) >> 64).unwrap()
    }

    /// From 0 to just below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX) * (1.0 - 1e-12)
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.fraction() < p
    }

    /// Milliseconds to the next of `rate` random arrivals per second.
    pub(crate) fn gap(&mut self, rate: f64) -> f64 {
        -(1.0 - self.fraction()).ln() * 1000.0 / rate
    }
}
