//! Units in other trials of the experiment: when each was first exposed there.
//!
//! An outcome about a unit belongs to the trial of the unit's latest exposure before it. Memory is 24 bytes for each unit
//! and trial, and nothing without outcomes about units.

use std::io;

use hashbrown::HashTable;

use super::plain::plain;
use super::spill::{In, Out};
use crate::short::Short;

/// A unit in another trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exposed {
    pub(crate) unit: u64,
    pub(crate) trial: Option<Short>,
    /// Its first exposure there, in milliseconds since 1970.
    pub(crate) first: u64,
}

plain!(Exposed { unit: u64, trial: Option<Short>, first: u64 });

/// The units of all other trials.
#[derive(Debug, Default)]
pub(crate) struct OtherTrials(HashTable<Exposed>);

impl OtherTrials {
    /// Adds an exposure; of each unit and trial, the first one is kept.
    pub(super) fn add(&mut self, new: Exposed) {
        let same = |known: &Exposed| (known.unit, known.trial) == (new.unit, new.trial);
        match self.0.find_mut(new.unit, same) {
            Some(known) => known.first = known.first.min(new.first),
            None => drop(self.0.insert_unique(new.unit, new, |known| known.unit)),
        }
    }

    /// How many bytes are allocated.
    pub(super) fn bytes(&self) -> usize {
        self.0.allocation_size()
    }

    pub(super) fn store(&self, out: &mut Out) -> io::Result<()> {
        out.list(self.0.iter().copied())
    }

    pub(super) fn load(from: &mut In<'_>) -> io::Result<Self> {
        let mut trials = Self::default();
        from.list(|exposed| trials.add(exposed))?;
        Ok(trials)
    }

    /// The trials of a unit.
    pub(super) fn of(&self, unit: u64) -> impl Iterator<Item = Exposed> {
        self.0.iter_hash(unit).copied().filter(move |known| known.unit == unit)
    }

    /// All units of all trials, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Exposed> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_unit_and_trial_the_first_exposure_is_kept() {
        let mut all = OtherTrials::default();
        let trial = |text: &str| text.parse().ok();
        let exposed = |unit, trial, first| Exposed { unit, trial, first };
        let (one, two) = (trial("00000001"), trial("00000002"));
        for (unit, trial, first) in
            [(7, one, 50), (7, two, 80), (8, one, 20), (7, one, 40), (7, one, 60)]
        {
            all.add(exposed(unit, trial, first));
        }
        let mut of: Vec<Exposed> = all.of(7).collect();
        of.sort_by_key(|exposed| exposed.first);
        assert_eq!(of, [exposed(7, one, 40), exposed(7, two, 80)]);
        assert_eq!((all.of(8).count(), all.of(9).count(), all.iter().count()), (1, 0, 3));
    }
}
