//! A table of units: what the requests of each unit in each stratum add up to.
//!
//! A unit has one cell per stratum (nearly always one in all); its cells are a chain. Its earliest request in a stratum, by
//! time and not by the order of reading, decides its variant there. Memory does not depend on the number of requests: 48
//! bytes for a cell, 8 for its days, and 6 to 12 for the index.

mod parked;
mod unit;

use std::sync::OnceLock;

use hashbrown::HashTable;
use sidetrack::quantity::Millis;

use super::chunks::Chunks;
use super::days::{Days, day};
use super::plain::plain;
use super::trials::OtherTrials;
use crate::attribution::is_late;
use crate::row::{Row, SegmentValue};
use crate::segments::NO_VALUE;
use crate::source::outcomes::Outcomes;
pub(crate) use unit::Unit;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// A unit in a stratum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) unit: u64,
    /// The first request, in milliseconds since 1970.
    pub(crate) first: u64,
    /// The sum over requests that were not aborted, in milliseconds.
    pub(crate) latency: u64,
    pub(crate) requests: u32,
    pub(crate) failed: u32,
    pub(crate) aborted: u32,
    /// With a status of 4xx.
    pub(crate) refused: u32,
    pub(super) next: u32,
    pub(crate) stratum: u8,
    pub(crate) arm: u8,
    /// It was assigned to two variants within the stratum.
    pub(crate) torn: bool,
    /// Whether its lines name their trial: [`TOLD`], [`UNTOLD`], or both.
    pub(crate) trials: u8,
}

plain!(Cell {
    unit: u64,
    first: u64,
    latency: u64,
    requests: u32,
    failed: u32,
    aborted: u32,
    refused: u32,
    next: u32,
    stratum: u8,
    arm: u8,
    torn: bool,
    trials: u8,
});

/// A line of the unit names its trial.
pub(crate) const TOLD: u8 = 1;
/// A line of the unit does not name its trial.
pub(crate) const UNTOLD: u8 = 2;

impl Cell {
    /// Requests with a response or a failure.
    pub(crate) const fn answered(&self) -> u32 {
        self.requests.saturating_sub(self.aborted)
    }
}

/// Values of a column that a unit's requests have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    sum: f64,
    count: u32,
    /// Those of requests that failed or were aborted.
    unserved: u32,
}

plain!(Values { sum: f64, count: u32, unserved: u32 });

impl Values {
    pub(super) fn add(&mut self, value: f64, unserved: bool) {
        self.sum += value;
        self.count += 1;
        self.unserved += u32::from(unserved);
    }

    /// The sum and the count.
    pub(super) const fn sum(&self) -> (f64, u32) {
        (self.sum, self.count)
    }
}

/// The units of a shard.
#[derive(Debug, Default)]
pub(crate) struct UnitTable {
    /// The first cell of each unit. A table that was loaded has none until a unit is looked up.
    index: OnceLock<HashTable<u32>>,
    /// How many units there are.
    heads: u32,
    cells: Chunks<Cell>,
    pub(super) other_trials: OtherTrials,
    /// Of each column of the outcomes, cell by cell. Of outcomes about units, once they are placed.
    columns: Vec<Chunks<Values>>,
    /// Of each covariate, by a unit's first cell: its value, which is not finite if it is unknown.
    covariates: Vec<Chunks<f64>>,
    /// What the units did on each day.
    days: Days,
    /// By dimension and cell: the earliest value of the unit whose first cell this is.
    segments: Vec<Chunks<Earliest>>,
    /// Rows of the outcomes with predictions that count.
    hits: Option<Vec<Hit>>,
    /// Rows of the outcomes and their cells, with attribution: a unit's window is known when all requests are read.
    deferred: Option<Vec<Deferred>>,
}

/// The earliest value of a unit in a dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earliest {
    /// Milliseconds since 1970; 0 if it is unknown when the value was recorded.
    pub(crate) time: u64,
    position: u64,
    /// Its key; [`NO_VALUE`] if the unit has none.
    pub(crate) value: u64,
}

