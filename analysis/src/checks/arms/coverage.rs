//! Label coverage: whether the values of a metric are equally complete in all variants.

use sidetrack_stats::accumulate::Pairs;

use super::{Arms, Difference, LEVEL, RETURNS};
use crate::answer::Role;
use crate::check::{Check, CheckName};
use crate::metric::{Absent, Measure, Metric, Origin};
use crate::model::ModelMetric;
use crate::sums::Balance;

/// Coverage may differ by a percentage point, as many rows may be lost.
const COVERAGE: f64 = 0.01;

/// What a missing row says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The value of a request or unit is unknown.
    Unknown,
    /// The metric divides by the rows, and a variant may change how many there are: the quotients are then of different
    /// rows, and do not compare the variants.
    Denominator,
    /// Nothing happened.
    Zero,
}

impl Missing {
    fn of(metric: &Metric, by_request: bool) -> Self {
        match (metric.measure, by_request, metric.absent) {
            _ if metric.model.is_some() => Self::Unknown,
            (Measure::Ratio, true, _) | (_, _, Absent::Missing) => Self::Unknown,
            (Measure::Ratio, false, _) => Self::Denominator,
            _ => Self::Zero,
        }
    }
}

impl Arms<'_> {
    /// The share of answered requests, or of units, that have a value.
    pub(super) fn coverage(&self, balance: &Balance) -> Vec<Check> {
        let metrics = self.metrics.iter().filter(|metric| metric.role != Role::Exploratory);
        let columns = metrics.filter_map(|metric| match metric.origin {
            Origin::Column(column) => {
                Some((metric, balance.labels.get(self.complete(metric, column))?))
            }
            _ => None,
        });
        columns.filter_map(|(metric, labels)| self.coverage_of(metric, labels)).collect()
    }

    /// The column whose values tell whether those of this one are complete.
    fn complete(&self, metric: &Metric, column: usize) -> usize {
        let complete = metric.model.map_or(&[][..], ModelMetric::complete);
        let of = |name: &ModelMetric| {
            let mut metrics = self.metrics.iter().filter(|metric| metric.model == Some(*name));
            metrics.find_map(|metric| match metric.origin {
                Origin::Column(column) => Some(column),
                _ => None,
            })
        };
        complete.iter().find_map(of).unwrap_or(column)
    }

    fn coverage_of(&self, metric: &Metric, labels: &[Pairs]) -> Option<Check> {
        let missing = Missing::of(metric, self.by_request);
        let baseline = self.covered(labels, self.shape.baseline);
        // A unit without a row has 0, but a variant without any row has lost them.
        let none = |arm: usize| self.covered(labels, arm).is_some_and(|share| share <= 0.0);
        let lost = |arm: usize| none(arm) != none(self.shape.baseline);
        let size = |found: Difference| match (missing, baseline) {
            (Missing::Denominator, Some(share)) if share > 0.0 => found.difference.abs() / share,
            _ => found.difference.abs(),
        };
        let limit = if missing == Missing::Denominator { RETURNS } else { COVERAGE };
        let fails = |(arm, found): &(usize, Difference)| {
            let beyond = missing != Missing::Zero && size(*found) > limit;
            (beyond || lost(*arm)) && found.p < LEVEL
        };
        let found: Vec<(usize, Difference)> = self.differences(labels);
        let failed = found.iter().copied().find(fails);
        if failed.is_none() && missing == Missing::Zero {
            return None;
        }
        let name = &metric.name;
        let what = if self.by_request { "answered requests" } else { "units" };
        let message = match failed {
            Some((arm, _)) => {
                let shares = format!(
                    "{:.1} % of the baseline's {what} have it, and {:.1} % of {}'s (p < {LEVEL})",
                    100.0 * baseline.unwrap_or_default(),
                    100.0 * self.covered(labels, arm).unwrap_or_default(),
                    self.name(arm),
                );
                if missing == Missing::Denominator && !lost(arm) {
                    format!(
                        "{name} is a quotient by rows, and the variants differ in how many units \
                         have rows: {shares}. Rows are missing, or the variant changes how many \
                         there are; {name}=mean compares the sums of all units"
                    )
                } else {
                    format!("{name} is missing more often in one variant: {shares}")
                }
            }
            None => {
                let shares = found.first().map(|(arm, _)| {
                    format!(
                        ": {:.1} % of the baseline's {what} have it, and {:.1} % of {}'s",
                        100.0 * baseline.unwrap_or_default(),
                        100.0 * self.covered(labels, *arm).unwrap_or_default(),
                        self.name(*arm)
                    )
                });
                format!(
                    "{name} is not missing more often in one variant, as far as it can be known{}",
                    shares.unwrap_or_default()
                )
            }
        };
        let value = failed.or_else(|| found.first().copied()).map(|(_, found)| size(found));
        let variants = self.by_variant(|arm| self.covered(labels, arm));
        let (subject, fails) = (Some(name.clone()), failed.is_some());
        let limits = (value, limit);
        Some(self.check(CheckName::LabelCoverage, subject, fails, limits, variants, message))
    }

    fn covered(&self, labels: &[Pairs], arm: usize) -> Option<f64> {
        let slots = (0..self.shape.strata).map(|stratum| self.shape.slot(stratum, arm));
        let mut all = Pairs::default();
        slots.filter_map(|slot| labels.get(slot)).for_each(|pairs| all.merge(pairs));
        (all.means().1 > 0.0).then(|| all.means().0 / all.means().1)
    }
}
