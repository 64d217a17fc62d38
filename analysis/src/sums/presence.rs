//! Where units were seen: in each phase, not only in that of their first request. After a raise most units are known ones.

use sidetrack_stats::accumulate::Pairs;

use crate::join::{Cell, Shape};

/// Sums of units by the phases in which they were seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    /// By slot: requests with a redirect or a 4xx, and all requests, of each unit that was seen in it.
    pub(crate) refused: Vec<Pairs>,
    /// Units by variant, each once, as it was assigned in the last phase in which it was seen.
    pub(crate) lasts: Vec<u64>,
}

impl Presence {
    pub(super) fn new(slots: usize, arms: usize) -> Self {
        Self { refused: vec![Pairs::default(); slots], lasts: vec![0; arms] }
    }

    /// A unit was seen in this slot.
    pub(super) fn seen(&mut self, slot: usize, cell: &Cell) {
        if let Some(pairs) = self.refused.get_mut(slot) {
            pairs.add(f64::from(cell.refused), f64::from(cell.requests)).ok();
        }
    }

    /// The last cell of a unit.
    pub(super) fn last(&mut self, cell: &Cell) {
        if let Some(count) = self.lasts.get_mut(usize::from(cell.arm)) {
            *count += 1;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, more) in self.refused.iter_mut().zip(&other.refused) {
            sum.merge(more);
        }
        self.lasts.iter_mut().zip(&other.lasts).for_each(|(sum, more)| *sum += more);
    }

    /// Units that were seen in a slot.
    pub(crate) fn units(&self, slot: usize) -> u64 {
        self.refused.get(slot).map_or(0, Pairs::count)
    }

    /// The sums of a stratum alone.
    pub(crate) fn refused_in(&self, stratum: usize, shape: Shape) -> Vec<Pairs> {
        let own = |(slot, pairs): (usize, &Pairs)| {
            if slot / shape.arms.max(1) == stratum { *pairs } else { Pairs::default() }
        };
        self.refused.iter().enumerate().map(own).collect()
    }
}
