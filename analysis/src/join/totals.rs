//! Sums by request: what the requests of a shard add up to by slot, with and without units.

use sidetrack_stats::accumulate::Moments;

use super::Shape;
use crate::histogram::Histogram;
use crate::row::Row;
use crate::source::outcomes::Outcomes;

/// Sums of a variant in a stratum, by request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) aborted: u64,
    pub(crate) elsewhere: u64,
    /// Of those elsewhere, the requests that failed before or there.
    pub(crate) rescued: u64,
    /// Seconds.
    pub(crate) latency: Moments,
    pub(crate) histogram: Histogram,
    /// One per column of the outcomes.
    pub(crate) outcomes: Vec<Moments>,
}

impl Totals {
    /// Requests for which the variant was asked itself, also if another one answered after it failed.
    pub(crate) const fn asked(&self) -> u64 {
        self.requests.saturating_sub(self.elsewhere) + self.rescued
    }
}

/// The sums of a shard.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    arms: usize,
    /// By slot, as far as there are requests.
    totals: Vec<Totals>,
    /// A slot without requests.
    empty: Totals,
    /// Outcomes about requests are not added: a unit's window is known when all requests are read.
    defer: bool,
}

impl Slots {
    pub(super) fn new(shape: Shape, outcomes: &Outcomes, defer: bool) -> Self {
        let by_request = if outcomes.by_request { outcomes.columns.len() } else { 0 };
        let empty = Totals { outcomes: vec![Moments::default(); by_request], ..Totals::default() };
        let totals = vec![empty.clone(); shape.slots()];
        Self { arms: shape.arms, totals, empty, defer }
    }

    /// Adds a request.
    pub(super) fn add(&mut self, row: &Row, outcomes: &Outcomes) {
        let slot = usize::from(row.stratum) * self.arms + usize::from(row.arm);
        let defer = self.defer;
        let Some(totals) = self.slot(slot) else { return };
        let marks = row.marks;
        totals.requests += 1;
        totals.failed += u64::from(marks.failed);
        totals.aborted += u64::from(marks.aborted);
        totals.elsewhere += u64::from(marks.elsewhere);
        totals.rescued += u64::from(marks.elsewhere && marks.failed);
        if !marks.aborted {
            // Whole milliseconds are finite, so this cannot fail.
            totals.latency.add(f64::from(row.duration) / 1000.0).ok();
            totals.histogram.add_in(usize::from(row.group), row.duration);
        }
        let Some(outcome) = row.outcome.filter(|_| !defer) else { return };
        for (moments, value) in totals.outcomes.iter_mut().zip(outcomes.row(outcome)) {
            if !value.is_nan() {
                moments.add(*value).ok();
            }
        }
    }

    /// Adds a value of a column.
    pub(crate) fn add_value(&mut self, slot: usize, column: usize, value: f64) {
        let totals = self.slot(slot);
        totals.and_then(|totals| totals.outcomes.get_mut(column)?.add(value).ok());
    }

    fn slot(&mut self, slot: usize) -> Option<&mut Totals> {
        if self.totals.len() <= slot {
            self.totals.resize(slot + 1, self.empty.clone());
        }
        self.totals.get_mut(slot)
    }

    /// Gives the phases other numbers; `shape` has as many as there are then.
    pub(super) fn renumber(&mut self, numbers: &[Option<u8>], shape: Shape) {
        let mut old = std::mem::take(&mut self.totals).into_iter();
        self.totals = vec![self.empty.clone(); shape.slots()];
        for number in numbers {
            let slots = old.by_ref().take(self.arms);
            let Some(stratum) = number.map(usize::from) else {
                slots.for_each(drop);
                continue;
            };
            let start = shape.slot(stratum, 0);
            for (new, totals) in self.totals.iter_mut().skip(start).zip(slots) {
                *new = totals;
            }
        }
    }

    /// The sums by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Totals> {
        self.totals.iter()
    }
}

impl Totals {
    /// Adds the sums of another shard.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.aborted += other.aborted;
        self.elsewhere += other.elsewhere;
        self.rescued += other.rescued;
        self.latency.merge(&other.latency);
        self.histogram.merge(&other.histogram);
        let columns = self.outcomes.len().max(other.outcomes.len());
        self.outcomes.resize(columns, Moments::default());
        for (sum, more) in self.outcomes.iter_mut().zip(&other.outcomes) {
            sum.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Marks;

    #[test]
    fn requests_add_up_with_and_without_units() {
        let shape = Shape { strata: 3, arms: 2, baseline: 0 };
        let outcomes = Outcomes::default();
        let mut slots = Slots::new(shape, &outcomes, false);
        let row = Row {
            unit: Some(1),
            position: 0,
            time: 50,
            duration: 10,
            print: None,
            outcome: None,
            group: 7,
            stratum: 1,
            arm: 1,
            marks: Marks::default(),
        };
        let failed = Marks { failed: true, elsewhere: true, ..Marks::default() };
        let aborted = Marks { aborted: true, ..Marks::default() };
        for row in [
            row,
            Row { marks: failed, duration: 30, ..row },
            Row { marks: aborted, duration: 9000, ..row },
            Row { unit: None, ..row },
        ] {
            slots.add(&row, &outcomes);
        }
        let own = shape.slot(1, 1);
        let totals = slots.iter().nth(own).unwrap();
        let mut sums = Totals::default();
        sums.merge(totals);
        sums.merge(totals);
        let counts = |totals: &Totals| {
            let Totals { requests, failed, aborted, elsewhere, .. } = totals;
            [*requests, *failed, *aborted, *elsewhere, totals.histogram.total().count()]
        };
        assert_eq!(counts(totals), [4, 1, 1, 1, 3]);
        assert_eq!(counts(&sums), [8, 2, 2, 2, 6]);
        assert_eq!((totals.latency.count(), sums.latency.count()), (3, 6));
        assert!((sums.latency.mean() - 0.05 / 3.0).abs() < 1e-15, "{}", sums.latency.mean());
        let others = slots.iter().enumerate().filter(|(slot, _)| *slot != own);
        assert!(others.into_iter().all(|(_, totals)| counts(totals) == [0; 5]));
    }
}
