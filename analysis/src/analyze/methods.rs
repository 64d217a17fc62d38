//! The methods of the plan at work: which outcomes count, what is capped, and what a reader must know of both.

use std::collections::BTreeMap;

use sidetrack::plan::Correction;
use sidetrack::quantity::Timestamp;
use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::float;
use sidetrack_stats::group_sequential::{Place, Repeated, place};
use sidetrack_stats::input::{Fraction, Invalid};
use sidetrack_stats::sequential::{ConfidenceSequence, is_planned_look};

use super::{DEFAULT_UNITS, Judging, Read, Work};
use crate::answer::{
    AdjustmentResult, AttributionResult, CapResult, LookResult, MetricResult, OutcomeCounts, Role,
};
use crate::attribution::Attribution;
use crate::compare::{Compared, Data};
use crate::error::{Error, Part};
use crate::join::Joined;
use crate::judge::{Look, Names, Planned, conclude_only, judge_by};
use crate::metric::{Absent, Measure, Metric, Origin};
use crate::plan::Exploratory;
use crate::reason::{Note, RowProblem};
use crate::row::Excluded;
use crate::sums::{MetricSums, is_adjusted};

/// A covariate that explains more of the variance may be the metric itself.
const EXPLAINED: f64 = 0.99;

impl Judging<'_> {
    /// All metrics of a reading, judged by the methods of the settings.
    pub(super) fn judged(&self, read: &Read, look: Look, names: &Names<'_>) -> Vec<MetricResult> {
        let data = self.data(read);
        let metrics = read.metrics.iter().zip(&read.sums.metrics);
        let compared: Vec<_> =
            metrics.map(|(metric, sums)| (metric.clone(), data.compare(metric, sums))).collect();
        let correction = self.settings.methods.correction.map_or(Correction::Holm, |it| it);
        let mut results = judge_by(&compared, look, self.settings.level, names, correction);
        read.add_caps(&data, &mut results, names);
        read.add_adjustments(&compared, &mut results, look, self.settings.level, names);
        if let Some(bayes) = self.settings.methods.bayes {
            super::posteriors::add(&compared, &mut results, bayes, self.settings.level, names);
        }
        results
    }

    /// `--since` and `--until`, if they leave out requests or outcomes: else they change nothing.
    pub(super) fn outside(&self, main: &Read) -> Vec<Exploratory> {
        let window = self.settings.window;
        let rows = main.placed.as_ref().map_or(0, |placed| placed.other_time);
        let is_outside = main.joined.tally.left_out(Excluded::OtherTime) + rows > 0;
        let options = [
            window.since.map(|time| format!("--since {time}")),
            window.until.map(|time| format!("--until {time}")),
        ];
        let options = options.into_iter().flatten().filter(|_| is_outside);
        options.map(Exploratory::Unplanned).collect()
    }
}

impl Work<'_> {
    /// The attribution windows of the outcomes; `None` without attribution or outcomes.
    ///
    /// # Errors
    /// The outcomes have no times, or there are no units.
    pub(super) fn attribution(
        &self,
        joined: &Joined,
        units: bool,
    ) -> Result<Option<Attribution>, Error> {
        let Some(length) = self.settings.attribution else { return Ok(None) };
        let Some(last) = joined.tally.end().filter(|_| self.outcomes.rows() > 0) else {
            return Ok(None);
        };
        if !units {
            let problem = "it counts from the first request of a unit, but the log has no units; \
                           set settings.exposure_unit to digest and log again";
            return Err(Error::input(Part::Attribution, problem));
        }
        if self.outcomes.end().is_none() {
            let problem = format!(
                "no row has a time, but attribution ({length}) needs it; add a column `time`, which \
                 says when the outcome happened"
            );
            return Err(Error::input(Part::Outcomes(None), problem));
        }
        Ok(Some(Attribution::new(length, last, self.settings.window, self.outcomes)))
    }
}

impl Read {
    /// Units of all variants that count towards the planned ones: with attribution, if outcomes decide, those whose first
    /// window is over. So the fixed test waits for the windows of the last planned units.
    pub(super) fn counted(&self, units: u64) -> u64 {
        let is_outcome = |origin| matches!(origin, Origin::Column(_));
        let mut primary = self.metrics.iter().filter(|metric| metric.role == Role::Primary);
        let waits = self.attribution.is_some() && primary.any(|metric| is_outcome(metric.origin));
        if waits { units - self.sums.open.iter().sum::<u64>() } else { units }
    }

