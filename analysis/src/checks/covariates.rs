//! Covariates: are they from before the first exposure?
//!
//! A covariate that the variant can change takes a part of the effect away, and the result is wrong in a way that its
//! interval does not show. So rows from after the first exposure do not count, each unit has one value, and the variants
//! must be alike in it, and in how often it is known: assignment is random, so nothing before it differs.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::float;

use super::Arms;
use crate::check::{Check, CheckName, CheckState};
use crate::figures::percent;
use crate::sums::Gaps;

/// If a difference of the variants is less probable, the covariate was measured after the assignment.
const CONTAMINATED: f64 = 1e-6;
/// One that is less probable is worth a look.
const DOUBTFUL: f64 = 1e-3;
/// How many rows may be late, and how many units may have several values or none.
const FEW: f64 = 0.01;

impl Arms<'_> {
    /// Whether each covariate is one.
    pub(super) fn covariates(&self) -> Vec<Check> {
        let likeness = &self.sums.covariates;
        let all = likeness.counts.iter().zip(&likeness.unknown).zip(&likeness.values).enumerate();
        all.map(|(index, ((counts, unknown), values))| {
            let name = &counts.name;
            let units: u64 = unknown.iter().map(Pairs::count).sum();
            let known: u64 = values.iter().map(Pairs::count).sum();
            let late = super::share(counts.late, counts.rows - counts.late);
            let several = super::share(counts.several, known);
            let p = [unknown, values].map(|of| self.worst(of).map_or(1.0, |(_, found)| found.p));
            let smallest = p[0].min(p[1]);
            let problem = if counts.rows == 0 {
                Some(format!("no unit of the log has a value of {name}"))
            } else if late > FEW {
                Some(format!(
                    "{} of {} values of {name} ({}) are from after the first request of their unit. The \
                     variant may have changed them, so they do not count. Give a row per unit from \
                     before the experiment, or rows without a time",
                    counts.late,
                    counts.rows,
                    percent(late)
                ))
            } else if several > FEW {
                Some(format!(
                    "{} units have several values of {name}. A covariate has one value per unit, from \
                     before its first request",
                    counts.several
                ))
            } else {
                self.known_by_outcome(index, name)
            };
            let (state, message) = match problem {
                Some(problem) => (CheckState::Blocking, problem),
                None if smallest < DOUBTFUL => {
                    let what = if p[0] < p[1] { "how often it is known" } else { "its values" };
                    let state = if smallest < CONTAMINATED {
                        CheckState::Blocking
                    } else {
                        CheckState::Warning
                    };
                    let message = format!(
                        "{name}: the variants differ in {what} (p = {smallest:.1e}). Assignment is \
                         random, so a covariate from before the first request cannot differ; this one \
                         seems to be measured later"
                    );
                    (state, message)
                }
                None => {
                    let unknown = super::share(units - known, known);
                    let message = format!(
                        "the variants are alike in {name}; {} of the units have no value",
                        percent(unknown)
                    );
                    (CheckState::Ok, message)
                }
            };
            let name = CheckName::Covariate;
            let (subject, variants) = (Some(counts.name.clone()), self.means(values));
            Check { name, state, subject, value: Some(smallest), limit: CONTAMINATED, variants, message }
        })
        .collect()
    }

    /// Whether a covariate is known of units with outcomes, and not of those without, which count as zero: then it is the
    /// outcome that says who has a value.
    fn known_by_outcome(&self, covariate: usize, name: &str) -> Option<String> {
        let metrics = self.metrics.iter().zip(&self.sums.metrics);
        let told = metrics.filter_map(|(metric, sums)| {
            let gaps: Gaps = *sums.covariates.as_ref()?.gaps.get(covariate)?;
            let of = |unknown, all: u64| super::share(unknown, all - unknown);
            let without = super::share(gaps.without, gaps.with);
            let unknown = of(gaps.without_unknown, gaps.without);
            let known = 1.0 - of(gaps.with_unknown, gaps.with);
            (without > FEW && unknown > 1.0 - FEW && known > 1.0 - FEW).then_some(metric)
        });
        let metric = told.map(|metric| &metric.name).next()?;
        Some(format!(
            "{name} is known of units that have a row of {metric}, and of no others. The variant may \
             change who has a row; give {name} of all units, as rows without other values"
        ))
    }

    /// The means by variant, of the inverse hyperbolic sines.
    fn means(&self, values: &[Pairs]) -> BTreeMap<String, f64> {
        self.by_variant(|arm| {
            let slots = values.iter().skip(arm).step_by(self.shape.arms.max(1));
            let (sum, units) = slots.fold((0.0, 0), |(sum, units), pairs| {
                (sum + pairs.means().0 * float(pairs.count()), units + pairs.count())
            });
            (units > 0).then(|| (sum / float(units)).sinh())
        })
    }
}
