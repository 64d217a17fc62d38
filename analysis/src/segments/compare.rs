//! The comparison of variants within each segment, and of the segments with each other.

use sidetrack_stats::heterogeneity::heterogeneity;
use sidetrack_stats::multiplicity::holm;
use sidetrack_stats::result::{Estimate, PValue, Undefined};
use sidetrack_stats::srm::{Counts, Shares, always_valid};
use sidetrack_stats::strata;

use super::Dimension;
use super::chosen::{Chosen, ChosenValues};
use crate::answer::{
    CandidateResult, Interaction, MetricResult, Role, Segment, SegmentKind, SegmentResult,
    SegmentSource, SegmentedMetric,
};
use crate::compare::{Compared, Data};
use crate::judge::{Look, Names, Planned, conclude_only};
use crate::metric::Metric;
use crate::phases::Phase;
use crate::sums::{SegmentSums, is_segmented};

/// What is compared.
pub(crate) struct Grounds<'g> {
    pub(crate) data: &'g Data<'g>,
    /// What is asked for, and whether it is planned.
    pub(crate) asked: &'g [Dimension],
    pub(crate) chosen: &'g Chosen,
    pub(crate) metrics: &'g [Metric],
    /// The results of all units, in the order of the metrics.
    pub(crate) totals: &'g [MetricResult],
    pub(crate) look: Look,
    pub(crate) names: &'g Names<'g>,
    pub(crate) phases: &'g [Phase],
}

/// A dimension: where it is, its segments, its sums, and the places of the segments that have units.
struct Part<'p> {
    chosen: &'p ChosenValues,
    sums: &'p SegmentSums,
    places: Vec<usize>,
}

impl Part<'_> {
    fn kind(&self, place: usize) -> SegmentKind {
        match place {
            _ if place < self.chosen.values.len() => SegmentKind::Value,
            _ if place == self.chosen.unknown() => SegmentKind::Unknown,
            _ => SegmentKind::Other,
        }
    }
}

/// The results by each dimension.
pub(crate) fn segments(grounds: &Grounds<'_>) -> Vec<SegmentResult> {
    let parts = grounds.chosen.dimensions.iter().zip(&grounds.data.sums.segments);
    let parts = parts.map(|(chosen, sums)| {
        let has_units = |(_, slots): &(usize, &Vec<u64>)| slots.iter().any(|units| *units > 0);
        let places = sums.firsts.iter().enumerate().filter(has_units).map(|(place, _)| place);
        Part { chosen, sums, places: places.collect() }
    });
    let parts: Vec<Part<'_>> = parts.collect();
    let mut results: Vec<SegmentResult> = parts.iter().map(|part| grounds.result(part)).collect();
    let metrics = grounds.metrics.iter().zip(grounds.totals).enumerate();
    for (index, (metric, total)) in metrics.filter(|(_, (metric, _))| is_segmented(metric)) {
        let found = grounds.metric(index, metric, total, &parts);
        results.iter_mut().zip(found).for_each(|(result, found)| result.metrics.push(found));
    }
    results
}

