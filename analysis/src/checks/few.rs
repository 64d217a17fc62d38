//! Whether a conclusion rests on a few heavy units: it must not vanish without them.
//!
//! The heaviest hundredth of the units of all variants is left out, and each conclusion is looked at again. Users with
//! heavy tails pass, since a difference between the variants shows in the others as well. Bots do not: what one variant
//! owes to them is gone without them.

use std::collections::BTreeMap;

use sidetrack_stats::result::Estimate;

use crate::answer::{Conclusion, Goal, MetricResult, Role};
use crate::check::{Check, CheckName, CheckState};
use crate::compare::Data;
use crate::metric::Metric;
use crate::sums::MetricSums;

/// How many standard errors of a difference must be left. At random, less is left of three (the first always-valid
/// significance) in less than one of a thousand cases, and of two in one of a hundred.
const LEFT: f64 = 1.0;
/// A guardrail is broken beyond so many standard errors (one-sided 2.5 %).
const BROKEN: f64 = 1.96;

/// A conclusion without the heaviest units.
struct Found<'r> {
    metric: &'r str,
    arm: usize,
    variant: &'r str,
    conclusion: Conclusion,
    /// Standard errors in the direction of the conclusion; `None`: it cannot be judged.
    left: Option<f64>,
}

impl Found<'_> {
    fn rests_on_few(&self) -> bool {
        self.left.is_none_or(|left| left < LEFT)
    }
}

/// Checks every conclusion of metrics that decide. `results` are in the order of `metrics`.
pub(crate) fn few_units(
    data: &Data<'_>,
    metrics: &[Metric],
    results: &[MetricResult],
    names: &[&str],
) -> Check {
    let mut found = Vec::new();
    for ((metric, sums), result) in metrics.iter().zip(&data.sums.metrics).zip(results) {
        if metric.role == Role::Exploratory || sums.light.is_empty() {
            continue;
        }
        let light = MetricSums { pairs: sums.light.clone(), ..MetricSums::default() };
        let candidates = data.compare(metric, &light).into_iter().zip(&result.candidates);
        found.extend(candidates.map(|(light, full)| {
            let estimate = light.comparison.ok().map(|comparison| comparison.estimate);
            let margin = full.margin.unwrap_or(0.0);
            Found {
                metric: &metric.name,
                arm: light.candidate,
                variant: &full.variant,
                conclusion: full.decision,
                left: left(full.decision, metric.goal, margin, estimate),
            }
        }));
    }
    let worst = found
        .iter()
        .filter(|found| found.left.is_some_and(f64::is_finite) || found.rests_on_few())
        .min_by(|a, b| a.left.unwrap_or(0.0).total_cmp(&b.left.unwrap_or(0.0)));
    let failed = worst.filter(|found| found.rests_on_few());
    let weights = |arm: usize| data.sums.balance.weights.get(arm).copied().unwrap_or_default();
    let message = match failed {
        Some(found) => format!(
            "{}: without the heaviest units (more than {} requests each), which have {:.1} % of the \
             requests of {}, it is not {}. Look for bots and tests, leave them out of the logs, and \
             analyze again",
            found.metric,
            data.sums.heavy,
            100.0 * weights(found.arm).heavy_share(),
            found.variant,
            words(found.conclusion),
        ),
        None => "no conclusion rests on the heaviest units".to_owned(),
    };
    let share = |(arm, name): (usize, &&str)| ((*name).to_owned(), weights(arm).heavy_share());
    Check {
        name: CheckName::FewUnits,
        state: if failed.is_some() { CheckState::Blocking } else { CheckState::Ok },
        subject: failed.map(|found| found.metric.to_owned()),
        value: worst.and_then(|found| found.left),
        limit: LEFT,
        variants: names.iter().enumerate().map(share).collect::<BTreeMap<_, _>>(),
        message,
    }
}

/// What is left of a conclusion, in standard errors: infinite if it says nothing.
fn left(
    conclusion: Conclusion,
    goal: Goal,
    margin: f64,
    estimate: Option<Estimate>,
) -> Option<f64> {
    let errors = |beyond: f64| {
        let estimate = estimate.filter(|estimate| estimate.variance > 0.0)?;
        let sign = if goal == Goal::Increase { 1.0 } else { -1.0 };
        Some((sign * estimate.difference + beyond) / estimate.se())
    };
    match conclusion {
        Conclusion::Better => errors(0.0),
        Conclusion::Worse => errors(0.0).map(|better| -better),
        Conclusion::Inferior => errors(margin).map(|better| -better),
        // It holds until the others show that the guardrail is broken.
        Conclusion::NonInferior => {
            Some(errors(margin).map_or(f64::INFINITY, |better| {
                if better < -BROKEN { better } else { f64::INFINITY }
            }))
        }
        Conclusion::NoDifferenceShown | Conclusion::Undefined => Some(f64::INFINITY),
    }
}

const fn words(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Better => "better",
        Conclusion::Worse => "worse",
        Conclusion::Inferior => "beyond its margin",
        Conclusion::NonInferior => "within its margin",
        Conclusion::NoDifferenceShown | Conclusion::Undefined => "decided",
    }
}
