//! The mirror's predictions beside the baseline's, paired by request id.
//!
//! A mirror sees the same requests as the baseline, so each pair is a comparison by itself, and far fewer are needed than in
//! a test of users. Intervals are by unit if the unit is known, since a user's requests resemble each other. Nothing here
//! says that the mirror is better: that takes outcomes of users who get its predictions.

mod answer;
mod columns;
mod measures;
mod pairs;
mod worst;

use std::collections::HashMap;

use sidetrack_stats::input::Fraction;

pub use answer::{
    Change, Check as ShadowCheck, Classes, Estimate, Failures, Latency, Missing, Quantile, Rows,
    Scores, Shadow, Side, State, Worst,
};

use crate::error::{Error, Part};
use crate::row::key;
use crate::source::outcomes::Cells;
use columns::Role;
pub(crate) use columns::is_class;
use pairs::Pairs;

/// What to compare, and within which limits.
#[derive(Clone, Debug)]
pub struct ShadowSettings {
    /// The level of the intervals.
    pub alpha: Fraction,
    /// How many of the worst disagreements are listed.
    pub worst: usize,
    /// The largest share of requests without the prediction of one side, from 0 to 1.
    pub most_missing: f64,
    /// The least agreement that is wanted, from 0 to 1.
    pub least_agreement: Option<f64>,
}

/// Compares the predictions. `units` has the unit of a request, by the [`key`] of its id.
///
/// # Errors
/// The rows have no `request_id` or no `source`, or no request has a prediction of both.
pub fn shadow(
    experiment: &str,
    cells: &Cells,
    units: &HashMap<u64, u64>,
    settings: &ShadowSettings,
) -> Result<Shadow, Error> {
    let input = |problem: &str| Error::input(Part::Outcomes(None), problem);
    let source = cells.named("source").ok_or_else(|| {
        input("the predictions have no column source; each row is of the baseline or the mirror")
    })?;
    let pairs = Pairs::new(cells, source, |row| {
        let unit = cells.unit(row);
        if unit.is_empty() { units.get(&key(cells.request(row))).copied() } else { Some(key(unit)) }
    })
    .map_err(|problem| input(&problem))?;
    if pairs.rows.is_empty() {
        return Err(input(&format!(
            "no request has a prediction of both: {} have one of the baseline only, {} of the \
             mirror only\n  hint: both models must report the request_id that they received, as \
             in the header x-request-id",
            pairs.baseline_only, pairs.mirror_only
        )));
    }
    let mut found = Shadow::new(experiment, cells, &pairs, settings);
    for column in &cells.columns {
        let values = pairs.values(column);
        let role = columns::role(column, &values);
        if role != Role::Nothing {
            found.judge_values(&column.name, &values, settings);
        }
        match role {
            Role::Nothing => found.ignored.push(column.name.clone()),
            Role::Latency => found.latency = measures::latency(&values, &pairs, settings),
            Role::Status => found.failures = measures::failures(&values, &pairs, settings),
            Role::Class => {
                found.classes.extend(measures::classes(column, &values, &pairs, settings))
            }
            Role::Score => found.scores.extend(measures::scores(column, &values, &pairs, settings)),
        }
    }
    found.worst = worst::worst(cells, &pairs, &found, settings.worst);
    found.judge(settings);
    Ok(found)
}

#[cfg(test)]
mod tests;
