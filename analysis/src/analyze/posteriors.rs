//! What is believed of each difference after the data, by the prior of the plan.

use sidetrack::config::Bayes;
use sidetrack_stats::belief::{Belief, relative};
use sidetrack_stats::input::Fraction;

use crate::answer::{Conclusion, Goal, MetricResult, PosteriorResult, Role};
use crate::compare::Compared;
use crate::judge::Names;
use crate::metric::Metric;

/// Adds the posteriors to the results, and decides by them if the plan says so. A comparison without a test has none: its
/// error is unknown.
pub(super) fn add(
    compared: &[(Metric, Vec<Compared>)],
    results: &mut [MetricResult],
    bayes: Bayes,
    level: Fraction,
    names: &Names<'_>,
) {
    for ((metric, found), result) in compared.iter().zip(results) {
        for found in found {
            let variant = names.variant(found.candidate);
            let candidates = &mut result.candidates;
            let Some(candidate) = candidates.iter_mut().find(|other| other.variant == variant)
            else {
                continue;
            };
            let Some(posterior) = posterior(metric, found, bayes, level) else { continue };
            if let Some(rule) = bayes.decide.filter(|_| metric.role == Role::Primary) {
                let (better, loss) = (posterior.p_better, posterior.expected_loss);
                candidate.decision = if better >= rule.probability && loss <= rule.loss {
                    Conclusion::Better
                } else if better <= 1.0 - rule.probability {
                    Conclusion::Worse
                } else {
                    Conclusion::NoDifferenceShown
                };
            }
            candidate.posterior = Some(posterior);
        }
    }
}

fn posterior(
    metric: &Metric,
    found: &Compared,
    bayes: Bayes,
    level: Fraction,
) -> Option<PosteriorResult> {
    let comparison = found.comparison.ok()?;
    match &found.score {
        Some(score) => score.test().ok()?,
        None => comparison.test.ok()?,
    };
    let (estimate, variance) = if bayes.relative {
        relative(&comparison)?
    } else {
        (comparison.estimate.difference, comparison.estimate.variance)
    };
    let belief = Belief::new(bayes.mean, bayes.sd).ok()?.after(estimate, variance)?;
    let gain = match metric.goal {
        Goal::Increase => belief,
        Goal::Decrease => belief.reversed(),
    };
    let interval = belief.interval(level);
    Some(PosteriorResult {
        relative: bayes.relative,
        mean: belief.mean(),
        sd: belief.sd(),
        interval: [interval.low, interval.high],
        p_better: gain.above_zero(),
        expected_loss: gain.loss(),
        p_equivalent: bayes.equivalence.map(|margin| belief.within(margin)),
    })
}
