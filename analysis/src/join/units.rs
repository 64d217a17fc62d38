//! A table of units: what the requests of each unit in each stratum add up to.
//!
//! A unit has one cell per stratum (nearly always one in all); its cells are a chain. Its earliest request in a stratum, by
//! time and not by the order of reading, decides its variant there. Memory is about fifty bytes per cell, however many
//! requests there are.

mod unit;

use hashbrown::HashTable;
use sidetrack::quantity::Millis;
use sidetrack_stats::accumulate::Moments;

use super::Shape;
use super::chunks::Chunks;
use super::days::{Days, day};
use super::trials::OtherTrials;
use crate::attribution::is_late;
use crate::histogram::Histogram;
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

/// Values of a column that a unit's requests have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    sum: f64,
    count: u32,
    /// Those of requests that failed or were aborted.
    unserved: u32,
}

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

/// The units of a shard, and the sums of their requests.
#[derive(Debug)]
pub(crate) struct UnitTable {
    arms: usize,
    /// By slot, as far as there are requests.
    totals: Vec<Totals>,
    /// A slot without requests.
    empty: Totals,
    index: HashTable<u32>,
    cells: Chunks<Cell>,
    pub(super) other_trials: OtherTrials,
    /// Of each column, cell by cell; only with outcomes by request.
    columns: Vec<Chunks<Values>>,
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
    pub(crate) fn new(shape: Shape, outcomes: &Outcomes, defer: bool, dimensions: usize) -> Self {
        let by_request = if outcomes.by_request { outcomes.columns.len() } else { 0 };
        let totals = Totals { outcomes: vec![Moments::default(); by_request], ..Totals::default() };
        Self {
            arms: shape.arms,
            totals: vec![totals.clone(); shape.slots()],
            empty: totals,
            index: HashTable::new(),
            cells: Chunks::default(),
            other_trials: OtherTrials::default(),
            columns: vec![Chunks::default(); by_request],
            days: Days::new(by_request),
            segments: vec![Chunks::default(); dimensions],
            hits: (outcomes.by_request && outcomes.predictions.is_some()).then(Vec::new),
            deferred: (defer && outcomes.by_request).then(Vec::new),
        }
    }

    /// Adds a request.
    pub(crate) fn add(&mut self, row: &Row, outcomes: &Outcomes) {
        let slot = usize::from(row.stratum) * self.arms + usize::from(row.arm);
        let cell = row.unit.map(|unit| self.cell(unit, row));
        if let Some(cell) = cell {
            self.days.add(cell, row);
        }
        let marks = row.marks;
        if self.totals.len() <= slot {
            self.totals.resize(slot + 1, self.empty.clone());
        }
        let Some(totals) = self.totals.get_mut(slot) else { return };
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
        let Some(outcome) = row.outcome else { return };
        let unserved = marks.failed || marks.aborted;
        if let Some(deferred) = &mut self.deferred {
            let day = day(row.time);
            deferred.extend(cell.map(|cell| Deferred { row: outcome, cell, day, unserved }));
            return;
        }
        if let Some(hits) = &mut self.hits {
            let (stratum, arm) = (row.stratum, row.arm);
            hits.push(Hit { row: outcome, cell: cell.unwrap_or(NONE), stratum, arm });
        }
        for (column, value) in
            outcomes.row(outcome).iter().enumerate().filter(|(_, value)| !value.is_nan())
        {
            totals.outcomes.get_mut(column).map(|moments| moments.add(*value).ok());
            let sums = self.columns.get_mut(column);
            if let Some((values, cell)) = cell.and_then(|cell| Some((sums?.get_mut(cell)?, cell))) {
                values.add(*value, unserved);
                self.days.value(cell, day(row.time), column, *value);
            }
        }
    }

    /// Gives a unit its value in a dimension, unless it has an earlier one.
    pub(crate) fn segment(&mut self, value: &SegmentValue) {
        let SegmentValue { dimension, value, unit, time, position } = *value;
        let cells = &self.cells;
        let is_unit = |cell: &u32| cells.get(*cell).is_some_and(|cell| cell.unit == unit);
        let Some(head) = self.index.find(unit, is_unit).copied() else { return };
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

    /// Adds a request to its unit's cell, which may be new; returns the cell's number.
    fn cell(&mut self, unit: u64, row: &Row) -> u32 {
        let head = self
            .index
            .find(unit, |&cell| self.cells.get(cell).is_some_and(|cell| cell.unit == unit))
            .copied();
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
                let cells = &self.cells;
                self.index
                    .insert_unique(unit, new, |&cell| cells.get(cell).map_or(0, |cell| cell.unit));
            }
        }
        self.cells.push(cell);
        self.columns.iter_mut().for_each(|column| column.push(Values::default()));
        self.segments.iter_mut().for_each(|column| column.push(Earliest::default()));
        self.days.cell(row);
        new
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

    /// The sums by slot.
    pub(crate) fn totals(&self) -> &[Totals] {
        &self.totals
    }

    /// The cells of each unit, one unit after another, in the order in which the units were met.
    pub(crate) fn units(&self) -> impl Iterator<Item = Unit<'_>> {
        // A head is the cell that the index knows; the others are reached from it.
        let mut heads = vec![false; self.cells.len() as usize];
        for head in &self.index {
            if let Some(mark) = heads.get_mut(*head as usize) {
                *mark = true;
            }
        }
        (0..self.cells.len())
            .zip(heads)
            .filter(|(_, head)| *head)
            .map(|(head, _)| Unit { table: self, head })
    }

    /// The unit of this key.
    pub(crate) fn unit(&self, key: u64) -> Option<Unit<'_>> {
        let head = self
            .index
            .find(key, |&cell| self.cells.get(cell).is_some_and(|cell| cell.unit == key))?;
        Some(Unit { table: self, head: *head })
    }

    /// The units of other trials.
    pub(crate) const fn other_trials(&self) -> &OtherTrials {
        &self.other_trials
    }

    /// How many units there are.
    pub(crate) fn len(&self) -> u64 {
        self.index.len() as u64
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

    /// Adds a value of a column to the sums by request.
    pub(crate) fn add_value(&mut self, slot: usize, column: usize, value: f64) {
        if self.totals.len() <= slot {
            self.totals.resize(slot + 1, self.empty.clone());
        }
        let totals = self.totals.get_mut(slot);
        totals.and_then(|totals| totals.outcomes.get_mut(column)?.add(value).ok());
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

/// What a row belongs to: its unit, or else itself, spread over all 64 bits (Knuth's multiplicative hash).
pub(super) fn owner(row: &Row) -> u64 {
    row.unit.unwrap_or_else(|| row.position.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests;