plain!(Earliest { time: u64, position: u64, value: u64 });

impl Default for Earliest {
    fn default() -> Self {
        Self { time: u64::MAX, position: u64::MAX, value: NO_VALUE }
    }
}

/// A row of the outcomes that counts, where it belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) row: u32,
    /// The cell of its unit; [`u32::MAX`] without a unit.
    pub(crate) cell: u32,
    pub(crate) stratum: u8,
    pub(crate) arm: u8,
}

plain!(Hit { row: u32, cell: u32, stratum: u8, arm: u8 });

/// A row of the outcomes that is placed when all requests are read.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    row: u32,
    cell: u32,
    /// The day of its request.
    day: u32,
    /// Its request failed or was aborted.
    unserved: bool,
}

plain!(Deferred { row: u32, cell: u32, day: u32, unserved: bool });

/// Rows of the outcomes about requests that do not count, with attribution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    /// From after the window.
    pub(crate) late: u64,
    /// Without a time.
    pub(crate) untimed: u64,
}

impl UnitTable {
    /// With `defer`, outcomes about requests wait for [`UnitTable::settle`].
    pub(crate) fn new(outcomes: &Outcomes, defer: bool, dimensions: usize) -> Self {
        let by_request = if outcomes.by_request { outcomes.columns.len() } else { 0 };
        Self {
            columns: vec![Chunks::default(); by_request],
            days: Days::new(by_request),
            segments: vec![Chunks::default(); dimensions],
            hits: (outcomes.by_request && outcomes.predictions.is_some()).then(Vec::new),
            deferred: (defer && outcomes.by_request).then(Vec::new),
            ..Self::default()
        }
    }

    /// Whether it keeps rows of the outcomes with predictions.
    pub(super) const fn keeps_hits(&self) -> bool {
        self.hits.is_some()
    }

    /// Adds a request.
    pub(crate) fn add(&mut self, row: &Row, outcomes: &Outcomes) {
        let cell = row.unit.map(|unit| self.cell(unit, row));
        if let Some(cell) = cell {
            self.days.add(cell, row);
        }
        let Some(outcome) = row.outcome else { return };
        let unserved = row.marks.failed || row.marks.aborted;
        if let Some(deferred) = &mut self.deferred {
            let day = day(row.time);
            deferred.extend(cell.map(|cell| Deferred { row: outcome, cell, day, unserved }));
            return;
        }
        if let Some(hits) = &mut self.hits {
            let (stratum, arm) = (row.stratum, row.arm);
            hits.push(Hit { row: outcome, cell: cell.unwrap_or(NONE), stratum, arm });
        }
        let Some(cell) = cell else { return };
        let columns = self.columns.iter_mut().zip(outcomes.row(outcome)).enumerate();
        for (column, (sums, value)) in columns.filter(|(_, (_, value))| !value.is_nan()) {
            if let Some(values) = sums.get_mut(cell) {
                values.add(*value, unserved);
                self.days.value(cell, day(row.time), column, *value);
            }
        }
    }

    /// Gives a unit its value in a dimension, unless it has an earlier one.
    pub(crate) fn segment(&mut self, value: &SegmentValue) {
        let SegmentValue { dimension, value, unit, time, position } = *value;
        let Some(head) = self.head(unit) else { return };
        let column = self.segments.get_mut(usize::from(dimension));
        if let Some(known) = column.and_then(|column| column.get_mut(head))
            && (time, position) < (known.time, known.position)
        {
            *known = Earliest { time, position, value };
        }
    }

