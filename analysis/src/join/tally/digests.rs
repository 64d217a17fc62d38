//! A sample of digests of plain units. Memory is bounded: with more units, the sample is of fewer of them.

use hashbrown::HashTable;

/// How many digests are kept: a table of 10 MB.
const MOST: usize = 1 << 20;

/// Keys of digests. Which ones are kept does not depend on their order.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    keys: HashTable<u64>,
    /// Only keys that end in so many zero bits are kept.
    zeros: u32,
}

impl Digests {
    pub(super) fn add(&mut self, key: u64) {
        self.add_to(key, MOST);
    }

    fn add_to(&mut self, key: u64, most: usize) {
        // The lowest bits choose the place in the table, so those above the middle choose the sample.
        let is_kept = |key: u64, zeros: u32| (key >> 32).trailing_zeros() >= zeros;
        if !is_kept(key, self.zeros) || self.keys.find(key, |known| *known == key).is_some() {
            return;
        }
        self.keys.insert_unique(key, key, |key| *key);
        while self.keys.len() > most {
            self.zeros += 1;
            let zeros = self.zeros;
            self.keys.retain(|key| is_kept(*key, zeros));
        }
    }

    pub(super) fn merge(&mut self, more: &Self) {
        more.keys.iter().for_each(|key| self.add(*key));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::mix;

    #[test]
    fn the_sample_is_bounded_and_does_not_depend_on_the_order() {
        let all: Vec<u64> = (0..10_000).map(|number| mix(7, number)).collect();
        let sample = |keys: &mut dyn Iterator<Item = &u64>| {
            let mut digests = Digests::default();
            keys.for_each(|key| digests.add_to(*key, 1000));
            let mut kept: Vec<u64> = digests.iter().collect();
            kept.sort_unstable();
            kept
        };
        let forward = sample(&mut all.iter());
        assert!((500..=1000).contains(&forward.len()), "{}", forward.len());
        assert_eq!(sample(&mut all.iter().rev()), forward);
        assert_eq!(sample(&mut all.iter().chain(&all)), forward);
        let few = all.get(..900).unwrap();
        assert_eq!(sample(&mut few.iter()).len(), 900);
    }
}
