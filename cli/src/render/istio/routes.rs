//! The routes of the VirtualService, first to last: a route for each candidate, then the baseline's.
//!
//! A request without the filter's headers takes the route to the baseline of its experiment. All routes
//! remove the headers that must not reach the model.

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};
use sidetrack::matching::{Match, Text, ValueRule};
use sidetrack::plan::{Experiment, HeaderNames, Plan, VariantId};

use super::destination::{self, Destination};
use super::{Options, Routing};
use crate::render::envoy::{cluster, mirrors};
use crate::render::hosts;

/// One entry of `http`.
#[derive(Debug, Serialize)]
pub(super) struct Route {
    pub(super) name: String,
    /// The purpose of the route.
    note: String,
    /// The condition of `match`; `None` matches all requests.
    #[serde(rename = "match")]
    conditions: Option<Value>,
    pub(super) destination: Destination,
    mirror: Option<Destination>,
    /// Destinations with weight 0, so that the proxy knows their clusters.
    also: Vec<Destination>,
    /// Whether an EnvoyFilter lets a header choose the cluster instead.
    pub(super) by_header: bool,
}

/// The routes, and their destinations without duplicates.
pub(super) fn routes(
    plan: &Plan,
    options: &Options,
) -> anyhow::Result<(Vec<Route>, Vec<Destination>)> {
    let names = &plan.settings.headers;
    let at = |experiment: &Experiment, variant: VariantId| {
        let name = experiment.variants[variant].name.as_str();
        destination::of(cluster(experiment, variant), Some(name), options)
    };
    let mirrors = mirrors(plan);
    let first = plan
        .experiments
        .first()
        .context("the file has no experiments, so there is nothing to route")?;
    let default = at(first, first.baseline)?;
    let mut fallbacks = Vec::new();
    for experiment in &plan.experiments {
        fallbacks.push(at(experiment, experiment.baseline)?);
    }
    let one_baseline = fallbacks.iter().all(|fallback| *fallback == default);
    let mut routes = Vec::new();
    let mut variants = Vec::new();
    for experiment in &plan.experiments {
        for (index, variant) in experiment.variants.entries() {
            variants.push((experiment, index, variant, at(experiment, index)?));
        }
    }
    for mirror in &mirrors {
        let copies = mirror.map(|mirror| destination::of(mirror, None, options)).transpose()?;
        let copied =
            |name: &str| format!("{name}{}", mirror.map_or_else(String::new, |m| format!(".{m}")));
        if options.route == Routing::Envoyfilter {
            let mut conditions = vec![(names.cluster.clone(), json!({}))];
            conditions
                .extend(mirror.map(|mirror| (names.mirror.clone(), json!({"exact": mirror}))));
            routes.push(Route {
                name: copied("sidetrack-chosen"),
                note: "The filter has chosen a cluster: the EnvoyFilter routes by the filter's header. Without the \
                       EnvoyFilter, this is the baseline."
                    .to_owned(),
                conditions: Some(json!({"headers": conditions.into_iter().collect::<serde_json::Map<_, _>>()})),
                destination: default.clone(),
                mirror: copies,
                also: others(&default, variants.iter().map(|(.., destination)| destination)),
                by_header: true,
            });
            continue;
        }
        for (experiment, index, variant, destination) in &variants {
            // The baseline needs a route of its own only where the last route is not quite the same.
            if *index == experiment.baseline && mirror.is_none() && one_baseline {
                continue;
            }
            let alone = plan.experiments.len() == 1;
            routes.push(Route {
                name: copied(&if alone {
                    variant.name.clone()
                } else {
                    format!("{}.{}", experiment.name, variant.name)
                }),
                note: mirror.map_or_else(String::new, |mirror| {
                    format!("The filter requests a copy for {mirror}.")
                }),
                conditions: Some(tagged(names, experiment, &variant.name, alone, *mirror)),
                destination: destination.clone(),
                mirror: copies.clone(),
                also: Vec::new(),
                by_header: false,
            });
        }
    }
    if !one_baseline {
        for (experiment, destination) in plan.experiments.iter().zip(fallbacks) {
            routes.push(Route {
                name: format!("{}.baseline", experiment.name),
                note: format!("{} without the filter: its baseline.", experiment.name),
                conditions: conditions(&experiment.conditions),
                destination,
                mirror: None,
                also: Vec::new(),
                by_header: false,
            });
        }
    }
    // Nothing gets past a route without conditions.
    if let Some(all) = routes.iter().position(|route| route.conditions.is_none()) {
        routes.truncate(all + 1);
    } else {
        routes.push(Route {
            name: "baseline".to_owned(),
            note: "All other requests, and all requests while the filter is absent: the baseline."
                .to_owned(),
            conditions: None,
            destination: default,
            mirror: None,
            also: Vec::new(),
            by_header: false,
        });
    }
    let mut destinations: Vec<Destination> =
        variants.into_iter().map(|(.., destination)| destination).collect();
    for mirror in mirrors.into_iter().flatten() {
        destinations.push(destination::of(mirror, None, options)?);
    }
    let destinations =
        others(&Destination { host: String::new(), port: None, subset: None }, destinations.iter());
    Ok((routes, destinations))
}

/// These destinations but `one`, each once.
fn others<'a>(one: &Destination, all: impl Iterator<Item = &'a Destination>) -> Vec<Destination> {
    let mut others: Vec<Destination> = Vec::new();
    for destination in all {
        if destination != one && !others.contains(destination) {
            others.push(destination.clone());
        }
    }
    others
}

/// What holds for the requests of a variant.
fn tagged(
    names: &HeaderNames,
    experiment: &Experiment,
    variant: &str,
    alone: bool,
    mirror: Option<&str>,
) -> Value {
    let mut headers = serde_json::Map::new();
    headers.insert(names.variant.clone(), json!({"exact": variant}));
    if !alone {
        headers.insert(names.experiment.clone(), json!({"exact": experiment.name}));
    }
    if let Some(mirror) = mirror {
        headers.insert(names.mirror.clone(), json!({"exact": mirror}));
    }
    json!({"headers": headers})
}

/// An experiment's own conditions, as `match` writes them; `None` when it takes every request.
fn conditions(Match { hosts, path, methods, headers, body: _ }: &Match) -> Option<Value> {
    let mut all = serde_json::Map::new();
    if let Some(regex) = hosts::regex(hosts) {
        all.insert("authority".to_owned(), json!({"regex": regex}));
    }
    match path {
        Some(Text::Exact(path)) => all.insert("uri".to_owned(), json!({"exact": path})),
        Some(Text::Prefix(path)) => all.insert("uri".to_owned(), json!({"prefix": path})),
        None => None,
    };
    if !methods.is_empty() {
        all.insert("method".to_owned(), json!({"regex": methods.join("|")}));
    }
    let (mut with, mut without) = (serde_json::Map::new(), serde_json::Map::new());
    for header in headers {
        match &header.rule {
            ValueRule::Value(Text::Exact(text)) => {
                with.insert(header.name.clone(), json!({"exact": text}))
            }
            ValueRule::Value(Text::Prefix(text)) => {
                with.insert(header.name.clone(), json!({"prefix": text}))
            }
            ValueRule::Present(true) => with.insert(header.name.clone(), json!({})),
            ValueRule::Present(false) => without.insert(header.name.clone(), json!({})),
        };
    }
    if !with.is_empty() {
        all.insert("headers".to_owned(), with.into());
    }
    if !without.is_empty() {
        all.insert("withoutHeaders".to_owned(), without.into());
    }
    (!all.is_empty()).then(|| all.into())
}
