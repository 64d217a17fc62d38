//! The verdict: promote a candidate, keep the baseline, wait, or distrust the data; with reasons as data.
//!
//! Two tables decide. [`STANDINGS`] says what the metrics together show of one candidate, [`DECISIONS`] what follows from
//! the candidate that stands best. docs/statistics.md shows both, and a test compares it with them. Invalid data have no
//! winner, whatever the tables say.

mod tables;

use crate::answer::{CandidateResult, Conclusion, Decision, MetricResult, Role};
use crate::check::Check;
use crate::reason::{Finding, Reason};
use tables::{Guards, Outcome, Primary, Standing, decide, standing};

/// What the verdict is based on.
pub(crate) struct Grounds<'a> {
    pub(crate) metrics: &'a [MetricResult],
    /// The same without the minutes of open breakers.
    pub(crate) without_breaker: Option<&'a [MetricResult]>,
    /// Checks of the data; some may block.
    pub(crate) checks: &'a [Check],
    pub(crate) srm_mismatch: bool,
    pub(crate) allow_srm: bool,
    /// Requests were counted although users were randomized, and the user did not accept that.
    pub(crate) request_level: bool,
    /// The share of lines that other weights assigned.
    pub(crate) other_weights: f64,
    pub(crate) planned_reached: bool,
    pub(crate) candidates: &'a [&'a str],
    pub(crate) baseline: &'a str,
}

/// The decision, the winner, and why.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) decision: Decision,
    pub(crate) winner: Option<String>,
    pub(crate) reasons: Vec<Reason>,
}

/// If other weights assigned more than this share of the lines, the file is not the one that was in force.
pub(crate) const TOLERATED: f64 = 0.01;

pub(crate) fn verdict(grounds: &Grounds<'_>) -> Verdict {
    let mut reasons: Vec<Reason> = Vec::new();
    if grounds.other_weights > TOLERATED {
        reasons.push(Reason::WeightsChanged { share: grounds.other_weights });
    } else if grounds.srm_mismatch && !grounds.allow_srm {
        reasons.push(Reason::SampleRatioMismatch);
    }
    let blocking = grounds.checks.iter().filter(|check| check.blocks());
    reasons.extend(blocking.cloned().map(Reason::from));
    if !reasons.is_empty() {
        return Verdict { decision: Decision::Invalid, winner: None, reasons };
    }
    let found: Vec<Found<'_>> =
        grounds.candidates.iter().map(|candidate| look(grounds, candidate, &mut reasons)).collect();
    let Some(best) = found.iter().map(|found| found.standing).max() else {
        return Verdict { decision: Decision::Inconclusive, winner: None, reasons };
    };
    let leaders = found.iter().filter(|found| found.standing == best);
    let leader =
        leaders.max_by(|a, b| a.p_best.total_cmp(&b.p_best)).map_or("", |found| found.name);
    let variant = || leader.to_owned();
    let outcome = decide(best, grounds.planned_reached);
    if outcome == Outcome::Promote && grounds.request_level {
        reasons.push(Reason::RequestsDoNotDecide { variant: variant() });
        return Verdict { decision: Decision::Inconclusive, winner: None, reasons };
    }
    reasons.extend(match outcome {
        Outcome::Promote | Outcome::Harm | Outcome::Wait => None,
        Outcome::Unsettled => Some(Reason::UnsettledAtPlan { variant: variant() }),
        Outcome::Unjudged => Some(Reason::UnjudgedAtPlan { variant: variant() }),
        Outcome::NotBetter => Some(Reason::NothingBetter {
            baseline: grounds.baseline.to_owned(),
            harmful: found.iter().any(|found| found.better),
        }),
    });
    let winner = (outcome == Outcome::Promote).then(variant);
    Verdict { decision: outcome.decision(), winner, reasons }
}

/// What was found of a candidate.
struct Found<'a> {
    name: &'a str,
    standing: Standing,
    /// A primary metric is better, whatever the others show.
    better: bool,
    p_best: f64,
}

fn of<'m>(
    metrics: &'m [MetricResult],
    candidate: &'m str,
) -> impl Iterator<Item = (&'m MetricResult, &'m CandidateResult)> {
    metrics.iter().filter_map(move |metric| {
        Some((metric, metric.candidates.iter().find(|result| result.variant == candidate)?))
    })
}

fn look<'a>(grounds: &Grounds<'_>, name: &'a str, reasons: &mut Vec<Reason>) -> Found<'a> {
    let (mut primaries, mut guards) = (Vec::new(), Vec::new());
    for (metric, result) in of(grounds.metrics, name) {
        match metric.role {
            Role::Primary => primaries.push(result.decision),
            Role::Guardrail => guards.push(result.decision),
            Role::Exploratory => {}
        }
        reasons.extend(reason(metric, result));
    }
    let better = primaries.contains(&Conclusion::Better);
    // While the breaker was open the baseline served the candidate's requests, which hides its failures.
    let without = grounds.without_breaker.map(|metrics| of(metrics, name));
    for (metric, result) in without.into_iter().flatten() {
        match (metric.role, result.decision) {
            (Role::Primary, Conclusion::Worse) => primaries.push(result.decision),
            (Role::Guardrail, Conclusion::Inferior) => guards.push(result.decision),
            _ => continue,
        }
        reasons.push(Reason::WorseWithoutBreaker(Finding::of(metric, result)));
    }
    // In the first primary metric: metrics are in the order of their roles.
    let first = of(grounds.metrics, name).next();
    let p_best = first.and_then(|(_, result)| result.p_best).unwrap_or(0.0);
    Found { name, standing: standing(Primary::of(&primaries), Guards::of(&guards)), better, p_best }
}

/// What a comparison contributes; `None`: nothing.
fn reason(metric: &MetricResult, result: &CandidateResult) -> Option<Reason> {
    let (variant, name) = (result.variant.clone(), metric.name.clone());
    let found = || Finding::of(metric, result);
    Some(match (metric.role, result.decision) {
        (Role::Exploratory, _) | (Role::Guardrail, Conclusion::NonInferior) => return None,
        (Role::Primary, Conclusion::Better) => Reason::Better(found()),
        (Role::Primary, Conclusion::Worse) => Reason::Worse(found()),
        (Role::Primary, Conclusion::NoDifferenceShown) => {
            Reason::NoDifference { variant, metric: name }
        }
        (Role::Guardrail, Conclusion::Inferior) => Reason::GuardrailBroken(found()),
        (Role::Guardrail, Conclusion::NoDifferenceShown) => Reason::GuardrailUnsettled {
            variant,
            metric: name,
            margin: result.margin.or(metric.margin).unwrap_or(0.0),
            scale: metric.scale(),
        },
        (role, _) => Reason::NotJudged {
            variant,
            metric: name,
            guardrail: role == Role::Guardrail,
            why: result.undefined,
        },
    })
}

#[cfg(test)]
mod tests;