    /// Adds the deferred outcomes that are from within the window of their unit in its phase. The value of a row without
    /// a time is unknown.
    pub(crate) fn settle(&mut self, outcomes: &Outcomes, length: Millis) -> Settled {
        let mut settled = Settled::default();
        for Deferred { row, cell, day, unserved } in self.deferred.take().unwrap_or_default() {
            let Some(Cell { first, stratum, arm, .. }) = self.cells.get(cell).copied() else {
                continue;
            };
            let time = outcomes.time(row);
            settled.untimed += u64::from(time.is_none());
            if time.is_some_and(|time| is_late(first, time, length)) {
                settled.late += 1;
                continue;
            }
            if let Some(hits) = &mut self.hits {
                hits.push(Hit { row, cell, stratum, arm });
            }
            let values = self.columns.iter_mut().zip(outcomes.row(row)).enumerate();
            for (index, (column, value)) in values.filter(|(_, (_, value))| !value.is_nan()) {
                let value = if time.is_some() { *value } else { f64::INFINITY };
                if let Some(values) = column.get_mut(cell) {
                    values.add(value, unserved);
                    self.days.value(cell, day, index, value);
                }
            }
        }
        settled
    }

    /// The first cell of a unit.
    fn head(&self, unit: u64) -> Option<u32> {
        let is_unit = |cell: &u32| self.cells.get(*cell).is_some_and(|cell| cell.unit == unit);
        self.index().find(unit, is_unit).copied()
    }

    fn index(&self) -> &HashTable<u32> {
        self.index.get_or_init(|| {
            let mut index = HashTable::with_capacity(self.heads as usize);
            for Unit { head, .. } in self.units() {
                let unit = |cell: &u32| self.cells.get(*cell).map_or(0, |cell| cell.unit);
                index.insert_unique(unit(&head), head, unit);
            }
            index
        })
    }

    /// Adds a request to its unit's cell, which may be new; returns the cell's number.
    fn cell(&mut self, unit: u64, row: &Row) -> u32 {
        let head = self.head(unit);
        let mut at = head.unwrap_or(NONE);
        while let Some(cell) = self.cells.get_mut(at) {
            if cell.stratum == row.stratum {
                cell.add(row);
                return at;
            }
            at = cell.next;
        }
        let new = self.cells.len();
        let mut cell = Cell {
            unit,
            first: row.time,
            latency: 0,
            requests: 0,
            failed: 0,
            aborted: 0,
            refused: 0,
            next: NONE,
            stratum: row.stratum,
            arm: row.arm,
            torn: false,
            trials: 0,
        };
        cell.add(row);
        match head.and_then(|head| self.cells.get_mut(head)) {
            Some(head) => cell.next = std::mem::replace(&mut head.next, new),
            None => {
                self.heads += 1;
                if let Some(index) = self.index.get_mut() {
                    let cells = &self.cells;
                    index.insert_unique(unit, new, |&cell| {
                        cells.get(cell).map_or(0, |cell| cell.unit)
                    });
                }
            }
        }
        self.cells.push(cell);
        self.columns.iter_mut().for_each(|column| column.push(Values::default()));
        self.segments.iter_mut().for_each(|column| column.push(Earliest::default()));
        self.days.cell(row);
        new
    }

    /// Gives the phases other numbers; `shape` has as many as there are then.
    pub(super) fn renumber(&mut self, numbers: &[Option<u8>]) {
        for number in 0..self.cells.len() {
            let Some(cell) = self.cells.get_mut(number) else { continue };
            if let Some(Some(number)) = numbers.get(usize::from(cell.stratum)) {
                cell.stratum = *number;
            }
        }
        if let Some(hits) = &mut self.hits {
            hits.retain_mut(|hit| {
                let number = numbers.get(usize::from(hit.stratum)).copied().flatten();
                hit.stratum = number.unwrap_or_default();
                number.is_some()
            });
        }
    }

