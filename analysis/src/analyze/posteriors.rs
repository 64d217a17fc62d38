//! What is believed of each difference after the data, by the prior of the plan.

use sidetrack::config::Bayes;
use sidetrack_stats::belief::{Belief, relative};
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Undefined;

use crate::answer::{Conclusion, Goal, MetricResult, PosteriorResult, Role};
use crate::compare::Compared;
use crate::judge::Names;
use crate::metric::Metric;

/// Below this prior predictive p-value, the data contradict the prior: a prior that is right does in one of a thousand looks.
const CONFLICT: f64 = 0.001;

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
            let Some((posterior, surprise)) = posterior(metric, found, bayes, level) else {
                continue;
            };
            if let Some(rule) = bayes.decide.filter(|_| metric.role == Role::Primary) {
                let (better, loss) = (posterior.p_better, posterior.expected_loss);
                let by_belief = if better >= rule.probability && loss <= rule.loss {
                    Conclusion::Better
                } else if better <= 1.0 - rule.probability {
                    Conclusion::Worse
                } else {
                    Conclusion::NoDifferenceShown
                };
                // A prior that the data refute does not outvote them.
                if surprise < CONFLICT && by_belief != candidate.decision {
                    let why = Undefined::PriorConflict;
                    candidate.decision = Conclusion::Undefined;
                    candidate.undefined = Some(why);
                    candidate.method = format!("{}; undefined: {why}", candidate.method);
                } else {
                    candidate.decision = by_belief;
                }
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
) -> Option<(PosteriorResult, f64)> {
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
    let prior = Belief::new(bayes.mean, bayes.sd).ok()?;
    let belief = prior.after(estimate, variance)?;
    let gain = match metric.goal {
        Goal::Increase => belief,
        Goal::Decrease => belief.reversed(),
    };
    let interval = belief.interval(level);
    let result = PosteriorResult {
        relative: bayes.relative,
        mean: belief.mean(),
        sd: belief.sd(),
        interval: [interval.low, interval.high],
        p_better: gain.above_zero(),
        expected_loss: gain.loss(),
        p_equivalent: bayes.equivalence.map(|margin| belief.within(margin)),
    };
    Some((result, prior.surprise(estimate, variance)))
}
