//! The answer in one sentence.

use sidetrack::decide::{Decision, Outcome, Reason, Step};
use sidetrack::plan::Experiment;
use sidetrack::quantity::Bucket;

use super::Case;
use crate::words::{quoted, units, variant};

/// The variant that serves the request, and why.
pub(super) fn sentence(case: &Case<'_>) -> String {
    match case.outcome {
        // Here a body is complete or absent, so nothing waits for one.
        Outcome::Unmatched | Outcome::Unread(..) | Outcome::NeedsBody(_) => {
            "No experiment matches this request, so its route's default applies.".to_owned()
        }
        Outcome::Skipped(index, _) => {
            let experiment = case.experiment(index);
            format!(
                "The request is not part of {}: {}, and missing_unit is skip.",
                experiment.name,
                missing(case, experiment)
            )
        }
        Outcome::Decided(decision) => decided(case, case.experiment(decision.experiment), decision),
    }
}

fn decided(case: &Case<'_>, experiment: &Experiment, decision: Decision) -> String {
    let who = unit(case).map_or_else(|| "The request".to_owned(), quoted);
    let served = variant(experiment, decision.served);
    let assigned = variant(experiment, decision.assigned);
    // A baseline that is named so is not said twice.
    let is_baseline = decision.served == experiment.baseline && served != "baseline";
    let baseline = if is_baseline { "the baseline " } else { "" };
    let gets = format!("{who} gets {baseline}{served} in {}", experiment.name);
    let why = match decision.reason {
        Reason::Hash | Reason::Random => drawn(case, experiment, decision),
        Reason::Override => match case.steps.iter().rev().find_map(overridden) {
            Some("unit") => "overrides.units lists this unit".to_owned(),
            _ => "the override header requests it".to_owned(),
        },
        Reason::Disabled => "the experiment is disabled (enabled: false)".to_owned(),
        Reason::MissingUnit => missing(case, experiment),
        Reason::Excluded => excluded(case, experiment),
        Reason::NotStarted => match &experiment.schedule {
            sidetrack::rollout::Schedule::Rollout(rollout) => {
                format!("the rollout starts at {}", rollout.start)
            }
            sidetrack::rollout::Schedule::Fixed(_) => "it has not started".to_owned(),
        },
        Reason::BreakerOpen => match gate_stage(case) {
            Some(stage) => format!(
                "it belongs to {assigned}, whose breaker is half-open, and it is not in the {stage} % of units that try it"
            ),
            None => format!("it belongs to {assigned}, but the breaker of {assigned} is open"),
        },
        Reason::Probe => {
            let stage = gate_stage(case).unwrap_or_default();
            format!(
                "it belongs to {assigned}, whose breaker is half-open, and it is in the {stage} % of units that try it"
            )
        }
    };
    format!("{gets}: {why}.")
}

fn missing(case: &Case<'_>, experiment: &Experiment) -> String {
    let no_place = case.steps.iter().any(|step| matches!(step, Step::NoPlace(_)));
    if no_place {
        "the variants' values cannot be set in its body".to_owned()
    } else {
        format!("it has no unit ({})", units(experiment))
    }
}

/// The last unit that was read.
pub(super) fn unit<'a>(case: &'a Case<'_>) -> Option<&'a [u8]> {
    case.steps.iter().rev().find_map(|step| match step {
        Step::Unit(_, unit) => Some(unit.as_slice()),
        _ => None,
    })
}

fn overridden(step: &Step<'_>) -> Option<&'static str> {
    if let Step::Override(_, how) = step { Some(how) } else { None }
}

fn gate_stage(case: &Case<'_>) -> Option<String> {
    case.steps.iter().rev().find_map(|step| match step {
        Step::Gate(sidetrack::decide::Gate::HalfOpen { share, .. }, _) => Some(share.to_string()),
        _ => None,
    })
}

fn drawn(case: &Case<'_>, experiment: &Experiment, decision: Decision) -> String {
    let bucket = decision.bucket.map_or(0, Bucket::get);
    let whose = if decision.reason == Reason::Random { "a random" } else { "its" };
    let bucket = format!("{whose} bucket, {bucket} of 1000000,");
    let span = case.steps.iter().rev().find_map(|step| match step {
        Step::InSpan(span, _, weight) => Some((*span, *weight)),
        _ => None,
    });
    let Some((span, weight)) = span else {
        let end = experiment
            .layout
            .spans()
            .iter()
            .map(|span| span.start.saturating_add(span.width.get()))
            .max();
        return match end.and_then(|end| end.checked_sub(1)) {
            Some(last) => {
                format!("{bucket} is beyond the buckets of all candidates (0 to {last})")
            }
            None => "no candidate has a weight".to_owned(),
        };
    };
    let name = variant(experiment, span.variant);
    let holds = crate::words::buckets(span.start, weight.get());
    if span.variant == decision.assigned {
        format!("{bucket} is in the range of {name} ({holds}, {weight} %)")
    } else if weight.get() == 0 {
        format!("{bucket} is reserved for {name}, which has weight 0")
    } else {
        format!("{bucket} is reserved for {name}, which holds only {holds} ({weight} %)")
    }
}

fn excluded(case: &Case<'_>, experiment: &Experiment) -> String {
    let slot = case.steps.iter().find_map(|step| match step {
        Step::Slot(slot, false) => Some(*slot),
        _ => None,
    });
    let (Some(layer), Some(slot)) = (&experiment.layer, slot) else {
        return "it is outside the slots".to_owned();
    };
    let holds =
        crate::words::buckets(layer.from.get(), layer.to.get().saturating_sub(layer.from.get()));
    format!(
        "its slot in the layer {}, {} of 1000000, is outside the experiment's ({holds})",
        layer.name,
        slot.get()
    )
}
