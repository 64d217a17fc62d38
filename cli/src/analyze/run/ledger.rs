//! What the requests that count add up to: per unit and stratum, as little as the analysis needs.
//!
//! A unit has one cell per stratum it was seen in (nearly always one), and its cells are a chain. The first request that
//! a unit makes in a stratum, by the clock and not by the order of reading, decides its variant there. Memory is about
//! fifty bytes per cell, however many requests there are.
//!
//! Records are applied in the order of the files by one thread, so the same files give the same answer to the last bit.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use sidetrack_stats::accumulate::Moments;

use super::histogram::Histogram;
use super::outcomes::Outcomes;
use super::sieve::{MINUTE, Record};

/// The end of a chain.
const NONE: u32 = u32::MAX;
/// How many cells are allocated at once: a vector that doubles would need three times its size for a moment.
const CHUNK: usize = 1 << 16;

/// A unit in a stratum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) unit: u64,
    /// The first request, in milliseconds since 1970.
    pub(super) first: u64,
    /// The sum over requests that were not aborted, in milliseconds.
    pub(super) latency: u64,
    pub(super) requests: u32,
    pub(super) failed: u32,
    pub(super) aborted: u32,
    next: u32,
    pub(super) stratum: u8,
    pub(super) arm: u8,
    /// The breaker had a say in a request.
    pub(super) breaker: bool,
    /// It was assigned to two variants.
    pub(super) torn: bool,
}

impl Cell {
    /// Requests that got an answer or a failure.
    pub(super) const fn answered(&self) -> u32 {
        self.requests.saturating_sub(self.aborted)
    }
}

/// Sums of a variant in a stratum, by request.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) aborted: u64,
    pub(super) elsewhere: u64,
    pub(super) breaker: u64,
    /// Without a unit.
    pub(super) nameless: u64,
    /// Seconds.
    pub(super) latency: Moments,
    pub(super) histogram: Histogram,
    /// One per column of the outcomes.
    pub(super) outcomes: Vec<Moments>,
}

/// Everything that was read.
pub(super) struct Ledger {
    arms: usize,
    totals: Vec<Totals>,
    index: HashTable<u32>,
    cells: Chunks<Cell>,
    /// Sum and count of each column, cell by cell; only with outcomes by request.
    columns: Vec<Chunks<(f64, u32)>>,
    /// How often each row of the outcomes was met.
    pub(super) met: Vec<u8>,
    pub(super) minutes: BTreeMap<u64, Vec<Minute>>,
    /// The first and the last request.
    pub(super) span: Option<(u64, u64)>,
    /// Requests that have a unit.
    pub(super) named: u64,
}

/// A minute of a variant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Minute {
    pub(super) requests: u32,
    pub(super) failed: u32,
    pub(super) aborted: u32,
    pub(super) breaker: u32,
}

impl Ledger {
    pub(super) fn new(strata: usize, arms: usize, outcomes: &Outcomes) -> Self {
        let by_request = if outcomes.by_request { outcomes.columns.len() } else { 0 };
        let totals = Totals { outcomes: vec![Moments::default(); by_request], ..Totals::default() };
        Self {
            arms,
            totals: vec![totals; strata * arms],
            index: HashTable::new(),
            cells: Chunks::default(),
            columns: vec![Chunks::default(); by_request],
            met: vec![0; if outcomes.by_request { outcomes.rows() } else { 0 }],
            minutes: BTreeMap::new(),
            span: None,
            named: 0,
        }
    }

    /// Adds a request.
    pub(super) fn apply(&mut self, record: &Record, number: u64, outcomes: &Outcomes) {
        let (first, last) = self.span.unwrap_or((record.time, record.time));
        self.span = Some((first.min(record.time), last.max(record.time)));
        self.add_to_minute(record);
        let slot = usize::from(record.stratum) * self.arms + usize::from(record.arm);
        let cell = record.unit.map(|unit| self.cell(unit, record));
        self.named += u64::from(record.unit.is_some());
        let marks = record.marks;
        let Some(totals) = self.totals.get_mut(slot) else { return };
        totals.requests += 1;
        totals.failed += u64::from(marks.failed);
        totals.aborted += u64::from(marks.aborted);
        totals.elsewhere += u64::from(marks.elsewhere);
        totals.breaker += u64::from(marks.breaker);
        totals.nameless += u64::from(record.unit.is_none());
        if !marks.aborted {
            // Whole milliseconds are finite, so this cannot fail.
            totals.latency.add(f64::from(record.duration) / 1000.0).ok();
            // Without a unit each request is its own.
            totals.histogram.add(record.unit.unwrap_or_else(|| spread(number)), record.duration);
        }
        if let Some(row) = record.outcome {
            if let Some(met) = usize::try_from(row).ok().and_then(|row| self.met.get_mut(row)) {
                *met = met.saturating_add(1);
            }
            for (column, value) in
                outcomes.row(row).iter().enumerate().filter(|(_, value)| !value.is_nan())
            {
                totals.outcomes.get_mut(column).map(|moments| moments.add(*value).ok());
                let sums = self.columns.get_mut(column);
                if let Some((sum, count)) = cell.and_then(|cell| sums?.get_mut(cell)) {
                    *sum += value;
                    *count += 1;
                }
            }
        }
    }

