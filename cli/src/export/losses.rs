//! The keys of an experiment that Seldon does not support, each with what happens instead.
//!
//! They are read from the plan and not from the file, because defaults, such as the breaker, are lost as
//! well.

use sidetrack::matching::Match;
use sidetrack::plan::{
    Assignment, BreakerMode, Debug, Experiment, ExposureUnit, MissingUnit, Settings,
};
use sidetrack::quantity::Timestamp;
use sidetrack::rollout::{InForce, Schedule};

use crate::words::{conditions, percent, phase_now, units};

/// A key that is lost, and the behavior of Seldon instead.
pub(super) type Loss = (String, String);

/// The losses of an experiment, except those of its mirror.
pub(super) fn of(experiment: &Experiment, now: Timestamp) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut lost = |key: &str, why: String| losses.push((key.to_owned(), why));
    if !experiment.enabled {
        lost(
            "enabled",
            "Seldon cannot disable an experiment; the baseline has the whole weight".to_owned(),
        );
    }
    if experiment.assignment == Assignment::UserHash {
        let sources = units(experiment);
        lost(
            "unit",
            format!(
                "Seldon draws each request separately, not by {sources}; clients keep a variant with x-seldon-route"
            ),
        );
    }
    if experiment.salt != experiment.name {
        lost("salt", format!("\"{}\": Seldon's draw has no salt", experiment.salt));
    }
    if experiment.missing_unit != MissingUnit::Baseline
        && experiment.assignment == Assignment::UserHash
    {
        lost("missing_unit", "Seldon draws every request".to_owned());
    }
    if experiment.mint.is_some() {
        lost("unit[].mint", "Seldon does not set cookies".to_owned());
    }
    if experiment.conditions != Match::default() {
        let taken = conditions(&experiment.conditions);
        lost("match", format!("{taken}: Seldon applies to all requests for the default model"));
    }
    if matches!(experiment.schedule, Schedule::Rollout(_)) {
        let phase = phase_now(experiment, now).unwrap_or_default();
        lost(
            "rollout",
            format!("Seldon's weights are constant; the manifest has those of {now}: {phase}"),
        );
    }
    for (id, variant) in experiment.variants.entries() {
        let key = |name: &str| format!("variants[{}].{name}", id.index());
        if variant.rewrite.is_some() {
            lost(&key("path"), "Seldon does not rewrite paths".to_owned());
        }
        if !variant.body.is_empty() {
            lost(&key("body"), "Seldon does not set values in bodies".to_owned());
        }
        if !variant.request_headers.is_empty() {
            lost(&key("request_headers"), "Seldon does not add headers".to_owned());
        }
        if !variant.response_headers.is_empty() {
            lost(&key("response_headers"), "Seldon does not add headers".to_owned());
        }
        // In a rollout, the reserve follows from the phases.
        let weight = match (&experiment.schedule, experiment.schedule.at(now)) {
            (Schedule::Rollout(_), _) | (_, InForce::NotStarted) => continue,
            (_, InForce::Weights(weights, _)) => weights[id],
        };
        let span = experiment.layout.spans().iter().find(|span| span.variant == id);
        if let Some(span) = span.filter(|span| span.width > weight) {
            lost(
                &key("reserve"),
                format!(
                    "{}: Seldon has no reserve, because its draw is not sticky",
                    percent(span.width)
                ),
            );
        }
    }
    if experiment.breaker.mode != BreakerMode::Disabled {
        lost("breaker", "Seldon keeps sending requests to a failing candidate".to_owned());
    }
    if let Some(layer) = &experiment.layer {
        lost(
            "layer",
            format!("\"{}\": Seldon's experiments are independent of each other", layer.name),
        );
    }
    let overrides = &experiment.overrides;
    if overrides.header.is_some() || !overrides.units.is_empty() {
        lost(
            "overrides",
            "in Seldon, any client can choose a variant with x-seldon-route".to_owned(),
        );
    }
    losses
}

/// The losses of the settings.
pub(super) fn of_settings(settings: &Settings) -> Option<Loss> {
    let default = settings.response_headers
        && settings.headers.prefix == "x-ab-"
        && settings.debug == Debug::Denied
        && settings.exposure_unit == ExposureUnit::Digest;
    (!default).then(|| ("settings".to_owned(), "Seldon has its own headers and log".to_owned()))
}
