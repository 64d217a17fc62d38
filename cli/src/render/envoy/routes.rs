//! Routes of the bootstrap: by variant, and to the baseline without the filter.

use serde_json::{Value, json};
use sidetrack::matching::{Match, Text, ValueRule};
use sidetrack::names::route;
use sidetrack::plan::{BreakerMode, Experiment, Plan, VariantId};
use sidetrack::rollout::Schedule;

use super::{baseline, cluster, hosts};

/// Checks that a variant's name alone identifies its experiment, which `--lean` requires.
pub(super) fn check_lean(plan: &Plan) -> anyhow::Result<()> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for experiment in &plan.experiments {
        let by_cluster = experiment.variants.iter().any(|variant| variant.cluster.is_some());
        anyhow::ensure!(
            !by_cluster,
            "--lean requires variants without clusters, but those of {} name clusters",
            experiment.name
        );
        for variant in &experiment.variants {
            if let Some((name, other)) = seen.iter().find(|(name, _)| *name == variant.name) {
                anyhow::bail!(
                    "--lean requires unique variant names, but {other} and {} both have a variant {name}",
                    experiment.name
                );
            }
            seen.push((&variant.name, &experiment.name));
        }
    }
    Ok(())
}

/// Routes by the variant header, for experiments without clusters.
pub(super) fn tagged(plan: &Plan) -> Vec<Value> {
    let tagging = |e: &&Experiment| e.variants.iter().all(|v| v.cluster.is_none());
    let routes = |e: &Experiment| {
        let route = |v: VariantId| json!({"experiment": e.name, "cluster": cluster(e, v), "response_headers": response_headers(plan, e, v)});
        e.variants.ids().map(route).collect::<Vec<_>>()
    };
    plan.experiments.iter().filter(tagging).flat_map(routes).collect()
}

/// The response headers that a route adds in place of the filter. A value that the filter has put
/// into a request header is returned under the same name; an absent header adds nothing.
fn response_headers(plan: &Plan, experiment: &Experiment, variant: VariantId) -> Vec<Value> {
    if !plan.settings.response_headers {
        return Vec::new();
    }
    let names = &plan.settings.headers;
    let from_request = |name: &String| (name.clone(), format!("%REQ({name})%"));
    let mut added = vec![
        (names.experiment.clone(), experiment.name.clone()),
        (names.variant.clone(), cluster(experiment, variant).to_owned()),
    ];
    // Only the baseline serves requests that are assigned to another variant.
    if variant == experiment.baseline && experiment.breaker.mode == BreakerMode::Enforce {
        added.push(from_request(&names.assigned));
    }
    if matches!(experiment.schedule, Schedule::Rollout(_)) {
        added.push(from_request(&names.phase));
    }
    added.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// The clusters of mirrors, and finally `None`. Each route exists once for each, because a route
/// reads the `cluster_header` of a mirror only after it has removed the filter's headers.
pub(in crate::render) fn mirrors(plan: &Plan) -> Vec<Option<&str>> {
    let mut names: Vec<Option<&str>> = Vec::new();
    for mirror in plan.experiments.iter().filter_map(|e| e.mirror.as_ref()) {
        if !names.contains(&Some(mirror.cluster.as_str())) {
            names.push(Some(&mirror.cluster));
        }
    }
    names.push(None);
    names
}

/// The route that an experiment's requests take without the filter. An experiment with conditions on
/// the body has none, see [`has_fallback`].
pub(super) fn fallback(experiment: &Experiment) -> Value {
    let Match { hosts, path, methods, headers, body: _ } = &experiment.conditions;
    let mut rules = Vec::new();
    rules.extend(hosts::regex(hosts).map(|regex| regex_rule(":authority", &regex)));
    if !methods.is_empty() {
        rules.push(regex_rule(":method", &methods.join("|")));
    }
    for header in headers {
        rules.push(match &header.rule {
            ValueRule::Value(Text::Exact(text)) => {
                json!({"name": header.name, "string_match": {"exact": text}})
            }
            ValueRule::Value(Text::Prefix(text)) => {
                json!({"name": header.name, "string_match": {"prefix": text}})
            }
            ValueRule::Present(present) => json!({"name": header.name, "present_match": present}),
        });
    }
    let (path_kind, path) = match path {
        Some(Text::Exact(path)) => ("path", path.as_str()),
        Some(Text::Prefix(path)) => ("prefix", path.as_str()),
        None => ("prefix", "/"),
    };
    json!({
        "name": experiment.name,
        "stat": bypass_stat(experiment),
        "path_kind": path_kind,
        "path": path,
        "rules": rules.iter().map(Value::to_string).collect::<Vec<_>>(),
        "cluster": baseline(experiment),
    })
}

/// Whether a route can recognize an experiment's requests without the filter. A route cannot read
/// bodies, so requests for other models would take it too.
pub(crate) fn has_fallback(experiment: &Experiment) -> bool {
    experiment.conditions.body.is_empty()
}

/// The stat prefix of an experiment's requests that bypass the filter. A dot would end the prefix.
pub(crate) fn bypass_stat(experiment: &Experiment) -> String {
    format!("{}{}", route::BYPASS, experiment.name.replace('.', "_"))
}

fn regex_rule(name: &str, regex: &str) -> Value {
    json!({"name": name, "string_match": {"safe_regex": {"regex": regex}}})
}