    /// What attribution left out.
    pub(super) fn attributed(&self, names: &Names<'_>) -> Option<AttributionResult> {
        let attribution = self.attribution?;
        let placed = self.placed.as_ref();
        Some(AttributionResult {
            window: attribution.length.to_string(),
            known_until: attribution.known.to_string(),
            open_units: self.by_variant(&self.sums.open, names),
            last_closes: self.sums.closes.map(|time| Timestamp::new(time).to_string()),
            late_rows: placed.map_or(self.settled.late, |placed| placed.late),
            untimed_rows: placed.map_or(self.settled.untimed, |placed| placed.untimed),
        })
    }

    /// Rows without a time cannot be attributed, so they are lost like rows that cannot be read.
    pub(super) fn with_untimed(&self, counts: OutcomeCounts) -> OutcomeCounts {
        let untimed = self.placed.as_ref().map_or(self.settled.untimed, |placed| placed.untimed);
        if untimed == 0 {
            return counts;
        }
        let mut examples = counts.examples;
        examples.push(format!("rows without a time, which attribution needs: {untimed}"));
        OutcomeCounts { malformed: counts.malformed + untimed, examples, ..counts }
    }

    /// Adds the caps to the results of their metrics.
    pub(super) fn add_caps(
        &self,
        data: &Data<'_>,
        results: &mut [MetricResult],
        names: &Names<'_>,
    ) {
        let uncapped = |metric: &Metric, sums: &MetricSums| {
            let whole = MetricSums { pairs: sums.uncapped.clone(), ..MetricSums::default() };
            let compared = data.compare(metric, &whole).into_iter();
            compared
                .filter_map(|found| {
                    let difference = found.comparison.ok()?.estimate.difference;
                    Some((names.variant(found.candidate), difference))
                })
                .collect()
        };
        let metrics = self.metrics.iter().zip(&self.sums.metrics).zip(results);
        for ((metric, sums), result) in metrics {
            let cap = metric.cap.zip(sums.cap);
            result.cap = cap.map(|(quantile, value)| CapResult {
                quantile: quantile.fraction(),
                value,
                units: self.by_variant(&sums.capped, names),
                uncapped: uncapped(metric, sums),
            });
        }
    }

    /// Adds what the comparisons are without covariates.
    pub(super) fn add_adjustments(
        &self,
        compared: &[(Metric, Vec<Compared>)],
        results: &mut [MetricResult],
        look: Look,
        level: Fraction,
        names: &Names<'_>,
    ) {
        let adjusted = compared.iter().zip(results);
        let adjusted =
            adjusted.filter(|((_, found), _)| found.iter().any(|it| it.adjusted.is_some()));
        for ((metric, found), result) in adjusted {
            let plain =
                found.iter().filter_map(|found| Some((*found.adjusted.as_ref()?.plain).clone()));
            let plain = conclude_only(&[(metric.clone(), plain.collect())], look, level, names);
            let plain = plain.iter().flat_map(|plain| &plain.candidates);
            for plain in plain {
                let same = |index: usize| names.variant(index) == plain.variant;
                let own = found.iter().find(|found| same(found.candidate));
                let candidates = &mut result.candidates;
                let candidate = candidates.iter_mut().find(|other| other.variant == plain.variant);
                let (Some(adjusted), Some(candidate)) =
                    (own.and_then(|own| own.adjusted.as_ref()), candidate)
                else {
                    continue;
                };
                let named = self.sums.covariates.counts.iter().map(|counts| counts.name.clone());
                candidate.adjustment = Some(AdjustmentResult {
                    theta: named.zip(adjusted.theta.iter().copied()).collect(),
                    variance_reduction: adjusted.reduction,
                    diff: plain.diff,
                    ci: plain.ci,
                    relative_lift: plain.relative_lift,
                    relative_lift_ci: plain.relative_lift_ci,
                    p_value: plain.p_value,
                });
            }
        }
    }

    /// Metrics of which covariates explain nearly all.
    pub(super) fn explained(&self, results: &[MetricResult]) -> Vec<Note> {
        let covariates: Vec<String> =
            self.sums.covariates.counts.iter().map(|counts| counts.name.clone()).collect();
        let decides = |metric: &Metric| metric.role != Role::Exploratory && is_adjusted(metric);
        let metrics = self.metrics.iter().zip(results).filter(|(metric, _)| decides(metric));
        let notes = metrics.flat_map(|(_, result)| {
            result.candidates.iter().filter_map(|candidate| {
                let share = candidate.adjustment.as_ref().map(|found| found.variance_reduction);
                let is_all = match share {
                    Some(share) => share > EXPLAINED,
                    None => candidate.p_value.is_some(),
                };
                is_all.then(|| Note::Explained {
                    variant: candidate.variant.clone(),
                    metric: result.name.clone(),
                    covariates: covariates.clone(),
                    share,
                })
            })
        });
        if covariates.is_empty() { Vec::new() } else { notes.collect() }
    }

