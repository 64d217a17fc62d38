//! The decision of `sidetrack advance`, as a pure function of the steps, the file's weight and what is known.
//!
//! In this order, the first that holds decides: the file forbids it, the fleet shows harm, the candidate refuses or
//! serves nothing, the data are invalid, the data show harm, something is missing, the next step. So harm always goes
//! before progress, and no data is never good data.

use sidetrack::config::Step;
use sidetrack::quantity::{Millis, Ppm, Timestamp};
use sidetrack_analysis::answer::Decision;

use crate::words::percent;

/// Proxies that must have tripped for a rollback: more than half, of at least so many.
const FEWEST_PROXIES: u64 = 2;

/// The share of its requests that a candidate must have been asked for, to be raised.
const FEWEST_ASKED: f64 = 0.95;

/// What the decision depends on.
pub(super) struct Facts<'a> {
    pub(super) candidate: &'a str,
    /// The weights rise; never empty.
    pub(super) steps: &'a [Step],
    /// The candidate's weight in the file.
    pub(super) weight: Ppm,
    pub(super) enabled: bool,
    /// The note of an earlier rollback, and how to remove it.
    pub(super) block: Option<&'a str>,
    /// Why the candidate must get no traffic, whatever the evidence says.
    pub(super) stop: Option<&'a str>,
    /// Begin with the first step although the candidate had traffic before.
    pub(super) start: bool,
    /// `None`: there is no evidence, for the reason that follows.
    pub(super) evidence: Option<&'a Evidence>,
    pub(super) no_evidence: &'a str,
    pub(super) fleet: Fleet,
    pub(super) now: Timestamp,
    /// Evidence that ends longer ago raises nothing.
    pub(super) max_age: Millis,
}

/// What the analysis says of a candidate.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) decision: Decision,
    /// The analysis says to promote this candidate.
    pub(super) wins: bool,
    /// The reasons of the analysis, most important first.
    pub(super) reasons: Vec<String>,
    /// Checks that block because of the candidate itself.
    pub(super) faults: Vec<String>,
    /// Metrics in which the candidate is worse: guardrails beyond their margin, primary metrics significantly.
    pub(super) harms: Vec<String>,
    /// The share of its requests for which the candidate was asked; `None` if that is not known.
    pub(super) asked: Option<f64>,
    /// Guardrails without data.
    pub(super) unknown: Vec<String>,
    /// Primary metrics that cannot be judged yet, and why. They do not hold: at the first steps they have no power, and labels may
    /// be days late.
    pub(super) unjudged: Vec<(String, String)>,
    /// As many units as the plan has.
    pub(super) is_plan_reached: bool,
    /// The candidate had units in this trial.
    pub(super) has_traffic: bool,
    /// The last phase of the log, if its weight is the file's.
    pub(super) phase: Option<Phase>,
}

/// The present phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) from: Timestamp,
    /// The last request.
    pub(super) to: Timestamp,
    /// Units of all variants; `None` if the log has only requests.
    pub(super) units: Option<u64>,
}

/// What the proxies say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fleet {
    /// Proxies whose breaker tripped in the last minutes, and all proxies.
    pub(super) tripped: Option<(u64, u64)>,
    /// Ready endpoints of the candidate.
    pub(super) endpoints: Option<u64>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Raise(Ppm),
    Hold,
    /// Hold, because the data cannot be trusted.
    Invalid,
    RollBack,
    Promote,
    /// The last step is over, and the candidate is not better: the test has nothing more to show.
    End,
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) action: Action,
    pub(crate) reasons: Vec<String>,
    /// When the time and the units of the step will be reached, if they go on as so far.
    pub(crate) about: Option<Timestamp>,
}

impl Verdict {
    fn new(action: Action, reasons: impl IntoIterator<Item = String>) -> Self {
        Self { action, reasons: reasons.into_iter().collect(), about: None }
    }
}

