//! An analysis in words: what the terminal report, the HTML report and the store's page have in common.

mod change;
mod headline;
mod outlook;
mod segments;

use crate::answer::{
    Analysis, CandidateResult, Conclusion, Goal, LineCounts, LoggedColumn, MetricResult,
    OtherTrial, OutcomeCounts, PhaseResult, Role, TestMode, Variant,
};
use crate::check::CheckState;
use crate::figures::{digits, short, signed};
use crate::metric::BUILT_IN;
use crate::source::outcomes::ACCURACY;
pub use change::what_would_change;
pub use headline::{headline, next};
pub use outlook::{outlook, trend};
pub use segments::{interaction, segment_concluded, segment_notes, segment_title};

/// Whether the analysis is the planned one, and why not.
#[must_use]
pub fn planned(analysis: &Analysis) -> Vec<String> {
    match &analysis.plan.digest {
        Some(digest) if analysis.plan.exploratory.is_empty() => {
            vec![format!("as planned: the plan {digest} was in force for all requests")]
        }
        _ => analysis.plan.exploratory.iter().map(|why| format!("exploratory: {why}")).collect(),
    }
}

/// How often the intervals may be looked at, after the directions of the columns that decide: a name may not say it.
#[must_use]
pub fn looks(analysis: &Analysis) -> String {
    let is_column = |metric: &&MetricResult| {
        metric.role == Role::Primary
            && metric.name != ACCURACY
            && !BUILT_IN.contains(&metric.name.as_str())
    };
    let direction = |metric: &MetricResult| match metric.goal {
        Goal::Increase => format!("higher {} is better; ", metric.name),
        Goal::Decrease => format!("lower {} is better; ", metric.name),
    };
    let directions: String = analysis.metrics.iter().filter(is_column).map(direction).collect();
    directions + &interval(analysis)
}

fn interval(analysis: &Analysis) -> String {
    let confidence = short(100.0 * (1.0 - analysis.alpha), 3);
    match (analysis.test, analysis.planned_units) {
        (TestMode::Fixed, Some(planned)) => format!(
            "the planned {} units are reached: {confidence} % intervals of a fixed test",
            planned
        ),
        (TestMode::GroupSequential, Some(planned)) => {
            let look = analysis.sequential.as_ref();
            look.map_or_else(String::new, |look| match look.next_units {
                None => format!(
                    "look {} of {}, at {} of {planned} planned units: {confidence} % intervals of \
                     O'Brien and Fleming",
                    look.look,
                    look.looks,
                    look.units
                ),
                Some(next) => format!(
                    "between looks: {} of {planned} planned units count so far, and look {} of {} is at \
                     {next}; until then always-valid {confidence} % intervals",
                    look.units, look.look, look.looks
                ),
            })
        }
        (_, Some(planned)) if analysis.is_plan_reached() => format!(
            "more than the planned {} units: always-valid {confidence} % intervals",
            planned
        ),
        (_, Some(planned)) => match analysis.waiting() {
            Some(counted) => format!(
                "{counted} of {planned} planned units count so far: always-valid {confidence} % intervals"
            ),
            None => format!(
                "the planned {planned} units are not reached yet: always-valid {confidence} % intervals"
            ),
        },
        _ => format!("no --planned-units: always-valid {confidence} % intervals"),
    }
}

/// `0.0123`, `1e-400`; the adjusted p-value if there is one.
#[must_use]
pub fn p_value(result: &CandidateResult) -> String {
    match (result.p_adjusted.or(result.p_value), result.log10_p) {
        (Some(p), _) if p >= 1e-300 => p_text(p),
        (Some(_), Some(log)) => format!("1e{log:.0}"),
        _ => "–".to_owned(),
    }
}

/// `0.0123`, `1.2e-5`.
#[must_use]
pub fn p_text(p: f64) -> String {
    if p < 1e-4 { format!("{p:.1e}") } else { digits(p, 3) }
}

/// A metric's conclusion in words.
#[must_use]
pub const fn concluded(role: Role, conclusion: Conclusion) -> &'static str {
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

/// The result of a check in a word.
#[must_use]
pub const fn result(state: CheckState) -> &'static str {
    match state {
        CheckState::Ok => "passed",
        CheckState::Warning => "with a warning",
        CheckState::Blocking => "failed",
        CheckState::Accepted => "accepted (--allow)",
        CheckState::NotChecked => "not done",
    }
}

/// A section's title.
#[must_use]
pub const fn title(role: Role) -> &'static str {
    match role {
        Role::Primary => "Primary metrics",
        Role::Guardrail => "Guardrails",
        Role::Exploratory => "Exploratory metrics",
    }
}

