//! Rows of the baseline and of the mirror, brought together by request id.

use std::collections::HashMap;

use crate::row::key;
use crate::source::outcomes::{Cell, Cells, Column};

/// Requests with a prediction of both, in the order of the baseline's rows.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// The baseline's row and the mirror's.
    pub(super) rows: Vec<[usize; 2]>,
    /// The number of each pair's unit.
    pub(super) units: Vec<u32>,
    /// How many units there are.
    pub(super) count: usize,
    /// Pairs whose unit is known; others are a unit each.
    pub(super) known: u64,
    pub(super) baseline_only: u64,
    pub(super) mirror_only: u64,
    /// Rows that say again what an earlier one of their request and source said; the last one counts.
    pub(super) repeated: u64,
    /// Rows without a request id, or of another source.
    pub(super) foreign: u64,
}

impl Pairs {
    /// Pairs the rows. `unit` has the unit of a row, if it is known.
    ///
    /// # Errors
    /// No row has a request id, or a source that is known.
    pub(super) fn new(
        cells: &Cells,
        source: &Column,
        unit: impl Fn(usize) -> Option<u64>,
    ) -> Result<Self, String> {
        let mut pairs = Self::default();
        let mut places: HashMap<u64, usize> = HashMap::new();
        let mut requests: Vec<[Option<usize>; 2]> = Vec::new();
        let mut strange = None;
        for row in 0..cells.rows {
            let side = match source.text(row).as_deref() {
                Some("baseline") => 0,
                Some("mirror") => 1,
                other => {
                    strange = strange.or_else(|| other.map(crate::figures::visible));
                    pairs.foreign += 1;
                    continue;
                }
            };
            let id = cells.request(row);
            if id.is_empty() {
                pairs.foreign += 1;
                continue;
            }
            let place = *places.entry(key(id)).or_insert_with(|| {
                requests.push([None; 2]);
                requests.len() - 1
            });
            if let Some(slot) = requests.get_mut(place).and_then(|sides| sides.get_mut(side)) {
                pairs.repeated += u64::from(slot.replace(row).is_some());
            }
        }
        if requests.is_empty() {
            let found = strange.map(|source| format!("; found \"{source}\"")).unwrap_or_default();
            return Err(format!(
                "no row has a request_id and a source that is baseline or mirror{found}"
            ));
        }
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        for request in requests {
            match request {
                [Some(one), Some(other)] => {
                    let next = u32::try_from(pairs.count).unwrap_or(u32::MAX);
                    let number = match unit(one).or_else(|| unit(other)) {
                        Some(unit) => {
                            pairs.known += 1;
                            *numbers.entry(unit).or_insert(next)
                        }
                        None => next,
                    };
                    pairs.count += usize::from(number == next);
                    pairs.rows.push([one, other]);
                    pairs.units.push(number);
                }
                [Some(_), None] => pairs.baseline_only += 1,
                _ => pairs.mirror_only += 1,
            }
        }
        Ok(pairs)
    }

    /// The values of a column, by pair.
    pub(super) fn values(&self, column: &Column) -> Vec<[Cell; 2]> {
        let cell = |row: usize| column.cells.get(row).copied().unwrap_or(Cell::Missing);
        self.rows.iter().map(|[one, other]| [cell(*one), cell(*other)]).collect()
    }

    /// Sums by unit: of each pair, a value or nothing.
    pub(super) fn by_unit(&self, values: impl Iterator<Item = Option<f64>>) -> Vec<(f64, f64)> {
        let mut units = vec![(0.0, 0.0); self.count];
        for (unit, value) in self.units.iter().zip(values) {
            if let (Some(value), Some((sum, rows))) = (value, units.get_mut(*unit as usize)) {
                *sum += value;
                *rows += 1.0;
            }
        }
        units
    }
}
