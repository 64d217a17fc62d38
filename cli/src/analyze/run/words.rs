//! Words that the terminal report and the HTML page share.

use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::{
    CandidateResult, Conclusion, Decision, LineCounts, OtherTrial, Role, TestMode, Variant,
};

use crate::analyze::figures::{digits, short};

/// `Promote enhanced-predictor: …`; with a mark if it is not what was planned, or if checks failed.
pub(super) fn headline(analysis: &Analysis) -> String {
    let plan = &analysis.plan;
    let accepted = analysis.accepted();
    let mark = if !accepted.is_empty() {
        format!(" (exploratory: although {} failed)", accepted.join(", "))
    } else if plan.digest.is_some() && !plan.exploratory.is_empty() {
        " (exploratory)".to_owned()
    } else {
        String::new()
    };
    decided(analysis) + &mark
}

/// Whether the analysis is the planned one, and why not.
pub(super) fn planned(analysis: &Analysis) -> Vec<String> {
    match &analysis.plan.digest {
        Some(digest) if analysis.plan.exploratory.is_empty() => {
            vec![format!("as planned: the plan {digest} was in force for all requests")]
        }
        _ => analysis.plan.exploratory.iter().map(|why| format!("exploratory: {why}")).collect(),
    }
}

fn decided(analysis: &Analysis) -> String {
    let baseline = analysis.baseline().unwrap_or("the baseline");
    match (analysis.decision, &analysis.winner) {
        (Decision::Promote, Some(winner)) => {
            format!("Promote {winner}: it is better than {baseline}, and no guardrail is broken")
        }
        (Decision::KeepBaseline, _) => format!("Keep {baseline}: promote no candidate"),
        (Decision::Invalid, _) if analysis.lines.used == 0 => {
            "No decision: the logs have no request of this experiment that counts".to_owned()
        }
        (Decision::Invalid, _) => "No decision: these data cannot be trusted".to_owned(),
        (Decision::Inconclusive, _) if analysis.is_plan_reached() => {
            "No decision: the planned units are reached, but the question is still open".to_owned()
        }
        (Decision::Promote | Decision::Inconclusive, _) => {
            "No decision yet: keep the experiment running".to_owned()
        }
    }
}

/// How often the intervals may be looked at.
pub(super) fn looks(analysis: &Analysis) -> String {
    let confidence = short(100.0 * (1.0 - analysis.alpha), 3);
    match (analysis.test, analysis.planned_units) {
        (TestMode::Fixed, Some(planned)) => format!(
            "the planned {} units are reached: {confidence} % intervals of a fixed test",
            planned
        ),
        (_, Some(planned)) if analysis.is_plan_reached() => format!(
            "more than the planned {} units: always-valid {confidence} % intervals",
            planned
        ),
        (_, Some(planned)) => match analysis.waiting() {
            Some(counted) => format!(
                "{counted} of the planned {planned} units count so far, whose outcomes are complete: \
                 always-valid {confidence} % intervals"
            ),
            None => format!(
                "the planned {planned} units are not reached yet: always-valid {confidence} % intervals"
            ),
        },
        _ => format!("no --planned-units: always-valid {confidence} % intervals"),
    }
}

/// `0.0123`, `1e-400`; the adjusted p-value if there is one.
pub(super) fn p_value(result: &CandidateResult) -> String {
    match (result.p_adjusted.or(result.p_value), result.log10_p) {
        (Some(p), _) if p >= 1e-300 => p_text(p),
        (Some(_), Some(log)) => format!("1e{log:.0}"),
        _ => "–".to_owned(),
    }
}

/// `0.0123`, `1.2e-5`.
pub(super) fn p_text(p: f64) -> String {
    if p < 1e-4 { format!("{p:.1e}") } else { digits(p, 3) }
}

/// A metric's conclusion in words.
pub(super) const fn concluded(role: Role, conclusion: Conclusion) -> &'static str {
    match (role, conclusion) {
        (_, Conclusion::Better) => "better",
        (_, Conclusion::Worse) => "worse",
        (_, Conclusion::NonInferior) => "within its margin",
        (_, Conclusion::Inferior) => "broken",
        (Role::Guardrail, Conclusion::NoDifferenceShown) => "not settled yet",
        (_, Conclusion::NoDifferenceShown) => "not significant",
        (_, Conclusion::Undefined) => "undefined",
    }
}

/// A section's title.
pub(super) const fn title(role: Role) -> &'static str {
    match role {
        Role::Primary => "Primary metrics",
        Role::Guardrail => "Guardrails",
        Role::Exploratory => "Exploratory metrics",
    }
}

/// The title of the comparison without the minutes of open breakers.
pub(super) const WITHOUT_BREAKER: &str = "Without the minutes in which a breaker was open";

/// A variant's share of all units, in percent.
pub(super) fn share(variant: &Variant, variants: &[Variant]) -> String {
    let float = sidetrack_stats::float;
    let all: u64 = variants.iter().map(|variant| variant.units).sum();
    let share = if all == 0 { 0.0 } else { 100.0 * float(variant.units) / float(all) };
    format!("{share:.2} %")
}

/// `trial 5cda82bb: 1200 lines from 2026-11-23T09:00:00Z to …, not counted (--trial 5cda82bb)`.
pub(super) fn other_trial(trial: &OtherTrial) -> String {
    let lines = trial.lines;
    let span = match (&trial.from, &trial.to) {
        (Some(from), Some(to)) => format!(" from {from} to {to}"),
        _ => String::new(),
    };
    match &trial.trial {
        Some(trial) => format!("trial {trial}: {lines} lines{span} (--trial {trial} selects it)"),
        None => format!("lines without a trial: {lines}{span}"),
    }
}

/// That lines were skipped.
pub(super) fn skipped(lines: &LineCounts) -> String {
    match lines.malformed {
        1 => "1 malformed line was skipped:".to_owned(),
        many => format!("{} malformed lines were skipped; the first ones:", many),
    }
}

/// Why lines do not count, with their numbers.
pub(super) fn left_out(lines: &LineCounts) -> Vec<String> {
    let excluded = &lines.excluded;
    let reasons = [
        (excluded.other_experiment, "of another experiment or none"),
        (excluded.overridden, "overridden"),
        (excluded.missing_unit, "without a unit"),
        (excluded.breaker, "while a breaker was open"),
        (excluded.not_started, "before the start"),
        (excluded.disabled, "while disabled"),
        (excluded.excluded, "outside the layer's slots"),
        (excluded.aborted, "aborted by the client"),
        (excluded.other_weights, "assigned by other weights"),
        (excluded.other_trial, "of another trial"),
        (excluded.other_variant, "of a variant that the file does not have"),
        (excluded.other_time, "outside --since and --until"),
        (excluded.repeated, "repeated"),
    ];
    let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
    reasons.map(|(count, why)| format!("{} {why}", count)).collect()
}
