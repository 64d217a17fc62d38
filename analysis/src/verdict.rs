//! The verdict: promote a candidate, keep the baseline, wait, or distrust the data; with reasons as data.
//!
//! A candidate wins if a primary metric is better, none is worse, and every guardrail is within its margin. Significant harm
//! in any of them keeps the baseline. Invalid data have no winner.

use crate::answer::{CandidateResult, Conclusion, Decision, MetricResult, Role};
use crate::reason::{Finding, Reason};

/// What the verdict is based on.
pub(crate) struct Grounds<'a> {
    pub(crate) metrics: &'a [MetricResult],
    /// The same without the minutes of open breakers.
    pub(crate) without_breaker: Option<&'a [MetricResult]>,
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

/// What the metrics show of one candidate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Wins,
    Harms,
    Open,
}

pub(crate) fn verdict(grounds: &Grounds<'_>) -> Verdict {
    let invalid =
        |reason| Verdict { decision: Decision::Invalid, winner: None, reasons: vec![reason] };
    if grounds.other_weights > TOLERATED {
        return invalid(Reason::WeightsChanged { share: grounds.other_weights });
    }
    if grounds.srm_mismatch && !grounds.allow_srm {
        return invalid(Reason::SampleRatioMismatch);
    }
    let mut reasons = Vec::new();
    let standings: Vec<(&str, Standing)> = grounds
        .candidates
        .iter()
        .map(|candidate| (*candidate, standing(grounds, candidate, &mut reasons)))
        .collect();
    let winner = standings
        .iter()
        .filter(|(_, standing)| *standing == Standing::Wins)
        .map(|(name, _)| *name)
        .max_by(|a, b| p_best(grounds, a).total_cmp(&p_best(grounds, b)));
    if let Some(winner) = winner {
        if grounds.request_level {
            reasons.push(Reason::RequestsDoNotDecide { variant: winner.to_owned() });
            return Verdict { decision: Decision::Inconclusive, winner: None, reasons };
        }
        let winner = Some(winner.to_owned());
        return Verdict { decision: Decision::Promote, winner, reasons };
    }
    let harm = standings.iter().all(|(_, standing)| *standing == Standing::Harms);
    let decision = if harm && !standings.is_empty() {
        Decision::KeepBaseline
    } else if grounds.planned_reached {
        reasons.push(Reason::NothingBetter { baseline: grounds.baseline.to_owned() });
        Decision::KeepBaseline
    } else {
        Decision::Inconclusive
    };
    Verdict { decision, winner: None, reasons }
}

fn of<'m>(
    metrics: &'m [MetricResult],
    candidate: &'m str,
) -> impl Iterator<Item = (&'m MetricResult, &'m CandidateResult)> {
    metrics.iter().filter_map(move |metric| {
        Some((metric, metric.candidates.iter().find(|result| result.variant == candidate)?))
    })
}

/// In the first primary metric: metrics are in the order of their roles.
fn p_best(grounds: &Grounds<'_>, candidate: &str) -> f64 {
    of(grounds.metrics, candidate).next().and_then(|(_, result)| result.p_best).unwrap_or(0.0)
}

fn standing(grounds: &Grounds<'_>, candidate: &str, reasons: &mut Vec<Reason>) -> Standing {
    let (mut better, mut harm, mut doubt) = (false, false, false);
    for (metric, result) in of(grounds.metrics, candidate) {
        let Some(reason) = reason(metric, result) else { continue };
        match (metric.role, result.decision) {
            (_, Conclusion::Better) => better = true,
            (_, Conclusion::Worse | Conclusion::Inferior) => harm = true,
            (Role::Guardrail, Conclusion::NoDifferenceShown | Conclusion::Undefined) => {
                doubt = true;
            }
            _ => {}
        }
        reasons.push(reason);
    }
    // While the breaker was open the baseline served the candidate's requests, which hides its failures.
    let without = grounds.without_breaker.map(|metrics| of(metrics, candidate));
    for (metric, result) in without.into_iter().flatten() {
        let harms = matches!(result.decision, Conclusion::Worse | Conclusion::Inferior);
        if metric.role != Role::Exploratory && harms {
            harm = true;
            reasons.push(Reason::WorseWithoutBreaker(Finding::of(metric, result)));
        }
    }
    match (better, harm, doubt) {
        (_, true, _) => Standing::Harms,
        (true, false, false) => Standing::Wins,
        _ => Standing::Open,
    }
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
            margin: metric.margin.unwrap_or(0.0),
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
