//! The join: rows are grouped by unit, in shards by a hash of the unit, so that all cores work and the result is the same
//! whatever their number.
//!
//! Pieces of the source are parsed by several threads. Each piece then visits the shards in a fixed order, and a shard
//! takes the pieces in the order of the source. So the rows of a unit always arrive in the same order, in the same table.
//!
//! Tables that do not fit into memory are made and walked one by one, in temporary files ([`Spill`]). The results are the
//! same bits.

mod chunks;
mod days;
mod growing;
mod lanes;
mod plain;
mod repeats;
mod shards;
mod sight;
mod spill;
mod tally;
mod totals;
mod trials;
mod units;

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use sidetrack::plan::Experiment;
use sidetrack::quantity::Millis;

use crate::error::Error;
use crate::histogram::{GROUPS, group};
use crate::row::{Aside, Excluded, OtherLine, Place, Row, SegmentValue, Sink, Whose};
use crate::short::Short;
use crate::source::outcomes::Outcomes;
use crate::source::{Source, Start};
pub(crate) use chunks::Chunks;
pub(crate) use days::{DAY, day};
use growing::{Growing, Part, Room};
use lanes::Lanes;
pub(crate) use repeats::Repeats;
pub(crate) use shards::Shards;
pub(crate) use sight::Sighted;
pub use spill::Spill;
pub(crate) use tally::{Damage, Minute, Tally};
pub(crate) use totals::{Slots, Totals};
pub(crate) use trials::Exposed;
pub(crate) use units::{Cell, Hit, Settled, TOLD, UNTOLD, Unit, UnitTable};

/// How many shards there are. A divisor of the number of histogram groups, so that a group is in one shard.
pub(crate) const SHARDS: usize = 20;

/// Strata and variants: data are kept by slot, a variant in a stratum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) strata: usize,
    pub(crate) arms: usize,
    pub(crate) baseline: usize,
}

impl Shape {
    pub(crate) fn new(experiment: &Experiment, strata: usize) -> Self {
        let (arms, baseline) = (experiment.variants.len(), experiment.baseline.index());
        Self { strata, arms, baseline }
    }

    pub(crate) const fn slots(self) -> usize {
        self.strata * self.arms
    }

    pub(crate) const fn slot(self, stratum: usize, arm: usize) -> usize {
        stratum * self.arms + arm
    }

    /// The indices of the candidates.
    pub(crate) fn candidates(self) -> impl Iterator<Item = usize> {
        (0..self.arms).filter(move |arm| *arm != self.baseline)
    }
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) tally: Tally,
    /// By shard: the sums of requests.
    pub(crate) totals: Vec<Slots>,
    /// By shard: the units.
    pub(crate) shards: Shards,
    /// What a reader must know of the files, in words.
    pub(crate) notes: Vec<String>,
    /// Requests of which it is not known whether they were delivered before.
    pub(crate) unchecked: u64,
    pub(crate) threads: usize,
}

