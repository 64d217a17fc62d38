//! What to do: promote a candidate, keep the baseline, wait, or distrust the data; and why, in sentences.
//!
//! A candidate wins when a primary metric is better, none is worse, and no guardrail leaves doubt. Harm shown in any of them
//! keeps the baseline. Data that cannot be trusted have no winner, whatever they show.

use sidetrack_stats::trap::Trap;

use super::analysis::{CandidateResult, MetricResult};

/// What the decision rests on beside the metrics.
pub(super) struct Grounds<'a> {
    pub(super) metrics: &'a [MetricResult],
    /// The same without the minutes of open breakers.
    pub(super) without_breaker: Option<&'a [MetricResult]>,
    pub(super) srm_mismatch: bool,
    pub(super) allow_srm: bool,
    /// Requests were counted though users were randomised, and nobody said that this is right.
    pub(super) request_level: bool,
    /// Of the lines, those that other weights assigned.
    pub(super) other_weights: f64,
    pub(super) planned_reached: bool,
    pub(super) candidates: &'a [&'a str],
    pub(super) baseline: &'a str,
}

/// The decision, the winner, and why.
pub(super) struct Verdict {
    pub(super) decision: &'static str,
    pub(super) winner: Option<String>,
    pub(super) reasons: Vec<String>,
}

/// Above this share of lines that other weights assigned, the file is not the one that was in force.
pub(super) const TOLERATED: f64 = 0.01;

/// What one candidate comes to.
enum Standing {
    Wins,
    Harms,
    Open,
}

pub(super) fn verdict(grounds: &Grounds<'_>) -> Verdict {
    let mut reasons = Vec::new();
    if grounds.other_weights > TOLERATED {
        reasons.push(format!(
            "{:.1} % of the requests were assigned by other weights than the file's: the weights were changed while the experiment ran. {}",
            grounds.other_weights * 100.0,
            Trap::PooledPhases
        ));
        return Verdict { decision: "invalid", winner: None, reasons };
    }
    if grounds.srm_mismatch && !grounds.allow_srm {
        reasons.push(
            "sample ratio mismatch: the variants did not get the units that the file promises, so whoever is missing may \
             make the difference; find the cause before you believe any number below (--allow-srm goes on all the same)"
                .to_owned(),
        );
        return Verdict { decision: "invalid", winner: None, reasons };
    }
    let standings: Vec<(&str, Standing)> = grounds
        .candidates
        .iter()
        .map(|candidate| (*candidate, standing(grounds, candidate, &mut reasons)))
        .collect();
    let winners = standings
        .iter()
        .filter(|(_, standing)| matches!(standing, Standing::Wins))
        .map(|(name, _)| *name);
    let winner = winners.max_by(|a, b| p_best(grounds, a).total_cmp(&p_best(grounds, b)));
    if let Some(winner) = winner {
        if grounds.request_level {
            reasons.push(format!("{winner} would win, but {}", Trap::RequestLevel));
            reasons.push(
                "set settings.exposure_unit: digest, so that the log names units; --assume-independent-requests decides on requests"
                    .to_owned(),
            );
            return Verdict { decision: "inconclusive", winner: None, reasons };
        }
        return Verdict { decision: "promote", winner: Some(winner.to_owned()), reasons };
    }
    let harm = standings.iter().all(|(_, standing)| matches!(standing, Standing::Harms));
    let decision = if harm && !standings.is_empty() {
        "keep_baseline"
    } else if grounds.planned_reached {
        reasons.push(format!(
            "the planned number of units is reached and no candidate was shown to be better than {}",
            grounds.baseline
        ));
        "keep_baseline"
    } else {
        "inconclusive"
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

fn p_best(grounds: &Grounds<'_>, candidate: &str) -> f64 {
    of(grounds.metrics, candidate).next().and_then(|(_, result)| result.p_best).unwrap_or(0.0)
}

fn standing(grounds: &Grounds<'_>, candidate: &str, reasons: &mut Vec<String>) -> Standing {
    let (mut better, mut harm, mut doubt) = (false, false, false);
    for (metric, result) in of(grounds.metrics, candidate) {
        let name = &metric.name;
        match (metric.role, result.decision) {
            ("primary", "better") => {
                better = true;
                reasons.push(format!(
                    "{candidate} is better in {name}: {}",
                    super::report::effect(metric, result)
                ));
            }
            ("primary", "worse") => {
                harm = true;
                reasons.push(format!(
                    "{candidate} is worse in {name}: {}",
                    super::report::effect(metric, result)
                ));
            }
            ("guardrail", "inferior") => {
                harm = true;
                reasons.push(format!(
                    "{candidate} breaks the guardrail {name}: {}",
                    super::report::effect(metric, result)
                ));
            }
            ("guardrail", "non_inferior") => {}
            ("guardrail", "no_difference_shown") => {
                doubt = true;
                reasons.push(format!(
                    "the guardrail {name} is not settled: {candidate} may still be worse by more than {}",
                    super::report::margin(metric, metric.margin.unwrap_or(0.0))
                ));
            }
            ("guardrail", _) => {
                doubt = true;
                reasons.push(format!(
                    "the guardrail {name} cannot be judged for {candidate}: {}",
                    result.method
                ));
            }
            ("primary", "no_difference_shown") => {
                reasons.push(format!(
                    "{candidate}: no difference in {name} was shown; that is not: they are equal"
                ));
            }
            ("primary", _) => {
                reasons.push(format!("{name} cannot be judged for {candidate}: {}", result.method))
            }
            _ => {}
        }
    }
    // While the breaker was open the baseline answered for the candidate, which hides its failures.
    for (metric, result) in
        grounds.without_breaker.map(|metrics| of(metrics, candidate)).into_iter().flatten()
    {
        if metric.role != "exploratory" && matches!(result.decision, "worse" | "inferior") {
            harm = true;
            reasons.push(format!(
                "without the minutes in which a breaker was open, {candidate} is worse in {}: {}",
                metric.name,
                super::report::effect(metric, result)
            ));
        }
    }
    match (better, harm, doubt) {
        (_, true, _) => Standing::Harms,
        (true, false, false) => Standing::Wins,
        _ => Standing::Open,
    }
}
