//! Covariates: what is known of a unit from before its first exposure (CUPED).
//!
//! A unit has one value of each covariate, in all its phases. A row with a time from after the unit's first request does not
//! count, since the variant may have changed what it says. A unit with several values has none: a column that changes is
//! an outcome. Units without a value have the mean of the others, and an indicator of their own, so that they are compared
//! with each other.

use crate::error::{Error, Part};
use crate::join::{Chunks, Joined, SHARDS, Sighted, UnitTable};
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

/// The covariates. Their values are in the tables of units.
#[derive(Debug)]
pub(crate) struct Covariates {
    pub(crate) counts: Vec<Counts>,
}

/// A row of a unit.
struct Own {
    row: u32,
    /// The unit's first cell.
    first: u32,
    /// It is from after the unit's first request.
    is_late: bool,
}

/// What the rows of a shard add to a covariate.
#[derive(Default)]
struct Added {
    rows: u64,
    late: u64,
    several: u64,
}

impl Covariates {
    /// Reads these columns of the outcomes.
    ///
    /// # Errors
    /// A temporary file cannot be used.
    pub(crate) fn find(
        joined: &mut Joined,
        outcomes: &Outcomes,
        columns: &[usize],
    ) -> Result<Self, Error> {
        let named = columns.iter().map(|column| Counts {
            name: outcomes.columns.get(*column).cloned().unwrap_or_default(),
            ..Counts::default()
        });
        let mut counts: Vec<Counts> = named.collect();
        let mut rows = (0..).zip(outcomes.units());
        loop {
            let block: Vec<_> = rows.by_ref().take(joined.block()).collect();
            if block.is_empty() {
                break;
            }
            let seen = joined.see(block.iter().map(|(_, (keys, time, _))| (*keys, *time)), 0)?;
            let mut own: Vec<Vec<Own>> = std::iter::repeat_with(Vec::new).take(SHARDS).collect();
            for ((row, (_, time, _)), seen) in block.iter().zip(seen) {
                let Some(Sighted { shard, first, .. }) = seen.unit else { continue };
                let is_late = time.is_some_and(|time| time > first.first);
                if let Some(own) = own.get_mut(shard) {
                    own.push(Own { row: *row, first: first.number, is_late });
                }
            }
            let add = |_: usize, table: &mut UnitTable, own: Vec<Own>| {
                let columns = columns.iter().enumerate();
                let of = |(covariate, column): (usize, &usize)| {
                    let values = table.covariate_mut(covariate, counts.len());
                    values.map_or_else(Added::default, |values| {
                        add(values, &own, |row| outcomes.row(row).get(*column).copied())
                    })
                };
                columns.map(of).collect::<Vec<_>>()
            };
            let parked = joined.shards.are_parked();
            let threads = if parked { joined.threads } else { 1 };
            let added = joined.shards.each_mut(threads, own, |own| !own.is_empty(), add)?;
            for added in added {
                for (counts, added) in counts.iter_mut().zip(added) {
                    counts.rows += added.rows;
                    counts.late += added.late;
                    counts.several += added.several;
                }
            }
        }
        let mut covariates = Self { counts };
        covariates.fill(joined)?;
        Ok(covariates)
    }

    /// Finds the means of the values that are known.
    fn fill(&mut self, joined: &Joined) -> Result<(), Error> {
        let count = self.len();
        let of_shards = joined.shards.each(joined.threads, |_, table| {
            let values = |covariate| {
                (0..table.cells()).filter_map(move |cell| table.covariate(covariate, cell))
            };
            (0..count).map(|covariate| mean(values(covariate))).collect::<Vec<_>>()
        })?;
        for (covariate, counts) in self.counts.iter_mut().enumerate() {
            let mut known = 0.0;
            for (more, mean) in of_shards.iter().filter_map(|shard| shard.get(covariate)) {
                known += more;
                if *more > 0.0 {
                    counts.fill += (mean - counts.fill) * more / known;
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.counts.len()
    }

    /// The numbers that adjust a unit: its values, the mean where there is none, and for each whether there is none.
    pub(crate) fn design(&self, table: &UnitTable, first: u32, design: &mut Vec<f64>) {
        design.clear();
        let values = || (0..self.len()).map(|covariate| table.covariate(covariate, first));
        design.extend(
            values()
                .zip(&self.counts)
                .map(|(value, counts)| value.map_or(counts.fill, |value| value)),
        );
        design.extend(values().map(|value| f64::from(u8::from(value.is_none()))));
    }
}

/// How many values there are, and their mean.
fn mean(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((0.0, 0.0), |(known, mean), value| {
        let known = known + 1.0;
        (known, mean + (value - mean) / known)
    })
}

/// Adds the values of rows to those of their units, by first cell.
fn add(values: &mut Chunks<f64>, own: &[Own], value: impl Fn(u32) -> Option<f64>) -> Added {
    let mut added = Added::default();
    for Own { row, first, is_late } in own {
        let value = value(*row).filter(|value| !value.is_nan());
        let Some((value, place)) = value.zip(values.get_mut(*first)) else { continue };
        added.rows += 1;
        if *is_late {
            added.late += 1;
        } else if place.is_nan() {
            *place = value;
        } else if place.to_bits() != value.to_bits() && place.is_finite() {
            *place = f64::INFINITY;
            added.several += 1;
        }
    }
    added
}
