//! How the weights grow: phases of a rollout by the clock, or steps of the plan by evidence, and which one is in force.

use minijinja::{Value, context};
use sidetrack::config::Step;
use sidetrack::plan::{Experiment, PerVariant};
use sidetrack::quantity::{Millis, Ppm, Timestamp};
use sidetrack::rollout::{InForce, Rollout, Schedule};
use sidetrack_analysis::Analysis;

use super::history;
use crate::catalog::Entry;
use crate::history::Transition;
use crate::live::Live;
use crate::upkeep::now;

/// The weights now, before and later.
pub(super) fn growth(
    entry: &Entry,
    live: &Live,
    analysis: Option<&Analysis>,
    transitions: &[Transition],
) -> Value {
    let steps = entry.analysis.as_ref().map_or(&[][..], |plan| plan.steps.as_slice());
    let (title, note, steps) = match &entry.experiment.schedule {
        Schedule::Rollout(rollout) => (
            "Rollout",
            "The clock sets the phase, in every proxy.",
            phases(&entry.experiment, rollout, Timestamp::new(now())),
        ),
        Schedule::Fixed(_) if !steps.is_empty() => (
            "Steps",
            "`sidetrack advance` raises the candidate while nothing shows harm.",
            of_plan(&entry.experiment, steps, live, analysis),
        ),
        Schedule::Fixed(_) => ("Weights", "The file has neither a rollout nor steps.", Vec::new()),
    };
    context! { title, note, steps, history => history::weights(transitions) }
}

fn phases(experiment: &Experiment, rollout: &Rollout, now: Timestamp) -> Vec<Value> {
    let current = match experiment.schedule.at(now) {
        InForce::Weights(_, index) => index,
        InForce::NotStarted => None,
    };
    let row = |(index, phase): (usize, &sidetrack::rollout::Phase)| {
        let (from, until) = rollout.times(index);
        let state = match current {
            Some(current) if index == current => "now",
            Some(current) if index < current => "past",
            _ => "later",
        };
        let mut lines = vec![format!("from {from}")];
        lines.extend(until.map(|until| format!("until {until}")));
        context! { name => phase.name.clone(), weights => weights(experiment, &phase.weights), lines, state }
    };
    rollout.phases.iter().enumerate().map(row).collect()
}

fn weights(experiment: &Experiment, weights: &PerVariant<Ppm>) -> String {
    let texts = experiment.candidates().map(|candidate| {
        format!("{} {} %", experiment.variants[candidate].name, weights[candidate])
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// The steps are those of the first candidate.
fn of_plan(
    experiment: &Experiment,
    steps: &[Step],
    live: &Live,
    analysis: Option<&Analysis>,
) -> Vec<Value> {
    let candidate = experiment.candidates().next().map(|id| &experiment.variants[id].name);
    let weight = candidate.and_then(|name| live.weights.get(name)).copied();
    let is_at = |step: &Step, weight: f64| (step.weight.fraction() * 100.0 - weight).abs() < 1e-6;
    let row = |(index, step): (usize, &Step)| {
        let state = match weight {
            Some(weight) if is_at(step, weight) => "now",
            Some(weight) if step.weight.fraction() * 100.0 < weight => "past",
            _ => "later",
        };
        let so_far = (state == "now").then(|| progress(analysis)).flatten();
        let mut lines = Vec::new();
        if step.min_for.get() > 0 {
            let time = so_far.as_ref().map(|(time, _)| format!(", {time} so far"));
            lines.push(format!("at least {}{}", step.min_for, time.unwrap_or_default()));
        }
        if step.min_units > 0 {
            let units = so_far.as_ref().map(|(_, units)| format!(", {units} so far"));
            lines.push(format!("at least {} units{}", step.min_units, units.unwrap_or_default()));
        }
        context! {
            name => format!("Step {}", index + 1),
            weights => format!("{} {} %", candidate.map_or("", String::as_str), step.weight),
            lines, state,
        }
    };
    steps.iter().enumerate().map(row).collect()
}

/// How long the present weights have been in force, and for how many units.
fn progress(analysis: Option<&Analysis>) -> Option<(String, u64)> {
    let phase = analysis?.phases.last()?;
    let parse = |text: &Option<String>| Timestamp::parse(text.as_deref()?);
    let from = if phase.steady_from.is_some() { &phase.steady_from } else { &phase.from };
    // To the second: shorter is of no use to a reader.
    let time = Millis::new(parse(&phase.to)?.since(parse(from)?).seconds() * 1000);
    Some((time.to_string(), phase.units.values().sum()))
}
