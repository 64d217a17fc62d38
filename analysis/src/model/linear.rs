//! Linearized metrics: each unit's value is the figure of its slot plus its influence on it, times the number of units. So
//! the mean over units is the figure, and the variance of that mean is the figure's.

use sidetrack_stats::float;
use sidetrack_stats::linearized::{Linearized, auc, f1, macro_f1, rmse};

use super::{ModelMetric, Piece, Predictions};
use crate::attribution::Attribution;
use crate::error::Error;
use crate::join::{Hit, Joined, SHARDS, Shape, UnitTable};
use crate::source::outcomes::Outcomes;

/// With fewer labels of a class, neither an AUC nor an F1 nor its error is known.
const FEWEST: usize = 5;

/// A row of the outcomes that counts, and the cell of its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owned {
    pub(crate) shard: usize,
    pub(crate) cell: u32,
    pub(crate) row: u32,
}

/// Where rows belong.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) shape: Shape,
    /// Whether units are compared; else each row is by itself.
    pub(crate) units: bool,
    pub(crate) attribution: Option<Attribution>,
}

impl Ground {
    /// The rows that count, by slot, in the order of the logs or of the outcomes.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn rows(self, joined: &Joined) -> Result<Vec<Vec<Owned>>, Error> {
        let of = |shard: usize, table: &UnitTable| {
            let owned = |hit: &Hit| {
                let (stratum, arm) = if self.units {
                    let cell = table.cell_at(hit.cell)?;
                    if self.attribution.is_some_and(|attribution| attribution.is_open(cell.first)) {
                        return None;
                    }
                    (cell.stratum, cell.arm)
                } else {
                    (hit.stratum, hit.arm)
                };
                let slot = self.shape.slot(usize::from(stratum), usize::from(arm));
                Some((slot, Owned { shard, cell: hit.cell, row: hit.row }))
            };
            table.hits().iter().filter_map(owned).collect::<Vec<_>>()
        };
        let mut slots = vec![Vec::new(); self.shape.slots()];
        for (slot, owned) in joined.shards.each(joined.threads, of)?.into_iter().flatten() {
            if let Some(rows) = slots.get_mut(slot) {
                rows.push(owned);
            }
        }
        Ok(slots)
    }
}

/// Computes the linearized metrics of the outcomes, and adds them as the values of their columns.
///
/// # Errors
/// A temporary file cannot be used.
pub(crate) fn linearize(
    joined: &mut Joined,
    outcomes: &Outcomes,
    ground: Ground,
) -> Result<(), Error> {
    let Some(predictions) = &outcomes.predictions else { return Ok(()) };
    let slots = ground.rows(joined)?;
    let linear = predictions.metrics.iter().filter(|(metric, ..)| !metric.is_mean());
    for (metric, _, column) in linear {
        let complete = metric.complete().iter().find_map(|metric| predictions.column(*metric));
        let columns = [Some(*column), complete];
        let columns: Vec<usize> = columns.into_iter().flatten().collect();
        let unknown = if ground.units { unknown(joined, &columns)? } else { Vec::new() };
        let mut values = vec![Vec::new(); SHARDS];
        for (slot, rows) in slots.iter().enumerate() {
            let is_known = |row: &&Owned| {
                let cells = unknown.get(row.shard);
                !cells.and_then(|cells| cells.get(row.cell as usize)).copied().unwrap_or(false)
            };
            let known: Vec<Owned> = rows.iter().filter(is_known).copied().collect();
            let (rows, found) = figure(*metric, predictions, &known);
            let Some(found) = found else { continue };
            if ground.units {
                of_units(&mut values, &rows, &found);
            } else if let Some(totals) = joined.totals.first_mut() {
                let many = float(found.influences.len() as u64);
                for influence in &found.influences {
                    totals.add_value(slot, *column, many.mul_add(*influence, found.value));
                }
            }
        }
        for (values, cells) in values.iter_mut().zip(&unknown) {
            let lost = (0..).zip(cells).filter(|(_, lost)| **lost);
            values.extend(lost.map(|(cell, _)| (cell, f64::INFINITY)));
        }
        let set = |_: usize, table: &mut UnitTable, values: Vec<(u32, f64)>| {
            values.into_iter().for_each(|(cell, value)| table.set_column(*column, cell, value));
        };
        joined.shards.each_mut(joined.threads, values, |values| !values.is_empty(), set)?;
    }
    Ok(())
}

