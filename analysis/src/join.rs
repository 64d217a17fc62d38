//! The join: rows are grouped by unit, in shards by a hash of the unit, so that all cores work and the result is the same
//! whatever their number.
//!
//! Pieces of the source are parsed by several threads. Each piece then visits the shards in a fixed order, and a shard
//! takes the pieces in the order of the source. So the rows of a unit always arrive in the same order, in the same table.

mod chunks;
mod days;
mod lanes;
mod repeats;
mod tally;
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
pub(crate) use days::{DAY, day};
use lanes::Lanes;
pub(crate) use repeats::Repeats;
pub(crate) use tally::{Damage, Minute, Tally};
pub(crate) use trials::Exposed;
pub(crate) use units::{Cell, Hit, Settled, TOLD, Totals, UNTOLD, Unit, UnitTable};

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
    pub(crate) shards: Vec<UnitTable>,
    /// What a reader must know of the files, in words.
    pub(crate) notes: Vec<String>,
    /// Requests of which it is not known whether they were delivered before.
    pub(crate) unchecked: u64,
}

impl Joined {
    /// Gives the phases other numbers; `shape` has as many as there are then.
    pub(crate) fn renumber(&mut self, numbers: &[Option<u8>], shape: Shape) {
        self.tally.renumber(numbers);
        self.shards.iter_mut().for_each(|table| table.renumber(numbers, shape));
    }

    /// Adds the outcomes about requests that are from within the window of their unit.
    pub(crate) fn settle(&mut self, outcomes: &Outcomes, length: Millis) -> Settled {
        let settled = self.shards.iter_mut().map(|table| table.settle(outcomes, length));
        settled.fold(Settled::default(), |sum, more| Settled {
            late: sum.late + more.late,
            untimed: sum.untimed + more.untimed,
        })
    }

    /// Gives units their values in the columns of outcomes about units, as (dimension, column): those of their earliest rows.
    pub(crate) fn segment(&mut self, outcomes: &Outcomes, columns: &[(u8, usize)]) {
        for (row, (keys, time, _)) in (0..).zip(outcomes.units()) {
            for (dimension, column) in columns {
                let Some(value) = outcomes.segment(*column, row) else { continue };
                let (dimension, time) = (*dimension, time.unwrap_or_default());
                let position = u64::from(row);
                // The log has either of both keys.
                for unit in keys {
                    let value = SegmentValue { dimension, value, unit, time, position };
                    if let Some(table) = self.shards.get_mut(shard(unit)) {
                        table.segment(&value);
                    }
                }
            }
        }
    }

    /// The unit of this key: its shard and itself.
    pub(crate) fn unit(&self, key: u64) -> Option<(usize, Unit<'_>)> {
        let shard = shard(key);
        Some((shard, self.shards.get(shard)?.unit(key)?))
    }

    /// Where the unit of this key was exposed in other trials.
    pub(crate) fn in_other_trials(&self, key: u64) -> impl Iterator<Item = Exposed> {
        self.shards.get(shard(key)).into_iter().flat_map(move |table| table.other_trials.of(key))
    }
}

/// The shard of a unit.
fn shard(unit: u64) -> usize {
    group(unit) * SHARDS / GROUPS
}

/// Rows of a piece by shard, and everything that is counted without regard to units.
struct Batch {
    rows: Vec<Vec<Row>>,
    /// Units of other trials, by shard.
    others: Vec<Vec<Exposed>>,
    /// Values of units in dimensions, by shard.
    segments: Vec<Vec<SegmentValue>>,
    tally: Tally,
}

impl Batch {
    fn new(shape: Shape) -> Self {
        Self {
            rows: vec![Vec::new(); SHARDS],
            others: vec![Vec::new(); SHARDS],
            segments: vec![Vec::new(); SHARDS],
            tally: Tally::new(shape),
        }
    }

    /// Drops the lines of requests that were delivered before.
    fn drop_repeats(&mut self, repeats: &mut Repeats) {
        let mut dropped = 0;
        for rows in &mut self.rows {
            let before = rows.len();
            rows.retain(|row| !row.print.is_some_and(|print| repeats.is_repeat(print)));
            dropped += before - rows.len();
        }
        self.tally.repeated(dropped as u64);
    }

    /// Counts what is left.
    fn count(&mut self) {
        self.rows.iter().flatten().for_each(|row| self.tally.row(row));
    }
}

impl Sink for Batch {
    fn row(&mut self, row: &Row, plan: Option<Short>) {
        self.tally.line(plan);
        if let Some(rows) = self.rows.get_mut(shard(units::owner(row))) {
            rows.push(*row);
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
        if let Some(others) = self.others.get_mut(shard(unit)) {
            others.push(Exposed { unit, trial: line.trial, first });
        }
    }

    fn segment(&mut self, value: &SegmentValue, text: Option<&str>) {
        if let Some(text) = text {
            self.tally.text(value, text);
        }
        if let Some(values) = self.segments.get_mut(shard(value.unit)) {
            values.push(*value);
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
/// The source cannot be read.
pub(crate) fn join<S: Source>(
    source: &S,
    shape: Shape,
    (outcomes, defer, dimensions): (&Outcomes, bool, usize),
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Joined, Error> {
    let tables = (0..SHARDS).map(|_| UnitTable::new(shape, outcomes, defer, dimensions)).collect();
    let lanes = Lanes::new(Tally::new(shape).with_outcomes(outcomes), tables);
    let (pieces, todo) = mpsc::sync_channel::<(u64, S::Piece)>(threads);
    // Owned by the threads alone, so that the reader stops if they do.
    let todo = Arc::new(Mutex::new(todo));
    let notes = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (todo, lanes) = (Arc::clone(&todo), &lanes);
            scope.spawn(move || {
                let _guard = lanes.guard();
                let mut batch = Batch::new(shape);
                loop {
                    let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, piece)) = next else { break };
                    source.rows(&piece, &mut batch);
                    drop(piece);
                    if deliver(&mut batch, number, lanes, outcomes, progress).is_none() {
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
    let (repeats, tally, shards) = lanes.into_parts();
    let notes = notes.iter().map(ToString::to_string).collect();
    Ok(Joined { tally, shards, notes, unchecked: repeats.unchecked() })
}

/// Adds a batch to all lanes, each when it is the batch's turn. `None` if another thread panicked.
fn deliver(
    batch: &mut Batch,
    number: u64,
    lanes: &Lanes,
    outcomes: &Outcomes,
    progress: &(dyn Fn(u64) + Sync),
) -> Option<()> {
    lanes.repeats(number, |repeats| batch.drop_repeats(repeats))?;
    batch.count();
    let read = lanes.tally(number, |tally| {
        tally.take(&mut batch.tally);
        tally.lines
    })?;
    progress(read);
    let parts = batch.rows.iter_mut().zip(&mut batch.others).zip(&mut batch.segments);
    for (shard, ((rows, others), segments)) in parts.enumerate() {
        lanes.shard(number, shard, |table| {
            rows.drain(..).for_each(|row| table.add(&row, outcomes));
            others.drain(..).for_each(|exposed| table.other_trials.add(exposed));
            segments.drain(..).for_each(|value| table.segment(&value));
        })?;
    }
    Some(())
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