/// How to read a section.
#[must_use]
pub const fn note(role: Role) -> &'static str {
    match role {
        Role::Primary => "they decide; p-values adjusted (Holm)",
        Role::Guardrail => "the whole interval must be within the margin",
        Role::Exploratory => "p-values adjusted (Benjamini-Hochberg)",
    }
}

/// The title of everything that is no part of the decision, and what it is for.
pub const EXPLORATORY: [&str; 2] =
    ["Exploratory", "nothing below decides: it shows what to test in another experiment"];

/// The title of the comparison without the minutes of open breakers.
pub const WITHOUT_BREAKER: &str = "Without the minutes in which a breaker was open";

/// The relative lift, `+13.1 %`, and its interval, `+10.2 to +16.0 %`; empty if they are undefined.
#[must_use]
pub fn lift(result: &CandidateResult) -> [String; 2] {
    let percent = |lift: f64| signed(100.0 * lift, 3);
    let lift = result.relative_lift.filter(|lift| lift.is_finite());
    let interval = match result.relative_lift_ci {
        [Some(low), Some(high)] => format!("{} to {} %", percent(low), percent(high)),
        _ => String::new(),
    };
    [lift.map_or_else(String::new, |lift| format!("{} %", percent(lift))), interval]
}

/// The difference within each phase: its name, and the difference with its interval.
#[must_use]
pub fn by_phase(metric: &MetricResult, result: &CandidateResult) -> Vec<(String, String)> {
    let scale = metric.scale();
    let row = |phase: &PhaseResult| {
        let interval = match phase.ci {
            [Some(low), Some(high)] => format!(" ({})", scale.range((low, high))),
            _ => String::new(),
        };
        (phase.phase.clone(), format!("{}{interval}", scale.change(phase.diff)))
    };
    result.phases.iter().map(row).collect()
}

/// A variant's share of all units, in percent.
#[must_use]
pub fn share(variant: &Variant, variants: &[Variant]) -> String {
    let float = sidetrack_stats::float;
    let all: u64 = variants.iter().map(|variant| variant.units).sum();
    let share = if all == 0 { 0.0 } else { 100.0 * float(variant.units) / float(all) };
    format!("{share:.2} %")
}

/// `trial 5cda82bb: 1200 lines from 2026-11-23T09:00:00Z to …, not counted (--trial 5cda82bb)`.
#[must_use]
pub fn other_trial(trial: &OtherTrial) -> String {
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
#[must_use]
pub fn skipped(lines: &LineCounts) -> String {
    match lines.malformed {
        1 => "1 malformed line was skipped:".to_owned(),
        many => format!("{} malformed lines were skipped; the first ones:", many),
    }
}

/// Why lines do not count, with their numbers.
#[must_use]
pub fn left_out(lines: &LineCounts) -> Vec<String> {
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

/// How many rows of the outcomes count, and which columns do not.
#[must_use]
pub fn outcome_rows(outcomes: &OutcomeCounts) -> String {
    let mut text = format!("{} outcome rows, {} match the logs", outcomes.rows, outcomes.matched);
    if !outcomes.ignored_columns.is_empty() {
        text += &format!("; columns that are no metrics: {}", outcomes.ignored_columns.join(", "));
    }
    if outcomes.nameless_columns > 0 {
        text += &format!("; columns without a name: {}", outcomes.nameless_columns);
    }
    if !outcomes.logged.is_empty() {
        let of = |logged: &LoggedColumn| match logged.missing {
            0 => logged.column.clone(),
            missing => {
                format!("{} ({missing} of {} requests have none)", logged.column, logged.requests)
            }
        };
        let logged: Vec<String> = outcomes.logged.iter().map(of).collect();
        text += &format!("; made from the access log: {}", logged.join(", "));
    }
    text
}

/// What cannot be read of the outcomes, each with the first examples.
#[must_use]
pub fn unreadable_rows(outcomes: &OutcomeCounts) -> Vec<(String, &[String])> {
    let rows = (outcomes.malformed > 0).then(|| {
        let what =
            format!("outcome rows that cannot be read: {}; the first ones:", outcomes.malformed);
        (what, outcomes.examples.as_slice())
    });
    let columns = outcomes.unreadable.iter().filter(|column| !column.examples.is_empty());
    let columns = columns.map(|column| {
        let what = format!(
            "{}: values that cannot be read, their units are left out: {}; the first ones:",
            column.column, column.rows
        );
        (what, column.examples.as_slice())
    });
    rows.into_iter().chain(columns).collect()
}
