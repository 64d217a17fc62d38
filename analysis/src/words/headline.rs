//! The first lines of a report: the decision with its main reason in one sentence, and what to do next.

use std::fmt::Display;

use sidetrack_stats::result::Undefined;

use crate::answer::{Analysis, Decision};
use crate::reason::{Finding, Reason};

/// `Promote enhanced-predictor: it is better than …`; with a mark if it is not what was planned, or if checks failed.
#[must_use]
pub fn headline(analysis: &Analysis) -> String {
    let plan = &analysis.plan;
    let accepted = analysis.accepted();
    let mark = if !accepted.is_empty() {
        format!(" (exploratory: although {} failed)", accepted.join(", "))
    } else if !plan.exploratory.is_empty()
        && (plan.digest.is_some() || analysis.decision != Decision::Invalid)
    {
        " (exploratory)".to_owned()
    } else {
        String::new()
    };
    let (decision, why) = decided(analysis);
    if why.is_empty() { decision + &mark } else { format!("{decision}{mark}: {why}") }
}

/// The decision, and its main reason.
fn decided(analysis: &Analysis) -> (String, String) {
    let baseline = analysis.baseline().unwrap_or("the baseline");
    match (analysis.decision, &analysis.winner) {
        (Decision::Promote, Some(winner)) => {
            let found = first(analysis, |reason| match reason {
                Reason::Better(found) if found.variant == *winner => Some(in_metric(found)),
                _ => None,
            });
            let better = format!("it is better than {baseline}{}", found.unwrap_or_default());
            (format!("Promote {winner}"), format!("{better}, and no guardrail is broken"))
        }
        (Decision::KeepBaseline, _) => {
            (format!("Keep {baseline}"), against(analysis).unwrap_or_default())
        }
        (Decision::Invalid, _) => ("No decision".to_owned(), distrust(analysis)),
        (Decision::Inconclusive, _) if analysis.is_plan_reached() => (
            "No decision".to_owned(),
            format!("the planned units are reached, and {}", open(analysis)),
        ),
        (Decision::Promote | Decision::Inconclusive, _) => {
            ("No decision yet".to_owned(), open(analysis))
        }
    }
}

/// The first reason of some kind.
fn first<'a, T>(analysis: &'a Analysis, of: impl FnMut(&'a Reason) -> Option<T>) -> Option<T> {
    analysis.reasons.iter().find_map(of)
}

/// ` in accuracy (+3.6 points)`.
fn in_metric(found: &Finding) -> String {
    let effect = &found.effect;
    let by = effect.difference.map(|by| format!(" ({})", effect.scale.change(by)));
    format!(" in {}{}", found.metric, by.unwrap_or_default())
}

/// Why no candidate is promoted.
fn against(analysis: &Analysis) -> Option<String> {
    first(analysis, |reason| match reason {
        Reason::NothingBetter { .. } => {
            Some("the planned units are reached, and no candidate is better".to_owned())
        }
        _ => None,
    })
    .or_else(|| {
        first(analysis, |reason| match reason {
            Reason::Worse(found) => Some(format!("{} is worse{}", found.variant, in_metric(found))),
            Reason::GuardrailBroken(found) => {
                Some(format!("{} breaks the guardrail {}", found.variant, found.metric))
            }
            Reason::WorseWithoutBreaker(found) => Some(format!(
                "{} is worse in {} while no breaker is open",
                found.variant, found.metric
            )),
            _ => None,
        })
    })
}

/// Why the data decide nothing.
fn distrust(analysis: &Analysis) -> String {
    if analysis.lines.used == 0 {
        return "the logs have no request of this experiment that counts".to_owned();
    }
    let words = "these data cannot be trusted";
    let changed = first(analysis, |reason| {
        matches!(reason, Reason::WeightsChanged { .. }).then_some("the weights changed")
    });
    let mismatch = first(analysis, |reason| {
        matches!(reason, Reason::SampleRatioMismatch).then_some("sample ratio mismatch")
    });
    let failed = listed(failed(analysis));
    let failed = (!failed.is_empty()).then(|| format!("failed: {failed}"));
    let parts: Vec<String> =
        changed.or(mismatch).map(str::to_owned).into_iter().chain(failed).collect();
    if parts.is_empty() { words.to_owned() } else { format!("{words} ({})", parts.join("; ")) }
}

