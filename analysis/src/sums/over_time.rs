//! Sums by the time at which units joined, for plots.

use sidetrack_stats::accumulate::Pairs;

/// How many moments the time span is divided into.
const MOMENTS: usize = 48;

/// Sums by moment and slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct OverTime {
    /// Units by the moment of their first request in each phase.
    pub(crate) units: Vec<Vec<u64>>,
    /// The values of the first primary metric, of the units that joined.
    pub(crate) values: Vec<Vec<Pairs>>,
}

impl OverTime {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            units: vec![vec![0; slots]; MOMENTS],
            values: vec![vec![Pairs::default(); slots]; MOMENTS],
        }
    }

    /// A unit was seen for the first time in a phase.
    pub(super) fn joined(&mut self, time: u64, span: (u64, u64), slot: usize) {
        let slots = self.units.get_mut(moment(time, span));
        if let Some(count) = slots.and_then(|slots| slots.get_mut(slot)) {
            *count += 1;
        }
    }

    /// Adds the values of a unit that joined at this time.
    pub(super) fn value(&mut self, time: u64, span: (u64, u64), slot: usize, (y, x): (f64, f64)) {
        let slots = self.values.get_mut(moment(time, span));
        slots.and_then(|slots| slots.get_mut(slot)).map(|pairs| pairs.add(y, x).ok());
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sums, more) in self.units.iter_mut().zip(&other.units) {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        for (sums, more) in self.values.iter_mut().zip(&other.values) {
            sums.iter_mut().zip(more).for_each(|(sum, more)| sum.merge(more));
        }
    }

    /// The values of the units that had joined by each moment.
    pub(crate) fn accumulated(&self) -> Vec<Vec<Pairs>> {
        let mut before: Vec<Pairs> = Vec::new();
        let accumulate = |slots: &Vec<Pairs>| {
            before.resize(slots.len(), Pairs::default());
            before.iter_mut().zip(slots).for_each(|(sum, pairs)| sum.merge(pairs));
            before.clone()
        };
        self.values.iter().map(accumulate).collect()
    }
}

/// The moment of a time.
fn moment(time: u64, (first, last): (u64, u64)) -> usize {
    let length = u128::from(last - first) + 1;
    usize::try_from(u128::from(time.saturating_sub(first)) * MOMENTS as u128 / length)
        .unwrap_or(0)
        .min(MOMENTS - 1)
}

/// When a moment ends.
pub(crate) fn end(moment: usize, (first, last): (u64, u64)) -> u64 {
    first + (last - first) / MOMENTS as u64 * (moment as u64 + 1)
}
