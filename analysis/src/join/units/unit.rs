//! A unit of the table.

use super::{Cell, Earliest, UnitTable};

/// A unit by its cells.
#[derive(Clone, Copy)]
pub(crate) struct Unit<'l> {
    pub(super) table: &'l UnitTable,
    pub(super) head: u32,
}

impl<'l> Unit<'l> {
    /// Its cells, each with its number.
    pub(crate) fn cells(self) -> impl Iterator<Item = (u32, &'l Cell)> {
        let cells = &self.table.cells;
        let mut at = self.head;
        std::iter::from_fn(move || {
            let cell = cells.get(at)?;
            let number = std::mem::replace(&mut at, cell.next);
            Some((number, cell))
        })
    }

    /// Its value in a dimension.
    pub(crate) fn segment(self, dimension: usize) -> Earliest {
        let column = self.table.segments.get(dimension);
        column.and_then(|column| column.get(self.head)).copied().unwrap_or_default()
    }

    /// The cell of the phase that it was in at this time. `None` before its first request.
    pub(crate) fn at(self, time: u64) -> Option<(u32, &'l Cell)> {
        let begun = self.cells().filter(|(_, cell)| cell.first <= time);
        begun.max_by_key(|(_, cell)| (cell.first, cell.stratum))
    }

    /// The cell of its first request: its stratum and variant for everything that counts a unit once.
    pub(crate) fn first(self) -> Option<(u32, &'l Cell)> {
        self.cells().min_by_key(|(_, cell)| (cell.first, cell.stratum))
    }
}