    fn add_to_minute(&mut self, record: &Record) {
        let arms = self.arms;
        let minute = self
            .minutes
            .entry(record.time / MINUTE)
            .or_insert_with(|| vec![Minute::default(); arms]);
        if let Some(minute) = minute.get_mut(usize::from(record.arm)) {
            minute.requests += 1;
            minute.failed += u32::from(record.marks.failed);
            minute.aborted += u32::from(record.marks.aborted);
            minute.breaker += u32::from(record.marks.breaker);
        }
    }

    /// Adds a request to its unit's cell, which may be new, and says which it is.
    fn cell(&mut self, unit: u64, record: &Record) -> u32 {
        let head = self
            .index
            .find(unit, |&cell| self.cells.get(cell).is_some_and(|cell| cell.unit == unit))
            .copied();
        let mut at = head.unwrap_or(NONE);
        while let Some(cell) = self.cells.get_mut(at) {
            if cell.stratum == record.stratum {
                cell.add(record);
                return at;
            }
            at = cell.next;
        }
        let new = self.cells.len();
        let mut cell = Cell {
            unit,
            first: record.time,
            latency: 0,
            requests: 0,
            failed: 0,
            aborted: 0,
            next: NONE,
            stratum: record.stratum,
            arm: record.arm,
            breaker: false,
            torn: false,
        };
        cell.add(record);
        match head.and_then(|head| self.cells.get_mut(head)) {
            Some(head) => cell.next = std::mem::replace(&mut head.next, new),
            None => {
                let cells = &self.cells;
                self.index
                    .insert_unique(unit, new, |&cell| cells.get(cell).map_or(0, |cell| cell.unit));
            }
        }
        self.cells.push(cell);
        self.columns.iter_mut().for_each(|column| column.push((0.0, 0)));
        new
    }

    /// The sums of a variant in a stratum.
    pub(super) fn totals(&self, stratum: usize, arm: usize) -> Option<&Totals> {
        self.totals.get(stratum * self.arms + arm).filter(|_| arm < self.arms)
    }

    /// The cells of each unit, one unit after another, in the order in which the units were met.
    pub(super) fn units(&self) -> impl Iterator<Item = Unit<'_>> {
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
            .map(|(head, _)| Unit { ledger: self, head })
    }

    /// The unit of this key.
    pub(super) fn unit(&self, key: u64) -> Option<Unit<'_>> {
        let head = self
            .index
            .find(key, |&cell| self.cells.get(cell).is_some_and(|cell| cell.unit == key))?;
        Some(Unit { ledger: self, head: *head })
    }

    /// How many cells there are: the bound of `Part::cell`.
    pub(super) fn cells(&self) -> u32 {
        self.cells.len()
    }

    /// The sum and the count of a column in a cell.
    pub(super) fn column(&self, column: usize, cell: u32) -> (f64, u32) {
        self.columns.get(column).and_then(|column| column.get(cell)).copied().unwrap_or_default()
    }
}

impl Cell {
    fn add(&mut self, record: &Record) {
        self.torn |= self.arm != record.arm;
        if record.time < self.first {
            self.first = record.time;
            self.arm = record.arm;
        }
        self.requests += 1;
        self.failed += u32::from(record.marks.failed);
        self.aborted += u32::from(record.marks.aborted);
        self.breaker |= record.marks.breaker;
        if !record.marks.aborted {
            self.latency += u64::from(record.duration);
        }
    }
}

/// A unit by its cells.
#[derive(Clone, Copy)]
pub(super) struct Unit<'l> {
    ledger: &'l Ledger,
    head: u32,
}

impl<'l> Unit<'l> {
    /// Its cells, each with its number.
    pub(super) fn cells(self) -> impl Iterator<Item = (u32, &'l Cell)> {
        let cells = &self.ledger.cells;
        let mut at = self.head;
        std::iter::from_fn(move || {
            let cell = cells.get(at)?;
            let number = std::mem::replace(&mut at, cell.next);
            Some((number, cell))
        })
    }

    /// The cell of its first request: its stratum and variant for everything that counts a unit once.
    pub(super) fn first(self) -> Option<(u32, &'l Cell)> {
        self.cells().min_by_key(|(_, cell)| (cell.first, cell.stratum))
    }
}

/// A number for a request without a unit, spread over all 64 bits (Knuth's multiplicative hash).
const fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A vector that grows without moving what it has.
#[derive(Clone, Debug)]
struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Chunks<T> {
    fn len(&self) -> u32 {
        let full = self.0.len().saturating_sub(1) * CHUNK;
        u32::try_from(full + self.0.last().map_or(0, Vec::len)).unwrap_or(NONE)
    }

    fn push(&mut self, value: T) {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.0.last_mut() {
            chunk.push(value);
        }
    }

    fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.0.get(at / CHUNK)?.get(at % CHUNK)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.0.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }
}
