//! A sample of digests of plain units. Memory is bounded: with more units, the sample is of fewer of them.

use hashbrown::HashTable;

/// How many digests are kept: a table of 10 MB.
const MOST: usize = 1 << 20;

/// Keys of digests. Which ones are kept does not depend on their order.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    keys: HashTable<u64>,
    /// Only keys that end in so many zero bits are kept: see [`is_kept`].
    zeros: u32,
}

impl Digests {
    pub(super) fn add(&mut self, key: u64) {
        self.add_to(key, MOST);
    }

    fn add_to(&mut self, key: u64, most: usize) {
        if !is_kept(key, self.zeros) || self.keys.find(key, |known| *known == key).is_some() {
            return;
        }
        self.keys.insert_unique(key, key, |key| *key);
        while self.keys.len() > most {
            self.keep(self.zeros + 1);
        }
    }

    /// Keeps only keys that end in so many zero bits.
    fn keep(&mut self, zeros: u32) {
        if zeros != self.zeros {
            self.zeros = zeros;
            self.keys.retain(|key| is_kept(*key, zeros));
        }
    }

    pub(super) fn merge(&mut self, more: &Self) {
        // Below its rule, the other sample has gaps.
        self.keep(self.zeros.max(more.zeros));
        more.keys.iter().for_each(|key| self.add(*key));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().copied()
    }
}

/// Whether a key is in the sample of those that end in so many zero bits, above the middle: the lowest bits choose the
/// place in the table.
fn is_kept(key: u64, zeros: u32) -> bool {
    (key >> 32).trailing_zeros() >= zeros
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

    #[test]
    fn a_merged_sample_has_no_gaps() {
        let mut small = Digests::default();
        (0..10_000).for_each(|number| small.add_to(mix(7, number), 1000));
        let mut both = Digests::default();
        (0..900).for_each(|number| both.add(mix(8, number)));
        both.merge(&small);
        let [zeros, merged] = [small.zeros, both.zeros];
        assert!(zeros > 0 && merged == zeros, "{zeros} {merged}");
        assert!(both.iter().all(|key| is_kept(key, zeros)));
        assert!((small.iter().count()..=1000).contains(&both.iter().count()));
    }
}
