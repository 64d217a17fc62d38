//! Drift: whether predictions, scores and inputs are distributed as those of the baseline, or as in a reference window.
//!
//! Each distance comes with what the size of the samples makes of it by chance, by unit, so that a small sample does not
//! alarm and a large one does not hide. Drift is no verdict: it says that something differs, not that it is worse.

mod answer;
mod compare;
mod samples;

use std::collections::HashMap;

use sidetrack::plan::Experiment;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::multiplicity;
use sidetrack_stats::result::PValue;

pub use answer::{Against, Bin, Compared, Drift, DriftState, Kind, Sample};

use crate::error::{Error, Part};
use crate::source::exposed::Exposures;
use crate::source::outcomes::Cells;
use crate::window::Moment;
use samples::{Group, Groups, Rows};

/// What to compare, and within which limits.
#[derive(Clone, Debug)]
pub struct DriftSettings {
    /// The level of all comparisons together.
    pub alpha: Fraction,
    /// The index from which a difference matters.
    pub threshold: f64,
    /// Only these columns; all, if there are none.
    pub columns: Vec<String>,
    /// The column that says which variant a row is of.
    pub by: Option<String>,
    /// Rows before this time are the reference.
    pub reference_until: Option<Moment>,
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct DriftInput<'a> {
    /// The experiment, for the names of its variants.
    pub experiment: &'a Experiment,
    /// Predictions, scores and inputs by request or unit.
    pub values: &'a Cells,
    /// The same from another time, of any variant.
    pub reference: Option<&'a Cells>,
    /// The exposures: which request and unit is of which variant.
    pub exposures: Option<&'a Exposures>,
}

/// Compares the distributions.
///
/// # Errors
/// Columns that do not exist, rows of which no variant is known, or nothing to compare with.
pub fn drift(input: DriftInput<'_>, settings: &DriftSettings) -> Result<Drift, Error> {
    let problem = |problem: String| Error::input(Part::Outcomes(None), problem);
    for name in &settings.columns {
        if input.values.named(name).is_none() {
            let known: Vec<&str> =
                input.values.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(problem(format!(
                "--column: unknown column \"{}\"; expected one of: {}",
                crate::figures::visible(name),
                known.join(", ")
            )));
        }
    }
    let groups = Groups::new(input, settings).map_err(problem)?;
    let rows = Rows::new(input, &groups, settings).map_err(problem)?;
    let mut found = Drift::new(input.experiment, settings, &rows);
    for column in &input.values.columns {
        if !groups.is_value(column, settings) {
            continue;
        }
        for (against, variant, first, second) in rows.pairs(&groups) {
            let reference = input.reference.and_then(|cells| cells.named(&column.name));
            let sides = [first, second].map(|group: Group| rows.take(group, column, reference));
            let [Some(one), Some(other)] = &sides else { continue };
            let compared = compare::compare(&column.name, one, other, settings);
            let compared = compared.into_iter().chain(compare::missing(&column.name, one, other));
            found.compared.extend(compared.map(|found| Compared {
                against,
                variant: variant.clone(),
                ..found
            }));
        }
    }
    if rows.lacks_reference(&found) {
        return Err(problem(no_reference(settings)));
    }
    if found.compared.is_empty() {
        return Err(problem(
            "there is nothing to compare: the rows are of one variant, and there is no reference\n  \
             hint: give --exposures, --by COLUMN, --reference FILE or --reference-until TIME"
                .to_owned(),
        ));
    }
    adjust(&mut found, settings);
    Ok(found)
}

/// Why no row is compared with the reference.
fn no_reference(settings: &DriftSettings) -> String {
    match settings.reference_until {
        Some(until) => format!(
            "no row of a variant is from before {until} while others are from after it, so there is \
             no reference\n  hint: give a later --reference-until, or the rows of the time before"
        ),
        None => "the reference has no values of a column and a variant that the other rows have, so \
                 there is nothing to compare\n  hint: name its columns as those of --values; without the \
                 column of --by, its rows are the reference of all variants"
            .to_owned(),
    }
}

/// Adjusts the p-values for their number, and judges.
fn adjust(found: &mut Drift, settings: &DriftSettings) {
    let ps = || found.compared.iter().filter_map(|one| PValue::new(one.p_value?).ok());
    let adjusted = multiplicity::holm(&ps().collect::<Vec<_>>());
    let mut adjusted = adjusted.into_iter();
    for one in &mut found.compared {
        if one.p_value.is_none() {
            continue;
        }
        let Some(p) = adjusted.next() else { continue };
        one.p_adjusted = Some(p.get());
        let (large, chance) =
            (one.psi.is_some_and(|psi| psi >= settings.threshold), !p.below(settings.alpha));
        one.state = match (large, chance) {
            (true, false) => DriftState::Drift,
            (true, true) => DriftState::Unclear,
            (false, false) => DriftState::Small,
            (false, true) => DriftState::Stable,
        };
    }
}

/// A count by unit and cell.
type Counts = HashMap<u64, [Vec<(usize, u64)>; 2]>;

#[cfg(test)]
mod tests;