/// Decides.
pub(super) fn decide(facts: &Facts<'_>) -> Verdict {
    let because = |action, reason: &str| Verdict::new(action, [reason.to_owned()]);
    let Facts { candidate, weight, .. } = *facts;
    if let Some(reason) = facts.stop.filter(|_| weight > Ppm::ZERO) {
        return because(Action::RollBack, reason);
    }
    if !facts.enabled {
        return because(Action::Hold, "the experiment is disabled (`enabled: false`)");
    }
    if weight == Ppm::ZERO {
        return begin(facts);
    }
    if facts.fleet.endpoints == Some(0) {
        return because(Action::RollBack, &format!("{candidate} has no ready endpoint"));
    }
    if let Some((tripped, all)) = facts.fleet.tripped
        && all >= FEWEST_PROXIES
        && tripped.saturating_mul(2) > all
    {
        let reason = format!("the breaker of {candidate} opened in {tripped} of {all} proxies");
        return because(Action::RollBack, &format!("{reason} within 5 minutes"));
    }
    let Some(evidence) = facts.evidence else {
        return because(Action::Hold, facts.no_evidence);
    };
    if !evidence.faults.is_empty() {
        return Verdict::new(Action::RollBack, evidence.faults.clone());
    }
    if evidence.decision == Decision::Invalid {
        return Verdict::new(Action::Invalid, evidence.reasons.clone());
    }
    if !evidence.harms.is_empty() {
        return Verdict::new(Action::RollBack, evidence.harms.clone());
    }
    if let Some(block) = facts.block {
        return blocked(block);
    }
    let at = facts.steps.iter().position(|step| step.weight == weight);
    let Some(step) = at.and_then(|at| facts.steps.get(at)) else {
        let steps = facts.steps.iter().map(|step| percent(step.weight));
        let steps = steps.collect::<Vec<_>>().join(", ");
        let weight = percent(weight);
        let reason = format!(
            "the weight of {candidate} is {weight}, which is not one of its steps: {steps}; set it \
             to a step"
        );
        return because(Action::Hold, &reason);
    };
    let next = at.and_then(|at| facts.steps.get(at + 1));
    let mut held = missing(facts, evidence, step);
    // Promotion has its own look at the data without the breaker's minutes.
    if next.is_some() {
        held.reasons.extend(diverted(evidence, candidate));
    }
    if !held.reasons.is_empty() {
        return held;
    }
    match next {
        Some(next) => {
            let harm = "no metric of the plan shows harm";
            let reasons = [reached(step, evidence), harm.to_owned()].into_iter();
            let unjudged = evidence.unjudged.iter();
            let unjudged =
                unjudged.map(|(name, why)| format!("{name} cannot be judged yet: {why}"));
            Verdict::new(Action::Raise(next.weight), reasons.chain(unjudged))
        }
        None => judged(evidence, candidate),
    }
}

/// A candidate without traffic: not started yet, or stopped.
fn begin(facts: &Facts<'_>) -> Verdict {
    let candidate = facts.candidate;
    let hold = |reason: String| Verdict::new(Action::Hold, [reason]);
    if let Some(block) = facts.block {
        return blocked(block);
    }
    if facts.fleet.endpoints == Some(0) {
        return hold(format!("{candidate} has no ready endpoint"));
    }
    let is_new = facts
        .evidence
        .is_some_and(|evidence| evidence.decision != Decision::Invalid && !evidence.has_traffic);
    if !facts.start && !is_new {
        let why = if facts.evidence.is_some_and(|evidence| evidence.has_traffic) {
            "although it had traffic before: it was stopped by hand"
        } else {
            "and nothing shows that it never had traffic"
        };
        return hold(format!("the weight of {candidate} is 0 %, {why}; start it with --start"));
    }
    match facts.steps.first() {
        Some(first) => {
            let reason = format!("{candidate} has had no traffic; the first step begins");
            Verdict::new(Action::Raise(first.weight), [reason])
        }
        None => hold("the plan has no steps".to_owned()),
    }
}

fn blocked(block: &str) -> Verdict {
    Verdict::new(Action::Hold, [block.to_owned()])
}

