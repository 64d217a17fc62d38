//! Requests that are delivered more than once: a file that is copied twice, rotations that overlap, pipelines that deliver
//! at least once.
//!
//! Memory is bounded. Up to fourteen million requests, every repeat is found. Of more requests, a sample by their prints
//! is remembered, which becomes smaller as the log grows: it shows how many repeats there are, but finds only its own.

use hashbrown::HashTable;

/// How many prints are remembered: a table of 150 MB.
const MOST: usize = (1 << 24) / 8 * 7;

/// The prints of requests so far.
#[derive(Debug)]
pub(crate) struct Repeats {
    seen: HashTable<u64>,
    most: usize,
    /// Only prints that end in so many zero bits are remembered.
    zeros: u32,
    unchecked: u64,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::of_at_most(MOST)
    }
}

impl Repeats {
    const fn of_at_most(most: usize) -> Self {
        Self { seen: HashTable::new(), most, zeros: 0, unchecked: 0 }
    }

    /// Whether the request was seen before, as far as it is known.
    pub(super) fn is_repeat(&mut self, print: u64) -> bool {
        if print.trailing_zeros() < self.zeros {
            self.unchecked += 1;
            return false;
        }
        if self.seen.find(print, |known| *known == print).is_some() {
            return true;
        }
        while self.seen.len() >= self.most {
            self.zeros += 1;
            let zeros = self.zeros;
            self.seen.retain(|print| print.trailing_zeros() >= zeros);
        }
        if print.trailing_zeros() >= self.zeros {
            self.seen.insert_unique(print, print, |print| *print);
        }
        false
    }

    /// Requests of which it is not known whether they were seen before.
    pub(super) const fn unchecked(&self) -> u64 {
        self.unchecked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::mix;

    #[test]
    fn every_repeat_is_found_while_there_is_room() {
        let mut repeats = Repeats::of_at_most(1000);
        let prints: Vec<u64> = (0..1000).map(|number| mix(1, number)).collect();
        assert!(!prints.iter().any(|print| repeats.is_repeat(*print)));
        assert!(prints.iter().all(|print| repeats.is_repeat(*print)));
        assert_eq!(repeats.unchecked(), 0);
    }

    #[test]
    fn of_more_requests_a_sample_shows_how_many_are_repeated() {
        let mut repeats = Repeats::of_at_most(1000);
        let prints: Vec<u64> = (0..100_000).map(|number| mix(1, number)).collect();
        assert!(!prints.iter().any(|print| repeats.is_repeat(*print)), "no false alarm");
        assert!(repeats.seen.len() <= 1000);
        let before = repeats.unchecked();
        let found = prints.iter().filter(|print| repeats.is_repeat(**print)).count();
        let checked = 100_000 - usize::try_from(repeats.unchecked() - before).unwrap();
        assert!(found > 400 && found == checked, "{found} of {checked}");
    }
}
