//! `render envoy`: a bootstrap that runs as it is.
//!
//! The template holds what people read and copy; here stands only what depends on the experiments: which clusters,
//! and which routes lead to them. Routes are laid so that a request without the filter's headers, for whatever
//! reason, takes the baseline of its experiment.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::matching::{HeaderRule, Match, Text};
use sidetrack::names::{route, variable};
use sidetrack::plan::{BreakerMode, Experiment, Plan, VariantId};
use sidetrack::rollout::Schedule;
use sidetrack::unit::UnitSource;

use super::{headers, hosts, vocabulary};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load;
use crate::out::Out;
use crate::template;

const TEMPLATES: [(&str, &str); 4] = [
    ("envoy.yaml", include_str!("../../templates/envoy.yaml")),
    ("vm.yaml", include_str!("../../templates/vm.yaml")),
    ("filter.yaml", include_str!("../../templates/filter.yaml")),
    ("ecds.yaml", include_str!("../../templates/ecds.yaml")),
];

/// Write a complete Envoy bootstrap with the filter, the routes and the clusters of an experiment file.
///
/// Without the filter's answer, every request takes the baseline's route. Check the result with
/// `envoy --mode validate -c FILE`.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack render envoy experiment.yaml --endpoint baseline=127.0.0.1:9001 \
                        --endpoint enhanced=127.0.0.1:9002 > envoy.yaml"
)]
pub(crate) struct Args {
    /// The experiment file.
    file: PathBuf,
    #[command(flatten)]
    options: Options,
    /// Write only the filter's configuration, as the file that --watch names. Give the other options as for the
    /// bootstrap: the filter is told of them.
    #[arg(long, requires = "watch")]
    filter_only: bool,
}

/// What the bootstrap needs to know beside the experiments.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The module, as Envoy finds it.
    #[arg(long, value_name = "PATH", default_value = "dist/sidetrack.wasm")]
    pub(crate) wasm: String,
    /// Where a cluster's servers are; NAME:8080 by DNS when left out. May be repeated.
    #[arg(long, value_name = "CLUSTER=HOST:PORT")]
    pub(crate) endpoint: Vec<Endpoint>,
    /// The cluster for requests that no experiment matches; the first experiment's baseline when left out.
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) default_cluster: Option<String>,
    /// Address and port to listen on.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:10000")]
    pub(crate) listen: Address,
    /// Address and port of Envoy's administration interface.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    pub(crate) admin: Address,
    /// Let Envoy read the filter's configuration from this file and follow its changes, instead of holding it inline.
    #[arg(long, value_name = "PATH")]
    pub(crate) watch: Option<PathBuf>,
    /// Send a request that fails at a candidate to the baseline as well, so that its caller sees an answer. Needs
    /// variants with clusters. What a model does twice must do no harm.
    #[arg(long)]
    pub(crate) failover: bool,
    /// With --failover, send only requests of these methods a second time.
    #[arg(long, value_name = "METHOD", value_delimiter = ',', requires = "failover")]
    pub(crate) failover_methods: Vec<String>,
    /// With --failover, the largest body in bytes that is kept to be sent a second time.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) failover_buffer: u32,
    /// Let the routes say which experiment and variant this is, upstream and to the caller: Envoy does it for less than
    /// the filter. Needs variants without clusters, no two of the same name.
    #[arg(long, conflicts_with = "failover")]
    pub(crate) lean: bool,
    /// Where the access log goes.
    #[arg(long, value_name = "PATH", default_value = "/dev/stdout")]
    pub(crate) access_log: String,
}

/// A host and a port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (host, port) = text.rsplit_once(':').context("write HOST:PORT")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        anyhow::ensure!(!host.is_empty(), "the host is missing: write HOST:PORT");
        Ok(Self { host, port: port.parse().with_context(|| format!("\"{port}\" is no port"))? })
    }
}