impl Joined {
    /// Gives the phases other numbers; `shape` has as many as there are then.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(crate) fn renumber(&mut self, numbers: &[Option<u8>], shape: Shape) -> Result<(), Error> {
        self.tally.renumber(numbers);
        self.totals.iter_mut().for_each(|totals| totals.renumber(numbers, shape));
        let stays = (0..).zip(numbers).all(|(old, new)| *new == Some(old));
        self.change(|_| !stays, |_, table| table.renumber(numbers))?;
        Ok(())
    }

    /// Adds the outcomes about requests that are from within the window of their unit.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(crate) fn settle(&mut self, outcomes: &Outcomes, length: Millis) -> Result<Settled, Error> {
        let settled = self.change(|_| true, |_, table| table.settle(outcomes, length))?;
        Ok(settled.into_iter().fold(Settled::default(), |sum, more| Settled {
            late: sum.late + more.late,
            untimed: sum.untimed + more.untimed,
        }))
    }

    /// Gives units their values in the columns of outcomes about units, as (dimension, column): those of their earliest rows.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(crate) fn segment(
        &mut self,
        outcomes: &Outcomes,
        columns: &[(u8, usize)],
    ) -> Result<(), Error> {
        let segment = |own: usize, table: &mut UnitTable| {
            for (row, (keys, time, _)) in (0..).zip(outcomes.units()) {
                // The log has either of both keys.
                for unit in keys.into_iter().filter(|key| shard(*key) == own) {
                    for (dimension, column) in columns {
                        let Some(value) = outcomes.segment(*column, row) else { continue };
                        let (dimension, time) = (*dimension, time.unwrap_or_default());
                        let position = u64::from(row);
                        table.segment(&SegmentValue { dimension, value, unit, time, position });
                    }
                }
            }
        };
        self.change(|()| !columns.is_empty(), segment)?;
        Ok(())
    }

    /// Adds rows of outcomes about units by shard, each with whether its values are known.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(crate) fn place(
        &mut self,
        rows: Vec<Vec<(Hit, bool)>>,
        outcomes: &Outcomes,
    ) -> Result<(), Error> {
        let place = |_: usize, table: &mut UnitTable, rows: Vec<(Hit, bool)>| {
            rows.into_iter().for_each(|(hit, is_known)| table.place(hit, outcomes, is_known));
        };
        // A block of rows is not worth threads, unless tables must be loaded for it.
        let threads = if self.shards.are_parked() { self.threads } else { 1 };
        self.shards.each_mut(threads, rows, |rows| !rows.is_empty(), place)?;
        Ok(())
    }

    /// Applies `f` to the tables, and keeps what it changes.
    fn change<R: Send + Default>(
        &mut self,
        is_needed: impl Fn(&()) -> bool + Sync,
        f: impl Fn(usize, &mut UnitTable) -> R + Sync,
    ) -> Result<Vec<R>, Error> {
        let nothing = std::iter::repeat(());
        let threads = self.threads;
        self.shards.each_mut(threads, nothing, is_needed, |shard, table, ()| f(shard, table))
    }
}

/// The shard of a unit.
fn shard(unit: u64) -> usize {
    group(unit) * SHARDS / GROUPS
}

