//! Covariates: what is known of a unit from before its first exposure (CUPED).
//!
//! A unit has one value of each covariate, in all its phases. A row with a time from after the unit's first request does not
//! count, since the variant may have changed what it says. A unit with several values has none: a column that changes is
//! an outcome. Units without a value have the mean of the others, and an indicator of their own, so that they are compared
//! with each other.

use crate::error::{Error, Part};
use crate::join::Joined;
use crate::source::outcomes::Outcomes;

/// The columns of the outcomes that are covariates.
///
/// # Errors
/// Outcomes about requests, or a column that the outcomes do not have.
pub(crate) fn columns(names: &[String], outcomes: &Outcomes) -> Result<Vec<usize>, Error> {
    // Without outcomes, there is nothing to adjust.
    if outcomes.columns.is_empty() && outcomes.ignored.is_empty() {
        return Ok(Vec::new());
    }
    let column = |name: &String| {
        let wrong = |problem: String| Error::input(Part::Covariate(name.clone()), problem);
        if outcomes.by_request {
            let problem = "a covariate is about a unit, but the rows are about requests; give outcomes \
                           with a column `unit` instead of `request_id`";
            return Err(wrong(problem.to_owned()));
        }
        let place = outcomes.columns.iter().position(|column| column == name);
        place.ok_or_else(|| {
            let ignored = outcomes.ignored.iter().find(|ignored| ignored.name == *name);
            wrong(ignored.map_or_else(
                || {
                    let columns = outcomes.columns.join(", ");
                    format!("unknown column; the outcomes have: {columns}")
                },
                |ignored| format!("{ignored}; {}", ignored.needs()),
            ))
        })
    };
    names.iter().map(column).collect()
}

/// What became of the rows with a value of a covariate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) name: String,
    /// Rows with a value, of units of the log.
    pub(crate) rows: u64,
    /// Those from after the unit's first request.
    pub(crate) late: u64,
    /// Units with several values.
    pub(crate) several: u64,
    /// The mean of the known values.
    pub(crate) fill: f64,
}

/// The covariates of all units.
#[derive(Debug)]
pub(crate) struct Covariates {
    /// By shard, covariate and the unit's first cell; not finite if unknown.
    values: Vec<Vec<Vec<f64>>>,
    pub(crate) counts: Vec<Counts>,
}

impl Covariates {
    /// Reads these columns of the outcomes.
    pub(crate) fn find(joined: &Joined, outcomes: &Outcomes, columns: &[usize]) -> Self {
        let of = |cells: u32| vec![vec![f64::NAN; cells as usize]; columns.len()];
        let mut values: Vec<Vec<Vec<f64>>> =
            joined.shards.iter().map(|table| of(table.cells())).collect();
        let named = columns.iter().map(|column| Counts {
            name: outcomes.columns.get(*column).cloned().unwrap_or_default(),
            ..Counts::default()
        });
        let mut counts: Vec<Counts> = named.collect();
        for (keys, time, row) in outcomes.units() {
            let Some((shard, unit)) = keys.into_iter().find_map(|key| joined.unit(key)) else {
                continue;
            };
            let Some((number, cell)) = unit.first() else { continue };
            let is_late = time.is_some_and(|time| time > cell.first);
            let Some(of_shard) = values.get_mut(shard) else { continue };
            for ((column, of_column), counts) in columns.iter().zip(of_shard).zip(&mut counts) {
                let value = row.get(*column).copied().unwrap_or(f64::NAN);
                let Some(slot) = of_column.get_mut(number as usize) else { continue };
                if value.is_nan() {
                    continue;
                }
                counts.rows += 1;
                if is_late {
                    counts.late += 1;
                } else if slot.is_nan() {
                    *slot = value;
                } else if slot.to_bits() != value.to_bits() && slot.is_finite() {
                    *slot = f64::INFINITY;
                    counts.several += 1;
                }
            }
        }
        for (index, counts) in counts.iter_mut().enumerate() {
            let of_units = values.iter().filter_map(|shard| shard.get(index)).flatten();
            let mut known = 0.0;
            for value in of_units.filter(|value| value.is_finite()) {
                known += 1.0;
                counts.fill += (value - counts.fill) / known;
            }
        }
        Self { values, counts }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.counts.len()
    }

    /// The value of a unit, by its shard and its first cell.
    pub(crate) fn value(&self, shard: usize, covariate: usize, first: u32) -> Option<f64> {
        let value = *self.values.get(shard)?.get(covariate)?.get(first as usize)?;
        value.is_finite().then_some(value)
    }

    /// The numbers that adjust a unit: its values, the mean where there is none, and for each whether there is none.
    pub(crate) fn design(&self, shard: usize, first: u32, design: &mut Vec<f64>) {
        design.clear();
        let values = || (0..self.len()).map(|covariate| self.value(shard, covariate, first));
        design.extend(
            values()
                .zip(&self.counts)
                .map(|(value, counts)| value.map_or(counts.fill, |value| value)),
        );
        design.extend(values().map(|value| f64::from(u8::from(value.is_none()))));
    }
}
