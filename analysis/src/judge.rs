//! Judgement of comparisons: intervals that hold at every look, adjusted p-values, conclusions.

use sidetrack::plan::Correction;
use sidetrack_stats::group_sequential::Repeated;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::multiplicity::{benjamini_hochberg, holm};
use sidetrack_stats::normals;
use sidetrack_stats::posterior;
use sidetrack_stats::result::{
    self, Comparison, Estimate, Interval, PValue, Test, Undefined, decision,
};
use sidetrack_stats::sequential::{ConfidenceSequence, FEWEST};

use crate::answer::{
    CandidateResult, Conclusion, Goal, MetricResult, PhaseResult, Role, TestMode, Value,
};
use crate::compare::{Compared, Scored};
use crate::metric::{Measure, Metric, Origin};

/// How often the data may be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// Once, at the planned number of units.
    Fixed,
    /// Any number of times.
    Always(ConfidenceSequence),
    /// Primary metrics at planned looks, all others as without a plan for looks.
    Planned(Planned),
}

/// Where the data are among the planned looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    /// For intervals between two looks, and for other metrics than primary ones.
    pub(crate) always: ConfidenceSequence,
    /// Other metrics have the fixed test of the planned number of units.
    pub(crate) fixed: bool,
    /// The bounds of this look; `None` between two of them.
    pub(crate) at: Option<Repeated>,
}

impl Look {
    pub(crate) const fn mode(self) -> TestMode {
        match self {
            Self::Fixed => TestMode::Fixed,
            Self::Always(_) => TestMode::AlwaysValid,
            Self::Planned(_) => TestMode::GroupSequential,
        }
    }

    /// The look of a metric with this role.
    pub(crate) const fn of(self, role: Role) -> Self {
        match (self, role) {
            (Self::Planned(planned), Role::Guardrail | Role::Exploratory) => {
                if planned.fixed {
                    Self::Fixed
                } else {
                    Self::Always(planned.always)
                }
            }
            _ => self,
        }
    }

    /// How many standard errors an interval reaches after `units` units.
    pub(crate) fn critical(self, level: Fraction, units: u64) -> Result<f64, Undefined> {
        match self {
            Self::Fixed => {
                Ok(Estimate { difference: 0.0, variance: 1.0, df: None }.critical(level))
            }
            Self::Always(sequence) | Self::Planned(Planned { always: sequence, at: None, .. }) => {
                sequence.critical(units)
            }
            Self::Planned(Planned { at: Some(bounds), .. }) => Ok(bounds.critical()),
        }
    }

    /// The interval of a difference after `units` units.
    pub(crate) fn interval(
        self,
        comparison: &Comparison,
        score: Option<&Scored>,
        units: u64,
        level: Fraction,
    ) -> Option<Interval> {
        match (self, score) {
            // The comparison has the interval for a single look.
            (Self::Fixed, _) => comparison.interval,
            (_, Some(score)) => Some(score.interval(self.critical(level, units).ok()?)),
            (Self::Always(sequence), None) => sequence.interval(comparison.estimate, units).ok(),
            (Self::Planned(_), None) => {
                comparison.test.ok()?;
                let half = self.critical(level, units).ok()? * comparison.estimate.se();
                let center = comparison.estimate.difference;
                Some(Interval { low: center - half, high: center + half })
            }
        }
    }

    /// The p-value of a test's statistic after `units` units.
    fn p_value(self, test: Test, units: u64) -> Result<PValue, Undefined> {
        match self {
            Self::Fixed => Ok(test.p),
            Self::Always(sequence) => sequence.p_of_score(test.statistic, units),
            Self::Planned(Planned { at: Some(bounds), .. }) => Ok(bounds.p_value(test.statistic)),
            Self::Planned(_) => Err(Undefined::BetweenLooks),
        }
    }
}

/// The names that a result carries.
pub(crate) struct Names<'a> {
    pub(crate) variants: Vec<&'a str>,
    pub(crate) baseline: usize,
    /// Of the strata; `None` when there is only one.
    pub(crate) strata: Vec<Option<&'a str>>,
}

impl Names<'_> {
    /// The name of a variant.
    pub(crate) fn variant(&self, index: usize) -> String {
        self.variants.get(index).copied().unwrap_or("?").to_owned()
    }
}

/// A comparison under a look.
struct Seen<'c> {
    found: &'c Compared,
    comparison: Option<Comparison>,
    interval: Option<Interval>,
    lift: Option<Interval>,
    p: Result<PValue, Undefined>,
    /// The interval within each stratum, of the same kind.
    phases: Vec<Option<Interval>>,
    note: &'static str,
}