/// What a row belongs to: its unit, or else itself, spread over all 64 bits (Knuth's multiplicative hash).
fn owner(row: &Row) -> u64 {
    row.unit.unwrap_or_else(|| row.position.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A piece by shard, and everything that is counted without regard to units.
struct Batch {
    parts: Vec<Part>,
    tally: Tally,
}

impl Batch {
    fn new(shape: Shape) -> Self {
        Self { parts: vec![Part::default(); SHARDS], tally: Tally::new(shape) }
    }

    /// Drops the lines of requests that were delivered before.
    fn drop_repeats(&mut self, repeats: &mut Repeats) {
        let mut dropped = 0;
        for Part { rows, .. } in &mut self.parts {
            let before = rows.len();
            rows.retain(|row| !row.print.is_some_and(|print| repeats.is_repeat(print)));
            dropped += before - rows.len();
        }
        self.tally.repeated(dropped as u64);
    }

    /// Counts what is left.
    fn count(&mut self) {
        let rows = self.parts.iter().flat_map(|part| &part.rows);
        rows.for_each(|row| self.tally.row(row));
    }
}

impl Sink for Batch {
    fn row(&mut self, row: &Row, plan: Option<Short>) {
        self.tally.line(plan);
        if let Some(part) = self.parts.get_mut(shard(owner(row))) {
            part.rows.push(*row);
        }
    }

    fn excluded(&mut self, why: Excluded) {
        self.tally.excluded(why);
    }

    fn readable(&mut self, start: Start, is_ours: bool) {
        self.tally.readable(start, is_ours);
    }

    fn default_log(&mut self) {
        self.tally.default_logs += 1;
    }

    fn other_experiment(&mut self, name: Option<&str>) {
        self.tally.other_experiment(name);
    }

    fn other_trial(&mut self, line: &OtherLine) {
        self.tally.other_trial(line);
        let Some((unit, first)) = line.unit.zip(line.time) else { return };
        if let Some(part) = self.parts.get_mut(shard(unit)) {
            part.others.push(Exposed { unit, trial: line.trial, first });
        }
    }

    fn segment(&mut self, value: &SegmentValue, text: Option<&str>) {
        if let Some(text) = text {
            self.tally.text(value, text);
        }
        if let Some(part) = self.parts.get_mut(shard(value.unit)) {
            part.segments.push(*value);
        }
    }

    fn aside(&mut self, aside: Aside) {
        self.tally.aside(aside);
    }

    fn malformed(&mut self, place: Place, whose: Whose, problem: String) {
        self.tally.malformed(place, whose, problem);
    }
}

/// Reads a whole source. With `defer`, outcomes about requests wait for [`Joined::settle`].
///
/// # Errors
/// The source cannot be read, or a temporary file cannot be used.
pub(crate) fn join<S: Source>(
    source: &S,
    shape: Shape,
    (outcomes, defer, dimensions): (&Outcomes, bool, usize),
    (threads, spill): (usize, Option<&Spill>),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Joined, Error> {
    let growing = |_| {
        let totals = Slots::new(shape, outcomes, defer);
        Growing::new(totals, UnitTable::new(outcomes, defer, dimensions))
    };
    let growing = (0..SHARDS).map(growing).collect();
    let lanes = Lanes::new(Tally::new(shape).with_outcomes(outcomes), growing);
    let room = Room::new(spill.cloned());
    let (pieces, todo) = mpsc::sync_channel::<(u64, S::Piece)>(threads);
    // Owned by the threads alone, so that the reader stops if they do.
    let todo = Arc::new(Mutex::new(todo));
    let notes = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (todo, lanes, room) = (Arc::clone(&todo), &lanes, &room);
            scope.spawn(move || {
                let _guard = lanes.guard();
                let mut batch = Batch::new(shape);
                loop {
                    let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, piece)) = next else { break };
                    source.rows(&piece, &mut batch);
                    drop(piece);
                    let ways = Ways { lanes, room, outcomes };
                    if ways.deliver(&mut batch, number, progress).is_none() {
                        break;
                    }
                }
            });
        }
        drop(todo);
        let mut number = 0;
        let notes = source.pieces(&mut |piece| {
            let sent = pieces.send((number, piece)).is_ok();
            number += 1;
            sent
        });
        // The threads end when the sender is gone.
        drop(pieces);
        notes
    })?;
    let (repeats, tally, growing) = lanes.into_parts()?;
    let unchecked = repeats.unchecked();
    // The next step may need its memory.
    drop(repeats);
    let (totals, shards) = Shards::finish(growing, outcomes, spill.cloned(), threads)?;
    let notes = notes.iter().map(ToString::to_string).collect();
    Ok(Joined { tally, totals, shards, notes, unchecked, threads })
}

/// Where batches go.
#[derive(Clone, Copy)]
struct Ways<'l> {
    lanes: &'l Lanes,
    room: &'l Room,
    outcomes: &'l Outcomes,
}

impl Ways<'_> {
    /// Adds a batch to all lanes, each when it is the batch's turn. `None` if this or another thread cannot go on.
    fn deliver(
        self,
        batch: &mut Batch,
        number: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Option<()> {
        let Self { lanes, room, outcomes } = self;
        lanes.repeats(number, |repeats| batch.drop_repeats(repeats))?;
        batch.count();
        let read = lanes.tally(number, |tally| {
            tally.take(&mut batch.tally);
            tally.lines
        })?;
        progress(read);
        for (shard, part) in batch.parts.iter_mut().enumerate() {
            let taken = lanes.shard(number, shard, |growing| growing.take(part, outcomes, room))?;
            taken.map_err(|error| lanes.fail(error)).ok()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_spread_over_all_shards() {
        let mut counts = [0; SHARDS];
        for unit in 0..10_000u32 {
            counts[shard(crate::row::key(&unit.to_string()))] += 1;
        }
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
        assert_eq!((shard(0), shard(u64::MAX)), (0, SHARDS - 1));
    }
}
