//! The tables of all units, by shard: in memory, or in temporary files from which each is loaded when its turn comes.
//!
//! Everything that walks the units does it here, a shard at a time, so it makes no difference to it where the tables are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::growing::Growing;
use super::spill::{In, Out, Spill};
use super::totals::Slots;
use super::units::UnitTable;
use crate::error::Error;
use crate::source::outcomes::Outcomes;

/// A table in a file.
#[derive(Debug)]
pub(super) struct Parked {
    file: Mutex<File>,
    /// Its size in memory.
    bytes: u64,
}

impl Parked {
    /// Parks a table in a file, which is written anew.
    pub(super) fn new(table: &UnitTable, file: File) -> io::Result<Self> {
        let mut parked = Self { file: Mutex::new(file), bytes: 0 };
        parked.store(table)?;
        Ok(parked)
    }

    fn store(&mut self, table: &UnitTable) -> io::Result<()> {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut out = Out::again(file.try_clone()?)?;
        table.store(&mut out)?;
        out.finish()?;
        self.bytes = table.bytes();
        Ok(())
    }

    fn load(&self) -> io::Result<UnitTable> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        UnitTable::load(&mut In::new(&file)?)
    }
}

/// Where a table is.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are twenty of them")]
pub(super) enum Place {
    Here(UnitTable),
    Parked(Parked),
}

impl Place {
    /// How much memory is needed to use the table, besides what it has.
    const fn needs(&self) -> u64 {
        match self {
            Self::Here(_) => 0,
            Self::Parked(parked) => parked.bytes,
        }
    }
}

/// The tables of all shards.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    places: Vec<Place>,
    spill: Option<Spill>,
}

impl Shards {
    /// The sums by shard, and the tables, once everything is read.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(super) fn finish(
        all: Vec<Growing>,
        outcomes: &Outcomes,
        spill: Option<Spill>,
        threads: usize,
    ) -> Result<(Vec<Slots>, Self), Error> {
        let most = all.iter().map(Growing::most).max().unwrap_or(0);
        let holders = holders(spill.as_ref(), threads, most);
        let finish = |_, growing: Growing| growing.finish(outcomes);
        let parts = spread(holders, all, finish).map_err(failed(spill.as_ref()))?;
        let (totals, places) = parts.into_iter().unzip();
        Ok((totals, Self { places, spill }))
    }

    /// Applies `f` to every table, on so many threads; results are in the order of the shards.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn each<R: Send>(
        &self,
        threads: usize,
        f: impl Fn(usize, &UnitTable) -> R + Sync,
    ) -> Result<Vec<R>, Error> {
        let of = |shard, place: &Place| match place {
            Place::Here(table) => Ok(f(shard, table)),
            Place::Parked(parked) => Ok(f(shard, &parked.load()?)),
        };
        let found = spread(self.holders(threads), &self.places, of);
        found.map_err(failed(self.spill.as_ref()))
    }

    /// Applies `f` to every table and what there is for it, and keeps what it changes. A table that stays as it is need not
    /// be touched: `f` is only called if `is_needed`.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(crate) fn each_mut<T: Send, R: Send + Default>(
        &mut self,
        threads: usize,
        parts: impl IntoIterator<Item = T>,
        is_needed: impl Fn(&T) -> bool + Sync,
        f: impl Fn(usize, &mut UnitTable, T) -> R + Sync,
    ) -> Result<Vec<R>, Error> {
        let of = |shard, (place, part): (&mut Place, T)| {
            if !is_needed(&part) {
                return Ok(R::default());
            }
            match place {
                Place::Here(table) => Ok(f(shard, table, part)),
                Place::Parked(parked) => {
                    let mut table = parked.load()?;
                    let result = f(shard, &mut table, part);
                    parked.store(&table)?;
                    Ok(result)
                }
            }
        };
        let holders = self.holders(threads);
        let all: Vec<(&mut Place, T)> = self.places.iter_mut().zip(parts).collect();
        spread(holders, all, of).map_err(failed(self.spill.as_ref()))
    }

    /// Whether tables are in files.
    pub(crate) fn are_parked(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Parked(_)))
    }

    /// The table of a shard, if it is in memory.
    pub(super) fn here(&self, shard: usize) -> Option<&UnitTable> {
        match self.places.get(shard)? {
            Place::Here(table) => Some(table),
            Place::Parked(_) => None,
        }
    }

    /// How many bytes may be used for what is held beside the tables.
    pub(super) fn room(&self) -> u64 {
        self.spill.as_ref().map_or(u64::MAX, Spill::aside)
    }

    fn holders(&self, threads: usize) -> usize {
        let most = self.places.iter().map(Place::needs).max().unwrap_or(0);
        holders(self.spill.as_ref(), threads, most)
    }
}

/// Makes the error of a temporary file. Without [`Spill`], there is none.
fn failed(spill: Option<&Spill>) -> impl Fn(io::Error) -> Error {
    move |error| match spill {
        Some(spill) => spill.failed(&error),
        None => Error::temporary("", &error),
    }
}

/// How many threads may hold a table of this many bytes each.
fn holders(spill: Option<&Spill>, threads: usize, bytes: u64) -> usize {
    let Some(spill) = spill.filter(|_| bytes > 0) else { return threads };
    let fit = spill.most() / bytes;
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, threads.max(1))
}

/// Applies `f` to each item on so many threads, until it fails; results are in the order of the items.
fn spread<T: Send, R: Send>(
    threads: usize,
    items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    f: impl Fn(usize, T) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let items = items.into_iter();
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.enumerate().map(|(number, item)| f(number, item)).collect();
    }
    let items = Mutex::new(items.enumerate());
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, item)) = next else { break };
                    let result = f(number, item);
                    let is_failure = result.is_err();
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(number, result);
                    if is_failure {
                        break;
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for threads in [1, 2, 7, 100] {
            let found =
                spread(threads, (0..50).collect::<Vec<_>>(), |at, item: usize| Ok(at * item));
            assert_eq!(found.unwrap(), (0..50).map(|at| at * at).collect::<Vec<_>>());
            let fails =
                |_, item| if item == 30 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
            let found = spread(threads, (0..50).collect::<Vec<_>>(), fails);
            assert_eq!(found.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }

    #[test]
    fn as_many_tables_are_loaded_as_fit_into_half_of_the_memory() {
        let spill = Spill::new(1000, "", tempfile::tempfile);
        let of = |threads, bytes| holders(Some(&spill), threads, bytes);
        assert_eq!([of(8, 100), of(8, 300), of(8, 800), of(2, 100), of(8, 0)], [5, 1, 1, 2, 8]);
        assert_eq!(holders(None, 8, 900), 8);
    }
}
