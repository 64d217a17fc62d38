//! A shard while the logs are read: a table that grows or, once there is no room for it, a file of rows from which the table
//! is made afterwards.
//!
//! The file has everything that the table would have been given, in the same order, so the table is the same.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::plain::plain;
use super::shards::{Parked, Place};
use super::spill::{In, Out, Spill};
use super::totals::Slots;
use super::trials::Exposed;
use super::units::UnitTable;
use crate::error::Error;
use crate::row::{Marks, Row, SegmentValue};
use crate::source::outcomes::Outcomes;

/// How large all tables are together.
#[derive(Debug)]
pub(super) struct Room {
    spill: Option<Spill>,
    used: AtomicU64,
    is_full: AtomicBool,
}

impl Room {
    pub(super) const fn new(spill: Option<Spill>) -> Self {
        Self { spill, used: AtomicU64::new(0), is_full: AtomicBool::new(false) }
    }

    /// A table grew by so many bytes.
    fn grew(&self, bytes: u64) {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.spill.as_ref().is_some_and(|spill| used > spill.most()) {
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    /// Makes the files of tables that do not fit into memory.
    fn spill(&self) -> Option<&Spill> {
        self.spill.as_ref().filter(|_| self.is_full.load(Ordering::Relaxed))
    }
}

/// What a piece of the logs has for a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) rows: Vec<Row>,
    /// Units of other trials.
    pub(super) others: Vec<Exposed>,
    /// Values of units in dimensions.
    pub(super) segments: Vec<SegmentValue>,
}

/// A shard that grows.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) totals: Slots,
    table: UnitTable,
    bytes: u64,
    log: Option<Log>,
}

impl Growing {
    pub(super) const fn new(totals: Slots, table: UnitTable) -> Self {
        Self { totals, table, bytes: 0, log: None }
    }

    /// Adds a part, which is empty afterwards.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub(super) fn take(
        &mut self,
        part: &mut Part,
        outcomes: &Outcomes,
        room: &Room,
    ) -> Result<(), Error> {
        if let Some(spill) = room.spill() {
            part.rows.iter().for_each(|row| self.totals.add(row, outcomes));
            return self.append(part, spill).map_err(|error| spill.failed(&error));
        }
        for row in part.rows.drain(..) {
            self.totals.add(&row, outcomes);
            self.table.add(&row, outcomes);
        }
        part.others.drain(..).for_each(|exposed| self.table.other_trials.add(exposed));
        part.segments.drain(..).for_each(|value| self.table.segment(&value));
        let bytes = self.table.bytes();
        room.grew(bytes - self.bytes.min(bytes));
        self.bytes = bytes;
        Ok(())
    }

    /// Appends a part to the log, which may be new.
    fn append(&mut self, part: &mut Part, spill: &Spill) -> io::Result<()> {
        let log = match &mut self.log {
            Some(log) => log,
            None => {
                let log = Log::new(&self.table, spill)?;
                self.table = UnitTable::default();
                self.log.insert(log)
            }
        };
        log.append(part)
    }

    /// How many bytes the table may have at most.
    pub(super) fn most(&self) -> u64 {
        /// Of a unit with one request: its cell, its day, and its place in the index, twice while that grows.
        const UNIT: u64 = 80;
        self.log.as_ref().map_or(0, |log| self.bytes + log.rows * UNIT)
    }

    /// The sums, and the table: as it is, or made from the log and parked.
    pub(super) fn finish(self, outcomes: &Outcomes) -> io::Result<(Slots, Place)> {
        let Some(Log { base, out, .. }) = self.log else {
            return Ok((self.totals, Place::Here(self.table)));
        };
        let mut table = UnitTable::load(&mut In::new(&base)?)?;
        replay(&out.finish()?, &mut table, outcomes)?;
        // The whole table takes the place of its first part.
        Ok((self.totals, Place::Parked(Parked::new(&table, base)?)))
    }
}

/// What came when there was no room left.
#[derive(Debug)]
struct Log {
    /// The table as it was before.
    base: File,
    /// Rows without units matter to it.
    keeps_hits: bool,
    rows: u64,
    out: Out,
}

impl Log {
    fn new(table: &UnitTable, spill: &Spill) -> io::Result<Self> {
        let mut base = spill.out()?;
        table.store(&mut base)?;
        let (base, out) = (base.finish()?, spill.out()?);
        Ok(Self { base, keeps_hits: table.keeps_hits(), rows: 0, out })
    }

    fn append(&mut self, part: &mut Part) -> io::Result<()> {
        let Part { rows, others, segments } = part;
        let keeps_hits = self.keeps_hits;
        rows.retain(|row| row.unit.is_some() || (keeps_hits && row.outcome.is_some()));
        self.rows += rows.len() as u64;
        self.out.list(rows.drain(..).map(Logged::from))?;
        self.out.list(others.drain(..))?;
        self.out.list(segments.drain(..))
    }
}

/// Gives a table what is in a log.
fn replay(log: &File, table: &mut UnitTable, outcomes: &Outcomes) -> io::Result<()> {
    let mut from = In::new(log)?;
    while !from.is_at_end()? {
        from.list(|row: Logged| table.add(&row.into(), outcomes))?;
        from.list(|exposed| table.other_trials.add(exposed))?;
        from.list(|value| table.segment(&value))?;
    }
    Ok(())
}

plain!(SegmentValue { dimension: u8, value: u64, unit: u64, time: u64, position: u64 });

/// What a table needs of a row.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "those of a row")]
struct Logged {
    unit: Option<u64>,
    time: u64,
    duration: u32,
    outcome: Option<u32>,
    stratum: u8,
    arm: u8,
    failed: bool,
    aborted: bool,
    refused: bool,
    untold: bool,
}

plain!(Logged {
    unit: Option<u64>,
    time: u64,
    duration: u32,
    outcome: Option<u32>,
    stratum: u8,
    arm: u8,
    failed: bool,
    aborted: bool,
    refused: bool,
    untold: bool,
});

impl From<Row> for Logged {
    fn from(row: Row) -> Self {
        let Row { unit, time, duration, outcome, stratum, arm, marks, .. } = row;
        let Marks { failed, aborted, refused, untold, .. } = marks;
        Self { unit, time, duration, outcome, stratum, arm, failed, aborted, refused, untold }
    }
}

impl From<Logged> for Row {
    fn from(logged: Logged) -> Self {
        let Logged { unit, time, duration, outcome, stratum, arm, .. } = logged;
        let Logged { failed, aborted, refused, untold, .. } = logged;
        let marks = Marks { failed, aborted, refused, untold, ..Marks::default() };
        let (position, print, group) = (0, None, 0);
        Self { unit, position, time, duration, print, outcome, group, stratum, arm, marks }
    }
}
