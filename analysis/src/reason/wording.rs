//! Reasons in words.

use std::collections::BTreeMap;
use std::fmt;

use sidetrack_stats::trap::Trap;

use crate::figures::{digits, short, signed};

use super::{Effect, Finding, Note, Reason, RowProblem};
use crate::check::CheckState;
use crate::checks::BY_SRM;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(unusable) => unusable.fmt(f),
            Self::WeightsChanged { share } => write!(
                f,
                "{:.1} % of the requests were assigned by other weights than the file's, and their \
                 lines do not say by which: the weights changed while the experiment ran. Added up \
                 over different weights, a drift of a metric looks like a difference between the \
                 variants. Log in the format that `sidetrack render` writes, with the weights, or \
                 analyze the time in which the file was in force (--since, --until)",
                share * 100.0,
            ),
            Self::SampleRatioMismatch => f.write_str(
                "sample ratio mismatch: the split between the variants differs from the \
                 configured one by more than chance allows, so missing units may explain any \
                 difference below. Find the cause first (--allow-srm continues anyway)",
            ),
            Self::Better(found) => write!(f, "{} is better in {found}", found.variant),
            Self::Worse(found) => write!(f, "{} is worse in {found}", found.variant),
            Self::GuardrailBroken(found) => {
                write!(f, "{} breaks the guardrail {found}", found.variant)
            }
            Self::GuardrailUnsettled { variant, metric, margin, scale } => write!(
                f,
                "the guardrail {metric} is not settled: {variant} may still be worse by more than \
                 {}",
                scale.margin(*margin)
            ),
            Self::NotJudged { variant, metric, guardrail, why } => {
                let guardrail = if *guardrail { "the guardrail " } else { "" };
                write!(f, "{guardrail}{metric} cannot be judged for {variant}")?;
                why.map_or(Ok(()), |why| write!(f, ": {}", why.reason()))
            }
            Self::NoDifference { variant, metric } => write!(
                f,
                "{variant}: no significant difference in {metric}. This does not show that they \
                 are equal"
            ),
            Self::WorseWithoutBreaker(found) => write!(
                f,
                "without the minutes in which a breaker was open, {} is worse in {found}",
                found.variant
            ),
            Self::RequestsDoNotDecide { variant } => write!(
                f,
                "{variant} would win, but {}. Set settings.exposure_unit: digest, so that the log \
                 has units; --assume-independent-requests decides by requests",
                Trap::RequestLevel
            ),
            Self::NothingBetter { baseline, harmful } => {
                write!(
                    f,
                    "the planned number of units is reached, and no candidate is significantly \
                     better than {baseline}"
                )?;
                f.write_str(if *harmful { " without harm in another metric" } else { "" })
            }
            Self::UnsettledAtPlan { variant } => write!(
                f,
                "the planned number of units is reached and {variant} is better, but a guardrail \
                 is not settled. Collect more units, or decide whether a wider margin is acceptable"
            ),
            Self::UnjudgedAtPlan { variant } => write!(
                f,
                "the planned number of units is reached, but no primary metric can be judged for \
                 {variant}"
            ),
            Self::Check(check) => {
                f.write_str(&check.message)?;
                match check.state {
                    CheckState::Blocking => write!(f, " (--allow {} continues anyway)", check.name),
                    CheckState::Accepted if check.message.ends_with(BY_SRM) => Ok(()),
                    CheckState::Accepted => write!(f, " (accepted by --allow {})", check.name),
                    CheckState::Ok | CheckState::Warning | CheckState::NotChecked => Ok(()),
                }
            }
            Self::Note(note) => note.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndependentRequests => f.write_str(
                "the log has no units, so this assumes independent requests; requests of one user \
                 are not independent",
            ),
            Self::Damaged { file, error, lines } => write!(
                f,
                "{file}: {error}; the {} lines before that count, and how many are missing is unknown",
                *lines
            ),
            Self::DamagedRecords { file, error } => write!(
                f,
                "{file}: {error}; the records before that count, and how many are missing is unknown"
            ),
            Self::Adaptive { steps } => write!(
                f,
                "adaptive: a bandit set the weights in {steps} steps; each step is compared within \
                 itself and the differences are merged, never pooled. A fixed test is not valid for \
                 such data, so all intervals hold at every look"
            ),
            Self::Wandering { phases } => write!(
                f,
                "the weights rose and fell over {phases} phases, as if outcomes had set them; a fixed \
                 test is not valid for such data, so all intervals hold at every look"
            ),
            Self::Phases { phases } => write!(
                f,
                "the weights changed while the experiment ran: {phases} phases are compared \
                 separately and the differences are merged, never pooled"
            ),
            Self::BreakerOpen { requests, share, minutes } => write!(
                f,
                "a breaker was open or recovering for {} of the candidates' requests ({:.1} %), in \
                 {minutes} {}; they count for the variant they were assigned to",
                *requests,
                share * 100.0,
                if *minutes == 1 { "minute" } else { "minutes" }
            ),
            Self::OtherWeights { requests } => write!(
                f,
                "{requests} requests were assigned by other weights than the file's, and their \
                 lines do not say by which; they do not count"
            ),
            Self::TornUnits { units } => write!(
                f,
                "{} units were assigned to two variants within one phase (a different salt or \
                 file?); each counts for its first",
                *units
            ),
            Self::MovedUnits { units, untimed } => {
                write!(
                    f,
                    "{units} units changed their variant from one phase to another; each counts in \
                     each phase for the variant that it was assigned to there"
                )?;
                let untimed = if *untimed {
                    ". The outcomes have no `time`, so they count for each unit's first variant, \
                     which hides a part of any effect"
                } else {
                    ""
                };
                f.write_str(untimed)
            }
            Self::OtherTrials { lines } => write!(
                f,
                "{lines} lines belong to other trials of this experiment (another salt) and do not \
                 count"
            ),
            Self::OtherVariant { requests } => write!(
                f,
                "{requests} requests were assigned to variants that the file does not have and do \
                 not count"
            ),
            Self::WithoutUnit { requests } => {
                write!(f, "{} requests have no unit and do not count per unit", *requests)
            }
            Self::OpenWindows { window, units, known_until, last_closes } => write!(
                f,
                "{} are left out of the metrics of outcomes: their outcomes count for {window}, and \
                 are known until {known_until} only. The last window ends at {last_closes}",
                by_variant(units)
            ),
            Self::Capped { metric, scale, cap } => {
                write!(
                    f,
                    "{metric} is capped at {}, which {} % of all units do not exceed",
                    scale.amount(cap.value),
                    short(cap.quantile * 100.0, 6),
                )?;
                if cap.value == 0.0 {
                    f.write_str(
                        ": no positive value is left to compare. Plan a higher quantile, or none",
                    )?;
                } else {
                    write!(f, ": {} count as if they had so much", by_variant(&cap.units))?;
                }
                for (name, difference) in &cap.uncapped {
                    let change = scale.change(*difference);
                    write!(f, ". Without the cap, {name} differs by {change}")?;
                }
                Ok(())
            }
            Self::NotChecked { checks } => {
                let checks: Vec<String> =
                    checks.iter().map(|(name, why)| format!("{name} ({why})")).collect();
                write!(f, "Not checked: {}", checks.join("; "))
            }
            Self::Adjusted { variant, metric, scale, adjustment } => {
                let names: Vec<&str> = adjustment.theta.keys().map(String::as_str).collect();
                let reduction = adjustment.variance_reduction;
                write!(
                    f,
                    "{metric} is adjusted by {}: the variance of {variant}'s difference is {:.1} % {}",
                    names.join(", "),
                    100.0 * reduction.abs(),
                    if reduction < 0.0 { "larger" } else { "smaller" }
                )?;
                let interval = match adjustment.ci {
                    [Some(low), Some(high)] => format!(" [{}]", scale.range((low, high))),
                    _ => String::new(),
                };
                let change = adjustment.diff.map(|difference| scale.change(difference));
                match change {
                    Some(change) => write!(f, ". Without it, the difference is {change}{interval}"),
                    None => Ok(()),
                }
            }
            Self::Explained { variant, metric, covariates, share } => {
                let names = covariates.join(", ");
                let explains = match share {
                    Some(share) => format!("{:.1} %", 100.0 * share),
                    None => "all".to_owned(),
                };
                let then = match share {
                    Some(_) => "then the adjustment takes the effect away",
                    None => "nothing is left to compare, so it is not adjusted",
                };
                write!(
                    f,
                    "{names}: explains {explains} of the variance of {metric} of {variant}. What \
                     is from before the experiment hardly explains so much: this may be {metric} \
                     itself, and {then}"
                )
            }
            Self::Believed { variant, metric, scale, posterior } => {
                let change = |difference: f64| match posterior.relative {
                    true => format!("{} %", signed(100.0 * difference, 3)),
                    false => scale.change(difference),
                };
                let [low, high] = posterior.interval.map(change);
                write!(
                    f,
                    "{metric} by the prior: {variant} is better with a probability of {} %; the \
                     difference is {} ({low} to {high}), and the expected loss {}",
                    short(100.0 * posterior.p_better, 3),
                    change(posterior.mean),
                    if posterior.relative {
                        format!("{} %", digits(100.0 * posterior.expected_loss, 2))
                    } else {
                        scale.amount(posterior.expected_loss)
                    },
                )
            }
            Self::AbsentZero { metric, share } => write!(
                f,
                "{} of the units have no row of {metric} and count as 0 (absent=zero). If a \
                 missing row means that the value is unknown, as with ratings, write \
                 {metric}=mean:absent=missing",
                part(*share)
            ),
            Self::DefaultPrimary { metric } => write!(
                f,
                "{metric} decides, since it is the only column of the outcomes, and higher is taken \
                 for better; --metric {metric}:decrease decides otherwise"
            ),
            Self::OutcomeRows { rows: 1, problem } => {
                write!(f, "1 outcome row {}", problem.words().0)
            }
            Self::OutcomeRows { rows, problem } => {
                write!(f, "{rows} outcome rows {}", problem.words().1)
            }
        }
    }
}