/// Where a cluster's servers are.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) cluster: String,
    pub(crate) address: Address,
}

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (cluster, address) = text.split_once('=').context("write CLUSTER=HOST:PORT")?;
        Ok(Self { cluster: cluster.to_owned(), address: address.parse()? })
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let text = if args.filter_only {
        filter(&loaded.plan, &loaded.node, &args.options)?
    } else {
        bootstrap(&loaded.plan, &loaded.node, &args.options)?
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
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
    let failovers = if options.failover { failovers(plan)? } else { Vec::new() };
    let bodies =
        plan.experiments.iter().flat_map(|e| &e.units).any(|u| matches!(u, UnitSource::Body(_)));
    if options.lean {
        can_be_lean(plan)?;
    }
    let announcements: Vec<&str> = [
        Some(variable::EXPOSURES),
        bodies.then_some(variable::WAIT_FOR_BODIES),
        options.failover.then_some(variable::FAILOVER),
        options.lean.then_some(variable::ROUTES_TELL),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Envoy answers 413 when a request that is held does not fit into its buffer, 1 MiB unless we say more.
    let held = Some(plan.settings.body_limit)
        .filter(|&limit| bodies && (options.failover || limit > 1 << 20));
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
        "failover_methods": (!options.failover_methods.is_empty()).then(|| options.failover_methods.join("|")),
        "buffer": options.failover.then_some(u64::from(options.failover_buffer)).max(held),
        "lean": options.lean,
        "tagged": tagged(plan),
        "fallbacks": plan.experiments.iter().map(fallback).collect::<Vec<_>>(),
        "mirrors": mirrors(plan),
        "default": default,
        "clusters": clusters(plan, &default, &options.endpoint, &failovers)?,
    });
    vocabulary::add(&mut context);
    // The parts that stand at two depths.
    for (name, part) in [("vm", "vm.yaml"), ("filter", "filter.yaml")] {
        let text = template::render(&TEMPLATES, part, &context)?;
        if let Some(context) = context.as_object_mut() {
            context.insert(name.to_owned(), text.trim_end().into());
        }
    }
    template::render(&TEMPLATES, template, &context)
}

/// The cluster of a variant: the one it names, or one of its own name.
pub(super) fn cluster(experiment: &Experiment, variant: VariantId) -> &str {
    let variant = &experiment.variants[variant];
    variant.cluster.as_deref().unwrap_or(&variant.name)
}

fn baseline(experiment: &Experiment) -> &str {
    cluster(experiment, experiment.baseline)
}

/// A candidate's cluster, as the one that also tries the baseline.
#[derive(Serialize)]
struct Failover {
    /// The route's name, by which the filter knows that another cluster may have answered.
    name: String,
    /// The cluster that the filter chooses: the candidate, then the baseline.
    cluster: String,
    /// The candidate alone.
    alone: String,
    baseline: String,
}

fn failovers(plan: &Plan) -> anyhow::Result<Vec<Failover>> {
    let mut failovers: Vec<Failover> = Vec::new();
    for experiment in &plan.experiments {
        if let Some(variant) = experiment.variants.iter().find(|v| v.rewrite.is_some()) {
            return Err(Fault(format!(
                "--failover: {} of {} has a `path`, and Envoy would send the second attempt to the baseline with the \
                 path of the first\n  hint: remove `path`, or render without --failover",
                variant.name, experiment.name
            ))
            .into());
        }
        for candidate in experiment.candidates() {
            let Some(cluster) = experiment.variants[candidate].cluster.clone() else {
                anyhow::bail!(
                    "--failover needs variants with clusters; {} has none",
                    experiment.name
                );
            };
            let baseline = baseline(experiment).to_owned();
            if let Some(other) = failovers.iter().find(|other| other.cluster == cluster) {
                anyhow::ensure!(
                    other.baseline == baseline,
                    "--failover: {cluster} is a candidate beside two baselines, {} and {baseline}",
                    other.baseline
                );
                continue;
            }
            let name = format!("{}{cluster}", route::FAILOVER);
            failovers.push(Failover { name, alone: format!("{cluster}~alone"), cluster, baseline });
        }
    }
    let aggregate = |name: &String| failovers.iter().any(|other| other.cluster == *name);
    if let Some(failover) = failovers.iter().find(|failover| aggregate(&failover.baseline)) {
        anyhow::bail!("--failover: {} is a baseline here and a candidate there", failover.baseline);
    }
    Ok(failovers)
}

/// Whether a route can tell by the variant's name alone what it leads to.
fn can_be_lean(plan: &Plan) -> anyhow::Result<()> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for experiment in &plan.experiments {
        let by_cluster = experiment.variants.iter().any(|variant| variant.cluster.is_some());
        anyhow::ensure!(
            !by_cluster,
            "--lean needs variants without clusters; {} has some",
            experiment.name
        );
        for variant in &experiment.variants {
            if let Some((name, other)) = seen.iter().find(|(name, _)| *name == variant.name) {
                anyhow::bail!(
                    "--lean: {other} and {} both have a variant {name}; give each its own name",
                    experiment.name
                );
            }
            seen.push((&variant.name, &experiment.name));
        }
    }
    Ok(())
}