    /// The cells of each unit, one unit after another, in the order in which the units were met.
    pub(crate) fn units(&self) -> impl Iterator<Item = Unit<'_>> {
        // The first cell of a unit is the one that no other cell leads to.
        let mut inner = vec![false; self.cells.len() as usize];
        for cell in self.cells.iter() {
            if let Some(mark) = inner.get_mut(cell.next as usize) {
                *mark = true;
            }
        }
        (0..self.cells.len())
            .zip(inner)
            .filter(|(_, inner)| !*inner)
            .map(|(head, _)| Unit { table: self, head })
    }

    /// The unit of this key.
    pub(crate) fn unit(&self, key: u64) -> Option<Unit<'_>> {
        self.head(key).map(|head| Unit { table: self, head })
    }

    /// The units of other trials.
    pub(crate) const fn other_trials(&self) -> &OtherTrials {
        &self.other_trials
    }

    /// How many units there are.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.heads)
    }

    /// Rows of the outcomes with predictions that count, in the order of the logs.
    pub(crate) fn hits(&self) -> &[Hit] {
        self.hits.as_deref().unwrap_or_default()
    }

    /// The cell of this number.
    pub(crate) fn cell_at(&self, cell: u32) -> Option<&Cell> {
        self.cells.get(cell)
    }

    /// Makes this the only value of a column in a cell.
    pub(crate) fn set_column(&mut self, column: usize, cell: u32, value: f64) {
        if let Some(values) = self.columns.get_mut(column).and_then(|column| column.get_mut(cell)) {
            *values = Values { sum: value, count: 1, unserved: 0 };
        }
    }

    /// Adds the values of a row of outcomes about units; `is_known` is false if they are unknown.
    pub(crate) fn place(&mut self, hit: Hit, outcomes: &Outcomes, is_known: bool) {
        if outcomes.predictions.is_some() {
            self.hits.get_or_insert_default().push(hit);
        }
        let cells = self.cells.len();
        let new = || Chunks::filled(cells, Values::default());
        self.columns.resize_with(outcomes.columns.len(), new);
        for (column, value) in self.columns.iter_mut().zip(outcomes.row(hit.row)) {
            if let Some(values) = column.get_mut(hit.cell).filter(|_| !value.is_nan()) {
                values.add(if is_known { *value } else { f64::INFINITY }, false);
            }
        }
    }

    /// The values of a covariate by first cell, of which there are so many.
    pub(crate) fn covariate_mut(
        &mut self,
        covariate: usize,
        of: usize,
    ) -> Option<&mut Chunks<f64>> {
        let cells = self.cells.len();
        self.covariates.resize_with(of, || Chunks::filled(cells, f64::NAN));
        self.covariates.get_mut(covariate)
    }

    /// The value of a unit in a covariate, by its first cell.
    pub(crate) fn covariate(&self, covariate: usize, first: u32) -> Option<f64> {
        let value = self.covariates.get(covariate)?.get(first).copied();
        value.filter(|value| value.is_finite())
    }

    /// How many cells there are.
    pub(crate) fn cells(&self) -> u32 {
        self.cells.len()
    }

    /// The sum and the count of a column in a cell.
    pub(crate) fn column(&self, column: usize, cell: u32) -> (f64, u32) {
        let values = self.values(column, cell);
        (values.sum, values.count)
    }

    /// Each day of a cell, with what the unit did there, and its sum and count of a column of outcomes about requests.
    pub(crate) fn days_of(
        &self,
        number: u32,
        cell: &Cell,
        column: Option<usize>,
        whole: (f64, u32),
    ) -> Vec<(u32, Cell, (f64, u32))> {
        self.days.of(number, cell, column, whole)
    }

    /// How many requests with a response that is no failure have a value of a column in a cell.
    pub(crate) fn served_values(&self, column: usize, cell: u32) -> u32 {
        let values = self.values(column, cell);
        values.count.saturating_sub(values.unserved)
    }

    fn values(&self, column: usize, cell: u32) -> Values {
        self.columns.get(column).and_then(|column| column.get(cell)).copied().unwrap_or_default()
    }
}

impl Cell {
    fn add(&mut self, row: &Row) {
        self.torn |= self.arm != row.arm;
        self.trials |= if row.marks.untold { UNTOLD } else { TOLD };
        if row.time < self.first {
            self.first = row.time;
            self.arm = row.arm;
        }
        self.requests += 1;
        self.failed += u32::from(row.marks.failed);
        self.aborted += u32::from(row.marks.aborted);
        self.refused += u32::from(row.marks.refused);
        if !row.marks.aborted {
            self.latency += u64::from(row.duration);
        }
    }
}

#[cfg(test)]
mod tests;