/// Adds the values of the units of a slot to those of their shards.
fn of_units(values: &mut [Vec<(u32, f64)>], rows: &[Owned], found: &Linearized) {
    // Rows of a unit follow each other only by chance; a stable order keeps the sums the same.
    let mut order: Vec<(usize, u32, usize)> =
        rows.iter().enumerate().map(|(at, row)| (row.shard, row.cell, at)).collect();
    order.sort_unstable();
    let same =
        |one: &(usize, u32, usize), two: &(usize, u32, usize)| (one.0, one.1) == (two.0, two.1);
    let many = float(order.chunk_by(same).count() as u64);
    for unit in order.chunk_by(same) {
        let Some((shard, cell, _)) = unit.first() else { continue };
        let influences = unit.iter().filter_map(|(.., at)| found.influences.get(*at));
        let influence: f64 = influences.sum();
        if let Some(values) = values.get_mut(*shard) {
            values.push((*cell, many.mul_add(influence, found.value)));
        }
    }
}

/// By shard, the cells of units of which a value of one of the columns cannot be known.
fn unknown(joined: &Joined, columns: &[usize]) -> Result<Vec<Vec<bool>>, Error> {
    joined.shards.each(joined.threads, |_, table| {
        let mut lost = vec![false; table.cells() as usize];
        for unit in table.units() {
            let is_lost = unit.cells().any(|(cell, _)| {
                columns.iter().any(|column| table.column(*column, cell).0.is_infinite())
            });
            if is_lost {
                for (cell, _) in unit.cells() {
                    if let Some(lost) = lost.get_mut(cell as usize) {
                        *lost = true;
                    }
                }
            }
        }
        lost
    })
}

/// The figure of some rows, and the rows that it is about: those with a prediction and a label.
fn figure(
    metric: ModelMetric,
    predictions: &Predictions,
    rows: &[Owned],
) -> (Vec<Owned>, Option<Linearized>) {
    let by_score = metric == ModelMetric::Auc;
    let is_about = |piece: &Piece| {
        piece.label.is_finite()
            && if by_score { piece.score.is_finite() } else { piece.prediction.is_finite() }
    };
    let (mut owned, mut pieces) = (Vec::new(), Vec::new());
    for row in rows {
        let piece = predictions.row(row.row);
        if is_about(&piece) {
            owned.push(*row);
            pieces.push(piece);
        }
    }
    let positives = pieces.iter().filter(|piece| piece.label > 0.5).count();
    let each = pieces.iter();
    let found = match metric {
        ModelMetric::Auc | ModelMetric::F1 if positives < FEWEST => None,
        ModelMetric::Auc if pieces.len() - positives < FEWEST => None,
        ModelMetric::Auc => {
            auc(&each.map(|piece| (piece.score, piece.label > 0.5)).collect::<Vec<_>>())
        }
        ModelMetric::F1 => {
            f1(&each.map(|piece| (piece.prediction > 0.5, piece.label > 0.5)).collect::<Vec<_>>())
        }
        ModelMetric::MacroF1 => macro_f1(
            &each.map(|piece| (class(piece.prediction), class(piece.label))).collect::<Vec<_>>(),
        ),
        _ => rmse(&each.map(|piece| piece.prediction - piece.label).collect::<Vec<_>>()),
    };
    (owned, found)
}

/// The number of a class, which is a whole number of 32 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of 32 bits")]
fn class(number: f64) -> u32 {
    number as u32
}
