//! What happened: configurations that came into force, and breakers that opened.

use std::collections::BTreeMap;

use minijinja::{Value, context};

use super::live::{percent, state};
use crate::catalog::Entry;
use crate::history::Transition;
use crate::live::Live;

/// The most rows of the log, and of the shorter tables.
const LOG: usize = 200;
const SHORT: usize = 10;

fn in_words(weights: Option<&BTreeMap<String, f64>>) -> String {
    let texts: Vec<String> = weights
        .into_iter()
        .flatten()
        .map(|(name, weight)| format!("{name} {}", percent(*weight)))
        .collect();
    if texts.is_empty() { "no weights".to_owned() } else { texts.join(", ") }
}

/// Times in which breakers diverted requests.
pub(super) fn trips(transitions: &[Transition]) -> Vec<Value> {
    let trips = transitions.iter().rev().filter_map(|transition| {
        let known = transition.state?;
        let [sign, word, _] = state(known);
        Some(context! {
            variant => transition.variant.clone(), state => known.as_str(), sign, word,
            from => transition.time.clone(), until => transition.until.clone(), requests => transition.requests,
        })
    });
    trips.take(SHORT).collect()
}

/// The weights that were in force.
pub(super) fn weights(transitions: &[Transition]) -> Vec<Value> {
    let sets = transitions.iter().rev().filter(|transition| transition.weights.is_some());
    let row = |transition: &Transition| {
        context! {
            weights => in_words(transition.weights.as_ref()),
            phase => transition.phase.clone(),
            from => transition.time.clone(), until => transition.until.clone(), requests => transition.requests,
        }
    };
    sets.take(SHORT).map(row).collect()
}

/// Candidates that had a weight in this trial and have none now, as after a rollback.
pub(super) fn stopped(entry: &Entry, live: &Live, transitions: &[Transition]) -> Vec<String> {
    let Some(trial) = &live.trial else { return Vec::new() };
    let of_trial = transitions.iter().rev().filter(|one| one.trial == *trial);
    let sets: Vec<(&str, &BTreeMap<String, f64>)> =
        of_trial.filter_map(|one| Some((one.time.as_str(), one.weights.as_ref()?))).collect();
    let experiment = &entry.experiment;
    let candidates = experiment.candidates().map(|id| experiment.variants[id].name.as_str());
    let notice = |name: &str| {
        let weight = |set: &BTreeMap<String, f64>| set.get(name).copied().unwrap_or_default();
        let idle = sets.iter().take_while(|(_, set)| weight(set) <= 0.0);
        let (since, _) = idle.last()?;
        let before = sets.iter().map(|(_, set)| weight(set)).find(|weight| *weight > 0.0)?;
        Some(format!(
            "{name} was rolled back or stopped: its weight is 0 since {since}, after {}.",
            percent(before)
        ))
    };
    candidates.filter_map(notice).collect()
}

/// Everything, in one list.
pub(super) fn log(transitions: &[Transition]) -> Vec<Value> {
    let row = |transition: &Transition| {
        let what = match (&transition.variant, transition.state) {
            (Some(variant), Some(known)) => format!("breaker of {variant}: {}", state(known)[1]),
            _ => {
                let phase = transition.phase.as_ref().map(|phase| format!(", phase {phase}"));
                let weights = in_words(transition.weights.as_ref());
                format!("weights: {weights}{}", phase.unwrap_or_default())
            }
        };
        context! {
            what,
            time => transition.time.clone(),
            config => transition.config.as_deref().unwrap_or_default(),
            trial => transition.trial.clone(),
            requests => transition.requests,
        }
    };
    transitions.iter().rev().take(LOG).map(row).collect()
}

/// How many the log does not show.
pub(super) const fn more(transitions: &[Transition]) -> usize {
    transitions.len().saturating_sub(LOG)
}
