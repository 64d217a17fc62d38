//! `render envoy`: a complete Envoy bootstrap, ready to run.
//!
//! The template holds what people read and copy. This module adds what depends on the experiments:
//! clusters, and the routes that lead to them. A request without the filter's headers always takes
//! the route to the baseline of its experiment.

mod address;
mod args;
mod clusters;
mod failover;
mod routes;

use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use sidetrack::config::Node;
use sidetrack::names::variable;
use sidetrack::plan::Plan;

use super::{headers, hosts, vocabulary};
use crate::template;
pub(crate) use address::{Address, Endpoint};
pub(super) use args::{Args, run};
pub(super) use clusters::cluster;
use clusters::{baseline, clusters};
pub(super) use routes::mirrors;
pub(crate) use routes::{bypass_stat, has_fallback};

const TEMPLATES: [(&str, &str); 4] = [
    ("envoy.yaml", include_str!("../../templates/envoy.yaml")),
    ("vm.yaml", include_str!("../../templates/vm.yaml")),
    ("filter.yaml", include_str!("../../templates/filter.yaml")),
    ("ecds.yaml", include_str!("../../templates/ecds.yaml")),
];

/// What the bootstrap depends on besides the experiments.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The path of the filter's module, as Envoy opens it.
    pub(crate) wasm: String,
    /// Addresses of clusters. A cluster without one is resolved by its name.
    pub(crate) endpoint: Vec<Endpoint>,
    /// The cluster for requests that match no experiment; `None`: the first experiment's baseline.
    pub(crate) default_cluster: Option<String>,
    /// The address of the listener.
    pub(crate) listen: Address,
    /// The address of the admin interface.
    pub(crate) admin: Address,
    /// The file that Envoy reads the filter's configuration from; `None`: an inline configuration.
    pub(crate) watch: Option<PathBuf>,
    /// Whether and how failed requests are retried on the baseline.
    pub(crate) failover: Option<Failover>,
    /// Whether routes, and not the filter, add the experiment and variant headers.
    pub(crate) lean: bool,
    /// The path of the access log.
    pub(crate) access_log: String,
}

/// How failed requests are retried on the baseline.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    /// Retry only requests with these methods; empty: with any method.
    pub(crate) methods: Vec<String>,
    /// The largest request body that is buffered for the retry, in bytes.
    pub(crate) buffer: u32,
}

/// The whole bootstrap.
pub(crate) fn bootstrap(plan: &Plan, node: &Node, options: &Options) -> anyhow::Result<String> {
    render("envoy.yaml", plan, node, options)
}

/// The filter alone, as the discovery resource that `--watch` reads.
pub(crate) fn filter(plan: &Plan, node: &Node, options: &Options) -> anyhow::Result<String> {
    render("ecds.yaml", plan, node, options)
}

fn render(template: &str, plan: &Plan, node: &Node, options: &Options) -> anyhow::Result<String> {
    let names = &plan.settings.headers;
    let (own, testers) = (headers::own(plan), headers::testers(plan));
    let first = plan
        .experiments
        .first()
        .context("the file has no experiments, so there is nothing to route")?;
    let default = options.default_cluster.clone().unwrap_or_else(|| baseline(first).to_owned());
    let failovers = match &options.failover {
        Some(_) => failover::clusters(plan)?,
        None => Vec::new(),
    };
    let bodies = plan.reads_bodies();
    if options.lean {
        routes::check_lean(plan)?;
    }
    let announcements: Vec<&str> = [
        Some(variable::EXPOSURES),
        bodies.then_some(variable::WAIT_FOR_BODIES),
        options.failover.as_ref().map(|_| variable::FAILOVER),
        options.lean.then_some(variable::ROUTES_TELL),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Envoy answers 413 when a buffered request exceeds its buffer, which is 1 MiB by default.
    let held = Some(plan.settings.body_limit)
        .filter(|&limit| bodies && (options.failover.is_some() || limit > 1 << 20));
    let mut context = json!({
        "options": {
            "wasm": options.wasm, "listen": options.listen, "admin": options.admin,
            "watch": options.watch, "access_log": options.access_log,
        },
        "watched_directory": options.watch.as_ref().map(|path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }),
        "configuration": serde_json::to_string_pretty(node)?,
        "hash": plan.hash.to_string(),
        "names": {
            "experiment": names.experiment, "variant": names.variant, "assigned": names.assigned,
            "phase": names.phase, "cluster": names.cluster, "mirror": names.mirror,
        },
        "own": own,
        "testers": testers,
        "bodies": bodies,
        "announcements": announcements,
        "by_cluster": plan.experiments.iter().any(|e| e.variants.iter().any(|v| v.cluster.is_some())),
        "failovers": failovers,
        "failover_methods": options.failover.as_ref().and_then(Failover::method_regex),
        "buffer": options.failover.as_ref().map(|failover| u64::from(failover.buffer)).max(held),
        "lean": options.lean,
        "tagged": routes::tagged(plan),
        "fallbacks": plan.experiments.iter().filter(|e| routes::has_fallback(e))
            .map(routes::fallback).collect::<Vec<_>>(),
        "mirrors": mirrors(plan),
        "default": default,
        "clusters": clusters(plan, &default, &options.endpoint, &failovers)?,
    });
    vocabulary::add(&mut context);
    // These parts appear at two depths of indentation.
    for (name, part) in [("vm", "vm.yaml"), ("filter", "filter.yaml")] {
        let text = template::render(&TEMPLATES, part, &context)?;
        if let Some(context) = context.as_object_mut() {
            context.insert(name.to_owned(), text.trim_end().into());
        }
    }
    template::render(&TEMPLATES, template, &context)
}

impl Failover {
    /// The methods as a regular expression; `None` for any method.
    fn method_regex(&self) -> Option<String> {
        (!self.methods.is_empty()).then(|| self.methods.join("|"))
    }
}
