//! What rows of the outcomes see of the units that they are about: a block of rows at a time, so that tables in files are
//! loaded once for each block.

use super::{Cell, Joined, UnitTable, shard};
use crate::error::Error;

/// A cell of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) number: u32,
    /// The first request, in milliseconds since 1970.
    pub(crate) first: u64,
    pub(crate) stratum: u8,
    pub(crate) arm: u8,
}

/// The unit of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighted {
    pub(crate) shard: usize,
    /// Its first cell.
    pub(crate) first: Spot,
    /// Its cell at the time of the row.
    pub(crate) at: Option<Spot>,
}

/// What a row sees.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) unit: Option<Sighted>,
    /// The unit's last first exposure in another trial until the time of the row.
    pub(crate) other: Option<u64>,
    /// The unit was exposed in another trial at some time.
    pub(crate) is_elsewhere: bool,
}

/// Both keys that the log may have for the unit of a row, and the row's time.
type Look = ([u64; 2], Option<u64>);

/// How many rows are looked up at once while all tables are in memory, and at least.
const BLOCK: usize = 1 << 10;
/// What a row of a block takes.
const ROW: u64 = 200;

impl Joined {
    /// How many rows are looked up at once.
    pub(crate) fn block(&self) -> usize {
        if !self.shards.are_parked() {
            return BLOCK;
        }
        usize::try_from(self.shards.room() / ROW).unwrap_or(usize::MAX).max(BLOCK)
    }

    /// What these rows see, by clocks that may differ by `tolerance`. A row without a time sees its unit's first cell.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn see(
        &self,
        rows: impl Iterator<Item = Look> + Clone + Sync,
        tolerance: u64,
    ) -> Result<Vec<Seen>, Error> {
        if !self.shards.are_parked() {
            let see = |key: u64, time, seeks_unit| {
                let own = shard(key);
                let table = self.shards.here(own);
                table.map_or_else(Seen::default, |it| it.see(own, key, time, tolerance, seeks_unit))
            };
            let of = |([one, two], time): Look| {
                let first = see(one, time, true);
                // Of two units, that of the first key.
                first.with(see(two, time, first.unit.is_none()))
            };
            return Ok(rows.map(of).collect());
        }
        let keys = rows.clone().flat_map(|([one, two], time)| [(one, time), (two, time)]);
        let mut seen = vec![Seen::default(); rows.count()];
        let see = |shard: usize, table: &UnitTable, key: u64, time: Option<u64>| {
            let found = table.see(shard, key, time, tolerance, true);
            (found.unit.is_some() || found.is_elsewhere).then_some(found)
        };
        self.look(keys, see, |key, found| {
            let Some(seen) = seen.get_mut(key / 2) else { return };
            *seen = if key % 2 == 0 { found.with(*seen) } else { seen.with(found) };
        })?;
        Ok(seen)
    }

    /// Which of these keys are units of the log; with `or_elsewhere`, also those of other trials.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn know(&self, keys: &[u64], or_elsewhere: bool) -> Result<Vec<bool>, Error> {
        let is_known = |_: usize, table: &UnitTable, key: u64, (): ()| {
            let is_elsewhere = || table.other_trials.of(key).next().is_some();
            (table.unit(key).is_some() || (or_elsewhere && is_elsewhere())).then_some(())
        };
        let mut known = vec![false; keys.len()];
        self.look(keys.iter().map(|key| (*key, ())), is_known, |at, ()| {
            if let Some(known) = known.get_mut(at) {
                *known = true;
            }
        })?;
        Ok(known)
    }

    /// Looks keys up in the tables of their shards, and takes what is found by the number of the key.
    fn look<T: Send, R: Send>(
        &self,
        keys: impl Iterator<Item = (u64, T)> + Clone + Sync,
        find: impl Fn(usize, &UnitTable, u64, T) -> Option<R> + Sync,
        mut take: impl FnMut(usize, R),
    ) -> Result<(), Error> {
        if !self.shards.are_parked() {
            for (at, (key, more)) in keys.enumerate() {
                let own = shard(key);
                let table = self.shards.here(own);
                if let Some(found) = table.and_then(|table| find(own, table, key, more)) {
                    take(at, found);
                }
            }
            return Ok(());
        }
        let found = self.shards.each(self.threads, |own, table| {
            let keys = keys.clone().enumerate().filter(|(_, (key, _))| shard(*key) == own);
            let found =
                keys.filter_map(|(at, (key, more))| Some((at, find(own, table, key, more)?)));
            found.collect::<Vec<_>>()
        })?;
        found.into_iter().flatten().for_each(|(at, found)| take(at, found));
        Ok(())
    }
}

impl Seen {
    /// With what the other key of a row sees.
    fn with(self, second: Self) -> Self {
        Self {
            unit: self.unit.or(second.unit),
            other: self.other.max(second.other),
            is_elsewhere: self.is_elsewhere || second.is_elsewhere,
        }
    }
}

impl UnitTable {
    /// What a row with this key and time sees; its unit only if that is sought.
    fn see(
        &self,
        shard: usize,
        key: u64,
        time: Option<u64>,
        tolerance: u64,
        seeks_unit: bool,
    ) -> Seen {
        let spot = |(number, cell): (u32, &Cell)| {
            let Cell { first, stratum, arm, .. } = *cell;
            Spot { number, first, stratum, arm }
        };
        let unit = if seeks_unit { self.unit(key) } else { None };
        let sighted = unit.and_then(|unit| {
            let first = unit.first()?;
            let is_soon = |time: u64| first.1.first <= time + tolerance;
            let at = time.map_or(Some(first), |time| {
                unit.at(time).or_else(|| Some(first).filter(|_| is_soon(time)))
            });
            Some(Sighted { shard, first: spot(first), at: at.map(spot) })
        });
        let others = || self.other_trials.of(key).map(|other| other.first);
        let other = others().filter(|first| time.is_none_or(|time| *first <= time)).max();
        Seen { unit: sighted, other, is_elsewhere: others().next().is_some() }
    }
}
