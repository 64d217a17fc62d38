//! Linearized metrics: each unit's value is the figure of its slot plus its influence on it, times the number of units. So
//! the mean over units is the figure, and the variance of that mean is the figure's.

use sidetrack_stats::float;
use sidetrack_stats::linearized::{Linearized, auc, f1, macro_f1, rmse};

use super::{ModelMetric, Piece, Predictions};
use crate::attribution::Attribution;
use crate::join::{Joined, Shape};
use crate::source::outcomes::Outcomes;
use crate::sums::Placed;

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
    pub(crate) fn rows(self, joined: &Joined, placed: Option<&Placed>) -> Vec<Vec<Owned>> {
        let mut slots = vec![Vec::new(); self.shape.slots()];
        for (shard, table) in joined.shards.iter().enumerate() {
            let hits = placed.map_or_else(|| table.hits(), |placed| placed.hits(shard));
            for hit in hits {
                let (stratum, arm) = if self.units {
                    let Some(cell) = table.cell_at(hit.cell) else { continue };
                    if self.attribution.is_some_and(|attribution| attribution.is_open(cell.first)) {
                        continue;
                    }
                    (cell.stratum, cell.arm)
                } else {
                    (hit.stratum, hit.arm)
                };
                let slot = self.shape.slot(usize::from(stratum), usize::from(arm));
                if let Some(rows) = slots.get_mut(slot) {
                    rows.push(Owned { shard, cell: hit.cell, row: hit.row });
                }
            }
        }
        slots
    }
}

/// Computes the linearized metrics of the outcomes, and adds them as the values of their columns.
pub(crate) fn linearize(
    joined: &mut Joined,
    mut placed: Option<&mut Placed>,
    outcomes: &Outcomes,
    ground: Ground,
) {
    let Some(predictions) = &outcomes.predictions else { return };
    let slots = ground.rows(joined, placed.as_deref());
    let linear = predictions.metrics.iter().filter(|(metric, ..)| !metric.is_mean());
    for (metric, _, column) in linear {
        let complete = metric.complete().iter().find_map(|metric| predictions.column(*metric));
        let columns = [Some(*column), complete];
        let columns: Vec<usize> = columns.into_iter().flatten().collect();
        let unknown =
            if ground.units { unknown(joined, placed.as_deref(), &columns) } else { Vec::new() };
        for (slot, rows) in slots.iter().enumerate() {
            let is_known = |row: &&Owned| {
                let cells = unknown.get(row.shard);
                !cells.and_then(|cells| cells.get(row.cell as usize)).copied().unwrap_or(false)
            };
            let known: Vec<Owned> = rows.iter().filter(is_known).copied().collect();
            let (rows, found) = figure(*metric, predictions, &known);
            let Some(found) = found else { continue };
            if ground.units {
                of_units(joined, placed.as_deref_mut(), *column, &rows, &found);
            } else if let Some(table) = joined.shards.first_mut() {
                let many = float(found.influences.len() as u64);
                for influence in &found.influences {
                    table.add_value(slot, *column, many.mul_add(*influence, found.value));
                }
            }
        }
        for (shard, cells) in unknown.iter().enumerate() {
            let lost = (0..).zip(cells).filter(|(_, lost)| **lost);
            for (cell, _) in lost {
                set(joined, placed.as_deref_mut(), (shard, *column, cell), f64::INFINITY);
            }
        }
    }
}

/// Adds the values of the units of a slot.
fn of_units(
    joined: &mut Joined,
    mut placed: Option<&mut Placed>,
    column: usize,
    rows: &[Owned],
    found: &Linearized,
) {
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
        let value = many.mul_add(influence, found.value);
        set(joined, placed.as_deref_mut(), (*shard, column, *cell), value);
    }
}

fn set(
    joined: &mut Joined,
    placed: Option<&mut Placed>,
    (shard, column, cell): (usize, usize, u32),
    value: f64,
) {
    match placed {
        Some(placed) => placed.set(shard, column, cell, value),
        None => {
            if let Some(table) = joined.shards.get_mut(shard) {
                table.set_column(column, cell, value);
            }
        }
    }
}

/// By shard, the cells of units of which a value of one of the columns cannot be known.
fn unknown(joined: &Joined, placed: Option<&Placed>, columns: &[usize]) -> Vec<Vec<bool>> {
    let of = |(shard, table): (usize, &crate::join::UnitTable)| {
        let mut lost = vec![false; table.cells() as usize];
        for unit in table.units() {
            let is_lost = unit.cells().any(|(cell, _)| {
                columns.iter().any(|column| match placed {
                    Some(placed) => placed.value(shard, *column, cell).0.is_infinite(),
                    None => table.column(*column, cell).0.is_infinite(),
                })
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
    };
    joined.shards.iter().enumerate().map(of).collect()
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