/// `12 units of plain and 3 of fancy`.
fn by_variant(units: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (place, (name, count)) in units.iter().enumerate() {
        text += match place {
            0 => "",
            _ if place + 1 == units.len() => " and ",
            _ => ", ",
        };
        let noun = if place == 0 { " units" } else { "" };
        text += &format!("{count}{noun} of {name}");
    }
    text
}

impl RowProblem {
    /// Of one row, and of several.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Unmatched => ("has no match in the logs", "have no match in the logs"),
            Self::Repeated => {
                ("repeats an earlier row and was skipped", "repeat an earlier row and were skipped")
            }
            Self::Shared => (
                "matches several requests and counts for each",
                "match several requests and count for each",
            ),
            Self::Early => (
                "is from before the unit's first request and was skipped",
                "are from before the unit's first request and were skipped",
            ),
            Self::Late => (
                "is from after the attribution window of its unit and does not count",
                "are from after the attribution window of their unit and do not count",
            ),
            Self::OtherTrial => (
                "was skipped: its request, or the latest exposure of its unit before it, was or may \
                 have been in another trial",
                "were skipped: their request, or the latest exposure of their unit before them, was \
                 or may have been in another trial",
            ),
        }
    }
}

/// `accuracy: +3.6 points (CI +2.9 to +4.3)`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.metric, self.effect)
    }
}

/// `+3.6 points (CI +2.9 to +4.3)`.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(difference) = self.difference else { return f.write_str("undefined") };
        f.write_str(&self.scale.change(difference))?;
        self.range().map_or(Ok(()), |range| write!(f, " (CI {range})"))
    }
}

/// A share of all units that is not 0, in percent.
fn part(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.05 { "less than 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

#[cfg(test)]
mod tests;
