//! What an experiment says and Seldon cannot: each with the path of its key and what happens instead.
//!
//! Read from the plan and not from the file: a default, such as the breaker's, is lost as well as what was written.

use sidetrack::matching::Match;
use sidetrack::plan::{
    Assignment, BreakerMode, Debug, Experiment, ExposureUnit, MissingUnit, Settings,
};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::{InForce, Schedule};

use crate::words::{conditions, percent, phase_now, units};

/// A key that is lost, and what it means in Seldon.
pub(super) type Loss = (String, String);

/// What is lost of an experiment, apart from its mirror.
pub(super) fn of(experiment: &Experiment, now: Timestamp) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut lost = |key: &str, why: String| losses.push((key.to_owned(), why));
    if !experiment.enabled {
        lost("enabled", "Seldon has no switch; the baseline has all of the weight".to_owned());
    }
    if experiment.assignment == Assignment::UserHash {
        let sources = units(experiment);
        lost(
            "unit",
            format!(
                "Seldon draws anew for each request and not by {sources}; a client sticks by x-seldon-route"
            ),
        );
    }
    if experiment.salt != experiment.name {
        lost("salt", format!("\"{}\": Seldon's draw has none", experiment.salt));
    }
    if experiment.missing_unit != MissingUnit::Baseline
        && experiment.assignment == Assignment::UserHash
    {
        lost("missing_unit", "Seldon draws every request".to_owned());
    }
    if experiment.mint.is_some() {
        lost("unit[].mint", "Seldon sets no cookie".to_owned());
    }
    let Match { hosts, path, methods, headers } = &experiment.conditions;
    if !(hosts.is_empty() && path.is_none() && methods.is_empty() && headers.is_empty()) {
        let taken = conditions(&experiment.conditions);
        lost(
            "match",
            format!("{taken}: Seldon takes every request for the model that is the default"),
        );
    }
    if matches!(experiment.schedule, Schedule::Rollout(_)) {
        let phase = phase_now(experiment, now).unwrap_or_default();
        lost(
            "rollout",
            format!(
                "Seldon's weights do not follow the clock; written are those of {now}: {phase}"
            ),
        );
    }
    for (id, variant) in experiment.variants.entries() {
        let key = |name: &str| format!("variants[{}].{name}", id.index());
        if variant.rewrite.is_some() {
            lost(&key("path"), "Seldon rewrites no paths".to_owned());
        }
        if !variant.request_headers.is_empty() {
            lost(&key("request_headers"), "Seldon adds no headers".to_owned());
        }
        if !variant.response_headers.is_empty() {
            lost(&key("response_headers"), "Seldon adds no headers".to_owned());
        }
        // With a rollout the room is part of the rollout.
        let weight = match (&experiment.schedule, experiment.schedule.at(now)) {
            (Schedule::Rollout(_), _) | (_, InForce::NotStarted) => continue,
            (_, InForce::Weights(weights, _)) => weights[id],
        };
        let span = experiment.layout.spans().iter().find(|span| span.variant == id);
        if let Some(span) = span.filter(|span| span.width > weight) {
            lost(
                &key("reserve"),
                format!("{}: Seldon keeps no room; its draw moves anyway", percent(span.width)),
            );
        }
    }
    if experiment.breaker.mode != BreakerMode::Disabled {
        lost("breaker", "Seldon sends a failing candidate its share of the requests".to_owned());
    }
    if let Some(layer) = &experiment.layer {
        lost(
            "layer",
            format!("\"{}\": Seldon's experiments know nothing of each other", layer.name),
        );
    }
    let overrides = &experiment.overrides;
    if overrides.header.is_some() || !overrides.units.is_empty() {
        lost("overrides", "in Seldon any client chooses by x-seldon-route".to_owned());
    }
    losses
}

/// What is lost of the settings.
pub(super) fn of_settings(settings: &Settings) -> Option<Loss> {
    let default = settings.response_headers
        && settings.headers.prefix == "x-ab-"
        && settings.debug == Debug::Denied
        && settings.exposure_unit == ExposureUnit::None;
    (!default).then(|| ("settings".to_owned(), "Seldon has its own headers and log".to_owned()))
}
