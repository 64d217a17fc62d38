//! Sums that show whether the data of the variants are equally complete: requests per unit, labels per request, new units
//! by day, and the heaviest units.
//!
//! Each unit counts once, in the slot of its first request, so that the slots are independent.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::{Moments, Pairs};
use sidetrack_stats::float;

use crate::join::Cell;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// Sums of all units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balance {
    /// By slot: the logarithm of a unit's requests, whose tails are light.
    pub(crate) requests: Vec<Moments>,
    /// By column of the outcomes and slot: rows, and the requests (or the one unit) that may have some.
    pub(crate) labels: Vec<Vec<Pairs>>,
    /// By slot: a unit's requests with a status of 4xx, and all its requests.
    pub(crate) refused: Vec<Pairs>,
    /// By day since 1970 and slot: new units.
    pub(crate) days: BTreeMap<u64, Vec<u64>>,
    /// By slot: units with a failed request there.
    pub(crate) failing: Vec<u64>,
    /// By slot: units among the heaviest.
    pub(crate) heavy: Vec<u64>,
    /// By variant.
    pub(crate) weights: Vec<Weights>,
}

/// How the requests of a variant are spread over its units.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weights {
    pub(crate) units: u64,
    pub(crate) sum: u64,
    pub(crate) largest: u64,
    /// The requests of the heaviest units of all variants together.
    pub(crate) heavy: u64,
    pub(crate) squares: f64,
}

impl Weights {
    fn add(&mut self, requests: u64) {
        self.units += 1;
        self.sum += requests;
        self.largest = self.largest.max(requests);
        self.squares += float(requests) * float(requests);
    }

    /// The share of the requests that the heaviest unit has.
    pub(crate) fn share(&self) -> Option<f64> {
        (self.sum > 0).then(|| float(self.largest) / float(self.sum))
    }

    /// The share of the requests that the heaviest units of all variants have.
    pub(crate) fn heavy_share(&self) -> f64 {
        if self.sum == 0 { 0.0 } else { float(self.heavy) / float(self.sum) }
    }

    /// How many units of equal weight would vary as much (Kish's effective sample size).
    pub(crate) fn effective(&self) -> f64 {
        if self.squares > 0.0 { float(self.sum) * float(self.sum) / self.squares } else { 0.0 }
    }
}

impl Balance {
    pub(super) fn new(slots: usize, arms: usize, columns: usize) -> Self {
        Self {
            requests: vec![Moments::default(); slots],
            labels: vec![vec![Pairs::default(); slots]; columns],
            refused: vec![Pairs::default(); slots],
            days: BTreeMap::new(),
            failing: vec![0; slots],
            heavy: vec![0; slots],
            weights: vec![Weights::default(); arms],
        }
    }

    /// Adds a unit: the cell of its first request, all its requests, and whether it is among the heaviest.
    pub(super) fn unit(&mut self, slot: usize, cell: &Cell, requests: u64, is_heavy: bool) {
        if let Some(moments) = self.requests.get_mut(slot) {
            // The logarithm of a count is finite.
            moments.add(f64::from(cell.requests).ln()).ok();
        }
        if let Some(pairs) = self.refused.get_mut(slot) {
            pairs.add(f64::from(cell.refused), f64::from(cell.requests)).ok();
        }
        if let Some(weights) = self.weights.get_mut(usize::from(cell.arm)) {
            weights.add(requests);
            weights.heavy += if is_heavy { requests } else { 0 };
        }
        for (counts, counted) in [(&mut self.failing, cell.failed > 0), (&mut self.heavy, is_heavy)]
        {
            if let Some(count) = counts.get_mut(slot) {
                *count += u64::from(counted);
            }
        }
        let slots = self.requests.len();
        let day = self.days.entry(cell.first / DAY).or_insert_with(|| vec![0; slots]);
        if let Some(count) = day.get_mut(slot) {
            *count += 1;
        }
    }

    /// Adds the rows that a unit has in a column, and how many it may have.
    pub(super) fn labels(&mut self, column: usize, slot: usize, rows: f64, of: f64) {
        let pairs = self.labels.get_mut(column).and_then(|slots| slots.get_mut(slot));
        pairs.map(|pairs| pairs.add(rows, of).ok());
    }

    /// Sums without units, for simulations.
    #[cfg(test)]
    pub(crate) fn of(slots: usize, arms: usize, columns: usize) -> Self {
        Self::new(slots, arms, columns)
    }

    /// Adds a unit of the only phase.
    #[cfg(test)]
    pub(crate) fn add(&mut self, day: u64, arm: usize, requests: u32, labels: u32) {
        let slots = self.requests.len();
        self.requests[arm].add(f64::from(requests).ln()).unwrap();
        self.weights[arm].add(u64::from(requests));
        self.days.entry(day).or_insert_with(|| vec![0; slots])[arm] += 1;
        if !self.labels.is_empty() {
            self.labels(0, arm, f64::from(labels), f64::from(requests));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, more) in self.requests.iter_mut().zip(&other.requests) {
            sum.merge(more);
        }
        for (sum, more) in self.refused.iter_mut().zip(&other.refused) {
            sum.merge(more);
        }
        let labels = self.labels.iter_mut().zip(&other.labels);
        for (sum, more) in labels.flat_map(|(sums, more)| sums.iter_mut().zip(more)) {
            sum.merge(more);
        }
        for (sums, more) in [(&mut self.failing, &other.failing), (&mut self.heavy, &other.heavy)] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        for (day, counts) in &other.days {
            let sums = self.days.entry(*day).or_insert_with(|| vec![0; counts.len()]);
            sums.iter_mut().zip(counts).for_each(|(sum, more)| *sum += more);
        }
        for (sum, more) in self.weights.iter_mut().zip(&other.weights) {
            sum.units += more.units;
            sum.sum += more.sum;
            sum.largest = sum.largest.max(more.largest);
            sum.heavy += more.heavy;
            sum.squares += more.squares;
        }
    }
}