/// The names of the checks that block a decision.
fn failed(analysis: &Analysis) -> Vec<&'static str> {
    let mut names: Vec<_> = analysis
        .checks
        .iter()
        .filter(|check| check.blocks())
        .map(|check| check.name.as_str())
        .collect();
    names.dedup();
    names
}

fn listed(names: impl IntoIterator<Item = impl Display>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

/// Which question is open: the best candidate's first, then that of any.
fn open(analysis: &Analysis) -> String {
    let better = first(analysis, |reason| match reason {
        Reason::Better(found) => Some(found),
        _ => None,
    });
    let independent = first(analysis, |reason| match reason {
        Reason::RequestsDoNotDecide { .. } => {
            Some("the log has no units, so its requests decide nothing".to_owned())
        }
        _ => None,
    });
    let unsettled = better.and_then(|found| {
        let is_open = |variant: &String| *variant == found.variant;
        let guardrail = first(analysis, |reason| match reason {
            Reason::GuardrailUnsettled { variant, metric, .. }
            | Reason::NotJudged { variant, metric, guardrail: true, .. }
                if is_open(variant) =>
            {
                Some(metric)
            }
            _ => None,
        });
        let better = format!("{} is better{}", found.variant, in_metric(found));
        guardrail.map(|name| format!("{better}, but the guardrail {name} is not settled"))
    });
    let question = first(analysis, |reason| match reason {
        Reason::NoDifference { variant, metric } => {
            Some(format!("{variant} shows no significant difference in {metric}"))
        }
        Reason::NotJudged { metric, guardrail: false, why, .. } => Some(match why {
            Some(Undefined::TooFew) => format!("too few data to judge {metric}"),
            Some(Undefined::FewEvents) => format!("too few events to judge {metric}"),
            Some(Undefined::BetweenLooks) => {
                "nothing is decided before the next planned look".to_owned()
            }
            Some(Undefined::ZeroVariance) => format!("the values of {metric} do not vary"),
            Some(Undefined::PriorConflict) => {
                format!("the data of {metric} contradict the prior")
            }
            Some(Undefined::ZeroBaseline) | None => format!("{metric} cannot be judged"),
        }),
        _ => None,
    });
    let other = || "the question is still open".to_owned();
    independent.or(unsettled).or(question).unwrap_or_else(other)
}

/// Whether no candidate has a weight any more in the latest phase, as after a rollback.
fn is_stopped(analysis: &Analysis) -> bool {
    let last = analysis.phases.last().filter(|_| analysis.candidates().next().is_some());
    last.is_some_and(|last| {
        let share = |name: &str| last.shares.get(name).copied().unwrap_or_default();
        analysis.candidates().all(|name| share(name) <= 0.0)
    })
}

/// What to do now.
#[must_use]
pub fn next(analysis: &Analysis) -> String {
    let candidates = || listed(analysis.candidates());
    let units: u64 = analysis.variants.iter().map(|variant| variant.units).sum();
    match (analysis.decision, analysis.planned_units) {
        (Decision::Promote, _) => {
            let winner = analysis.winner.as_deref().unwrap_or("the winner");
            format!("give {winner} all traffic, or make it the baseline of the experiment file")
        }
        (Decision::KeepBaseline | Decision::Inconclusive, _) if is_stopped(analysis) => format!(
            "the weight of {} is 0 now, so all users get {}: remove the experiment from the file, or \
             begin another trial with a new salt",
            candidates(),
            analysis.baseline().unwrap_or("the baseline")
        ),
        (Decision::KeepBaseline, _) => format!(
            "set the weight to 0 for {}, or remove the experiment from the file",
            candidates()
        ),
        (Decision::Invalid, _) => "find the cause (docs/analysis.md, \"Checks of the data\") and \
                                   correct the data. Use the numbers below only for that"
            .to_owned(),
        (Decision::Inconclusive, Some(planned)) if units < planned => format!(
            "keep the experiment running ({units} of {planned} planned units so far), and look at \
             the result as often as you like"
        ),
        (Decision::Inconclusive, Some(_)) => {
            "decide by the intervals below what the risk is worth, or plan a larger experiment"
                .to_owned()
        }
        (Decision::Inconclusive, None) => "keep the experiment running, and look at the result as \
                                           often as you like; `sidetrack size` computes how many \
                                           units an effect needs"
            .to_owned(),
    }
}