impl Grounds<'_> {
    /// A dimension with the splits of its segments.
    fn result(&self, part: &Part<'_>) -> SegmentResult {
        let of = |place: &usize| {
            let units = part.sums.firsts.get(*place).map_or(&[][..], Vec::as_slice);
            let own =
                |arm: usize| units.iter().skip(arm).step_by(self.data.shape.arms.max(1)).sum();
            let arms = (0..self.data.shape.arms).map(|arm| (self.names.variant(arm), own(arm)));
            Segment {
                value: part.chosen.values.get(*place).cloned(),
                kind: part.kind(*place),
                units: arms.collect(),
                split_p_value: self.split(units).map(PValue::get),
                split_p_adjusted: None,
            }
        };
        let mut segments: Vec<Segment> = part.places.iter().map(of).collect();
        let known = segments.iter_mut().filter(|segment| segment.split_p_value.is_some());
        let known: Vec<&mut Segment> = known.collect();
        let p: Vec<PValue> =
            known.iter().filter_map(|it| PValue::new(it.split_p_value?).ok()).collect();
        for (segment, p) in known.into_iter().zip(holm(&p)) {
            segment.split_p_adjusted = Some(p.get());
        }
        SegmentResult {
            dimension: part.chosen.name.clone(),
            planned: self.asked.iter().any(|it| it.planned && it.name == part.chosen.name),
            source: if part.chosen.in_outcomes {
                SegmentSource::Outcomes
            } else {
                SegmentSource::Exposures
            },
            values: part.chosen.distinct,
            recorded_later: part.sums.later,
            segments,
            metrics: Vec::new(),
        }
    }

    /// Whether a segment was split as configured, phase by phase.
    fn split(&self, units: &[u64]) -> Option<PValue> {
        let phases = self.phases.iter().zip(units.chunks(self.data.shape.arms.max(1)));
        let counts = phases.filter_map(|(phase, observed)| {
            Shares::new(&phase.shares).and_then(|shares| Counts::new(&shares, observed)).ok()
        });
        always_valid(&counts.collect::<Vec<_>>()).ok()
    }

    /// A metric by each dimension.
    fn metric(
        &self,
        index: usize,
        metric: &Metric,
        total: &MetricResult,
        parts: &[Part<'_>],
    ) -> Vec<SegmentedMetric> {
        // All are one family of tests, whatever the metric's role.
        let tested = Metric { role: Role::Primary, ..metric.clone() };
        let mut measured: Vec<(Metric, Vec<Compared>)> = Vec::new();
        for part in parts {
            let sums = part.sums.metrics.get(index);
            let of = |place: &usize| sums.and_then(|sums| sums.get(*place));
            let sums = part.places.iter().filter_map(of);
            measured.extend(sums.map(|sums| (tested.clone(), self.data.compare(metric, sums))));
        }
        let mut judged = conclude_only(&measured, self.look, self.data.level, self.names);
        judged.iter_mut().for_each(|result| result.role = metric.role);
        let (mut judged, mut measured) = (judged.into_iter(), measured.into_iter());
        let mut found = Vec::new();
        let mut p_values: Vec<Option<PValue>> = Vec::new();
        for part in parts {
            let count = part.places.len();
            let segments: Vec<MetricResult> = judged.by_ref().take(count).collect();
            let compared: Vec<_> = measured.by_ref().take(count).map(|(_, it)| it).collect();
            let candidates = total.candidates.iter().enumerate().map(|(place, total)| {
                let own = |compared: &Vec<Compared>| compared.get(place).cloned();
                let own: Vec<Option<Compared>> = compared.iter().map(own).collect();
                let (interaction, p) = self.interaction(part, total, &own);
                p_values.push(p);
                interaction
            });
            let candidates = candidates.collect();
            found.push(SegmentedMetric { name: metric.name.clone(), segments, candidates });
        }
        let known: Vec<PValue> = p_values.iter().flatten().copied().collect();
        let mut adjusted = holm(&known).into_iter();
        let all = found.iter_mut().flat_map(|metric| &mut metric.candidates);
        for (candidate, p) in all.zip(p_values) {
            candidate.p_adjusted = p.and_then(|_| adjusted.next()).map(PValue::get);
        }
        found
    }

    /// The segments of a candidate beside each other, and beside the total.
    fn interaction(
        &self,
        part: &Part<'_>,
        total: &CandidateResult,
        compared: &[Option<Compared>],
    ) -> (Interaction, Option<PValue>) {
        let all = part.places.iter().zip(compared).filter_map(|(place, compared)| {
            let compared = compared.as_ref()?;
            let estimate = compared.comparison.ok()?.estimate;
            Some((part.kind(*place), compared.sizes, estimate))
        });
        let all: Vec<(SegmentKind, (u64, u64), Estimate)> = all.collect();
        let named = || all.iter().filter(|(kind, ..)| *kind != SegmentKind::Unknown);
        let estimates: Vec<Estimate> = named().map(|(_, _, estimate)| *estimate).collect();
        let units: u64 = named().map(|(_, sizes, _)| sizes.0 + sizes.1).sum();
        let test = heterogeneity(&estimates);
        let p = test.and_then(|test| match self.look {
            Look::Fixed => Ok(test.p),
            Look::Always(sequence) | Look::Planned(Planned { always: sequence, .. }) => {
                let df = test.df.ok_or(Undefined::TooFew)?;
                sequence.p_of_chi_square(test.statistic, df, units)
            }
        });
        let merged = merge(&all);
        let merged_ci = merged.and_then(|(estimate, units)| {
            let reach = self.look.critical(self.data.level, units).ok()? * estimate.se();
            Some((estimate.difference - reach, estimate.difference + reach))
        });
        let merged_diff = merged.map(|(estimate, _)| estimate.difference);
        let parts: Vec<f64> = all.iter().map(|(_, _, estimate)| estimate.difference).collect();
        let interaction = Interaction {
            variant: total.variant.clone(),
            statistic: test.ok().map(|test| test.statistic),
            df: test.ok().and_then(|test| test.df),
            p_value: p.ok().map(PValue::get),
            p_adjusted: None,
            merged_diff,
            merged_ci: merged_ci.map_or([None; 2], |(low, high)| [Some(low), Some(high)]),
            disagrees: disagrees(total, merged_diff.zip(merged_ci), &parts),
        };
        (interaction, p.ok())
    }
}

/// The differences of all segments, merged by their sizes.
fn merge(all: &[(SegmentKind, (u64, u64), Estimate)]) -> Option<(Estimate, u64)> {
    let sizes: Vec<(u64, u64)> = all.iter().map(|(_, sizes, _)| *sizes).collect();
    let weights = strata::weights(&sizes);
    if weights.iter().all(|weight| *weight == 0.0) {
        return None;
    }
    let (mut difference, mut variance) = (0.0, 0.0);
    for (weight, (_, _, estimate)) in weights.iter().zip(all) {
        difference += weight * estimate.difference;
        variance += weight * weight * estimate.variance;
    }
    let units = sizes.iter().map(|(one, two)| one + two).sum();
    Some((Estimate { difference, variance, df: None }, units))
}

/// Whether the total and its parts disagree: each is beyond the other's interval, or they have opposite signs and one of
/// them is significant.
fn disagrees(total: &CandidateResult, merged: Option<(f64, (f64, f64))>, parts: &[f64]) -> bool {
    // Covariates adjust the total and not the segments.
    let plain = total.adjustment.as_ref().map(|adjustment| (adjustment.diff, adjustment.ci));
    let total = plain.unwrap_or((total.diff, total.ci));
    let (Some(diff), [Some(low), Some(high)]) = total else { return false };
    let Some((merged, (lower, upper))) = merged else { return false };
    if parts.len() < 2 {
        return false;
    }
    let apart = (merged < low || merged > high) && (diff < lower || diff > upper);
    let settled = low > 0.0 || high < 0.0 || lower > 0.0 || upper < 0.0;
    let opposite = diff * merged < 0.0 || parts.iter().all(|part| part * diff < 0.0);
    apart || (opposite && settled)
}
