//! What units did on each day: for effects by day and by days since the first request.
//!
//! A cell's first day in the table needs no record of its own: it is what the others leave of the cell. So units of a
//! single day cost a few bytes.

use std::io;

use super::chunks::Chunks;
use super::plain::plain;
use super::spill::{In, Out};
use super::units::{Cell, Values};
use crate::row::Row;

/// Milliseconds of a day, in UTC.
pub(crate) const DAY: u64 = 86_400_000;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// A cell on one of its days, but the first that was read.
#[derive(Clone, Copy, Debug)]
struct Visit {
    /// Since 1970.
    day: u32,
    requests: u32,
    failed: u32,
    aborted: u32,
    latency: u64,
    next: u32,
}

plain!(Visit { day: u32, requests: u32, failed: u32, aborted: u32, latency: u64, next: u32 });

/// The days of a table's cells.
#[derive(Debug, Default)]
pub(super) struct Days {
    /// By cell: the day of its first row that was read, and its first other day.
    cells: Chunks<(u32, u32)>,
    visits: Chunks<Visit>,
    /// By column of the outcomes and visit.
    columns: Vec<Chunks<Values>>,
}

/// The day of a time.
pub(crate) fn day(time: u64) -> u32 {
    u32::try_from(time / DAY).unwrap_or(u32::MAX)
}

impl Days {
    pub(super) fn new(columns: usize) -> Self {
        Self { columns: vec![Chunks::default(); columns], ..Self::default() }
    }

    /// How many bytes are allocated.
    pub(super) fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Chunks::bytes).sum();
        self.cells.bytes() + self.visits.bytes() + columns
    }

    pub(super) fn store(&self, out: &mut Out) -> io::Result<()> {
        let Self { cells, visits, columns } = self;
        cells.store(out)?;
        visits.store(out)?;
        Chunks::store_all(columns, out)
    }

    pub(super) fn load(from: &mut In<'_>) -> io::Result<Self> {
        Ok(Self {
            cells: Chunks::load(from)?,
            visits: Chunks::load(from)?,
            columns: Chunks::load_all(from)?,
        })
    }

    /// A cell was made for a row.
    pub(super) fn cell(&mut self, row: &Row) {
        self.cells.push((day(row.time), NONE));
    }

    /// The visit of a cell on a day, which may be new; `None` on its first day.
    fn visit(&mut self, cell: u32, day: u32) -> Option<u32> {
        let (home, head) = *self.cells.get(cell)?;
        if home == day {
            return None;
        }
        let mut at = head;
        while let Some(visit) = self.visits.get(at) {
            if visit.day == day {
                return Some(at);
            }
            at = visit.next;
        }
        let new = self.visits.len();
        let visit = Visit { day, requests: 0, failed: 0, aborted: 0, latency: 0, next: head };
        self.visits.push(visit);
        self.columns.iter_mut().for_each(|column| column.push(Values::default()));
        if let Some((_, head)) = self.cells.get_mut(cell) {
            *head = new;
        }
        Some(new)
    }

    /// Adds a request of a cell.
    pub(super) fn add(&mut self, cell: u32, row: &Row) {
        let visit = self.visit(cell, day(row.time));
        let Some(visit) = visit.and_then(|visit| self.visits.get_mut(visit)) else { return };
        visit.requests += 1;
        visit.failed += u32::from(row.marks.failed);
        visit.aborted += u32::from(row.marks.aborted);
        if !row.marks.aborted {
            visit.latency += u64::from(row.duration);
        }
    }

    /// Adds a value of a column, of a request of a cell on this day.
    pub(super) fn value(&mut self, cell: u32, day: u32, column: usize, value: f64) {
        let visit = self.visit(cell, day);
        let values = visit.and_then(|visit| self.columns.get_mut(column)?.get_mut(visit));
        if let Some(values) = values {
            values.add(value, false);
        }
    }

    /// Each day of a cell, with what it did there: the cell as of that day, and its sum and count of a column.
    pub(super) fn of(
        &self,
        number: u32,
        cell: &Cell,
        column: Option<usize>,
        whole: (f64, u32),
    ) -> Vec<(u32, Cell, (f64, u32))> {
        let Some((home, head)) = self.cells.get(number).copied() else { return Vec::new() };
        let mut days = Vec::new();
        let (mut rest, mut left) = (*cell, whole);
        let mut at = head;
        while let Some(visit) = self.visits.get(at) {
            let values = column.and_then(|column| self.columns.get(column)?.get(at));
            let values = values.map_or((0.0, 0), Values::sum);
            let Visit { day, requests, failed, aborted, latency, next } = *visit;
            rest.requests -= requests.min(rest.requests);
            rest.failed -= failed.min(rest.failed);
            rest.aborted -= aborted.min(rest.aborted);
            rest.latency -= latency.min(rest.latency);
            left = (left.0 - values.0, left.1.saturating_sub(values.1));
            days.push((day, Cell { requests, failed, aborted, latency, ..*cell }, values));
            at = next;
        }
        days.push((home, rest, left));
        days.sort_by_key(|(day, ..)| *day);
        days
    }
}