/// Routes for experiments whose filter only tags.
fn tagged(plan: &Plan) -> Vec<Value> {
    let tagging = |e: &&Experiment| e.variants.iter().all(|v| v.cluster.is_none());
    let routes = |e: &Experiment| {
        let route = |v: VariantId| json!({"experiment": e.name, "cluster": cluster(e, v), "told": told(plan, e, v)});
        e.variants.ids().map(route).collect::<Vec<_>>()
    };
    plan.experiments.iter().filter(tagging).flat_map(routes).collect()
}

/// What a route tells the caller, so that the filter need not. What the filter has put into the request's header goes
/// back under the same name; a header that is not there adds nothing.
fn told(plan: &Plan, experiment: &Experiment, variant: VariantId) -> Vec<Value> {
    if !plan.settings.response_headers {
        return Vec::new();
    }
    let names = &plan.settings.headers;
    let from_request = |name: &String| (name.clone(), format!("%REQ({name})%"));
    let mut told = vec![
        (names.experiment.clone(), experiment.name.clone()),
        (names.variant.clone(), cluster(experiment, variant).to_owned()),
    ];
    // Only the baseline ever serves for another.
    if variant == experiment.baseline && experiment.breaker.mode == BreakerMode::Enforce {
        told.push(from_request(&names.assigned));
    }
    if matches!(experiment.schedule, Schedule::Rollout(_)) {
        told.push(from_request(&names.phase));
    }
    told.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// The clusters of mirrors, and at last none. Each route is laid once for each: a route's `cluster_header` for copies
/// is read only after the route has removed the header that the model must not see.
pub(super) fn mirrors(plan: &Plan) -> Vec<Option<&str>> {
    let mut names: Vec<Option<&str>> = Vec::new();
    for mirror in plan.experiments.iter().filter_map(|e| e.mirror.as_ref()) {
        if !names.contains(&Some(mirror.cluster.as_str())) {
            names.push(Some(&mirror.cluster));
        }
    }
    names.push(None);
    names
}

/// The route that an experiment's requests take without the filter.
fn fallback(experiment: &Experiment) -> Value {
    let Match { hosts, path, methods, headers } = &experiment.conditions;
    let mut rules = Vec::new();
    rules.extend(hosts::regex(hosts).map(|regex| regex_rule(":authority", &regex)));
    if !methods.is_empty() {
        rules.push(regex_rule(":method", &methods.join("|")));
    }
    for header in headers {
        rules.push(match &header.rule {
            HeaderRule::Value(Text::Exact(text)) => {
                json!({"name": header.name, "string_match": {"exact": text}})
            }
            HeaderRule::Value(Text::Prefix(text)) => {
                json!({"name": header.name, "string_match": {"prefix": text}})
            }
            HeaderRule::Present(present) => json!({"name": header.name, "present_match": present}),
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

/// Under which name Envoy counts the requests of an experiment that the filter did not see. A dot would end the name.
pub(crate) fn bypass_stat(experiment: &Experiment) -> String {
    format!("{}{}", route::BYPASS, experiment.name.replace('.', "_"))
}

fn regex_rule(name: &str, regex: &str) -> Value {
    json!({"name": name, "string_match": {"safe_regex": {"regex": regex}}})
}

/// Every cluster that a request may be sent to.
fn clusters(
    plan: &Plan,
    default: &str,
    endpoints: &[Endpoint],
    failovers: &[Failover],
) -> anyhow::Result<Vec<Value>> {
    let mut names: Vec<&str> = Vec::new();
    for experiment in &plan.experiments {
        names.extend(experiment.variants.ids().map(|variant| cluster(experiment, variant)));
        names.extend(experiment.mirror.iter().map(|mirror| mirror.cluster.as_str()));
    }
    names.push(default);
    let mut seen: Vec<&str> = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name);
        new
    });
    if let Some(stray) =
        endpoints.iter().find(|endpoint| !names.contains(&endpoint.cluster.as_str()))
    {
        anyhow::bail!(
            "--endpoint {}: no such cluster; there are: {}",
            stray.cluster,
            names.join(", ")
        );
    }
    let describe = |name: &&str| {
        let addresses: Vec<&Address> =
            endpoints.iter().filter(|e| e.cluster == *name).map(|e| &e.address).collect();
        let by_name = Address { host: (*name).to_owned(), port: 8080 };
        let addresses = if addresses.is_empty() { vec![&by_name] } else { addresses };
        let is_literal = |address: &&Address| address.host.parse::<std::net::IpAddr>().is_ok();
        let discovery = if addresses.iter().all(is_literal) { "STATIC" } else { "STRICT_DNS" };
        let name =
            failovers.iter().find(|f| f.cluster == *name).map_or(*name, |failover| &failover.alone);
        json!({"name": name, "discovery": discovery, "addresses": addresses})
    };
    Ok(names.iter().map(describe).collect())
}