    /// Metrics that count a unit without a row as zero, and how many units these are.
    pub(super) fn absent_zero(&self) -> Vec<Note> {
        if self.placed.is_none() || !self.units {
            return Vec::new();
        }
        let note = |metric: &Metric| {
            let Origin::Column(column) = metric.origin else { return None };
            let counts = metric.role != Role::Exploratory
                && metric.absent == Absent::Zero
                && matches!(metric.measure, Measure::Mean | Measure::Proportion);
            let slots = self.sums.balance.labels.get(column).filter(|_| counts)?;
            let mut all = Pairs::default();
            slots.iter().for_each(|pairs| all.merge(pairs));
            let share = 1.0 - all.means().0 / all.means().1;
            (share > 0.0).then(|| Note::AbsentZero { metric: metric.name.clone(), share })
        };
        self.metrics.iter().filter_map(note).collect()
    }

    /// Counts by slot as counts by variant.
    fn by_variant(&self, slots: &[u64], names: &Names<'_>) -> BTreeMap<String, u64> {
        let sum = |arm| slots.iter().skip(arm).step_by(self.shape.arms.max(1)).sum();
        (0..self.shape.arms).map(|arm| (names.variant(arm), sum(arm))).collect()
    }
}

/// What a reader must know of the methods before the numbers.
pub(super) fn notes(
    attribution: Option<&AttributionResult>,
    metrics: &[MetricResult],
) -> Vec<Note> {
    let open = attribution.filter(|found| found.open_units.values().any(|units| *units > 0));
    let open = open.map(|found| Note::OpenWindows {
        window: found.window.clone(),
        units: found.open_units.clone(),
        known_until: found.known_until.clone(),
        last_closes: found.last_closes.clone().unwrap_or_default(),
    });
    let late = attribution.map(|found| found.late_rows).filter(|rows| *rows > 0);
    let late = late.map(|rows| Note::OutcomeRows { rows, problem: RowProblem::Late });
    let caps = metrics.iter().filter_map(|metric| {
        let cap = metric.cap.clone()?;
        Some(Note::Capped { metric: metric.name.clone(), scale: metric.scale(), cap })
    });
    let decide = metrics.iter().filter(|metric| metric.role != Role::Exploratory);
    let adjusted = decide.flat_map(|metric| {
        metric.candidates.iter().filter_map(|found| {
            Some(Note::Adjusted {
                variant: found.variant.clone(),
                metric: metric.name.clone(),
                scale: metric.scale(),
                adjustment: found.adjustment.clone()?,
            })
        })
    });
    let believed = metrics.iter().filter(|metric| metric.role == Role::Primary);
    let believed = believed.flat_map(|metric| {
        metric.candidates.iter().filter_map(|found| {
            Some(Note::Believed {
                variant: found.variant.clone(),
                metric: metric.name.clone(),
                scale: metric.scale(),
                posterior: found.posterior.clone()?,
            })
        })
    });
    open.into_iter().chain(late).chain(caps).chain(adjusted).chain(believed).collect()
}

/// A fixed test at the planned units, always-valid intervals before and beyond; and whether they are reached.
///
/// `adaptive`: the weights followed outcomes, as a bandit's do. How much each phase weighs then depends on what was found before, and a
/// fixed test calls equal variants different in 7 % of the experiments instead of 5 %; the always-valid test holds for any weights that
/// are set before a phase begins, so it decides at the planned units too.
///
/// With `looks`, primary metrics are tested at so many looks at equal parts of the planned units.
///
/// # Errors
/// Too few planned units.
pub(crate) fn look(
    planned: Option<u64>,
    level: Fraction,
    units: u64,
    adaptive: bool,
    looks: Option<u32>,
) -> Result<(Look, bool, Option<LookResult>), Invalid> {
    let reached = planned.is_some_and(|planned| units >= planned);
    let fixed = !adaptive && planned.is_some_and(|planned| is_planned_look(planned, units));
    let sequence = ConfidenceSequence::new(planned.unwrap_or(DEFAULT_UNITS), level);
    let planned_looks = planned.zip(looks).filter(|_| !adaptive && (!reached || fixed));
    if let Some((planned, looks)) = planned_looks {
        let share = float(units) / float(planned);
        let (number, at) = match place(share, looks) {
            Place::At(number) => (number, Some(Repeated::new(share, looks, level)?)),
            Place::Before(number) => (number, None),
        };
        let next = (planned * u64::from(number)).div_ceil(u64::from(looks));
        let next_units = at.is_none().then_some(next);
        let result = LookResult { look: number, looks, units, next_units };
        let look = Look::Planned(Planned { always: sequence?, fixed, at });
        return Ok((look, reached, Some(result)));
    }
    let look = if fixed { Look::Fixed } else { Look::Always(sequence?) };
    Ok((look, reached, None))
}
