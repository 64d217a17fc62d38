//! The shared names for the templates of Envoy and Istio.

use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::names::{filter_state, gen_ai, label, log, metric, plugin, span, variable};

/// The fields of the access log about language models, if a plan has prices of them.
pub(super) fn gen_ai(file: &Node) -> Value {
    let Some(Node::List(experiments)) = file.get("experiments") else { return json!([]) };
    let has_prices = |experiment: &Node| {
        let prices = experiment.get("analysis").and_then(|plan| plan.get("prices"));
        matches!(prices, Some(Node::Map(models)) if !models.is_empty())
    };
    let fields = gen_ai::OPERATORS.iter().filter(|_| experiments.iter().any(has_prices));
    fields.map(|(name, operator)| json!({"name": name, "operator": operator})).collect()
}

/// Adds the names to a template's context. Those of the filter state depend on the header prefix.
pub(super) fn add(context: &mut Value, header_prefix: &str) {
    let Some(context) = context.as_object_mut() else { return };
    let in_envoy =
        |key: &str| format!("{}{}", filter_state::PREFIX, filter_state::of(key, header_prefix));
    for (group, names) in [
        ("labels", json!(label::ALL)),
        ("metric", json!({ "config_hash": metric::CONFIG_HASH })),
        (
            "variable",
            json!({
                "exposures": variable::EXPOSURES,
                "wait_for_bodies": variable::WAIT_FOR_BODIES,
            }),
        ),
        (
            "plugin",
            json!({
                "name": plugin::NAME,
                "failures": plugin::FAILURES,
                "failures_configuration": plugin::FAILURES_CONFIGURATION,
            }),
        ),
        (
            "span",
            json!({
                "key": span::KEY,
                "variant": span::VARIANT,
                "version": span::VERSION,
                "version_length": span::VERSION_LENGTH,
                "assigned": span::ASSIGNED,
            }),
        ),
        (
            "filter_state",
            json!({
                "exposure": in_envoy(filter_state::EXPOSURE),
                "rescued": in_envoy(filter_state::RESCUED),
            }),
        ),
        (
            "log",
            json!({
                "time": log::TIME,
                "request_id": log::REQUEST_ID,
                "exposure": log::EXPOSURE,
                "experiment": log::EXPERIMENT,
                "assigned": log::ASSIGNED,
                "served": log::SERVED,
                "phase": log::PHASE,
                "method": log::METHOD,
                "path": log::PATH,
                "status": log::STATUS,
                "flags": log::FLAGS,
                "duration": log::DURATION,
                "first_byte": log::FIRST_BYTE,
                "first_body": log::FIRST_BODY,
                "attempts": log::ATTEMPTS,
                "rescued": log::RESCUED,
                "cluster": log::CLUSTER,
            }),
        ),
    ] {
        context.insert(group.to_owned(), names);
    }
}