/// Why the step is not over yet.
fn missing(facts: &Facts<'_>, evidence: &Evidence, step: &Step) -> Verdict {
    let candidate = facts.candidate;
    let mut held = Verdict::new(Action::Hold, []);
    let Some(phase) = evidence.phase else {
        let weight = percent(step.weight);
        held.reasons.push(format!(
            "the last requests of the log were not assigned with {candidate} at {weight}: the file \
             is not in force yet, or the log ends before it was"
        ));
        return held;
    };
    let lasted = phase.to.get().saturating_sub(phase.from.get());
    let age = Millis::new(facts.now.get().saturating_sub(phase.to.get()));
    let ahead = Millis::new(phase.to.get().saturating_sub(facts.now.get()));
    if ahead > facts.max_age {
        held.reasons.push(format!(
            "the log ends at {}, which is in the future; check the clocks of the proxies",
            phase.to
        ));
    }
    if age > facts.max_age {
        held.reasons.push(format!(
            "the log ends at {}, more than {} ago; raises need newer evidence",
            phase.to, facts.max_age
        ));
    }
    let mut about = None;
    if lasted < step.min_for.get() {
        let end = phase.from + step.min_for;
        let lasted = Millis::new(lasted / 1000 * 1000);
        held.reasons.push(format!("the step has lasted {lasted}, but needs {}", step.min_for));
        about = Some(end);
    }
    match phase.units {
        None if step.min_units > 0 => held.reasons.push(
            "the step needs units, but the log identifies only requests; set \
             settings.exposure_unit"
                .to_owned(),
        ),
        Some(units) if units < step.min_units => {
            let wanted = step.min_units;
            held.reasons.push(format!("the step has {units} units, but needs {wanted}"));
            about = about.max(at_this_rate(phase.from, lasted, units, wanted));
        }
        _ => {}
    }
    let data = evidence.unknown.iter().map(|metric| format!("the guardrail {metric} has no data"));
    held.reasons.extend(data);
    held.about = about;
    held
}

/// Whether too few of the candidate's requests reached it to say that it does no harm.
fn diverted(evidence: &Evidence, candidate: &str) -> Option<String> {
    let asked = evidence.asked.filter(|asked| *asked < FEWEST_ASKED)?;
    Some(format!(
        "only {:.1} % of the requests of {candidate} reached it, and raises need {:.0} %: its breaker \
         was open, or its route is missing",
        asked * 100.0,
        FEWEST_ASKED * 100.0
    ))
}

/// When there will be so many units, if they come as so far.
fn at_this_rate(from: Timestamp, lasted: u64, units: u64, wanted: u64) -> Option<Timestamp> {
    let whole = u128::from(lasted) * u128::from(wanted);
    let whole = whole.checked_div(u128::from(units))?;
    let whole = u64::try_from(whole).ok().filter(|_| lasted > 0)?;
    Some(Timestamp::new(from.get().checked_add(whole)? / 1000 * 1000))
}

fn reached(step: &Step, evidence: &Evidence) -> String {
    let Some(phase) = evidence.phase else { return String::new() };
    let lasted = Millis::new(phase.to.get().saturating_sub(phase.from.get()) / 1000 * 1000);
    let units = phase.units.map(|units| format!(" and has {units} units")).unwrap_or_default();
    format!("the step at {} has lasted {lasted}{units}", percent(step.weight))
}

/// How the reasons of a verdict after the last step begin.
pub(crate) const OVER: &str = "the last step is over, and ";

/// The last step is over: the verdict decides.
fn judged(evidence: &Evidence, candidate: &str) -> Verdict {
    let (action, first) = match evidence.decision {
        Decision::Promote if evidence.wins => {
            (Action::Promote, format!("{OVER}{candidate} is better"))
        }
        Decision::Promote => (Action::Hold, "another candidate is better".to_owned()),
        Decision::KeepBaseline => {
            (Action::End, format!("{OVER}the verdict is to keep the baseline"))
        }
        Decision::Inconclusive if evidence.is_plan_reached => (
            Action::End,
            format!("{OVER}the planned units did not show that {candidate} is better"),
        ),
        Decision::Inconclusive | Decision::Invalid => {
            (Action::Hold, "this is the last step, and the verdict is still open".to_owned())
        }
    };
    Verdict::new(action, std::iter::once(first).chain(evidence.reasons.iter().cloned()))
}

impl Action {
    /// Its word in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Raise(_) => "raise",
            Self::Hold | Self::Invalid | Self::End => "hold",
            Self::RollBack => "roll_back",
            Self::Promote => "promote",
        }
    }
}

#[cfg(test)]
mod tests;
