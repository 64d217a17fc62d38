//! A table as plain columns in a file. The index is not stored: most passes look up no unit.

use std::io;
use std::sync::OnceLock;

use super::UnitTable;
use crate::join::chunks::Chunks;
use crate::join::days::Days;
use crate::join::plain::Plain;
use crate::join::spill::{In, Out};
use crate::join::trials::OtherTrials;

impl UnitTable {
    /// How many bytes are allocated.
    pub(in crate::join) fn bytes(&self) -> u64 {
        let columns: usize = self.columns.iter().map(Chunks::bytes).sum();
        let covariates: usize = self.covariates.iter().map(Chunks::bytes).sum();
        let segments: usize = self.segments.iter().map(Chunks::bytes).sum();
        let all = self.index.get().map_or(0, hashbrown::HashTable::allocation_size)
            + self.cells.bytes()
            + self.other_trials.bytes()
            + columns
            + covariates
            + segments
            + self.days.bytes()
            + list_bytes(self.hits.as_deref())
            + list_bytes(self.deferred.as_deref());
        all as u64
    }

    pub(in crate::join) fn store(&self, out: &mut Out) -> io::Result<()> {
        // A field that is missing here does not compile.
        let Self {
            index: _,
            heads,
            cells,
            other_trials,
            columns,
            covariates,
            days,
            segments,
            hits,
            deferred,
        } = self;
        out.put([*heads])?;
        cells.store(out)?;
        other_trials.store(out)?;
        Chunks::store_all(columns, out)?;
        Chunks::store_all(covariates, out)?;
        days.store(out)?;
        Chunks::store_all(segments, out)?;
        store_list(hits.as_deref(), out)?;
        store_list(deferred.as_deref(), out)
    }

    pub(in crate::join) fn load(from: &mut In<'_>) -> io::Result<Self> {
        Ok(Self {
            index: OnceLock::new(),
            heads: from.one()?,
            cells: Chunks::load(from)?,
            other_trials: OtherTrials::load(from)?,
            columns: Chunks::load_all(from)?,
            covariates: Chunks::load_all(from)?,
            days: Days::load(from)?,
            segments: Chunks::load_all(from)?,
            hits: load_list(from)?,
            deferred: load_list(from)?,
        })
    }
}

fn list_bytes<T>(list: Option<&[T]>) -> usize {
    list.map_or(0, size_of_val)
}

fn store_list<T: Plain>(list: Option<&[T]>, out: &mut Out) -> io::Result<()> {
    out.put([list.is_some()])?;
    out.list(list.unwrap_or_default().iter().copied())
}

fn load_list<T: Plain>(from: &mut In<'_>) -> io::Result<Option<Vec<T>>> {
    let is_some: bool = from.one()?;
    let mut list = Vec::new();
    from.list(|value| list.push(value))?;
    Ok(is_some.then_some(list))
}