/// Judges all metrics at once, since p-values are adjusted for each other: by Holm.
#[cfg(test)]
pub(crate) fn judge(
    measured: &[(Metric, Vec<Compared>)],
    look: Look,
    level: Fraction,
    names: &Names<'_>,
) -> Vec<MetricResult> {
    judge_by(measured, look, level, names, Correction::Holm)
}

/// Judges all metrics at once, since p-values are adjusted for each other.
pub(crate) fn judge_by(
    measured: &[(Metric, Vec<Compared>)],
    look: Look,
    level: Fraction,
    names: &Names<'_>,
    correction: Correction,
) -> Vec<MetricResult> {
    judge_with(measured, look, level, names, correction, posterior)
}

/// The same without the probabilities of being the best. They choose among several winners and change no conclusion, and
/// their integrals take most of the time.
pub(crate) fn conclude_only(
    measured: &[(Metric, Vec<Compared>)],
    look: Look,
    level: Fraction,
    names: &Names<'_>,
) -> Vec<MetricResult> {
    judge_with(measured, look, level, names, Correction::Holm, |_, seen| vec![None; seen.len()])
}

fn judge_with(
    measured: &[(Metric, Vec<Compared>)],
    look: Look,
    level: Fraction,
    names: &Names<'_>,
    correction: Correction,
    posterior: impl Fn(&Metric, &[Seen<'_>]) -> Vec<Option<(f64, f64)>>,
) -> Vec<MetricResult> {
    let seen: Vec<(&Metric, Vec<Seen<'_>>)> = measured
        .iter()
        .map(|(metric, found)| {
            (metric, found.iter().map(|found| see(metric, found, look, level)).collect())
        })
        .collect();
    let adjusted = adjust(&seen, correction);
    let mut results = Vec::new();
    for ((metric, seen), adjusted) in seen.iter().zip(adjusted) {
        let posterior = posterior(metric, seen);
        let first = seen.first();
        let baseline = Value {
            variant: names.variant(names.baseline),
            n: first.map_or(0, |seen| seen.found.sizes.0),
            value: first.and_then(|seen| Some(seen.comparison?.values.0)),
        };
        let candidates = seen.iter().zip(adjusted).enumerate();
        let candidates = candidates.map(|(index, (seen, adjusted))| {
            candidate(metric, seen, adjusted, posterior.get(index).copied().flatten(), level, names)
        });
        results.push(MetricResult {
            name: metric.name.clone(),
            role: metric.role,
            kind: metric.measure.kind(),
            goal: metric.goal,
            unit: metric.unit(),
            is_share: metric.is_share(),
            margin: metric.margin(baseline.value),
            cap: None,
            candidates: candidates.collect(),
            baseline,
        });
    }
    results
}

/// Chooses the interval and the p-value for this look.
fn see<'c>(metric: &Metric, found: &'c Compared, look: Look, level: Fraction) -> Seen<'c> {
    let look = look.of(metric.role);
    // Of a single phase, the result is that of the phase.
    let phases = found.strata.iter().filter(|_| found.strata.len() > 1).map(|within| {
        let units = within.sizes.0 + within.sizes.1;
        look.interval(&within.comparison, within.score.as_ref(), units, level)
    });
    let phases: Vec<Option<Interval>> = phases.collect();
    let nothing = |why| {
        let (comparison, interval, lift) = (None, None, None);
        Seen { found, comparison, interval, lift, p: Err(why), phases: Vec::new(), note: "" }
    };
    let comparison = match found.comparison {
        Ok(comparison) => comparison,
        Err(why) => return nothing(why),
    };
    let units = found.sizes.0 + found.sizes.1;
    let estimate = comparison.estimate;
    let test = comparison.test.map(|test| test.p);
    let interval = look.interval(&comparison, found.score.as_ref(), units, level);
    let mut seen = Seen {
        found,
        comparison: Some(comparison),
        interval,
        lift: comparison.lift_interval.ok(),
        p: test,
        phases,
        note: "",
    };
    if let Some(score) = &found.score {
        let critical = look.critical(level, units).ok();
        seen.lift = critical.and_then(|z| score.lift_interval(z).ok());
        seen.p = score.test().and_then(|test| look.p_value(test, units));
        return seen;
    }
    if !matches!(look, Look::Fixed) {
        // How much wider the interval is that holds at every look.
        let stretch = look.critical(level, units);
        let fixed = estimate.critical(level);
        seen.lift = seen.lift.zip(stretch.ok()).zip(comparison.lift.ok()).map(
            |((lift, stretch), center)| {
                let factor = stretch / fixed;
                Interval {
                    low: center - (center - lift.low) * factor,
                    high: center + (lift.high - center) * factor,
                }
            },
        );
        seen.p = match look {
            Look::Always(sequence) => test.and_then(|_| sequence.p_value(estimate, units)),
            _ => comparison.test.and_then(|test| look.p_value(test, units)),
        };
    }
    if metric.origin == Origin::Latency {
        // Times are not negative, so they cannot fall by more than all of them.
        seen.lift = seen.lift.map(|lift| Interval { low: lift.low.max(-1.0), ..lift });
    }
    if test == Err(Undefined::ZeroVariance) && units >= FEWEST && metric.role == Role::Guardrail {
        // All units of a variant have the same value: the difference is exact.
        seen.interval = Some(Interval { low: estimate.difference, high: estimate.difference });
        seen.note = "; all units of a variant have the same value";
    }
    seen
}

/// The correction over primary metrics and candidates, Benjamini and Hochberg over exploratory ones; guardrails are not
/// adjusted.
fn adjust(seen: &[(&Metric, Vec<Seen<'_>>)], correction: Correction) -> Vec<Vec<Option<PValue>>> {
    let mut adjusted: Vec<Vec<Option<PValue>>> =
        seen.iter().map(|(_, seen)| vec![None; seen.len()]).collect();
    for role in [Role::Primary, Role::Exploratory] {
        let mut places = Vec::new();
        let mut p_values = Vec::new();
        for (row, (_, seen)) in
            seen.iter().enumerate().filter(|(_, (metric, _))| metric.role == role)
        {
            for (column, seen) in seen.iter().enumerate() {
                if let Ok(p) = seen.p {
                    places.push((row, column));
                    p_values.push(p);
                }
            }
        }
        let p_values = match (role, correction) {
            (Role::Primary, Correction::None) => p_values,
            (Role::Primary, Correction::Holm) => holm(&p_values),
            _ => benjamini_hochberg(&p_values),
        };
        for ((row, column), p) in places.into_iter().zip(p_values) {
            if let Some(slot) = adjusted.get_mut(row).and_then(|row| row.get_mut(column)) {
                *slot = Some(p);
            }
        }
    }
    adjusted
}

/// For each candidate: how probable it is that it is the best of all variants, and what choosing it may cost.
fn posterior(metric: &Metric, seen: &[Seen<'_>]) -> Vec<Option<(f64, f64)>> {
    let none = vec![None; seen.len()];
    let lowest = metric.goal == Goal::Decrease;
    let shares: Option<Vec<_>> = seen.iter().map(|seen| seen.found.posteriors).collect();
    if let Some(shares) = shares {
        let Some((baseline, _)) = shares.first() else { return none };
        let arms = std::iter::once(*baseline).chain(shares.iter().map(|(_, candidate)| *candidate));
        let arms: Vec<_> = arms.collect();
        let (best, loss) =
            (posterior::best(&arms, lowest), posterior::expected_loss(&arms, lowest));
        return best.into_iter().zip(loss).skip(1).map(Some).collect();
    }
    // Of a few requests, the width of a quantile's interval tells no error to compute a probability with.
    let known = |found: &Comparison| {
        !matches!(metric.measure, Measure::Quantile(_))
            || !matches!(found.test, Err(Undefined::FewEvents))
    };
    let comparisons = seen.iter().map(|seen| seen.comparison.filter(known));
    let comparisons: Option<Vec<Comparison>> = comparisons.collect();
    let arms = comparisons.map(|comparisons| around_the_baseline(&comparisons));
    let best = arms.and_then(|arms| normals::best(&arms, lowest));
    best.map_or(none, |best| best.into_iter().skip(1).map(Some).collect())
}

/// Normal distributions around the differences, the baseline first, each with its own standard error.
///
/// Phases may weigh differently for each candidate, so the baseline's error does too. All comparisons share the smallest
/// one; the rest of a comparison's error is the candidate's, so that the error of each difference stays what it is.
fn around_the_baseline(comparisons: &[Comparison]) -> Vec<(f64, f64)> {
    // A variant without errors of its own is next to certain, not impossible.
    const SMALLEST: f64 = 1e-6;
    let largest = comparisons.iter().map(|found| found.estimate.variance).fold(0.0, f64::max);
    let error = |variance: f64| if variance > 0.0 { variance } else { SMALLEST * largest }.sqrt();
    let own = comparisons.iter().map(|comparison| comparison.variances.0);
    let shared = own.fold(f64::INFINITY, f64::min);
    let candidate = |comparison: &Comparison| {
        (comparison.estimate.difference, error(comparison.estimate.variance - shared))
    };
    std::iter::once((0.0, error(shared))).chain(comparisons.iter().map(candidate)).collect()
}

fn candidate(
    metric: &Metric,
    seen: &Seen<'_>,
    adjusted: Option<PValue>,
    posterior: Option<(f64, f64)>,
    level: Fraction,
    names: &Names<'_>,
) -> CandidateResult {
    let comparison = seen.comparison;
    let difference = comparison.map(|comparison| comparison.estimate.difference);
    let test = comparison.and_then(|comparison| comparison.test.ok());
    let ends = |interval: Option<Interval>| {
        interval.map_or([None; 2], |i| [finite(i.low), finite(i.high)])
    };
    let decided = match metric.role {
        Role::Guardrail => guard(metric, comparison, seen),
        _ => {
            let p = adjusted.map_or_else(|| seen.p.and(Err(Undefined::TooFew)), Ok);
            conclude(metric.goal, difference, p, level)
        }
    };
    let several = seen.found.strata.len() > 1;
    let phases = seen.found.strata.iter().zip(&seen.phases).filter(|_| several);
    let phases = phases.map(|(within, interval)| PhaseResult {
        phase: names.strata.get(within.stratum).copied().flatten().unwrap_or("all").to_owned(),
        n: [within.sizes.0, within.sizes.1],
        diff: within.comparison.estimate.difference,
        ci: ends(*interval),
    });
    let why = seen
        .p
        .err()
        .filter(|_| seen.note.is_empty())
        .map(|why| format!("; {why}"))
        .unwrap_or_default();
    CandidateResult {
        variant: names.variant(seen.found.candidate),
        n: seen.found.sizes.1,
        value: comparison.map(|comparison| comparison.values.1),
        baseline_value: comparison.map(|comparison| comparison.values.0),
        margin: metric.margin(comparison.map(|comparison| comparison.values.0)),
        diff: difference,
        ci: ends(seen.interval),
        relative_lift: comparison.and_then(|comparison| comparison.lift.ok()).and_then(finite),
        relative_lift_ci: ends(seen.lift),
        p_value: seen.p.ok().map(PValue::get),
        log10_p: seen.p.ok().map(PValue::log10),
        p_adjusted: adjusted.map(PValue::get),
        statistic: test.map(|test| test.statistic),
        df: test.and_then(|test| test.df),
        p_best: posterior.map(|(best, _)| best),
        expected_loss: posterior.map(|(_, loss)| loss),
        method: format!("{}{}{why}", seen.found.method, seen.note),
        undefined: seen.p.err(),
        decision: decided,
        phases: phases.collect(),
        adjustment: None,
        posterior: None,
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Better or worse, if the p-value is below the level.
fn conclude(
    goal: Goal,
    difference: Option<f64>,
    p: Result<PValue, Undefined>,
    level: Fraction,
) -> Conclusion {
    let Some(difference) = difference else { return Conclusion::Undefined };
    let goal = match goal {
        Goal::Increase => result::Goal::Higher,
        Goal::Decrease => result::Goal::Lower,
    };
    match decision(difference, p, goal, level) {
        result::Decision::Better => Conclusion::Better,
        result::Decision::Worse => Conclusion::Worse,
        result::Decision::NoDifferenceShown => Conclusion::NoDifferenceShown,
        result::Decision::Undefined => Conclusion::Undefined,
    }
}

/// A guardrail: the whole interval is within the margin, or the whole interval is beyond it, or neither.
fn guard(metric: &Metric, comparison: Option<Comparison>, seen: &Seen<'_>) -> Conclusion {
    // An interval from a few events can show that harm is small, but not that it is large.
    let few = seen.p == Err(Undefined::FewEvents);
    let judged = || {
        let margin = metric.margin(Some(comparison?.values.0))?;
        let interval = seen.interval?;
        // How much worse, at least and at most.
        let (least, most) = match metric.goal {
            Goal::Increase => (-interval.high, -interval.low),
            Goal::Decrease => (interval.low, interval.high),
        };
        Some(if most < margin || (most == 0.0 && margin == 0.0) {
            Conclusion::NonInferior
        } else if least > margin && !few {
            Conclusion::Inferior
        } else {
            Conclusion::NoDifferenceShown
        })
    };
    judged().unwrap_or(Conclusion::Undefined)
}

#[cfg(test)]
mod tests;
